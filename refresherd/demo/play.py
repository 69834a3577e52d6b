"""Runs the demo: emulator, daemon and consumer side by side, and pictures of them until the end."""

import asyncio
import sys
import tempfile
import time
from asyncio import FIRST_COMPLETED
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from refresherd.demo.consumer import consume
from refresherd.demo.screen import OpenView, Show
from refresherd.demo.status import AppStatus, Picture
from refresherd.demo.workspace import Workspace, free_port
from refresherd.domain.errors import RefresherdError
from refresherd.emulator import Apps, Emulator, Options

T = TypeVar("T")

PACE = 0.25
"""Seconds between two pictures."""

REST = 3.0
"""After a picture, which is work with hundreds of apps, so many times as long is left to others."""

TIMEOUT = aiohttp.ClientTimeout(total=5)

STOP_TIMEOUT = 6.0
"""Seconds until a daemon that does not stop is killed; it promises to stop within 5."""

LAST_LINES = 12
"""How many lines of its log are shown if the daemon dies."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to show. Times are in seconds."""

    apps: int
    lifetime: float
    duration: float | None = None
    """None runs until interrupted."""


async def play(settings: Settings, open_view: OpenView, stop: asyncio.Event) -> Picture:
    """Show the demo until its time is over or `stop` is set, and return the last picture.

    Everything is in a temporary directory; nothing is left afterwards. Raises RefresherdError,
    with the end of the daemon's log, if the daemon ends first.
    """
    with tempfile.TemporaryDirectory(prefix="refresherd-demo-") as name:
        directory = Path(name)
        options = Options(
            apps=settings.apps,
            lifetime=settings.lifetime,
            # Otherwise the consumer's use of a token would keep it alive, and none would expire.
            expiry="absolute",
            tls=True,
            directory=directory,
        )
        async with Emulator(options) as dsm:
            api_keys = {app.name: app.api_key for app in dsm.apps}
            workspace = Workspace(directory, dsm.url, free_port(), api_keys, settings.lifetime)
            workspace.write()
            with open_view(workspace) as show:
                return await Player(workspace, dsm.apps, show).run(settings.duration, stop)


class Player:
    """Shows what the daemon does with `apps` of an emulated DSM."""

    def __init__(self, workspace: Workspace, apps: Apps, show: Show) -> None:
        self._workspace = workspace
        self._apps = apps
        self._show = show
        self._began = time.monotonic()
        statuses = tuple(AppStatus(name) for name in workspace.api_keys)
        self._picture = Picture(workspace.endpoint, statuses, time.time())

    async def run(self, duration: float | None, stop: asyncio.Event) -> Picture:
        """Run the daemon and a consumer, show them until the end, and return the last picture."""
        directory = self._workspace.directory
        files = [directory / f"{app}.token" for app in self._workspace.api_keys]
        endpoint, ca_file = self._workspace.endpoint, directory / "ca.pem"
        async with (
            daemon(directory / "config.toml", directory / "daemon.log") as process,
            api_session(directory / "api.sock") as api,
            _running(consume(endpoint, ca_file, files, self._picture.reads)) as consumer,
            _running(process.wait()) as dying,
            _running(stop.wait()) as stopping,
        ):
            endings = {consumer, dying, stopping}
            while not any(task.done() for task in endings) and self._ends_in(duration) != 0:
                pause = await self._look(api, duration)
                await asyncio.wait(endings, timeout=pause, return_when=FIRST_COMPLETED)
            if dying.done():
                log = last_lines(directory / "daemon.log")
                status = dying.result()
                raise RefresherdError(
                    f"the daemon ended with status {status}; the end of its log:\n{log}"
                )
            if consumer.done():
                consumer.result()
            await self._look(api, duration)
            return self._picture

    async def _look(self, api: aiohttp.ClientSession, duration: float | None) -> float:
        """Show the newest picture, and return how many seconds to wait for the next."""
        worked = time.process_time()
        apps = await read_apps(api)
        logins = {app.name: app.counts.logins for app in self._apps}
        picture, events = self._picture.followed_by(apps, logins, time.time())
        ends_in = self._ends_in(duration)
        elapsed = time.monotonic() - self._began
        self._picture = replace(picture, elapsed=elapsed, ends_in=ends_in)
        self._show(self._picture, events)
        pause = max(PACE, REST * (time.process_time() - worked))
        return pause if ends_in is None else min(pause, ends_in)

    def _ends_in(self, duration: float | None) -> float | None:
        return None if duration is None else max(0.0, self._began + duration - time.monotonic())


async def read_apps(api: aiohttp.ClientSession) -> list[dict[str, Any]]:
    """Return the apps of `GET /v1/apps`, none while the daemon does not answer."""
    try:
        async with api.get("http://refresherd/v1/apps") as answer:
            apps: list[dict[str, Any]] = (await answer.json())["apps"]
            return apps
    except (aiohttp.ClientError, TimeoutError):
        return []


def api_session(socket: Path) -> aiohttp.ClientSession:
    """Return a session in which every host is the daemon's API socket."""
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(str(socket)), timeout=TIMEOUT, raise_for_status=True
    )


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, T]) -> "AsyncIterator[asyncio.Task[T]]":
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def daemon(config: Path, log: Path) -> AsyncIterator[Process]:
    """Run `refresherd run` within the block, with its output going to `log`."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "refresherd", "run", "--config", str(config)),
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C goes to the demo alone, which then stops the daemon.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await stop_process(process)


async def stop_process(process: Process, timeout: float = STOP_TIMEOUT) -> None:
    """Stop the process, and kill it if it has not ended after `timeout` seconds."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(timeout):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def last_lines(log: Path) -> str:
    """Return the end of the daemon's log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])
