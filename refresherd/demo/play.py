"""Runs the demo: emulator, daemon and consumer side by side, and pictures of them until the end."""

import asyncio
import ssl
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from refresherd.demo.screen import OpenView, Show
from refresherd.demo.status import AppStatus, Picture, Reads
from refresherd.demo.workspace import Workspace, free_port
from refresherd.domain.errors import RefresherdError
from refresherd.emulator import Apps, Emulator, Options

PAUSE = 0.25
"""Seconds between two pictures."""

REST = 3.0
"""The pause after a picture is at least this many times as long as drawing it took."""

TIMEOUT = aiohttp.ClientTimeout(total=5)


async def play(
    open_view: OpenView, stop: asyncio.Event, apps: int, lifetime: float, duration: float | None
) -> Picture:
    """Show the demo for `duration` seconds or until `stop` is set, and return the last picture.

    Tokens live `lifetime` seconds. Everything is in a temporary directory, which is removed at
    the end. Raises RefresherdError, with the end of the daemon's log, if the daemon ends first.
    """
    with tempfile.TemporaryDirectory(prefix="refresherd-demo-") as name:
        directory = Path(name)
        # With idle expiry the consumer would keep every session alive, and none would expire.
        options = Options(
            apps=apps, lifetime=lifetime, expiry="absolute", tls=True, directory=directory
        )
        async with Emulator(options) as dsm:
            api_keys = {app.name: app.api_key for app in dsm.apps}
            workspace = Workspace(directory, dsm.url, free_port(), api_keys, lifetime)
            workspace.write()
            with open_view(workspace) as show:
                return await watch(workspace, dsm.apps, show, stop, duration)


async def watch(
    workspace: Workspace, apps: Apps, show: Show, stop: asyncio.Event, duration: float | None = None
) -> Picture:
    """Run the daemon and a consumer, show them until the end, and return the last picture."""
    began, directory, endpoint = time.monotonic(), workspace.directory, workspace.endpoint
    statuses = tuple(AppStatus(name) for name in workspace.api_keys)
    picture = Picture(endpoint, statuses, time.time())
    files = [directory / f"{name}.token" for name in workspace.api_keys]
    async with (
        daemon(directory) as process,
        running(consume(endpoint, directory / "ca.pem", files, picture.reads)) as consumer,
    ):
        while True:
            if process.returncode is not None:
                raise daemon_ended(process.returncode, directory / "daemon.log")
            if consumer.done():
                consumer.result()
            worked = time.process_time()
            news = await read_apps(directory / "api.sock")
            logins = {app.name: app.counts.logins for app in apps}
            picture, events = picture.followed_by(news, logins, time.time())
            elapsed = time.monotonic() - began
            ends_in = None if duration is None else max(0.0, duration - elapsed)
            picture = replace(picture, elapsed=elapsed, ends_in=ends_in)
            show(picture, events)
            if ends_in == 0 or stop.is_set():
                return picture
            pause = max(PAUSE, REST * (time.process_time() - worked))
            pause = pause if ends_in is None else min(pause, ends_in)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)


async def consume(endpoint: str, ca_file: Path, files: Sequence[Path], reads: Reads) -> None:
    """Use the token of each file, as a service would, again and again until cancelled."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file))
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
        while True:
            for file in files:
                token = _read(file)
                if token is not None:
                    accepted = await _accepted(session, f"{endpoint}/crypto/v1/keys", token)
                    reads.total += 1
                    reads.refused += not accepted
                    reads.recent.append(accepted)
            await asyncio.sleep(0.5)


async def _accepted(session: aiohttp.ClientSession, url: str, token: str) -> bool:
    try:
        async with session.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
            return answer.status == HTTPStatus.OK
    except (aiohttp.ClientError, TimeoutError):
        return False


def _read(file: Path) -> str | None:
    """Return the token, None without one: the daemon removes a token that DSM has ended."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return None


async def read_apps(socket: Path) -> list[dict[str, Any]]:
    """Return the apps of `GET /v1/apps` on the socket, none while the daemon does not answer."""
    connector = aiohttp.UnixConnector(str(socket))
    session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, raise_for_status=True)
    try:
        async with session as api, api.get("http://refresherd/v1/apps") as answer:
            apps: list[dict[str, Any]] = (await answer.json())["apps"]
            return apps
    except (aiohttp.ClientError, TimeoutError):
        return []


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run the coroutine as a task within the block, and cancel it at the end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def daemon(directory: Path) -> AsyncIterator[Process]:
    """Run `refresherd run` within the block, with its output going to `daemon.log`."""
    with (directory / "daemon.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "refresherd", "run"),
            *("--config", str(directory / "config.toml")),
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C goes to the demo alone, which then stops the daemon.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await stop_process(process)


async def stop_process(process: Process, timeout: float = 6.0) -> None:
    """Stop the process, and kill it after `timeout` seconds; a daemon promises to stop in 5."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), timeout)
    except TimeoutError:
        process.kill()
        await process.wait()


def daemon_ended(status: int, log: Path) -> RefresherdError:
    """Return the error for a daemon that has ended, with the end of its log."""
    lines = log.read_text(errors="replace").splitlines()[-12:]
    text = "\n".join(lines)
    return RefresherdError(f"the daemon ended with status {status}; the end of its log:\n{text}")
