"""`refresherd demo`: the daemon and an emulated DSM at work, to watch and to try."""

import argparse
import asyncio
import signal
import sys

from refresherd.cli.exits import Exit
from refresherd.demo import Picture, Settings, play, summary, view_on

SHORTEST_LIFETIME = 2.0
"""Seconds; DSM tells a token's lifetime in whole ones, and reading it takes a moment as well."""


def execute(arguments: argparse.Namespace) -> Exit:
    """Play until interrupted, or for as long as was asked, and sum up."""
    if arguments.lifetime < SHORTEST_LIFETIME:
        print("refresherd demo: --lifetime is 2 seconds at least", file=sys.stderr)
        return Exit.USAGE
    settings = Settings(arguments.apps, arguments.lifetime, arguments.duration)
    return asyncio.run(_play(settings))


async def _play(settings: Settings) -> Exit:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    picture = await play(settings, view_on(sys.stdout), stop)
    return _sum_up(picture, interrupted=stop.is_set())


def _sum_up(picture: Picture, *, interrupted: bool) -> Exit:
    print(f"\n{summary(picture)}")
    if picture.snapshot.without_token and not interrupted:
        return Exit.UNAVAILABLE
    return Exit.OK
