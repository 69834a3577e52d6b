"""Consumers that read outputs in a loop and check every token against DSM's own records."""

import asyncio
import os
import stat
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from refresherd.emulator import App, Sessions

PAUSE = 0.1
"""Seconds between two reads of an output; all faults together read a thousand times a second."""

PATIENCE = 10.0


class Seen(StrEnum):
    """What a consumer got."""

    GOOD = "good"
    NONE = "none"
    """Clearly no token: no file, an empty answer, or a 503."""
    EXPIRED = "expired"
    TORN = "torn"
    """Something that was never issued to this app."""
    ERROR = "error"
    """No answer that a consumer could read."""


class Output(StrEnum):
    """Where consumers read."""

    FILE = "file"
    SOCKET = "socket"
    API = "api"


Tally = Counter[tuple[Output, Seen]]

Read = Callable[[], Awaitable[bytes | None]]
"""Returns what a consumer reads, None for no token. Raises OSError or EOFError on an error."""


def judge(content: bytes | None, began: float, app: App, sessions: Sessions) -> Seen:
    """Return what a read that began at `began` (monotonic seconds) found, by DSM's records.

    A session that expired during the read may have been valid when it was handed out.
    """
    if content is None:
        return Seen.NONE
    session = sessions.issued(content.decode(errors="replace"))
    if session is None or session.app is not app:
        return Seen.TORN
    return Seen.GOOD if session.alive(began) else Seen.EXPIRED


class Reader:
    """One consumer of one output."""

    def __init__(self, output: Output, read: Read, app: App, sessions: Sessions) -> None:
        self._output = output
        self._read = read
        self._app = app
        self._sessions = sessions

    async def run(self, tally: Tally) -> NoReturn:
        """Read in a loop, counting what is seen."""
        while True:
            tally[self._output, await self._look()] += 1
            await asyncio.sleep(PAUSE)

    async def _look(self) -> Seen:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                content = await self._read()
        except (EOFError, OSError):  # TimeoutError is one as well
            return Seen.ERROR
        return judge(content, began, self._app, self._sessions)


def of_file(path: Path) -> Read:
    """Return a read of a token file, in a thread since its filesystem may hang."""

    async def read() -> bytes | None:
        try:
            return await asyncio.to_thread(_content, path)
        except FileNotFoundError:
            return None

    return read


def _content(path: Path) -> bytes:
    """Return a file's content. Raises EOFError for a pipe in its place instead of waiting."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise EOFError(path)
        return file.read()


def of_socket(path: Path) -> Read:
    """Return a read of a raw socket, which is empty without a token."""

    async def read() -> bytes | None:
        return await _spoken(path, b"") or None

    return read


def of_api(path: Path, app: str) -> Read:
    """Return a read of an app's token from the API socket."""
    request = (
        f"GET /v1/apps/{app}/token?format=raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )

    async def read() -> bytes | None:
        head, _, body = (await _spoken(path, request.encode())).partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status == [b"503"]:
            return None
        if status != [b"200"] or b"Content-Length: %d\r\n" % len(body) not in head + b"\r\n":
            raise EOFError(head)
        return body

    return read


async def _spoken(path: Path, request: bytes) -> bytes:
    """Return everything that a Unix socket sends."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
