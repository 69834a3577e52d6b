"""The options of each command, put into its parser.

Only types that cost nothing to import are used: a command that a script calls a
thousand times builds its own parser alone, and before anything else.
"""

import argparse
import os

from refresherd.cli.values import (
    address,
    app_name,
    count,
    reaction,
    seconds,
    seconds_or_none,
)

FORMATS = ("raw", "header", "json", "env", "sdkms-cli")

TOKEN_TIMEOUT = 10.0
"""Seconds that a token is waited for where nobody says otherwise."""


def config(command: argparse.ArgumentParser) -> None:
    """Add where the configuration is."""
    command.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("REFRESHERD_CONFIG") or "/etc/refresherd/config.toml",
        help="the configuration (default: $REFRESHERD_CONFIG, else /etc/refresherd/config.toml)",
    )


def once(command: argparse.ArgumentParser) -> None:
    """Add what `once` takes."""
    config(command)
    command.add_argument(
        "--app",
        metavar="NAME",
        action="append",
        default=[],
        help="only this app; may be given several times (default: all)",
    )
    _timeout(command, 60.0)


def emulator(command: argparse.ArgumentParser) -> None:
    """Add what `emulator` takes."""
    command.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=address,
        default="127.0.0.1:0",
        help="where to listen; port 0 takes a free one (default: 127.0.0.1:0)",
    )
    command.add_argument(
        "--lifetime",
        metavar="S",
        type=seconds,
        default=600.0,
        help="how long a session lives, in seconds or as 10m (default: 600)",
    )
    command.add_argument("--tls", action="store_true", help="speak TLS, with a CA made at start")
    command.add_argument(
        "--apps", metavar="N", type=count, default=1, help="how many apps there are (default: 1)"
    )


def demo(command: argparse.ArgumentParser) -> None:
    """Add what `demo` takes."""
    command.add_argument(
        "--apps", metavar="N", type=count, default=3, help="how many apps to keep (default: 3)"
    )
    command.add_argument(
        "--lifetime",
        metavar="S",
        type=seconds,
        default=20.0,
        help="how long a token lives, in seconds or as 1m (default: 20)",
    )
    command.add_argument(
        "--for",
        dest="duration",
        metavar="S",
        type=seconds,
        default=None,
        help="end by itself after this long (default: runs until interrupted)",
    )


def none(_command: argparse.ArgumentParser) -> None:
    """Add no option."""


def token(command: argparse.ArgumentParser) -> None:
    """Add what `token` takes."""
    _app(command)
    command.add_argument(
        "--min-ttl",
        metavar="TIME",
        type=seconds_or_none,
        help="a token that lives at least this long, refreshed now if need be (default: 30s where "
        "such a one can be had at once, else any that is valid)",
    )
    command.add_argument(
        "--format", choices=FORMATS, default="raw", help="what is printed (default: raw)"
    )
    _timeout(command, TOKEN_TIMEOUT)
    _socket(command)


def status(command: argparse.ArgumentParser) -> None:
    """Add what `status` takes."""
    command.add_argument(
        "app", metavar="APP", type=app_name, nargs="?", help="only this app (default: all)"
    )
    command.add_argument("--json", action="store_true", help="print the daemon's own JSON")
    command.add_argument(
        "--watch", action="store_true", help="print it anew every second until interrupted"
    )
    _socket(command)


def wait(command: argparse.ArgumentParser) -> None:
    """Add what `wait` takes."""
    _apps(command, "the apps to wait for (default: all)")
    _timeout(command, 60.0)
    _min_ttl(command, "until their tokens live at least this long, refreshed now if need be")
    _socket(command)


def refresh(command: argparse.ArgumentParser) -> None:
    """Add what `refresh` takes."""
    _apps(command, "the apps to refresh")
    command.add_argument("--all", action="store_true", help="refresh every app")
    _timeout(command, 60.0)
    _socket(command)


def watch(command: argparse.ArgumentParser) -> None:
    """Add what `watch` takes."""
    _app(command)
    _socket(command)


def execute(command: argparse.ArgumentParser) -> None:
    """Add what `exec` takes before its `--`."""
    _app(command)
    command.add_argument(
        "--on-refresh",
        metavar="restart|SIGNAL",
        type=reaction,
        default=None,
        help="after each new token, run CMD anew with it, or send CMD this signal, such as HUP "
        "(default: nothing; CMD takes the place of this process)",
    )
    _min_ttl(command, "begin with a token that lives at least this long")
    _timeout(command, 60.0)
    _socket(command)


def _app(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", metavar="APP", type=app_name, help="the app's name")


def _apps(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("apps", metavar="APP", type=app_name, nargs="*", help=text)


def _socket(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--socket",
        metavar="PATH",
        default=os.environ.get("REFRESHERD_SOCKET") or "/run/refresherd/api.sock",
        help="the daemon's socket (default: $REFRESHERD_SOCKET, else /run/refresherd/api.sock)",
    )


def _timeout(command: argparse.ArgumentParser, default: float) -> None:
    command.add_argument(
        "--timeout",
        metavar="TIME",
        type=seconds,
        default=default,
        help=f"give up after this long, such as 90s or 2m (default: {default:.0f}s)",
    )


def _min_ttl(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument(
        "--min-ttl",
        metavar="TIME",
        type=seconds_or_none,
        default=0.0,
        help=f"{text} (default: 0s, any that is valid)",
    )
