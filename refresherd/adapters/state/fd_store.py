"""Sessions in the service manager's fd store: they outlive the process, and leave no trace on disk.

`sd_pid_notify_with_fds(3)`: FDSTORE=1 adds a descriptor under FDNAME=, FDSTOREREMOVE=1 removes
all of that name. At the next start they are passed on like sockets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from refresherd.adapters.state import memfd
from refresherd.adapters.state.fd_names import Names
from refresherd.adapters.state.fd_store_record import (
    LONGEST,
    SessionRecord,
    parsed,
    recorded,
    source_fingerprint,
    written,
)
from refresherd.domain.errors import OutputError
from refresherd.domain.model import App, Inherited, Instant, Token
from refresherd.host.sd_notify import Notifier
from refresherd.host.service_manager import Descriptor

KEPT = 2
"""Sessions of an app that are stored: the newest, and the one that it replaced, which a later run
ends if this one is killed before it could."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A session that the manager holds, and under which name; each life of a token is another."""

    name: str
    generation: int
    expires_at: Instant


class FdStore:
    """What the manager holds. A session has a name of its own, and is added before one goes.

    So there is always a whole one, whenever the process is killed.
    """

    def __init__(self, notifier: Notifier, boot_id: str) -> None:
        self._notifier = notifier
        self._boot_id = boot_id
        self._names = Names()
        self._stored: dict[str, list[_Stored]] = {}
        """What is stored of each app, the oldest first."""
        self._leaving: list[str] = []
        """What is to be removed, as soon as the manager listens."""
        self._inherited: dict[str, tuple[SessionRecord, ...]] = {}
        """What an earlier run has left of each app, the newest first."""
        self._origins: dict[str, str] = {}
        """Fingerprints of the credentials by which apps got their sessions."""

    def adopt(self, passed: Iterable[Descriptor], apps: Mapping[str, App]) -> list[str]:
        """Take over what an earlier run has stored for these apps; drop and close the rest.

        Returns a line for each that is dropped, with the reason.
        """
        lines = []
        found: list[tuple[SessionRecord, str]] = []
        for one in passed:
            self._names.take(one.name)
            whose = one.name
            try:
                record = parsed(memfd.content(one.fd, LONGEST + 1))
                whose = record.app
                self._check(record, apps)
            except (OSError, ValueError) as error:
                lines.append(f"a stored session is dropped ({whose}): {_said(error)}")
                self._leaving.append(one.name)
            else:
                found.append((record, one.name))
        found.sort(key=lambda pair: (pair[0].token.generation, pair[0].token.expires_at))
        for record, name in found:
            self._stored.setdefault(record.app, []).append(_stored(name, record.token))
            self._inherited[record.app] = (record, *self._inherited.get(record.app, ()))
        self._sweep()
        return lines

    def inherited(self, app: App) -> tuple[Inherited, ...]:
        """Return an app's sessions of an earlier run, the newest first, until it has one anew.

        A reload may have changed the app since the start, so they are looked at once more.
        """
        records = self._inherited.get(app.name, ())
        own = (record for record in records if not _foreign(record, app))
        return tuple(Inherited(record.token, record.credential) for record in own)

    def begin(self, app: str, credential: str) -> None:
        """Have the app's sessions from now on be got by the credential of this fingerprint."""
        self._inherited.pop(app, None)
        self._origins[app] = credential

    def keep(self, app: App, token: Token) -> None:
        """Store a token. Raises OutputError where the manager does not take it now."""
        stored = self._stored.setdefault(app.name, [])
        if any(_stored(one.name, token) == one for one in stored):
            return
        if self._names.exhausted:
            self._drop(stored, 1)
        origin = self._origins.get(app.name, "")
        name = self._add(written(recorded(app, token, origin, self._boot_id)))
        stored.append(_stored(name, token))
        self._drop(stored, max(0, len(stored) - KEPT))

    def forget(self, app: str) -> None:
        """Store nothing of an app any more."""
        self._inherited.pop(app, None)
        self._origins.pop(app, None)
        stored = self._stored.pop(app, [])
        self._drop(stored, len(stored))

    def _add(self, content: bytes) -> str:
        """Store a session and return under which name. Raises OutputError."""
        name = self._names.free()
        message = ("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0")
        try:
            with memfd.sealed(content) as fd:
                sent = self._notifier.send(*message, descriptors=[fd])
        except OSError as error:
            raise OutputError(f"cannot store the session: {error.strerror}") from error
        if not sent:
            raise OutputError("the service manager does not take the session now")
        self._names.take(name)
        return name

    def _drop(self, stored: list[_Stored], number: int) -> None:
        """Store the oldest of an app no more, so many of them."""
        self._leaving += [one.name for one in stored[:number]]
        del stored[:number]
        self._sweep()

    def _sweep(self) -> None:
        while self._leaving:
            name = self._leaving[0]
            if not self._notifier.send("FDSTOREREMOVE=1", f"FDNAME={name}"):
                return
            del self._leaving[0]
            self._names.release(name)

    def _check(self, record: SessionRecord, apps: Mapping[str, App]) -> None:
        """Raise ValueError if a session is not one that its app would get as configured now."""
        app = apps.get(record.app)
        if app is None:
            raise ValueError("no such app keeps its session here")
        if fault := _foreign(record, app):
            raise ValueError(fault)
        if self._boot_id and record.boot_id and self._boot_id != record.boot_id:
            raise ValueError("it is of an earlier boot")


class StoredSessions:
    """One app's sessions in the fd store: Sessions, and so an Output."""

    def __init__(self, store: FdStore, app: App) -> None:
        self._app = app
        self._store = store

    @property
    def name(self) -> str:
        """What stands in the log."""
        return "systemd's fd store"

    @property
    def removes_expired(self) -> bool:
        """Always: nobody can go on from one."""
        return True

    def inherited(self) -> tuple[Inherited, ...]:
        """Return the sessions of an earlier run, the newest first, until there is one anew."""
        return self._store.inherited(self._app)

    def begin(self, credential: str) -> None:
        """Have the sessions from now on be got by the credential of this fingerprint."""
        self._store.begin(self._app.name, credential)

    async def prepare(self) -> None:
        """Do nothing: a manager that keeps no descriptors says so to nobody."""

    async def put(self, token: Token) -> None:
        """Store this token. Raises OutputError."""
        self._store.keep(self._app, token)

    async def remove(self) -> None:
        """Store nothing any more."""
        self._store.forget(self._app.name)

    def close(self) -> None:
        """Do nothing: what is stored is for the next run."""


def _stored(name: str, token: Token) -> _Stored:
    return _Stored(name, token.generation, token.expires_at)


def _foreign(record: SessionRecord, app: App) -> str:
    """Return why a session is not one of the app's as it is configured, "" if it is."""
    if app.endpoint.url != record.endpoint:
        return "it is one at another endpoint"
    if source_fingerprint(app.credential) != record.source:
        return "it was got by another credential"
    return ""


def _said(error: OSError | ValueError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else str(error)
