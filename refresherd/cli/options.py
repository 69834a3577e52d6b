"""Options that several commands share, and the types of their values.

It imports only what is cheap: commands that scripts call in loops wait for it.
"""

import os
import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable
from functools import partial

from refresherd.domain import durations

MAX_DURATION = 3650 * durations.UNITS["d"]
"""Ten years in seconds: longer ones are mistakes, and overflow in system calls."""

APP_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""As in the configuration; such a name needs no quoting in a request."""


def duration(text: str, *, zero: bool = False) -> float:
    """Return a time such as `90`, `90s`, `1m30s` or `500ms` in seconds; `zero` allows 0."""
    try:
        value = durations.parse(f"{text}s" if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else text)
    except ValueError:
        meant = durations.guess(text)
        cure = f"; did you mean {meant}?" if meant else ", such as 90s or 1m30s"
        message = f'"{text}" is not a valid duration; write {durations.SYNTAX}{cure}'
        raise ArgumentTypeError(message) from None
    if value > MAX_DURATION:
        raise ArgumentTypeError(f'"{text}" is too long; write 3650d at most')
    if not value and not zero:
        raise ArgumentTypeError(f'"{text}" is too short; write more than 0')
    return value


duration_or_zero = partial(duration, zero=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most similar, "" if none is similar."""
    from difflib import get_close_matches  # no command that runs needs it

    return next(iter(get_close_matches(word.lower(), list(known), n=1)), "")


def choice(*known: str) -> Callable[[str], str]:
    """Return the type of an option whose value is one of a few words."""

    def check(text: str) -> str:
        if text in known:
            return text
        meant = nearest(text, known)
        hint = f"; did you mean {meant}?" if meant else ""
        raise ArgumentTypeError(
            f'"{text}" is not one of the choices; write {", ".join(known)}{hint}'
        )

    return check


def positive_number(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f'"{text}" is not a valid number; write 1 or more')
    return int(text)


def app_name(text: str) -> str:
    """Return the text if an app could have that name."""
    if not re.fullmatch(APP_NAME, text):
        raise ArgumentTypeError(
            f'"{text}" is not a valid app name; `refresherd status` lists the apps'
        )
    return text


def add_config(parser: ArgumentParser) -> None:
    """Add --config."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("REFRESHERD_CONFIG") or "/etc/refresherd/config.toml",
        help="the configuration, - for standard input (default: $REFRESHERD_CONFIG, else "
        "/etc/refresherd/config.toml)",
    )


def add_app(
    parser: ArgumentParser, nargs: str | None = None, text: str = "name of the app"
) -> None:
    """Add the argument `app`, or `apps` if it may be given several times."""
    name = "apps" if nargs == "*" else "app"
    parser.add_argument(name, metavar="APP", type=app_name, nargs=nargs, help=text)


def add_socket(parser: ArgumentParser) -> None:
    """Add --socket."""
    parser.add_argument(
        "--socket",
        metavar="PATH",
        default=os.environ.get("REFRESHERD_SOCKET") or "/run/refresherd/api.sock",
        help="the daemon's socket (default: $REFRESHERD_SOCKET, else /run/refresherd/api.sock)",
    )


def add_timeout(parser: ArgumentParser, default: float) -> None:
    """Add --timeout, in seconds."""
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=duration,
        default=default,
        help=f"give up after this time, such as 90s or 2m (default: {default:.0f}s)",
    )


def add_min_ttl(parser: ArgumentParser, text: str) -> None:
    """Add --min-ttl, in seconds, 0 by default."""
    parser.add_argument(
        "--min-ttl",
        metavar="TIME",
        type=duration_or_zero,
        default=0.0,
        help=f"{text} (default: 0s, any valid token)",
    )
