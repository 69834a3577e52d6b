"""Where an app's credential comes from: implements CredentialSource.

No message quotes a credential. File operations run in a thread for each directory, so that a
hanging filesystem holds up only the apps whose credentials are on it.
"""

import json
import os
import re
import stat
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from errno import EINVAL, EIO, ETIMEDOUT
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar, assert_never

from refresherd.domain.durations import in_seconds
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import (
    B64TOKEN,
    UUID,
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Certificate,
    LdapApp,
    Secret,
    TokenFile,
)
from refresherd.domain.passwords import password
from refresherd.domain.redaction import MASK, SHORTEST, redact_quoted
from refresherd.engine.ports import CredentialSource
from refresherd.host import subprocesses
from refresherd.host.atomic_file import MISSING, file_stamp
from refresherd.host.keyed_executor import PATIENCE_SECONDS, KeyedExecutor, filesystem_timeout
from refresherd.host.subprocesses import Program, Tail

T = TypeVar("T")

LONGEST = 64 * 1024
"""The most bytes that are read of a source. DSM's keys and tokens are under 300."""

BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
"""The standard and the URL-safe alphabet."""

Parsed: TypeAlias = tuple[Secret, str]
"""What a login is made with, and the app's UUID if the credential contains it, else ""."""

Parse: TypeAlias = Callable[[bytes, object], Parsed]
"""Returns the credential in what was read. Raises Retryable, which names where that was."""


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
    credential = app.credential
    match credential:
        case ApiKeyFile(path) | TokenFile(path):
            parse = api_key if isinstance(credential, ApiKeyFile) else bearer_token
            return FileSource(path, parse, executor, patience)
        case ApiKeyEnv(variable):
            where = f"environment variable {variable}"
            return TextSource(where, partial(_variable, variable, environ))
        case ApiKeyCommand(argv):
            # The command may take as long as a login attempt, so that after a hang there is time
            # for another attempt while the token lives.
            output = partial(_output, Program(argv, environ), app.endpoint.timeout)
            return TextSource(argv[0], output)
        case Certificate():
            return CertificateSource(credential, executor, patience)
        case LdapApp(acct_id, app_name, path):
            return FileSource(path, partial(ldap_login, acct_id, app_name), executor, patience)
        case _:
            assert_never(credential)


class TextSource:
    """An API key in a variable, or printed by a command.

    `raw` returns it, and raises OSError, whose `strerror` is for the operator, if it cannot.
    """

    def __init__(self, where: str, raw: Callable[[], Awaitable[bytes]]) -> None:
        self._where = where
        self._raw = raw
        self.entity_id = ""

    async def read(self) -> Secret:
        """Return the credential. Raises Retryable."""
        secret, self.entity_id = await _read(self._where, self._raw(), api_key)
        return secret

    async def stamp(self) -> None:
        """Return None: a variable never changes, and only running a command shows its output."""


class CredentialFiles:
    """The files that a credential consists of. Their stamp shows whether one of them changed."""

    __slots__ = ("_executor", "_paths", "_patience", "_stamp")

    def __init__(self, executor: KeyedExecutor, patience: float, *paths: Path) -> None:
        self._executor = executor
        self._patience = patience
        self._paths = paths
        self._stamp: Hashable = (MISSING,) * len(paths)

    async def stamp(self) -> Hashable:
        """Return a value that changes with the files, the last one if a filesystem hangs."""
        with suppress(TimeoutError):
            self._stamp = tuple([await self.call(path, file_stamp) for path in self._paths])
        return self._stamp

    async def call(self, path: Path, do: Callable[[Path], T]) -> T:
        """Return what `do` returns for a file, or raise its error; TimeoutError if it hangs."""
        async with filesystem_timeout(self._patience):
            return await self._executor.call(path.parent, partial(do, path))


class FileSource(CredentialFiles):
    """An API key or a bearer token in a file. There is one for each app, so it is small."""

    __slots__ = ("_parse", "entity_id")

    def __init__(self, path: Path, parse: Parse, executor: KeyedExecutor, patience: float) -> None:
        super().__init__(executor, patience, path)
        self._parse = parse
        self.entity_id = ""

    async def read(self) -> Secret:
        """Return the credential. Raises Retryable."""
        (path,) = self._paths
        secret, self.entity_id = await _read(path, self.call(path, _content), self._parse)
        return secret


