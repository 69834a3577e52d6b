"""`refresherd emulator`: a DSM to develop and test against."""

import signal
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from errno import EADDRINUSE
from typing import TYPE_CHECKING

from refresherd.cli.options import duration, positive_number
from refresherd.domain.errors import RefresherdError

if TYPE_CHECKING:
    from refresherd.emulator import Emulator

DESCRIPTION = """\
Prints its endpoint, its CA file and an API key for each app, ready to be
copied into a configuration, and serves until it is interrupted. Its /control/
pages make it fail as DSM does, and show the requests that it received. Use it
for tests only: anyone who can reach it can read every key and token."""

EPILOG = """\
example:
  refresherd emulator --tls --lifetime 30

exit status: 0 stopped by INT or TERM, 69 cannot listen on the address"""

MAX_PORT = 65535


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `emulator`."""
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=address,
        default="127.0.0.1:0",
        help="where to listen; port 0 picks a free one (default: 127.0.0.1:0)",
    )
    parser.add_argument(
        "--lifetime",
        metavar="S",
        type=duration,
        default=600.0,
        help="how long a session lives, in seconds or as 10m (default: 600)",
    )
    parser.add_argument("--tls", action="store_true", help="speak TLS, with a CA made at start")
    parser.add_argument(
        "--apps", metavar="N", type=positive_number, default=1, help="number of apps (default: 1)"
    )


def address(text: str) -> str:
    """Return the text if it is `HOST:PORT`; an IPv6 host stands in brackets."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise ArgumentTypeError(
            f'"{text}" is not a valid address; write HOST:PORT, '
            "such as 127.0.0.1:8443 or [::1]:8443"
        )
    return text


def execute(arguments: Namespace) -> None:
    """Serve until interrupted."""
    import asyncio

    from refresherd.emulator import Emulator, Options

    listen, lifetime = arguments.listen, arguments.lifetime
    options = Options(listen=listen, lifetime=lifetime, tls=arguments.tls, apps=arguments.apps)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with Emulator(options) as emulator:
            print(_greeting(emulator), flush=True)
            await stop.wait()

    try:
        asyncio.run(serve())
    except OSError as error:
        reason = "the address is in use" if error.errno == EADDRINUSE else error.strerror
        raise RefresherdError(f"cannot listen on {listen}: {reason}") from error


def _greeting(emulator: "Emulator") -> str:
    lines = [f"endpoint: {emulator.url}"]
    if emulator.ca_file is not None:
        lines.append(f"ca_file: {emulator.ca_file}")
    lines += [f"api_key: {app.api_key}  # {app.name}, {app.id}" for app in emulator.apps]
    curl = "curl" if emulator.ca_file is None else f"curl --cacert {emulator.ca_file}"
    login = f"-X POST -H 'Authorization: Basic API_KEY' {emulator.url}/sys/v1/session/auth"
    fault = """-d '{"operation": "reauth", "status": 503, "times": 3}'"""
    lines += [
        f"# log in:        {curl} {login}",
        f"# make it fail:  {curl} {emulator.url}/control/faults {fault}",
        f"# statistics:    {curl} {emulator.url}/control/statistics",
    ]
    return "\n".join(lines)
