"""Sessions in systemd's fd store, for apps that can log in again: no trace is left on disk."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, NamedTuple

import msgspec

from refresherd.adapters.state import records
from refresherd.adapters.state.fd_store import FdStore
from refresherd.domain.model import App, Credential, Instant, Token
from refresherd.engine.ports import StoredSession
from refresherd.host.service_manager import Descriptor

SESSIONS_PER_APP = 2
"""The newest, and the one that it replaced: if this run is killed, the next one ends that."""

Number = Annotated[float, msgspec.Meta(ge=-(10**15), le=10**15)]


class FdRecord(records.SessionRecord, frozen=True, kw_only=True):
    """A stored session. Instants are seconds of boot time."""

    app: str
    source_sha256: str
    """The fingerprint of where the credential is configured to be."""

    credential_sha256: str
    """The fingerprint of the credential itself."""

    boot_id: str
    """The kernel's, "" if it could not be read."""

    generation: Annotated[int, msgspec.Meta(ge=1, le=10**15)]
    issued_at: Number
    lifetime: Annotated[float, msgspec.Meta(gt=0, le=10**15)]
    expires_at: Number

    def stored_session(self) -> StoredSession:
        """Return the session as the engine knows it."""
        token = Token(
            access_token=self.access_token,
            entity_id=self.entity_id,
            generation=self.generation,
            issued_at=Instant(self.issued_at),
            lifetime=self.lifetime,
            expires_at=Instant(self.expires_at),
        )
        return StoredSession(self.access_token, self.credential_sha256, token)

    def mismatch(self, app: App) -> str:
        """Return why the app as configured would not get this session, "" if it would."""
        if app.endpoint.url != self.endpoint:
            return "it belongs to another endpoint"
        if source_fingerprint(app.credential) != self.source_sha256:
            return "it was obtained with another credential"
        return ""


class _Entry(NamedTuple):
    """A session in the store. One that was kept alive is stored again with its new expiry."""

    name: str
    generation: int
    expires_at: Instant


@dataclass(slots=True)
class _AppSessions:
    """What is known of one app's sessions, whatever its settings are."""

    entries: list[_Entry] = field(default_factory=list)
    """What is stored, the oldest first."""

    found: tuple[FdRecord, ...] = ()
    """What an earlier run stored, the newest first, until this run has a session."""

    credential: str = ""
    """The fingerprint of the credential by which this run got its session."""


class FdSessions:
    """The sessions of all apps in the fd store."""

    def __init__(self, fd_store: FdStore, boot_id: str) -> None:
        self._fd_store = fd_store
        self._boot_id = boot_id
        self._apps: defaultdict[str, _AppSessions] = defaultdict(_AppSessions)

    def adopt(self, passed: Iterable[Descriptor], apps: Mapping[str, App]) -> list[str]:
        """Take over what an earlier run stored for these apps; close and remove the rest.

        Returns a warning for each session that is dropped, with the reason.
        """
        warnings = []
        unwanted = []
        adopted: list[tuple[FdRecord, str]] = []
        for descriptor in passed:
            owner = descriptor.name
            try:
                raw = self._fd_store.adopt(descriptor, records.MAX_SESSION_BYTES + 1)
                record = records.decode(raw, FdRecord)
                owner = record.app
                self._check(record, apps)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                warnings.append(f"a stored session is dropped ({owner}): {reason}")
                unwanted.append(descriptor.name)
            else:
                adopted.append((record, descriptor.name))
        adopted.sort(key=lambda pair: (pair[0].generation, pair[0].expires_at))
        for record, name in adopted:
            sessions = self._apps[record.app]
            sessions.entries.append(_Entry(name, record.generation, Instant(record.expires_at)))
            sessions.found = (record, *sessions.found)
        self._fd_store.remove(unwanted)
        return warnings

    def store(self, app: App) -> "FdSessionStore":
        """Return the app's SessionStore. All of one name share what is stored."""
        return FdSessionStore(self._fd_store, self._boot_id, app, self._apps[app.name])

    def _check(self, record: FdRecord, apps: Mapping[str, App]) -> None:
        """Raise ValueError if a session is not one that its app would get as configured now."""
        app = apps.get(record.app)
        if app is None:
            raise ValueError("no such app keeps its session here")
        if mismatch := record.mismatch(app):
            raise ValueError(mismatch)
        if self._boot_id and record.boot_id and self._boot_id != record.boot_id:
            raise ValueError("it is from an earlier boot")


class FdSessionStore:
    """The SessionStore of one app in the fd store.

    A session is added before an older one is removed: whenever the process is killed, a whole
    one is stored.
    """

    irreplaceable = False
    """The app can log in by its credential."""

    removes_expired = True
    """The next run could do nothing with an expired session."""

    name = "systemd's fd store"

    def __init__(self, fd_store: FdStore, boot_id: str, app: App, sessions: _AppSessions) -> None:
        self._fd_store = fd_store
        self._boot_id = boot_id
        self._app = app
        self._sessions = sessions

    @property
    def credential(self) -> str:
        """The fingerprint given to `begin`, "" if there was none."""
        return self._sessions.credential

    @property
    def saved(self) -> int:
        """The generation of the newest token that is stored, 0 if none is."""
        entries = self._sessions.entries
        return entries[-1].generation if entries else 0

    async def load(self) -> tuple[StoredSession, ...]:
        """Return the sessions of an earlier run, the newest first, until `begin` or `remove`.

        A reload may have changed the app since the start, so each is checked once more.
        """
        found = (record for record in self._sessions.found if not record.mismatch(self._app))
        return tuple(record.stored_session() for record in found)

    def begin(self, credential: str) -> None:
        """Store the tokens that follow as obtained by the credential of this fingerprint."""
        self._sessions.found = ()
        self._sessions.credential = credential

    async def prepare(self) -> None:
        """Do nothing: systemd does not say whether it stores descriptors."""

    async def put(self, token: Token) -> None:
        """Store this token. Raises OutputError if systemd does not take it now."""
        entries = self._sessions.entries
        if any(entry[1:] == (token.generation, token.expires_at) for entry in entries):
            return
        if self._fd_store.full:
            self._remove_oldest(1)
        record = FdRecord(
            app=self._app.name,
            endpoint=self._app.endpoint.url,
            source_sha256=source_fingerprint(self._app.credential),
            credential_sha256=self._sessions.credential,
            boot_id=self._boot_id,
            access_token=token.access_token,
            entity_id=token.entity_id,
            generation=token.generation,
            issued_at=token.issued_at,
            lifetime=token.lifetime,
            expires_at=token.expires_at,
        )
        name = self._fd_store.add(records.encode(record))
        entries.append(_Entry(name, token.generation, token.expires_at))
        self._remove_oldest(len(entries) - SESSIONS_PER_APP)

    async def remove(self) -> None:
        """Remove all that is stored of the app."""
        self.begin("")
        self._remove_oldest(len(self._sessions.entries))

    def close(self) -> None:
        """Do nothing: what is stored is for the next run."""

    def _remove_oldest(self, number: int) -> None:
        removed = self._sessions.entries[: max(0, number)]
        del self._sessions.entries[: max(0, number)]
        self._fd_store.remove(entry.name for entry in removed)


def source_fingerprint(credential: Credential) -> str:
    """Return what tells where a credential is configured to be from any other place."""
    return sha256(repr(credential).encode()).hexdigest()
