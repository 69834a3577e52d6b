"""The demo's parts with real files, terminals, processes and TLS on loopback."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
import threading
from argparse import Namespace
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import aiohttp
import pytest
from aiohttp import web

from refresherd.cli.demo import execute
from refresherd.cli.errors import Exit
from refresherd.demo.changes import Change
from refresherd.demo.child import last_lines, stop
from refresherd.demo.consumer import Consumer
from refresherd.demo.guide import Guide
from refresherd.demo.picture import Picture
from refresherd.demo.place import Place
from refresherd.demo.play import Play
from refresherd.demo.scrape import free_port, scrape
from refresherd.demo.screen import USUAL_SIZE, terminal_size, without_echo
from refresherd.demo.snapshot import AppView, Snapshot
from refresherd.demo.stage import Stage
from refresherd.demo.view import Lines, LiveTable, view_on
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
    """Yield a stream on a terminal, with somebody at the other end who reads along."""
    leader, follower = pty.openpty()
    reader = threading.Thread(target=read_along, args=(leader,))
    reader.start()
    with os.fdopen(follower, "w") as stream:
        yield stream
    reader.join(PATIENCE)
    os.close(leader)


def read_along(leader: int) -> None:
    """Read until the terminal is closed: it would not take any more before long."""
    with suppress(OSError):
        while os.read(leader, 65536):
            pass


@asynccontextmanager
async def consuming(dsm: Emulator, *files: Path) -> AsyncIterator[Consumer]:
    """Run a consumer of these files."""
    assert dsm.ca_file is not None
    consumer = Consumer(dsm.url, dsm.ca_file, files)
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        task.cancel()
        await asyncio.wait({task})


async def after(consumer: Consumer, reads: int) -> Consumer:
    """Return the consumer once it has read so often."""
    async with asyncio.timeout(PATIENCE):
        while consumer.reads.total < reads:  # noqa: ASYNC110 - it tells nobody of its reads
            await asyncio.sleep(0.02)
    return consumer


async def test_the_consumer_uses_what_the_file_holds_now(tmp_path: Path) -> None:
    """Reads that count as accepted must have been answered by DSM over TLS."""
    token, missing = tmp_path / "app-1.token", tmp_path / "app-2.token"
    async with Emulator(Options(tls=True, directory=tmp_path)) as dsm:
        session = dsm.sessions.open(dsm.apps[0])
        token.write_text(session.token)
        async with consuming(dsm, missing, token) as consumer:
            assert (await after(consumer, 1)).reads.recent == (True,)
            dsm.sessions.end_all()
            assert (await after(consumer, 2)).reads.recent == (True, False)
            await dsm.stop()
            reads = (await after(consumer, 3)).reads
        assert (reads.accepted, reads.refused) == (1, 2)
        assert dsm.apps[0].counts.key_listings == 1


async def test_a_daemon_that_does_not_stop_is_killed() -> None:
    """The demo must leave no process behind, whatever has got into it."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", STUBBORN, stdout=PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    await stop(process, patience=0.1)
    assert process.returncode == -signal.SIGKILL


