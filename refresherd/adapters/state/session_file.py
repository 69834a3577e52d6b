"""Sessions in the state directory, and the JSON records in which state outlives the process."""

from pathlib import Path
from typing import TypeVar

import msgspec

from refresherd.domain.errors import OutputError, Reason, Retryable
from refresherd.domain.events import Warned
from refresherd.domain.formats import timestamp
from refresherd.domain.model import B64TOKEN, App, Ownership, Secret, Token
from refresherd.engine.context import Context
from refresherd.engine.ports import StoredSession
from refresherd.host.atomic_file import FileContext, ReplacedFile, Target
from refresherd.host.trust import Distrusted

MAX_SESSION_BYTES = 64 * 1024
"""The longest record of a session that is read. DSM's tokens have under 100 bytes."""

R = TypeVar("R", bound=msgspec.Struct)


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What each backend stores of a session; each adds what it needs to trust it later."""

    endpoint: str
    access_token: Secret
    entity_id: str = ""


class FileRecord(SessionRecord, frozen=True, kw_only=True):
    """A session file's content."""

    bootstrap_sha256: str
    """The fingerprint of the bootstrap token that the session goes back to, "" if unknown."""

    expires_at: str = ""
    """For people only: whether the session still lives is for DSM to say."""


class SessionFile:
    """A SessionStore in a file that only the daemon's user may read, for an app without a key.

    The file is read once, before it is first written: the state directory is locked, so
    nobody else changes it.
    """

    irreplaceable = True
    """The app has no key: without a stored session, an operator has to bring a new token."""

    removes_expired = False
    """DSM may count from the last use of a session, which then outlives our count."""

    def __init__(self, app: App, path: Path, context: Context, files: FileContext) -> None:
        self._file = ReplacedFile(Target.at(path, Ownership(mode=0o600)), files)
        self._endpoint = app.endpoint.url
        self._context = context
        self._loaded = False
        self._found: tuple[StoredSession, ...] = ()
        self.name = self._file.path
        self.credential = ""
        self.saved = 0

    async def prepare(self) -> None:
        """Sweep temporary files of killed runs. Raises OutputError if nothing can be written."""
        await self._file.prepare()
        await self._load()

    async def load(self) -> tuple[StoredSession, ...]:
        """Return the session that an earlier run left, of unknown age, until `begin` or `remove`.

        Raises Retryable if the file cannot be read.
        """
        try:
            await self._load()
        except OutputError as error:
            raise Retryable(Reason.CREDENTIAL, str(error)) from error
        return self._found

    def begin(self, credential: str) -> None:
        """Store the tokens that follow as descended from the bootstrap of this fingerprint."""
        self._loaded, self._found = True, ()
        self.credential = credential

    async def put(self, token: Token) -> None:
        """Replace the file, atomically and durably. Raises OutputError."""
        record = FileRecord(
            endpoint=self._endpoint,
            bootstrap_sha256=self.credential,
            access_token=token.access_token,
            entity_id=token.entity_id,
            expires_at=timestamp(self._context.clock.wall(token.expires_at)),
        )
        text = msgspec.json.format(encode(record), indent=1) + b"\n"
        await self._file.replace(lambda: text)
        self.saved = token.generation

    async def remove(self) -> None:
        """Forget a session that DSM has declared dead. Raises OutputError."""
        self._found, self.saved = (), 0
        await self._file.remove()

    def close(self) -> None:
        """Do nothing: the file is for the next run."""

    async def _load(self) -> None:
        if self._loaded:
            return
        try:
            raw, distrust = await self._file.read(MAX_SESSION_BYTES), ""
        except Distrusted as error:
            raw, distrust = b"", error.why  # its content does not count
        self._adopt(raw, distrust)

    def _adopt(self, raw: bytes | None, distrust: str) -> None:
        # `begin`, or another caller that waited as well, may have come first.
        loaded, self._loaded = self._loaded, True
        if loaded or raw is None:
            return
        fault = distrust
        try:
            record = decode(raw, FileRecord)
            if record.endpoint != self._endpoint:
                fault = f"its session belongs to another endpoint than {self._endpoint}"
        except ValueError as error:
            fault = fault or str(error)
        if fault:
            message = f"{self.name} is not used and will be replaced with the next token: {fault}"
            self._context.observer.observe(Warned(message))
            return
        self.credential = record.bootstrap_sha256
        self._found = (StoredSession(record.access_token, record.bootstrap_sha256),)


def encode(record: msgspec.Struct) -> bytes:
    """Return a record as JSON."""
    return msgspec.json.encode(record, enc_hook=_reveal)


def decode(raw: bytes, kind: type[R], max_bytes: int = MAX_SESSION_BYTES) -> R:
    """Return the record of this kind in some bytes. Unknown fields are those of a later version.

    Raises ValueError, whose text says what is wrong and quotes nothing of the bytes.
    """
    if len(raw) > max_bytes:
        raise ValueError(f"it has over {max_bytes} bytes")
    try:
        return msgspec.json.decode(raw, type=kind, dec_hook=_secret)
    except msgspec.ValidationError as error:
        raise ValueError(f"it is not a valid record: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("it is not valid JSON") from None


def _reveal(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"a record holds no {type(value).__name__}")


def _secret(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str) and B64TOKEN.fullmatch(value) is not None:
        return Secret(value)
    raise ValueError("Expected a bearer token")
