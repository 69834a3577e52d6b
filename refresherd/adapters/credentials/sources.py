"""The kinds of credential sources: a file, the environment, a command, a client certificate.

File operations run in a thread for each directory, so that a hanging filesystem holds up only
the apps whose credentials are on it.
"""

import asyncio
import os
import stat
from base64 import b64encode
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from errno import EINVAL
from functools import partial
from pathlib import Path
from typing import TypeVar, assert_never

from refresherd.adapters.credentials.parsing import (
    LONGEST,
    Parsed,
    api_key,
    bearer_token,
    unreadable,
)
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Certificate,
    Secret,
    TokenFile,
)
from refresherd.domain.redaction import MASK, SHORTEST, redact_quoted
from refresherd.engine.ports import CredentialSource
from refresherd.host import subprocesses
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.subprocesses import Program, Tail

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""A filesystem that takes longer than this counts as hanging."""

MISSING = "missing"


def source(
    app: App,
    environ: Mapping[str, str],
    executor: KeyedExecutor,
    *,
    patience: float = PATIENCE_SECONDS,
) -> CredentialSource:
    """Return the source of an app's credential. A command runs with `environ`.

    File operations fail if they take longer than `patience` seconds.
    """
    disk = _Disk(executor, patience)
    credential = app.credential
    match credential:
        case ApiKeyFile(path):
            return FileSource(path, api_key, disk)
        case TokenFile(path):
            return FileSource(path, bearer_token, disk)
        case ApiKeyEnv(variable):
            return EnvSource(variable, environ)
        case ApiKeyCommand(argv):
            return CommandSource(argv, environ, app.endpoint.timeout)
        case Certificate():
            return CertificateSource(credential, disk)
        case _:
            assert_never(credential)


class FileSource:
    """A file with an API key or a bearer token. `entity_id` is the app's UUID in the key."""

    __slots__ = ("_disk", "_parse", "_path", "_stamp", "entity_id")

    def __init__(self, path: Path, parse: Callable[[bytes, object], Parsed], disk: "_Disk") -> None:
        self._path = path
        self._parse = parse
        self._disk = disk
        self._stamp: Hashable = MISSING
        self.entity_id = ""

    async def read(self) -> Secret:
        """Return the credential in the file. Raises Retryable."""
        try:
            raw = await self._disk.call(self._path, _content)
        except TimeoutError:
            message = f"its filesystem has not answered for {self._disk.patience:g} s"
            raise unreadable(self._path, message) from None
        except OSError as error:
            raise unreadable(self._path, error.strerror) from None
        parsed = self._parse(raw, self._path)
        self.entity_id = parsed.entity_id
        return parsed.secret

    async def stamp(self) -> Hashable:
        """Return a value that changes with the file, the last one if the filesystem hangs."""
        with suppress(TimeoutError):
            self._stamp = await self._disk.call(self._path, _stamp)
        return self._stamp


class CertificateSource:
    """A certificate app. It logs in by its UUID, and the TLS handshake authenticates it."""

    def __init__(self, certificate: Certificate, disk: "_Disk") -> None:
        self._certificate = certificate
        self._disk = disk
        self._stamp: Hashable = MISSING
        self.entity_id = certificate.app_id.lower()

    async def read(self) -> Secret:
        """Return base64 of the app's UUID and an empty password, as DSM wants it."""
        return Secret(b64encode(f"{self._certificate.app_id}:".encode()).decode())

    async def stamp(self) -> Hashable:
        """Return a value that changes with the certificate or its key, as for a file."""
        with suppress(TimeoutError):
            self._stamp = (
                await self._disk.call(self._certificate.cert_file, _stamp),
                await self._disk.call(self._certificate.key_file, _stamp),
            )
        return self._stamp


class EnvSource:
    """An environment variable with an API key. Only a restart changes it."""

    def __init__(self, variable: str, environ: Mapping[str, str]) -> None:
        self._variable = variable
        self._environ = environ
        self.entity_id = ""

    async def read(self) -> Secret:
        """Return the API key. Raises Retryable."""
        where = f"environment variable {self._variable}"
        if self._variable not in self._environ:
            raise unreadable(where, "it is not set")
        parsed = api_key(os.fsencode(self._environ[self._variable]), where)
        self.entity_id = parsed.entity_id
        return parsed.secret

    async def stamp(self) -> None:
        """Return None: it never changes."""


class CommandSource:
    """A command that prints an API key, for instance a password manager's.

    It gets no input, and `timeout` seconds, as long as the login attempt that it is part of, so
    that after a hang there is time for another one while the token lives.
    """

    def __init__(self, argv: tuple[str, ...], environ: Mapping[str, str], timeout: float) -> None:
        self._program = Program(argv, environ)
        self._timeout = timeout
        self.entity_id = ""

    async def read(self) -> Secret:
        """Run the command and return the API key that it prints. Raises Retryable.

        After the timeout, or on cancellation, the command and its children are ended.
        """
        parsed = api_key(await self._output(), self._program.argv[0])
        self.entity_id = parsed.entity_id
        return parsed.secret

    async def stamp(self) -> None:
        """Return None: only running the command would tell whether the key changed."""

    async def _output(self) -> bytes:
        command = self._program.argv[0]
        printed, complaints = bytearray(), Tail()

        def take(piece: bytes) -> bool:
            """Collect the output; False ends a command that prints without end."""
            printed.extend(piece)
            return len(printed) <= LONGEST

        try:
            status = await subprocesses.run(self._program, self._timeout, take, complaints.take)
        except TimeoutError:
            message = f"it did not finish within {self._timeout:g} s, and was ended"
            raise unreadable(command, message) from None
        except OSError as error:
            raise unreadable(command, error.strerror) from None
        if status and len(printed) <= LONGEST:
            raise unreadable(command, _without(bytes(printed), complaints.complaint(status)))
        return bytes(printed)


def _without(printed: bytes, complaint: str) -> str:
    """Mask in a complaint what the command printed, since a shell with `set -x` repeats it."""
    output = printed.decode(errors="replace")
    for word in output.split():
        if len(word) >= SHORTEST:
            complaint = complaint.replace(word, MASK)
    return redact_quoted(complaint, output.strip())


@dataclass(frozen=True, slots=True)
class _Disk:
    """Calls that may hang with a filesystem."""

    executor: KeyedExecutor
    patience: float
    """The most seconds for a call."""

    async def call(self, path: Path, do: Callable[[Path], T]) -> T:
        """Return what `do` returns for a file, or raise its error; TimeoutError if it hangs."""
        async with asyncio.timeout(self.patience):
            return await self.executor.call(path.parent, partial(do, path))


def _content(path: Path) -> bytes:
    # Without O_NONBLOCK, opening a named pipe would block until somebody writes to it.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(EINVAL, "it is not a regular file")
        # One byte more than is allowed, so that the parser sees that it is too long.
        return file.read(LONGEST + 1)


def _stamp(path: Path) -> Hashable:
    """Follow symbolic links: Kubernetes replaces a mounted secret by changing one of them."""
    try:
        status = path.stat()
    except OSError:
        return MISSING
    return status.st_mtime_ns, status.st_ino, status.st_size
