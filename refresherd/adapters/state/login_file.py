"""Where the failed logins of credentials outlive a restart, without the credentials."""

import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from refresherd.adapters.state.login_record import LONGEST, Boot, LoginRecord, parsed, written
from refresherd.domain.errors import OutputError
from refresherd.domain.events import Warned
from refresherd.domain.login_budget import History
from refresherd.domain.model import Instant, Ownership, Secret
from refresherd.engine.context import Context
from refresherd.host.atomic_file import Target
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.reading import content
from refresherd.host.replaced_file import ReplacedFile
from refresherd.host.stale_temp_files import Leftovers

PATIENCE_SECONDS = 2.0
"""All first logins of a run wait for the file: a filesystem that hangs holds them up no longer."""

KEY_BYTES = 32


class Fingerprints:
    """Tells credentials apart by a key of its own, so that nobody can look for one in a list."""

    __slots__ = ("key",)

    def __init__(self) -> None:
        self.key = secrets.token_bytes(KEY_BYTES)

    def of(self, credential: Secret) -> str:
        """Return the credential's fingerprint."""
        return hmac.new(self.key, credential.reveal().encode(), sha256).hexdigest()


class UnsavedLogins:
    """The LoginStore of a daemon that has no place for state: it forgets with the process."""

    def __init__(self) -> None:
        self._fingerprints = Fingerprints()

    def fingerprint(self, credential: Secret) -> str:
        """Return what tells a credential from others."""
        return self._fingerprints.of(credential)

    async def load(self) -> Mapping[str, History]:
        """Return nothing."""
        return {}

    async def save(self, histories: Mapping[str, History]) -> None:
        """Keep nothing."""


class LoginFile:
    """The LoginStore in a file of the state directory. Only the daemon's user may read it."""

    def __init__(  # noqa: PLR0913  # as many as any file that is replaced
        self,
        path: Path,
        boot_id: str,
        context: Context,
        executor: KeyedExecutor,
        leftovers: Leftovers | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        target = Target.at(path, Ownership(mode=0o600))
        self._file = ReplacedFile(target, context.clock, executor, leftovers, patience=patience)
        self._boot_id = boot_id
        self._context = context
        self._fingerprints = Fingerprints()

    def fingerprint(self, credential: Secret) -> str:
        """Return what tells a credential from others, once `load` has returned."""
        return self._fingerprints.of(credential)

    async def load(self) -> Mapping[str, History] | None:
        """Return what an earlier run has saved; None where that is lost, which is told."""
        try:
            raw = await self._file.blocking(lambda: content(self._file.path, LONGEST))
            with suppress(OutputError):  # the first write tells
                await self._file.prepare()
            return {} if raw is None else self._adopt(parsed(raw, self._boot()))
        except OutputError as error:
            self._warn(f"the failed logins of earlier runs are not known: {error}")
        except ValueError as error:
            message = f"{self._file.path} is not used, and is replaced with the next login: {error}"
            self._warn(message)
        return None

    async def save(self, histories: Mapping[str, History]) -> None:
        """Replace the file, atomically and durably. Raises OutputError."""
        record, boot = LoginRecord(self._fingerprints.key, histories), self._boot()
        await self._file.replace(lambda: written(record, boot))

    def _adopt(self, record: LoginRecord) -> Mapping[str, History]:
        self._fingerprints.key = record.key
        return record.histories

    def _boot(self) -> Boot:
        clock = self._context.clock
        return Boot(self._boot_id, clock.now(), clock.wall(Instant(0.0)))

    def _warn(self, message: str) -> None:
        self._context.observer.observe(Warned(message))
