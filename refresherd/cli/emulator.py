"""`refresherd emulator`: a DSM to develop and test against."""

import argparse
import asyncio
import signal

from refresherd.cli.exits import Exit
from refresherd.domain.errors import RefresherdError
from refresherd.emulator import Emulator, Options


def execute(arguments: argparse.Namespace) -> Exit:
    """Serve until interrupted."""
    options = Options(
        listen=arguments.listen,
        lifetime=arguments.lifetime,
        tls=arguments.tls,
        apps=arguments.apps,
    )
    asyncio.run(_serve(options))
    return Exit.OK


async def _serve(options: Options) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    emulator = Emulator(options)
    try:
        async with emulator:
            print(_greeting(emulator), flush=True)
            await stop.wait()
    except OSError as error:
        raise RefresherdError(f"cannot listen on {options.listen}: {error.strerror}") from error


def _greeting(emulator: Emulator) -> str:
    lines = [f"endpoint: {emulator.url}"]
    if emulator.ca_file is not None:
        lines.append(f"ca_file: {emulator.ca_file}")
    lines += [f"api_key: {app.api_key}  # {app.name}, {app.id}" for app in emulator.apps]
    curl = "curl" if emulator.ca_file is None else f"curl --cacert {emulator.ca_file}"
    login = f"-X POST -H 'Authorization: Basic API_KEY' {emulator.url}/sys/v1/session/auth"
    fault = """-d '{"operation": "reauth", "status": 503, "times": 3}'"""
    lines += [
        f"# log in:        {curl} {login}",
        f"# order a fault: {curl} {emulator.url}/control/faults {fault}",
        f"# statistics:    {curl} {emulator.url}/control/statistics",
    ]
    return "\n".join(lines)
