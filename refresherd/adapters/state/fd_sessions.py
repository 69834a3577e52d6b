"""Sessions in systemd's fd store, for apps that can log in again: no trace is left on disk.

Each is a file in memory, which lives as long as the store holds its descriptor.
"""

import fcntl
import os
import re
import string
from collections.abc import Iterable, Mapping
from hashlib import sha256
from itertools import count
from typing import Annotated, NamedTuple

import msgspec

from refresherd.adapters.state.session_file import MAX_SESSION_BYTES, SessionRecord, decode, encode
from refresherd.domain.errors import OutputError
from refresherd.domain.model import ApiKeyFile, App, Instant, SystemdCredential, Token
from refresherd.engine.ports import StoredSession
from refresherd.host.fd_store import MAX_SESSIONS, FdStore
from refresherd.host.service_manager import Descriptor, Notifier

NAME = re.compile(r"s\.[0-9A-Za-z]{3}")
"""Names are this short so that `fd_store.MAX_SESSIONS` of them fit in LISTEN_FDNAMES."""

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
"""fcntl(2): nobody who gets the descriptor can change the content, the size or the seals."""

SESSIONS_PER_APP = 2
"""The newest, and the one that it replaced: if this run is killed, the next one ends that."""

BootTime = Annotated[Instant, msgspec.Meta(ge=-(10**15), le=10**15)]


class FdRecord(SessionRecord, frozen=True, kw_only=True):
    """A stored session. Instants are seconds of boot time."""

    app: str
    source_sha256: str
    """The fingerprint of where the credential is configured to be, and of `bind_to`."""

    credential_sha256: str
    """The fingerprint of the credential itself."""

    boot_id: str
    """The kernel's, "" if it could not be read."""

    generation: Annotated[int, msgspec.Meta(ge=1, le=10**15)]
    issued_at: BootTime
    lifetime: Annotated[float, msgspec.Meta(gt=0, le=10**15)]
    expires_at: BootTime

    def stored_session(self) -> StoredSession:
        """Return the session as the engine knows it."""
        token = Token(
            access_token=self.access_token,
            entity_id=self.entity_id,
            generation=self.generation,
            issued_at=self.issued_at,
            lifetime=self.lifetime,
            expires_at=self.expires_at,
        )
        return StoredSession(self.access_token, self.credential_sha256, token)

    def mismatch(self, app: App | None, boot_id: str) -> str:
        """Return why the app as configured would not get this session, "" if it would."""
        if app is None:
            return "no such app keeps its session here"
        if app.endpoint.url != self.endpoint:
            return "it belongs to another endpoint"
        if source_fingerprint(app) != self.source_sha256:
            return "it was obtained with another credential or bind_to"
        if boot_id and self.boot_id and boot_id != self.boot_id:
            return "it is from an earlier boot"
        return ""


class _Entry(NamedTuple):
    """A session in the store. One that was kept alive is stored again with its new expiry."""

    name: str
    generation: int
    expires_at: Instant


