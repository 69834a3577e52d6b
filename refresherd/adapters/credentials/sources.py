"""Where an app's credential comes from: implements CredentialSource.

No message quotes a credential. File operations run in a thread for each directory, so that a
hanging filesystem holds up only the apps whose credentials are on it.
"""

import os
from base64 import b64encode
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from errno import EINVAL, EIO, ETIMEDOUT
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar, assert_never

from refresherd.adapters.credentials.contents import (
    LONGEST,
    Parse,
    Parsed,
    api_key,
    bearer_token,
    ldap_login,
    unreadable,
)
from refresherd.domain.durations import in_seconds
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Certificate,
    LdapApp,
    Secret,
    SystemdCredential,
    TokenFile,
)
from refresherd.domain.redaction import MASK, SHORTEST, redact_quoted
from refresherd.engine.ports import CredentialSource
from refresherd.host import child_environment, subprocesses
from refresherd.host.keyed_executor import PATIENCE_SECONDS, KeyedExecutor, filesystem_timeout
from refresherd.host.os_errors import with_cure
from refresherd.host.source_files import MISSING, file_stamp, read_source
from refresherd.host.subprocesses import Program, Tail

T = TypeVar("T")

CREDENTIAL = "api_key_credential"

NOT_PASSED = (
    "systemd has not passed it; add LoadCredential=NAME:FILE to the unit and restart it, or "
    "write api_key_file for a daemon without a unit"
)

Stamp: TypeAlias = Callable[[Path], Hashable]
"""Returns a value that changes with what is at a path. It may block, and raises nothing."""


def source(  # noqa: PLR0911 -- one for each kind
    app: App,
    environ: Mapping[str, str],
    executor: KeyedExecutor,
    *,
    patience: float = PATIENCE_SECONDS,
) -> CredentialSource:
    """Return the source of an app's credential. A command gets `environ` without API keys.

    File operations fail if they take longer than `patience` seconds.
    """
    host = Host(executor, patience, app.endpoint.ca_file)
    credential = app.credential
    match credential:
        case ApiKeyFile(path):
            return FileSource("api_key_file", path, api_key, host)
        case TokenFile(path):
            return FileSource("token_file", path, bearer_token, host)
        case LdapApp(acct_id, app_name, path):
            return FileSource("password_file", path, partial(ldap_login, acct_id, app_name), host)
        case SystemdCredential(name, directory):
            if directory is not None:
                return FileSource(CREDENTIAL, directory / name, api_key, host)
            return TextSource(f"{CREDENTIAL} {name}", _not_passed, host)
        case ApiKeyEnv(variable):
            variable_of = partial(_variable, variable, environ)
            return TextSource(f"api_key_env {variable}", variable_of, host)
        case ApiKeyCommand(argv):
            # The command may take as long as a login attempt, so that after a hang there is time
            # for another attempt while the token lives.
            program = Program(argv, child_environment.without_api_keys(environ))
            output = partial(_output, program, app.endpoint.timeout)
            return TextSource(f"api_key_command {argv[0]}", output, host, program)
        case Certificate():
            return CertificateSource(credential, host)
        case _:
            assert_never(credential)


class Host:
    """Looks at files in a thread for each directory. There is one for each app, so it is small."""

    __slots__ = ("_ca_file", "_executor", "_patience")

    def __init__(self, executor: KeyedExecutor, patience: float, ca_file: Path | None) -> None:
        self._executor = executor
        self._patience = patience
        self._ca_file = ca_file

    async def call(self, path: Path, do: Callable[[Path], T]) -> T:
        """Return what `do` returns for a file, or raise its error; TimeoutError if it hangs."""
        async with filesystem_timeout(self._patience):
            return await self._executor.call(path.parent, partial(do, path))

    async def stamp(self, paths: Iterable[Path]) -> Hashable:
        """Return a value that changes with these files. Raises TimeoutError."""
        return tuple([await self.call(path, file_stamp) for path in paths])

    async def needed(self, path: Path, *paths: Path, stamp_of: Stamp = file_stamp) -> Hashable:
        """Return a value that changes with these files and the CAs, None if that takes too long."""
        others = paths if self._ca_file is None else (*paths, self._ca_file)
        with suppress(TimeoutError):
            return await self.call(path, stamp_of), await self.stamp(others)
        return None


