"""All connections are accepted, without spinning when there are no descriptors left."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from refresherd.domain.model import Ownership
from refresherd.host.acceptor import BATCH, Accepted, Acceptor
from refresherd.host.unix_sockets import BoundSocket, bind


@pytest.fixture
async def bound(tmp_path: Path) -> AsyncIterator[BoundSocket]:
    """Listen on a socket."""
    bound = bind(tmp_path / "s", Ownership())
    yield bound
    bound.close()


def kept_in(keep: Callable[[tuple[socket.SocketType, object]], None]) -> Accepted:
    """Return what keeps each connection with its address."""

    def accepted(connection: socket.SocketType, address: object) -> bool:
        keep((connection, address))
        return True

    return accepted


async def test_every_connection_is_handed_on(bound: BoundSocket) -> None:
    """More at once than one turn of the loop takes, with the peer's address."""
    came: asyncio.Queue[tuple[socket.SocketType, object]] = asyncio.Queue()
    failures: list[OSError] = []
    watching = Acceptor(bound.socket, kept_in(came.put_nowait), failures.append)
    watching.start()
    callers = [socket.socket(socket.AF_UNIX) for _ in range(BATCH * 2 + 1)]
    callers[0].bind(b"\0a1/unit/web.service/token" + os.urandom(4).hex().encode())
    for caller in callers:
        caller.connect(str(bound.path))
    accepted = [await came.get() for _ in callers]
    assert str(accepted[0][1]).startswith(str(b"\0a1/unit/web.service/token")[:-1])
    assert failures == []
    watching.stop()
    for one in (*callers, *(connection for connection, _ in accepted)):
        one.close()


class Exhausted(socket.socket):
    """A listening socket whose process is out of descriptors, `failures` times."""

    def __init__(self, bound: BoundSocket, failures: int) -> None:
        super().__init__(fileno=os.dup(bound.socket.fileno()))
        self.failures = failures

    def _accept(self) -> tuple[int, Any]:
        """Fail, or accept."""
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        accepted: tuple[int, Any] = super()._accept()  # type: ignore[misc]  # it is not declared
        return accepted


async def test_without_descriptors_callers_wait_and_the_loop_does_not_spin(
    bound: BoundSocket,
) -> None:
    """The kernel reports the waiting client at each turn; one log line per pause has to do."""
    failures: list[OSError] = []
    came: asyncio.Queue[socket.SocketType] = asyncio.Queue()
    exhausted = Exhausted(bound, failures=2)
    watching = Acceptor(
        exhausted,
        kept_in(lambda one: came.put_nowait(one[0])),
        failures.append,
        pause=0.1,
    )
    watching.start()
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(str(bound.path))
    async with asyncio.timeout(10):
        (await came.get()).close()
    assert [error.strerror for error in failures] == ["Too many open files"] * 2
    watching.stop()
    exhausted.close()
    caller.close()


async def test_stopping_holds_while_there_are_no_descriptors(bound: BoundSocket) -> None:
    """A pause that ended later would watch a descriptor that is another socket's by then."""
    failed = asyncio.Event()
    exhausted = Exhausted(bound, failures=1)
    came: list[socket.SocketType] = []
    watching = Acceptor(
        exhausted,
        kept_in(lambda one: came.append(one[0])),
        lambda _: failed.set(),
        pause=0.05,
    )
    watching.start()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(bound.path))
        await failed.wait()
        watching.stop()
        await asyncio.sleep(0.15)
        assert came == []
    exhausted.close()
