"""Consumers that loop over a token's outputs, and judge every token by DSM's own books."""

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
"""Seconds between two reads of an output: all faults side by side make a thousand a second."""

PATIENCE = 10.0


class Seen(StrEnum):
    """What a consumer got."""

    GOOD = "good"
    NONE = "none"
    """No token, and said so: no file, an empty answer, a 503."""
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
"""Returns what a consumer gets, None for no token. Raises OSError and EOFError for an error."""


def judge(content: bytes | None, began: float, app: App, sessions: Sessions) -> Seen:
    """Return what was read, from `began` (monotonic seconds) on, by what DSM has issued.

    A session that ran out during the read may have been good when it was handed out.
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
        """Read on and on, counting what is seen."""
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
    """Return how to read a token file: in a thread, since its filesystem may hang."""

    async def read() -> bytes | None:
        try:
            return await asyncio.to_thread(_content, path)
        except FileNotFoundError:
            return None

    return read


def _content(path: Path) -> bytes:
    """Return what is in a file. A pipe in its place is not waited for: it raises EOFError."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise EOFError(path)
        return file.read()


def of_socket(path: Path) -> Read:
    """Return how to read a raw socket, which has nothing to say without a token."""

    async def read() -> bytes | None:
        return await _spoken(path, b"") or None

    return read


def of_api(path: Path, app: str) -> Read:
    """Return how to ask the API socket for an app's token."""
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
    """Return all that is said on a Unix socket."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