class TextSource:
    """An API key in a variable, or printed by a program.

    `raw` returns it, and raises OSError, whose `strerror` is for the operator, if it cannot.
    """

    def __init__(
        self,
        where: str,
        raw: Callable[[], Awaitable[bytes]],
        host: Host,
        program: Program | None = None,
    ) -> None:
        self._where = where
        self._raw = raw
        self._host = host
        self._program = program
        self.entity_id = ""

    async def read(self) -> Secret:
        """Return the credential. Raises Retryable."""
        secret, self.entity_id = await _read(self._where, self._raw(), api_key)
        return secret

    async def stamp(self) -> None:
        """Return None: a variable never changes, and only running a command shows its output."""

    async def files(self) -> Hashable:
        """Return a value that changes when the program or the CAs do, None if one hangs."""
        return await self._host.needed(Path("program"), stamp_of=self._program_stamp)

    def _program_stamp(self, _: Path) -> Hashable:
        path = "" if self._program is None else subprocesses.find(self._program)
        return file_stamp(Path(path)) if path else MISSING


class CredentialFiles:
    """The files that a credential consists of. Their stamp shows whether one of them changed."""

    __slots__ = ("_host", "_paths", "_stamp")

    def __init__(self, host: Host, *paths: Path) -> None:
        self._host = host
        self._paths = paths
        self._stamp: Hashable = (MISSING,) * len(paths)

    async def stamp(self) -> Hashable:
        """Return a value that changes with the files, the last one if a filesystem hangs."""
        with suppress(TimeoutError):
            self._stamp = await self._host.stamp(self._paths)
        return self._stamp

    async def files(self) -> Hashable:
        """Return a value that changes when the files or the CAs do, None if one hangs."""
        return await self._host.needed(*self._paths)


class FileSource(CredentialFiles):
    """An API key, a bearer token or a password in a file."""

    __slots__ = ("_key", "_parse", "entity_id")

    def __init__(self, key: str, path: Path, parse: Parse, host: Host) -> None:
        """Read the file at the path that `key` names in the configuration."""
        super().__init__(host, path)
        self._key = key
        self._parse = parse
        self.entity_id = ""

    async def read(self) -> Secret:
        """Return the credential. Raises Retryable."""
        (path,) = self._paths
        content = self._host.call(path, partial(read_source, limit=LONGEST))
        where = f"{self._key} {path}"
        if self._key == CREDENTIAL:  # it appears with a restart of the unit only
            where, content = f"{CREDENTIAL} {path.name}", _passed(content)
        secret, self.entity_id = await _read(where, content, self._parse)
        return secret


class CertificateSource(CredentialFiles):
    """A certificate app. It logs in by its UUID, and the TLS handshake authenticates it."""

    __slots__ = ("_app_id", "entity_id")

    def __init__(self, certificate: Certificate, host: Host) -> None:
        super().__init__(host, certificate.cert_file, certificate.key_file)
        self._app_id = certificate.app_id
        self.entity_id = certificate.app_id.lower()

    async def read(self) -> Secret:
        """Return base64 of the app's UUID and an empty password, as DSM wants it."""
        return Secret(b64encode(f"{self._app_id}:".encode()).decode())


async def _read(where: object, raw: Awaitable[bytes], parse: Parse) -> Parsed:
    try:
        return parse(await raw, where)
    except OSError as error:
        raise unreadable(where, with_cure(error)) from None


async def _not_passed() -> bytes:
    raise OSError(EINVAL, NOT_PASSED)


async def _passed(content: Awaitable[bytes]) -> bytes:
    try:
        return await content
    except FileNotFoundError:
        return await _not_passed()


async def _variable(name: str, environ: Mapping[str, str]) -> bytes:
    if name not in environ:
        raise OSError(EINVAL, "it is not set; set it, and restart the daemon")
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
    except FileNotFoundError as error:
        raise OSError(EINVAL, f"{error.strerror}; install it, and it is run at once") from None
    if status and len(printed) <= LONGEST:
        complaint = complaints.complaint(status)
        output = printed.decode(errors="replace")
        # With `set -x`, a shell repeats on standard error what it prints: the credential.
        for word in output.split():
            if len(word) >= SHORTEST:
                complaint = complaint.replace(word, MASK)
        raise OSError(EIO, redact_quoted(complaint, output.strip()))
    return bytes(printed)
