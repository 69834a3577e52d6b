"""What options take: times, addresses and the like, refused with a word on what is right."""

import argparse
import re
from signal import Signals

LAST_PORT = 65535

UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

LONGEST = 3650 * UNITS["d"]
"""Ten years: what is longer is a mistake, and overflows in the system's calls."""

TIME = r"[0-9]+(?:\.[0-9]+)?|(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+"

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What an app may be called; such a name needs no quoting in a request."""

RESTART = "restart"

UNCATCHABLE = frozenset({Signals.SIGKILL, Signals.SIGSTOP})


def seconds(text: str) -> float:
    """Return a time such as `90`, `90s`, `1m30s` or `500ms` in seconds; nothing is no time."""
    value = seconds_or_none(text)
    if value <= 0:
        raise _no_time(text)
    return value


def seconds_or_none(text: str) -> float:
    """Return a time as `seconds` does; 0 is one as well."""
    if not re.fullmatch(TIME, text):
        raise _no_time(text)
    parts = re.findall(r"([0-9.]+)(ms|s|m|h|d|)", text)
    value = sum(float(number) * UNITS[unit] for number, unit in parts)
    if value > LONGEST:
        raise argparse.ArgumentTypeError(f'"{text}" is too long; write 3650d at most')
    return value


def address(text: str) -> str:
    """Return `HOST:PORT` as it is; an IPv6 host stands in brackets."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > LAST_PORT:
        raise argparse.ArgumentTypeError(
            f'"{text}" is no address; write HOST:PORT, such as 127.0.0.1:8443 or [::1]:8443'
        )
    return text


def count(text: str) -> int:
    """Return a number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is no count; write a number from 1 up')
    return int(text)


def app_name(text: str) -> str:
    """Return an app's name, which may not be one that is configured."""
    if not re.fullmatch(NAME, text):
        raise argparse.ArgumentTypeError(
            f'"{text}" is no name of an app; write one that `refresherd status` shows'
        )
    return text


def reaction(text: str) -> str | Signals:
    """Return the signal that `HUP`, `SIGHUP` or `hup` names, and `restart` as it is."""
    if text == RESTART:
        return text
    name = text.upper()
    number = Signals.__members__.get(name if name.startswith("SIG") else f"SIG{name}")
    if number is None or number in UNCATCHABLE:
        raise argparse.ArgumentTypeError(
            f'"{text}" is neither restart nor a signal to catch; write restart, HUP or USR1'
        )
    return number


def _no_time(text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f'"{text}" is no time; write one such as 90s, 10m or 500ms')
