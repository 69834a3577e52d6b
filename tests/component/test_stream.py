"""An accepted connection: what is sent and read, in whatever portions the client takes it."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from refresherd.domain.connection_quota import Quota, Rank
from refresherd.domain.model import Ownership
from refresherd.host import peers
from refresherd.host.admission import Admission
from refresherd.host.listener import Listener
from refresherd.host.stream import Stream
from refresherd.host.unix_sockets import bind
from support.fakes import RecordingObserver

LARGE = bytes(range(256)) * 8192
"""More than the kernel's buffers take at once."""


@dataclass
class Recorder:
    """A Dialogue that remembers what happened."""

    stream: Stream
    data: bytes = b""
    happened: list[str] = field(default_factory=list)

    def received(self, data: bytes) -> None:
        """Remember the bytes."""
        self.data += data

    def ended(self) -> None:
        """Remember the end."""
        self.happened.append("ended")

    def flushed(self) -> None:
        """Remember that all is sent."""
        self.happened.append("flushed")

    def expired(self) -> None:
        """Close."""
        self.happened.append("expired")
        self.stream.close()

    def lost(self) -> None:
        """Remember the loss."""
        self.happened.append("lost")


@pytest.fixture
def client() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield a client's end and the daemon's end of a connection."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    theirs.settimeout(0)
    with ours, theirs:
        yield theirs, ours


Ends = tuple[socket.socket, socket.socket]


def admitted(ours: socket.socket) -> tuple[Stream, Recorder]:
    """Return a started stream and what is told about it."""
    stream = Admission(RecordingObserver()).admit(ours, 1234, "here")
    assert isinstance(stream, Stream)
    recorder = Recorder(stream)
    stream.start(recorder)
    assert stream.rank is Rank.OTHER
    return stream, recorder


async def read(theirs: socket.socket, size: int) -> bytes:
    """Return what the client reads, until that is so much or the end."""
    data = b""
    async with asyncio.timeout(10):
        while len(data) < size:
            part = await asyncio.get_running_loop().sock_recv(theirs, 65536)
            if not part:
                break
            data += part
    return data


async def test_what_does_not_fit_at_once_follows(client: Ends) -> None:
    """A slow client gets every byte, in order, and the daemon learns when it has them all."""
    theirs, ours = client
    stream, recorder = admitted(ours)
    stream.write(LARGE)
    stream.write(b"the end")
    assert stream.pending
    sent = asyncio.create_task(stream.drained())
    assert await read(theirs, len(LARGE) + 7) == LARGE + b"the end"
    await sent
    assert recorder.happened == ["flushed"]
    stream.close()


async def test_a_client_that_leaves_fails_whoever_waits_for_it(client: Ends) -> None:
    """A watch must end when nobody reads it any more."""
    theirs, ours = client
    stream, recorder = admitted(ours)
    stream.write(LARGE)
    sent = asyncio.create_task(stream.drained())
    await asyncio.sleep(0)
    theirs.close()
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(sent, 10)
    assert recorder.happened[-1] == "lost"
    stream.write(b"too late")
    stream.finish()
    stream.end()
    assert stream.closed


async def test_after_the_end_what_a_client_sends_is_thrown_away(client: Ends) -> None:
    """It reads the answer in peace, and its own end closes the connection."""
    theirs, ours = client
    stream, recorder = admitted(ours)
    stream.write(b"answer")
    stream.finish()
    theirs.send(b"more")
    assert await read(theirs, 100) == b"answer"
    theirs.close()
    async with asyncio.timeout(10):
        while not stream.closed:  # noqa: ASYNC110  # no event announces it
            await asyncio.sleep(0.01)
    assert recorder.data == b""


async def test_a_paused_stream_reads_nothing(client: Ends) -> None:
    """What is buffered for a client is bounded: the kernel holds it up."""
    theirs, ours = client
    stream, recorder = admitted(ours)
    stream.pause()
    theirs.send(b"later")
    await asyncio.sleep(0.05)
    assert recorder.data == b""
    stream.resume()
    async with asyncio.timeout(10):
        while recorder.data != b"later":  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)
    stream.close()


async def test_a_deadline_closes_the_connection(client: Ends) -> None:
    """One look at all deadlines every quarter of a second has to do."""
    theirs, ours = client
    stream, recorder = admitted(ours)
    stream.deadline = asyncio.get_running_loop().time()
    assert await read(theirs, 1) == b""
    assert recorder.happened == ["expired", "lost"]


async def test_a_connection_that_cannot_be_served_keeps_no_place(tmp_path: Path) -> None:
    """Otherwise a client that leaves at the wrong moment would take a place until a restart."""
    admission = Admission(RecordingObserver(), Quota(rank_connections=1))
    served: list[Stream] = []

    def serve(stream: Stream, _: object) -> None:
        served.append(stream)
        raise ConnectionResetError

    bound = bind(tmp_path / "s", Ownership())
    listener = Listener(bound.socket, "s", admission, user=peers.user, serve=serve)
    listener.start()
    for number in range(3):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(bound.path))
            assert await asyncio.to_thread(caller.recv, 1) == b""
        assert len(served) == number + 1
    listener.stop()
    bound.close()