class CertificateSource(CredentialFiles):
    """A certificate app. It logs in by its UUID, and the TLS handshake authenticates it."""

    __slots__ = ("_app_id", "entity_id")

    def __init__(self, certificate: Certificate, executor: KeyedExecutor, patience: float) -> None:
        super().__init__(executor, patience, certificate.cert_file, certificate.key_file)
        self._app_id = certificate.app_id
        self.entity_id = certificate.app_id.lower()

    async def read(self) -> Secret:
        """Return base64 of the app's UUID and an empty password, as DSM wants it."""
        return Secret(b64encode(f"{self._app_id}:".encode()).decode())


def api_key(raw: bytes, where: object) -> Parsed:
    """Return the API key in `raw`. Raises Retryable, naming `where`.

    Any base64 is accepted: only DSM can tell whether a key is valid. The vendor makes a key as
    base64 of `<uuid>:<secret>`.
    """
    text = _checked(raw, BASE64, "an API key (base64)", where)
    digits = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        user = b64decode(digits + "=" * (-len(digits) % 4)).partition(b":")[0].decode()
    except ValueError:
        user = ""
    return Secret(text), user.lower() if UUID.fullmatch(user) else ""


def bearer_token(raw: bytes, where: object) -> Parsed:
    """Return the bearer token in `raw`. Raises Retryable, naming `where`."""
    return Secret(_checked(raw, B64TOKEN, "a bearer token", where)), ""


def ldap_login(acct_id: str, app_name: str, raw: bytes, where: object) -> Parsed:
    """Return the login of an LDAP app whose password is in `raw`. Raises Retryable.

    It is the body that DSM's API description calls auth-by-app-name, as JSON. So the fingerprint
    tells apart two apps that have the same password.
    """
    if len(raw) > LONGEST:
        raise unreadable(where, f"it is longer than {LONGEST} bytes, so it is not a password")
    try:
        fields = {
            "method": "auth-by-app-name",
            "acct_id": acct_id,
            "name": app_name,
            "password": password(raw),
        }
    except ValueError as error:
        raise unreadable(where, error) from None
    return Secret(json.dumps(fields)), ""


def _checked(raw: bytes, pattern: re.Pattern[str], kind: str, where: object) -> str:
    if len(raw) > LONGEST:
        raise unreadable(where, f"it is longer than {LONGEST} bytes, so it is not {kind}")
    text = raw.decode(errors="replace").strip()
    if not text:
        raise unreadable(where, f"it is empty; it must hold {kind}")
    if not pattern.fullmatch(text):
        raise unreadable(where, f"it must hold {kind} and nothing else, on one line")
    return text


def unreadable(where: object, why: object) -> Retryable:
    """Return the error for a credential that cannot be read."""
    return Retryable(Reason.CREDENTIAL, f"{where}: {why}")


async def _read(where: object, raw: Awaitable[bytes], parse: Parse) -> Parsed:
    try:
        return parse(await raw, where)
    except OSError as error:
        raise unreadable(where, error.strerror) from None


async def _variable(name: str, environ: Mapping[str, str]) -> bytes:
    if name not in environ:
        raise OSError(EINVAL, "it is not set")
    return os.fsencode(environ[name])


async def _output(program: Program, timeout: float) -> bytes:
    """Return what a command prints, for instance a password manager. It gets no input.

    After the timeout, or on cancellation, the command and its children are ended.
    """
    printed, complaints = bytearray(), Tail()

    def take(piece: bytes) -> bool:
        """Collect the output; False ends a command that prints without end."""
        printed.extend(piece)
        return len(printed) <= LONGEST

    try:
        status = await subprocesses.run(program, timeout, take, complaints.take)
    except TimeoutError:
        message = f"it did not finish within {in_seconds(timeout)}, and was ended"
        raise TimeoutError(ETIMEDOUT, message) from None
    if status and len(printed) <= LONGEST:
        complaint = complaints.complaint(status)
        output = printed.decode(errors="replace")
        # With `set -x`, a shell repeats on standard error what it prints: the credential.
        for word in output.split():
            if len(word) >= SHORTEST:
                complaint = complaint.replace(word, MASK)
        raise OSError(EIO, redact_quoted(complaint, output.strip()))
    return bytes(printed)


def _content(path: Path) -> bytes:
    # Without O_NONBLOCK, opening a named pipe would block until somebody writes to it.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(EINVAL, "it is not a regular file")
        # One byte more than is allowed, so that the parser sees that it is too long.
        return file.read(LONGEST + 1)
