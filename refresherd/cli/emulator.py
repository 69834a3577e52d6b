"""`refresherd emulator`: a DSM to develop and test against."""

import signal
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from errno import EADDRINUSE
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from refresherd.cli.errors import UsageError
from refresherd.cli.options import duration, positive_number
from refresherd.domain.errors import RefresherdError

if TYPE_CHECKING:
    from refresherd.emulator import Emulator
    from refresherd.emulator.directory import EmulatorDirectory

DESCRIPTION = """\
Prints its endpoint, its CA file and an API key for each app, ready to be
copied into a configuration, and serves until it is interrupted. With --dir it
writes that configuration, and keeps its CA, its keys and its port for the next
run. GET /control lists the requests that make it fail as DSM does, and those
that show what it received. Use it for tests only: anyone who can reach it can
read every key and token."""

EPILOG = """\
examples:
  refresherd emulator --tls --lifetime 30
  refresherd emulator --tls --dir dsm
  refresherd run --config dsm/config.toml

exit status: 0 stopped by INT or TERM, 64 wrong usage, 69 cannot listen on the
address, or cannot use the directory"""

MAX_PORT = 65535


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `emulator`."""
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=address,
        default="127.0.0.1:0",
        help="where to listen; port 0 picks a free one, or, with --dir, the last one "
        "(default: 127.0.0.1:0)",
    )
    parser.add_argument(
        "--lifetime",
        metavar="S",
        type=duration,
        default=600.0,
        help="how long a session lives, in seconds or as 10m (default: 600)",
    )
    parser.add_argument(
        "--tls", action="store_true", help="use TLS; later runs with the same --dir use it as well"
    )
    parser.add_argument(
        "--dir",
        metavar="D",
        type=Path,
        help="keep the CA, the apps and the port in this directory, with a config.toml for them",
    )
    parser.add_argument(
        "--apps",
        metavar="N",
        type=positive_number,
        default=1,
        help="number of apps with an API key (default: 1)",
    )
    parser.add_argument(
        "--certificate-apps",
        metavar="N",
        type=positive_number,
        default=0,
        help="number of apps that log in with a TLS client certificate (default: none)",
    )
    parser.add_argument(
        "--ldap-apps",
        metavar="N",
        type=positive_number,
        default=0,
        help="number of apps that log in by their name and a password (default: none)",
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
    if arguments.dir is None:
        return _serve(arguments, None)
    from refresherd.emulator.directory import DirectoryError, EmulatorDirectory

    try:
        with EmulatorDirectory(arguments.dir) as directory:
            _serve(arguments, directory)
    except (DirectoryError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RefresherdError(f"cannot use {arguments.dir}: {reason}") from error


def _serve(arguments: Namespace, directory: "EmulatorDirectory | None") -> None:
    import asyncio

    from refresherd.emulator import Emulator, Options

    listen, tls = arguments.listen, arguments.tls
    if directory is not None:
        listen, tls = directory.listen(listen), tls or directory.tls
    if arguments.certificate_apps and not tls:
        raise UsageError("--certificate-apps needs --tls")
    options = Options(
        apps=0,
        lifetime=arguments.lifetime,
        listen=listen,
        tls=tls,
        directory=directory.path if directory else None,
    )
    emulator = Emulator(options)
    if directory is not None:
        directory.restore(emulator)
    emulator.apps.fill(
        api_key=arguments.apps, certificate=arguments.certificate_apps, ldap=arguments.ldap_apps
    )

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            await emulator.__aenter__()
        except ValueError as error:
            raise RefresherdError(f"cannot use {arguments.dir}: {error}") from error
        except OSError as error:
            if error.filename is not None:  # a certificate or a key, not the address
                message = f"cannot use {error.filename}: {error.strerror}"
                raise RefresherdError(message) from error
            reason = _reason(error, from_last_run=listen != arguments.listen)
            raise RefresherdError(f"cannot listen on {listen}: {reason}") from error
        try:
            if directory is not None:
                directory.publish(emulator, listen)
            print(_greeting(emulator, directory), flush=True)
            await stop.wait()
        finally:
            await emulator.__aexit__()

    asyncio.run(serve())


def _reason(error: OSError, *, from_last_run: bool) -> str | None:
    """Return why the emulator cannot listen on an address, which may be that of the last run."""
    if error.errno != EADDRINUSE:
        return error.strerror
    cure = "; the last run used it, so free it, or choose another with --listen"
    return f"the address is in use{cure if from_last_run else ''}"


def _greeting(emulator: "Emulator", directory: "EmulatorDirectory | None") -> str:
    lines = [f"endpoint: {emulator.url}"]
    if emulator.ca_file is not None:
        lines.append(f"ca_file: {emulator.ca_file}")
    for app in emulator.apps:
        if app.kind == "certificate":
            files = emulator.client_certificate(app)
            lines.append(f"cert_file: {files.cert_file}  # {app.name}, {app.id}")
            lines.append(f"key_file: {files.key_file}  # {app.name}, {app.id}")
        elif app.kind == "ldap":
            account = f"of account {emulator.apps.account_id}"
            lines.append(f"password: {app.secret}  # {app.name}, {app.id}, {account}")
        else:
            lines.append(f"api_key: {app.api_key}  # {app.name}, {app.id}")
    curl = "curl" if emulator.ca_file is None else f"curl --cacert {quote(str(emulator.ca_file))}"
    login = f"-X POST -H 'Authorization: Basic API_KEY' {emulator.url}/sys/v1/session/auth"
    fault = """-d '{"operation": "reauth", "status": 503, "times": 3}'"""
    if directory is not None:
        config = directory.path / "config.toml"
        lines.append(f"config: {config}")
        lines += [
            f"# changed by hand, and left alone: {directory.path / name}"
            for name in directory.changed
        ]
        lines.append(f"# with refresherd: refresherd run --config {quote(str(config))}")
    lines += [
        f"# log in:          {curl} {login}",
        f"# make it fail:    {curl} {emulator.url}/control/faults {fault}",
        f"# all of that:     {curl} {emulator.url}/control",
        f"# statistics:      {curl} {emulator.url}/control/statistics",
    ]
    return "\n".join(lines)
