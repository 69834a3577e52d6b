"""What a demo consists of, started and cleared away: directory, emulator, daemon and consumer."""

import asyncio
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from refresherd.demo.child import daemon
from refresherd.demo.consumer import Consumer
from refresherd.demo.guide import Guide
from refresherd.demo.place import Place, furnish
from refresherd.demo.scrape import free_port
from refresherd.emulator import Emulator, Options


@dataclass(frozen=True, slots=True)
class Settings:
    """How many apps, how long their tokens live, and for how long it is shown, None for no end.

    Times in seconds.
    """

    apps: int
    lifetime: float
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs: the daemon's process, and the consumer with its task; `session` is for scrapes."""

    guide: Guide
    process: Process
    consumer: Consumer
    consuming: asyncio.Task[None]
    session: aiohttp.ClientSession


@asynccontextmanager
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """Set everything up for as long as the block lasts; nothing of it is left after."""
    with tempfile.TemporaryDirectory(prefix="refresherd-demo-") as directory:
        options = Options(
            apps=settings.apps,
            lifetime=settings.lifetime,
            # That the consumer uses a token must not keep it alive: it is to be seen to end.
            expiry="absolute",
            tls=True,
            directory=Path(directory),
        )
        async with Emulator(options) as emulator, _equipped(emulator, settings, directory) as made:
            yield made


@asynccontextmanager
async def _equipped(emulator: Emulator, settings: Settings, directory: str) -> AsyncIterator[Stage]:
    """Run the daemon and a consumer on the emulator."""
    place = Place(Path(directory), emulator.url, free_port())
    api_keys = {app.name: app.api_key for app in emulator.apps}
    furnish(place, api_keys, settings.lifetime)
    files = [place.file(app, "raw") for app in api_keys]
    consumer = Consumer(place.endpoint, place.ca_file, files)
    guide = Guide(place, tuple(api_keys), settings.lifetime)
    async with (
        aiohttp.ClientSession() as session,
        daemon(place.config, place.log) as process,
        _running(consumer) as consuming,
    ):
        yield Stage(guide, process, consumer, consuming, session)


@asynccontextmanager
async def _running(consumer: Consumer) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(consumer.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
