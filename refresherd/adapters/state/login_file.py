"""Refused logins in the state directory, by fingerprints that reveal no credential."""

import hmac
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec

from refresherd.adapters.state.session_file import decode, encode
from refresherd.domain.errors import OutputError
from refresherd.domain.events import Warned
from refresherd.domain.login_budget import NEVER_YET, History
from refresherd.domain.model import Instant, Ownership, Secret
from refresherd.engine.context import Context
from refresherd.host.atomic_file import FileContext, ReplacedFile, Target

KEY_BYTES = 32

VERSION = 1

MAX_BYTES = 32 * 1024 * 1024
"""The longest file that is read: ten thousand credentials that fail all day take 10 MB."""

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class HistoryRecord(msgspec.Struct, frozen=True):
    """A credential's history, in seconds of boot time."""

    refused: tuple[float, ...]
    cut_off: tuple[float, ...]
    good_at: float | None


class LoginRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content. Instants are boot time, which no change of the clock moves."""

    version: int
    key: Sha256
    """The key of the fingerprints."""

    boot_id: str
    """The kernel's, "" if it could not be read."""

    wall_offset: float
    """Wall time less boot time, to translate instants after a reboot."""

    credentials: dict[Sha256, HistoryRecord]
    """The histories by fingerprint."""


@dataclass(frozen=True, slots=True)
class Boot:
    """The current boot: its id, its time, and how that relates to wall time."""

    id: str
    now: Instant
    wall_offset: float


class UnsavedLogins:
    """The LoginStore of a daemon without a state directory: it forgets with the process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)

    def fingerprint(self, credential: Secret) -> str:
        """Return the credential's fingerprint."""
        return _fingerprint(self._key, credential)

    async def load(self) -> Mapping[str, History]:
        """Return nothing."""
        return {}

    async def save(self, histories: Mapping[str, History]) -> None:
        """Do nothing."""


class LoginFile:
    """A LoginStore in a file that only the daemon's user may read."""

    def __init__(self, path: Path, boot_id: str, context: Context, files: FileContext) -> None:
        self._file = ReplacedFile(Target.at(path, Ownership(mode=0o600)), files)
        self._boot_id = boot_id
        self._context = context
        self._key = secrets.token_bytes(KEY_BYTES)

    def fingerprint(self, credential: Secret) -> str:
        """Return the credential's fingerprint; only after `load` has returned."""
        return _fingerprint(self._key, credential)

    async def load(self) -> Mapping[str, History] | None:
        """Return what an earlier run saved, None (after a warning) if that is lost."""
        try:
            raw = await self._file.read(MAX_BYTES)
            with suppress(OutputError):  # `save` will report it
                await self._file.prepare()
            if raw is None:
                return {}
            self._key, histories = decoded(raw, self._boot())
        except OutputError as error:
            message = f"cannot read the failed logins of earlier runs: {error}"
        except ValueError as error:
            path = self._file.path
            message = f"{path} is not used and will be replaced with the next login: {error}"
        else:
            return histories
        self._context.observer.observe(Warned(message))
        return None

    async def save(self, histories: Mapping[str, History]) -> None:
        """Replace the file, atomically and durably. Raises OutputError."""
        await self._file.replace(partial(encoded, self._key, histories, self._boot()))

    def _boot(self) -> Boot:
        clock = self._context.clock
        return Boot(self._boot_id, clock.now(), clock.wall(Instant(0.0)))


def _fingerprint(key: bytes, credential: Secret) -> str:
    """Return a fingerprint under a random key, so that nobody can look it up in a list."""
    return hmac.new(key, credential.reveal().encode(), sha256).hexdigest()


def encoded(key: bytes, histories: Mapping[str, History], boot: Boot) -> bytes:
    """Return the file's content."""
    record = LoginRecord(
        version=VERSION,
        key=key.hex(),
        boot_id=boot.id,
        wall_offset=boot.wall_offset,
        credentials={
            fingerprint: HistoryRecord(
                history.refused,
                history.interrupted,
                None if history.accepted_at == NEVER_YET else history.accepted_at,
            )
            for fingerprint, history in histories.items()
        },
    )
    return encode(record) + b"\n"


def decoded(raw: bytes, boot: Boot) -> tuple[bytes, dict[str, History]]:
    """Return the key of the fingerprints, and the histories in the time of this boot.

    What an earlier boot wrote is translated by the wall clocks of then and now. What seems to
    lie in the future is taken to have happened just now. Raises ValueError, which quotes nothing.
    """
    record = decode(raw, LoginRecord, MAX_BYTES)
    if record.version != VERSION:
        raise ValueError(f"it is of version {record.version}, not {VERSION}")
    same_boot = boot.id != "" and record.boot_id == boot.id
    shift = 0.0 if same_boot else record.wall_offset - boot.wall_offset

    def instants(times: Iterable[float]) -> tuple[Instant, ...]:
        return tuple(sorted(Instant(min(at + shift, boot.now)) for at in times))

    histories = {
        fingerprint: History(
            instants(history.refused),
            instants(history.cut_off),
            *instants(() if history.good_at is None else (history.good_at,)),
        )
        for fingerprint, history in record.credentials.items()
    }
    return bytes.fromhex(record.key), histories
