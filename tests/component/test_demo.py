"""The demo's parts with real files, terminals, processes and TLS on loopback."""

import asyncio
import os
import pty
import re
import signal
import sys
import termios
import threading
from argparse import Namespace
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TextIO

import pytest
from aiohttp import web
from rich.console import Console

from refresherd.cli.command_line import main
from refresherd.cli.demo import execute
from refresherd.cli.errors import Exit
from refresherd.demo.play import consume, daemon_ended, read_apps, stop_process, watch
from refresherd.demo.screen import view_on, without_echo
from refresherd.demo.status import AppStatus, Picture, Reads
from refresherd.demo.workspace import Workspace, free_port
from refresherd.domain.errors import RefresherdError
from refresherd.emulator import Emulator, Options

PATIENCE = 10.0
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """Yield a stream on a terminal, with a reader at the other end."""
    leader, follower = pty.openpty()
    reader = threading.Thread(target=read_along, args=(leader,))
    reader.start()
    with os.fdopen(follower, "w") as stream:
        yield stream
    reader.join(PATIENCE)
    os.close(leader)


def read_along(leader: int) -> None:
    """Read until the terminal is closed, or its buffer would fill up."""
    with suppress(OSError):
        while os.read(leader, 65536):
            pass


@asynccontextmanager
async def consuming(dsm: Emulator, *files: Path) -> AsyncIterator[Reads]:
    """Run a consumer of these files."""
    assert dsm.ca_file is not None
    reads = Reads()
    task = asyncio.create_task(consume(dsm.url, dsm.ca_file, files, reads))
    try:
        yield reads
    finally:
        task.cancel()
        await asyncio.wait({task})


async def results(reads: Reads, total: int) -> list[bool]:
    """Return the newest results once there are this many in all."""
    async with asyncio.timeout(PATIENCE):
        while reads.total < total:  # noqa: ASYNC110 - reads are not announced
            await asyncio.sleep(0.02)
    return list(reads.recent)


async def test_the_consumer_uses_the_token_that_the_file_holds_now(tmp_path: Path) -> None:
    """Reads that count as accepted must have been answered by DSM over TLS."""
    token, missing = tmp_path / "app-1.token", tmp_path / "app-2.token"
    async with Emulator(Options(tls=True, directory=tmp_path)) as dsm:
        session = dsm.sessions.open(dsm.apps[0])
        token.write_text(session.token)
        async with consuming(dsm, missing, token) as reads:
            assert await results(reads, 1) == [True]
            dsm.sessions.end_all()
            assert await results(reads, 2) == [True, False]
            await dsm.stop()
            assert await results(reads, 3) == [True, False, False]
        assert reads.refused == 2
        assert dsm.apps[0].counts.key_listings == 1


async def test_a_daemon_that_does_not_stop_is_killed() -> None:
    """The demo must leave no process behind, whatever the daemon does."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", STUBBORN, stdout=PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    await stop_process(process, timeout=0.1)
    assert process.returncode == -signal.SIGKILL


async def test_a_daemon_that_has_ended_is_left_alone() -> None:
    """Its process id may belong to another process by now."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await process.wait()
    await stop_process(process)
    assert process.returncode == 0


def test_the_end_of_the_log_is_enough(tmp_path: Path) -> None:
    """A log may be long, and may hold bytes of any program."""
    log = tmp_path / "log"
    log.write_bytes(b"first\n" + b"more\n" * 50 + b"\xff last\n")
    error = str(daemon_ended(1, log))
    assert error.startswith("the daemon ended with status 1; the end of its log:\nmore\n")
    assert error.endswith("more\n\ufffd last")
    assert "first" not in error


async def test_a_daemon_that_does_not_answer_has_no_news(tmp_path: Path) -> None:
    """It takes a moment to listen, and the demo has to show something until then."""

    async def broken(_request: web.Request) -> web.Response:
        return web.Response(status=500)

    path = tmp_path / "api.sock"
    assert await read_apps(path) == []
    application = web.Application()
    application.router.add_get("/v1/apps", broken)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        assert await read_apps(path) == []
    finally:
        await runner.cleanup()


def ignore(_picture: Picture, _events: Iterable[str]) -> None:
    """Show nothing."""


async def test_the_death_of_the_daemon_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    """Its log goes when the demo ends, so a reader who looks for the cause must see it now."""
    async with Emulator(Options(tls=True, directory=tmp_path)) as dsm:
        workspace = Workspace(tmp_path, dsm.url, free_port(), {"app-1": ""}, 20.0)
        with pytest.raises(RefresherdError, match=r"status 78(.|\n)*config\.toml"):
            await watch(workspace, dsm.apps, ignore, asyncio.Event())


async def test_a_bug_in_the_consumer_is_not_hidden(tmp_path: Path) -> None:
    """A consumer that has silently stopped would look like one that is never refused."""
    async with Emulator() as dsm:
        api_keys = {"app-1": dsm.apps[0].api_key}
        workspace = Workspace(tmp_path, dsm.url, free_port(), api_keys, 20.0)
        workspace.write()
        with pytest.raises(FileNotFoundError):  # of the CA, without which it cannot start
            await watch(workspace, dsm.apps, ignore, asyncio.Event())


def test_what_is_typed_is_hidden_for_a_while_only(terminal: TextIO) -> None:
    """A shell must not be left behind in which nobody can see what they type."""

    def echoes() -> bool:
        return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)

    with without_echo(terminal.fileno()):
        assert not echoes()
    assert echoes()


def test_a_terminal_gets_the_live_table(terminal: TextIO, tmp_path: Path) -> None:
    """It must be drawn on a real terminal without an error."""
    workspace = Workspace(tmp_path, "https://127.0.0.1:1", 1, {"app-1": "key"}, 20.0)
    picture = Picture(workspace.endpoint, (AppStatus("app-1"),), 0.0)
    console = Console(file=terminal, force_terminal=True, width=80, height=24, _environ={})
    with view_on(console)(workspace) as show:
        show(picture, ())
        show(picture, ())


def test_the_whole_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """All parts together: apps get tokens and refreshes, and no consumer is refused."""
    assert execute(Namespace(apps=2, lifetime=4.0, duration=6.0)) is Exit.OK
    out = capsys.readouterr().out
    assert "token 1 by login" in out
    assert "token 2 by reauth" in out
    assert re.search(r"reads +[1-9]\d* by the built-in consumer, 0 refused", out)


def test_a_demo_that_is_too_short_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo must not claim success for what it did not see work."""
    assert execute(Namespace(apps=1, lifetime=2.0, duration=0.001)) is Exit.UNAVAILABLE
    assert "no token   app-1" in capsys.readouterr().out


def test_lifetimes_that_cannot_work_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """DSM states lifetimes in whole seconds, so less than a second would be 0."""
    assert main(["demo", "--lifetime", "500ms"]) == Exit.USAGE
    expected = "refresherd demo: --lifetime must be at least 2 seconds\n"
    assert capsys.readouterr().err == expected
