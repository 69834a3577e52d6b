"""An API key or a bearer token in a file, and the files of a certificate app.

Each directory has a lane of its own, so a disk that hangs holds up its own apps only.
"""

import asyncio
import os
import stat
from base64 import b64encode
from collections.abc import Callable, Hashable
from contextlib import suppress
from errno import EINVAL
from functools import partial
from pathlib import Path
from typing import TypeVar

from refresherd.adapters.credentials.parse import LONGEST, Parsed, unreadable
from refresherd.domain.model import Certificate, Secret
from refresherd.host.keyed_executor import KeyedExecutor

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""A disk that takes longer hangs."""

MISSING = "missing"


class FileSource:
    """A file that holds a credential, as `parse` takes it."""

    __slots__ = ("_entity_id", "_executor", "_parse", "_path", "_stamp")

    def __init__(
        self, path: Path, parse: Callable[[bytes, object], Parsed], executor: KeyedExecutor
    ) -> None:
        self._path = path
        self._parse = parse
        self._executor = executor
        self._stamp: Hashable = MISSING
        self._entity_id = ""

    @property
    def entity_id(self) -> str:
        """The app's UUID as the key last read names it, "" before and for a token."""
        return self._entity_id

    async def read(self) -> Secret:
        """Return the file's content without the white space around it. Raises Retryable."""
        try:
            raw = await _on_disk(self._executor, self._path, _read)
        except TimeoutError:
            raise unreadable(self._path, f"the disk takes over {PATIENCE_SECONDS:g} s") from None
        except OSError as error:
            raise unreadable(self._path, error.strerror) from None
        parsed = self._parse(raw, self._path)
        self._entity_id = parsed.entity_id
        return parsed.secret

    async def stamp(self) -> Hashable:
        """Return what changes when the file does; nothing is known to while the disk hangs."""
        with suppress(TimeoutError):
            self._stamp = await _on_disk(self._executor, self._path, _stamp)
        return self._stamp


class CertificateSource:
    """A certificate app, which logs in by its name; the TLS handshake proves it."""

    def __init__(self, certificate: Certificate, executor: KeyedExecutor) -> None:
        self._certificate = certificate
        self._executor = executor
        self._stamp: Hashable = MISSING

    @property
    def entity_id(self) -> str:
        """The app's UUID as configured."""
        return self._certificate.app_id.lower()

    async def read(self) -> Secret:
        """Return the app's UUID with the empty password that DSM wants of a certificate app."""
        return Secret(b64encode(f"{self._certificate.app_id}:".encode()).decode())

    async def stamp(self) -> Hashable:
        """Return what changes when the certificate or its key does."""
        with suppress(TimeoutError):
            self._stamp = (
                await _on_disk(self._executor, self._certificate.cert_file, _stamp),
                await _on_disk(self._executor, self._certificate.key_file, _stamp),
            )
        return self._stamp


async def _on_disk(executor: KeyedExecutor, path: Path, do: Callable[[Path], T]) -> T:
    """Do something with a file. Raises TimeoutError if it hangs, and what `do` raises."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await executor.call(path.parent, partial(do, path))


def _read(path: Path) -> bytes:
    # A pipe in the file's place would block the directory's lane until somebody writes to it.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(EINVAL, "it is not a regular file")
        # One byte more than is taken, for the parser to see that it is too long.
        return file.read(LONGEST + 1)


def _stamp(path: Path) -> Hashable:
    """Follow symbolic links: Kubernetes changes a mounted secret by turning one of them."""
    try:
        status = path.stat()
    except OSError:
        return MISSING
    return status.st_mtime_ns, status.st_ino, status.st_size