async def test_a_daemon_that_has_ended_is_left_alone() -> None:
    """Its number may be another process' by now."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await process.wait()
    await stop(process)
    assert process.returncode == 0


def test_the_end_of_the_log_is_enough(tmp_path: Path) -> None:
    """A log may be long, and may hold bytes of any program."""
    log = tmp_path / "log"
    log.write_bytes(b"first\n" + b"more\n" * 50 + b"\xff last\n")
    assert last_lines(log).endswith("more\n\ufffd last")
    assert "first" not in last_lines(log)


async def test_a_scrape_that_fails_is_none() -> None:
    """The daemon takes a moment to listen, and the demo has to show something until then."""

    async def broken(_request: web.Request) -> web.Response:
        return web.Response(status=500)

    application = web.Application()
    application.router.add_get("/metrics", broken)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as session:
            assert await scrape(session, f"http://127.0.0.1:{port}/metrics") is None
            assert await scrape(session, f"http://127.0.0.1:{free_port()}/metrics") is None
    finally:
        await runner.cleanup()


class Nobody:
    """A view that nobody looks at."""

    def show(self, picture: Picture, changes: Iterable[Change]) -> None:
        """Show nothing."""


async def forever() -> None:
    """Do as a consumer that is never done."""
    await asyncio.get_running_loop().create_future()


async def fail() -> None:
    """Do as a consumer with a bug."""
    raise ZeroDivisionError


@asynccontextmanager
async def staged(
    directory: Path, program: str, work: Coroutine[Any, Any, None]
) -> AsyncIterator[Stage]:
    """Set a stage with that program for a daemon and that work for a consumer."""
    place = Place(directory, "https://127.0.0.1:1", free_port())
    place.log.write_text("something went wrong\n")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    task = asyncio.create_task(work)
    async with aiohttp.ClientSession() as session:
        yield Stage(
            guide=Guide(place, ("app-1",), 20.0),
            process=process,
            consumer=Consumer(place.endpoint, place.ca_file, ()),
            consuming=task,
            session=session,
        )
    task.cancel()
    await asyncio.wait({task})
    await stop(process)


async def test_a_daemon_that_dies_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    """Its log goes when the demo ends, so whoever is to find the cause must see it now."""
    async with staged(tmp_path, "raise SystemExit(3)", forever()) as stage:
        with pytest.raises(RefresherdError, match=r"status 3(.|\n)*something went wrong"):
            await Play(stage, Nobody(), None).run(asyncio.Event())


async def test_a_bug_in_the_consumer_is_not_hidden(tmp_path: Path) -> None:
    """A consumer that has silently stopped would look like one that is never refused."""
    async with staged(tmp_path, "import time; time.sleep(60)", fail()) as stage:
        with pytest.raises(ZeroDivisionError):
            await Play(stage, Nobody(), None).run(asyncio.Event())


def test_a_terminal_without_a_window_has_the_usual_size(terminal: TextIO) -> None:
    """Programs that make terminals forget to give them a size; a frame of 0 columns is no use."""
    assert terminal_size(terminal) == USUAL_SIZE
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    assert terminal_size(terminal) == (132, 50)


def test_what_is_typed_is_hidden_for_a_while_only(terminal: TextIO) -> None:
    """A shell whose user can't see what he types is a poor thing to leave behind."""

    def echoes() -> bool:
        return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)

    with without_echo(terminal.fileno()):
        assert not echoes()
    assert echoes()


def test_the_view_suits_the_stream(
    terminal: TextIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is drawn over itself would be a mess in a file, and on a dumb terminal."""
    guide = Guide(Place(tmp_path, "https://127.0.0.1:1", 1), ("app-1",), 20.0)
    monkeypatch.setenv("TERM", "xterm")
    with view_on(terminal)(guide) as view:
        assert isinstance(view, LiveTable)
        view.show(Picture(guide.place.endpoint, Snapshot(0.0, (AppView("app-1"),))), ())
    with (tmp_path / "file").open("w") as file, view_on(file)(guide) as view:
        assert isinstance(view, Lines)
    monkeypatch.setenv("TERM", "dumb")
    with view_on(terminal)(guide) as view:
        assert isinstance(view, Lines)


def test_the_whole_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """All parts together: apps get tokens and refreshes, and no consumer is refused."""
    assert execute(Namespace(apps=2, lifetime=4.0, duration=6.0)) is Exit.OK
    out = capsys.readouterr().out
    assert "token 1 by login" in out
    assert "token 2 by reauth" in out
    assert re.search(r"reads +[1-9]\d* by the built-in consumer, 0 refused", out)


def test_a_demo_that_is_too_short_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing may be claimed to work that was not seen to."""
    assert execute(Namespace(apps=1, lifetime=2.0, duration=0.001)) is Exit.UNAVAILABLE
    assert "no token   app-1" in capsys.readouterr().out


def test_lifetimes_that_cannot_work_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """DSM tells lifetimes in whole seconds: one of less than a second is none at all."""
    assert execute(Namespace(apps=1, lifetime=0.5, duration=None)) is Exit.USAGE
    assert "--lifetime" in capsys.readouterr().err