class FdSessions:
    """The sessions of all apps in the fd store, by names that are each used for one at a time."""

    def __init__(self, notifier: Notifier, boot_id: str, max_entries: int = MAX_SESSIONS) -> None:
        self.boot_id = boot_id
        """The kernel's, "" if it could not be read."""
        self.entries = FdStore(notifier, max_entries)
        """The sessions' entries in the fd store."""
        self._stores: dict[str, FdSessionStore] = {}
        self._numbers = count()
        self.generations: dict[str, int] = {}
        """The last generation of each app that an earlier run stored, of dropped sessions too."""

    def adopt(self, passed: Iterable[Descriptor], apps: Mapping[str, App]) -> list[str]:
        """Take over what an earlier run stored for these apps; close and remove the rest.

        Returns a warning for each session that is dropped, with the reason.
        """
        warnings, unwanted = [], []
        found: list[tuple[FdRecord, str]] = []
        for descriptor in passed:
            owner = descriptor.name
            self.entries.adopt(owner)
            try:
                record = decode(os.pread(descriptor.fd, MAX_SESSION_BYTES + 1, 0), FdRecord)
                owner = record.app
                latest = max(record.generation, self.generations.get(owner, 0))
                self.generations[owner] = latest
                fault = record.mismatch(apps.get(owner), self.boot_id)
            except (OSError, ValueError) as error:
                fault = str(error.strerror if isinstance(error, OSError) else error)
            finally:
                os.close(descriptor.fd)
            if fault:
                warnings.append(f"a stored session is dropped ({owner}): {fault}")
                unwanted.append(descriptor.name)
            else:
                found.append((record, descriptor.name))
        found.sort(key=lambda pair: (pair[0].generation, pair[0].expires_at))
        for record, name in found:
            self.store(apps[record.app]).adopt(record, name)
        self.entries.remove(unwanted)
        return warnings

    def store(self, app: App) -> "FdSessionStore":
        """Return the app's SessionStore. It is the same for all apps of one name."""
        store = self._stores.setdefault(app.name, FdSessionStore(self, app))
        store.app = app
        return store

    def add(self, content: bytes) -> str:
        """Store this content and return the entry's name. Raises OutputError if that fails."""
        if self.entries.full:
            limit = f"the service manager holds {self.entries.max_entries} sessions"
            raise OutputError(f"{limit}, and cannot pass on more")
        name = next(name for name in map(_nth_name, self._numbers) if name not in self.entries)
        try:
            fd = os.memfd_create("refresherd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                os.write(fd, content)
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
                added = self.entries.add(name, fd)
            finally:
                os.close(fd)  # the file lives as long as somebody else has it open
        except OSError as error:
            raise OutputError(f"cannot store the session: {error.strerror}") from error
        if not added:
            raise OutputError("the service manager does not take the session now")
        return name


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

    __slots__ = ("_entries", "_found", "_sessions", "app", "credential")

    def __init__(self, sessions: FdSessions, app: App) -> None:
        self._sessions = sessions
        self._entries: list[_Entry] = []
        """What is stored, the oldest first."""
        self._found: tuple[FdRecord, ...] = ()
        """What an earlier run stored, the newest first, until this run has a session."""
        self.app = app
        """The app as it is configured now."""
        self.credential = ""
        """The fingerprint given to `begin`, "" if there was none."""

    @property
    def saved(self) -> int:
        """The generation of the newest token that is stored, 0 if none is."""
        return self._entries[-1].generation if self._entries else 0

    def adopt(self, record: FdRecord, name: str) -> None:
        """Take over an earlier run's session, which is newer than those taken over before."""
        self._entries.append(_Entry(name, record.generation, record.expires_at))
        self._found = (record, *self._found)

    async def load(self) -> tuple[StoredSession, ...]:
        """Return the sessions of an earlier run, the newest first, until `begin` or `remove`.

        A reload may have changed the app since the start, so each is checked once more.
        """
        found = (one for one in self._found if not one.mismatch(self.app, self._sessions.boot_id))
        return tuple(record.stored_session() for record in found)

    def begin(self, credential: str) -> None:
        """Store the tokens that follow as obtained by the credential of this fingerprint."""
        self._found = ()
        self.credential = credential

    async def prepare(self) -> None:
        """Do nothing: systemd does not say whether it stores descriptors."""

    async def put(self, token: Token) -> None:
        """Store this token. Raises OutputError if systemd does not take it now."""
        if any(entry[1:] == (token.generation, token.expires_at) for entry in self._entries):
            return
        if self._sessions.entries.full:
            self._remove_oldest(1)
        record = FdRecord(
            app=self.app.name,
            endpoint=self.app.endpoint.url,
            source_sha256=source_fingerprint(self.app),
            credential_sha256=self.credential,
            boot_id=self._sessions.boot_id,
            access_token=token.access_token,
            entity_id=token.entity_id,
            generation=token.generation,
            issued_at=token.issued_at,
            lifetime=token.lifetime,
            expires_at=token.expires_at,
        )
        name = self._sessions.add(encode(record))
        self._entries.append(_Entry(name, token.generation, token.expires_at))
        self._remove_oldest(len(self._entries) - SESSIONS_PER_APP)

    async def remove(self) -> None:
        """Remove all that is stored of the app."""
        self.begin("")
        self._remove_oldest(len(self._entries))

    def close(self) -> None:
        """Do nothing: what is stored is for the next run."""

    def _remove_oldest(self, number: int) -> None:
        number = max(0, number)
        self._sessions.entries.remove(entry.name for entry in self._entries[:number])
        del self._entries[:number]


def is_session(name: str) -> bool:
    """Return whether a descriptor of this name, passed on by systemd, is a stored session."""
    return NAME.fullmatch(name) is not None


def source_fingerprint(app: App) -> str:
    """Return a fingerprint of where an app's credential is configured to be, and of `bind_to`.

    Every version must return the same, or an upgrade or a downgrade would cost each app a login.
    The first one knew a systemd credential as a key file in systemd's directory.
    """
    source = app.credential
    if isinstance(source, SystemdCredential) and source.directory is not None:
        source = ApiKeyFile(source.directory / source.name)
    return sha256(f"{source!r}{app.bind_to}".encode()).hexdigest()


def _nth_name(number: int) -> str:
    digits = string.digits + string.ascii_letters
    return "s." + "".join(digits[number // 62**place % 62] for place in (2, 1, 0))
