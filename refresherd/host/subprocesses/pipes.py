"""What a program prints, read as it comes: on a full pipe the program would block."""

import asyncio
import os
from collections.abc import Callable
from subprocess import Popen

PIECE = 64 * 1024
"""As many bytes as a pipe holds: pipe(7)."""

Take = Callable[[bytes], bool]
"""Takes a piece of what a program prints; False says that it is more than enough."""


class Pipes:
    """A program's standard output and standard error, in one if nobody takes the latter.

    `enough` is done as soon as somebody has enough, if it is not done before.
    """

    def __init__(self, stdout: Take, stderr: Take | None, enough: asyncio.Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._takes = stdout, stderr
        self._enough = enough
        self._open: set[int] = set()
        self._left = False
        self.closed = asyncio.Event()
        """Nobody is there any more who could print."""

    @property
    def merged(self) -> bool:
        """Whether both are one."""
        return self._takes[1] is None

    def listen(self, process: "Popen[bytes]") -> None:
        """Begin to read, unless `leave` came first."""
        for stream, take in zip((process.stdout, process.stderr), self._takes, strict=True):
            if stream is not None and take is not None and not self._left:
                self._open.add(stream.fileno())
                self._loop.add_reader(stream.fileno(), self._read, stream.fileno(), take)

    def leave(self) -> None:
        """Read no longer; whoever closes the streams comes later."""
        self._left = True
        for pipe in self._open:
            self._loop.remove_reader(pipe)

    def _read(self, pipe: int, take: Take) -> None:
        piece = os.read(pipe, PIECE)
        if not piece:
            self._loop.remove_reader(pipe)
            self._open.remove(pipe)
            if not self._open:
                self.closed.set()
        elif not take(piece) and not self._enough.done():
            self._enough.set_result(None)
