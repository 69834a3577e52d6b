"""What the core asks of the world, in its own words: Protocols, no code."""

from collections.abc import Hashable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from refresherd.domain.events import Event
from refresherd.domain.login_budget import History
from refresherd.domain.model import App, Grant, Instant, Secret, Token
from refresherd.domain.readiness import AppStatus
from refresherd.domain.session_state import SessionState


class Clock(Protocol):
    """Boot time, and its translation for people."""

    def now(self) -> Instant:
        """Return the boot time in seconds."""

    def wall(self, instant: Instant) -> float:
        """Return an instant as unix seconds."""


class Alarm(Protocol):
    """One sleeper's alarm clock."""

    async def wait(self, until: Instant) -> None:
        """Return once boot time has reached `until`, or when somebody rings."""

    def ring(self) -> None:
        """Wake the sleeper now; if it is awake, its next wait returns at once."""


class Schedule(Protocol):
    """The timeline: what wakes whom when."""

    def alarm(self) -> Alarm:
        """Return a new alarm clock."""


class SessionClient(Protocol):
    """DSM, as one app sees it. Every `timeout` is in seconds, for the whole attempt.

    Its errors are Retryable, SessionLost and Rejected.
    """

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Return a new session from the credential."""

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Return a new session from a live one, which lives on."""

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Keep a session from idling out; return DSM's request id."""

    async def terminate(self, token: Secret, timeout: float) -> None:
        """End a session."""


class CredentialSource(Protocol):
    """Where an app's credential is read, anew for each login."""

    async def read(self) -> Secret:
        """Return the credential. Raises Retryable where it cannot be read."""

    async def stamp(self) -> Hashable:
        """Return what changes when the source does; None where only reading could tell."""

    @property
    def entity_id(self) -> str:
        """The app's UUID as the last credential read names it, "" if it names none."""


class LoginSlot(Protocol):
    """A login's place among those with the same credential."""

    async def begin(self) -> None:
        """Have it on record, as well as that can be done in a while, that the login is sent."""


class Logins(Protocol):
    """All logins by API key, whichever apps make them: none burns its credential."""

    def turn(
        self, credential: Secret, *, by_operator: bool
    ) -> AbstractAsyncContextManager[LoginSlot]:
        """Let the block log in when it is its turn; what it raises is what came of the login.

        `asked` tells that an operator wants it. Raises Withheld where none may be sent.
        """


class LoginStore(Protocol):
    """Where the histories of credentials outlive a restart, by the credentials' fingerprints."""

    def fingerprint(self, credential: Secret) -> str:
        """Return what tells a credential from others, once `load` has returned."""

    async def load(self) -> Mapping[str, History] | None:
        """Return what an earlier run has saved; None where that is lost, which was told."""

    async def save(self, histories: Mapping[str, History]) -> None:
        """Replace what is saved, durably. Raises OutputError, soon if it hangs."""


class TokenView(Protocol):
    """One app's life, for readers. They see the newest only."""

    @property
    def session(self) -> SessionState:
        """The newest life."""

    @property
    def version(self) -> int:
        """Grows with each new life."""

    @property
    def closed(self) -> bool:
        """Whether the app is kept no longer: its life does not change any more."""

    async def changed(self, since: int) -> int:
        """Return the newest version as soon as it is past `since`, or when the view is closed."""


class Roster(Protocol):
    """The apps that are kept, for readers. Other threads than the loop's ask as well."""

    def statuses(self) -> Iterable[AppStatus]:
        """Return a snapshot of every app's status, in the configuration's order."""

    def status(self, name: str) -> AppStatus | None:
        """Return one app's status, None if no app has that name."""


class Kept(Protocol):
    """One app that is kept, for who hands out its token."""

    @property
    def app(self) -> App:
        """The app as it is configured now."""

    @property
    def view(self) -> TokenView:
        """The app's life."""

    def status(self) -> AppStatus:
        """Return what readers are told of the app."""

    def refresh(self) -> None:
        """Make an attempt now; one that is under way serves."""


class Apps(Roster, Protocol):
    """The apps that are kept, for who hands out their tokens."""

    def kept(self, name: str) -> Kept | None:
        """Return an app, None if there is none of that name."""


class Output(Protocol):
    """A place where consumers find the token. Its errors are OutputError."""

    @property
    def name(self) -> str:
        """The `output` label: the path."""

    @property
    def removes_expired(self) -> bool:
        """Whether an expired token is taken away."""

    async def prepare(self) -> None:
        """Clear what an earlier run left over, and check that a token could be written."""

    async def put(self, token: Token) -> None:
        """Replace what consumers find with this token, atomically."""

    async def remove(self) -> None:
        """Take the token away; nothing there is fine."""

    def close(self) -> None:
        """Serve nobody any more, if it serves by itself; a token that lies somewhere stays."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session of an earlier run."""

    access_token: Secret
    credential: str
    """The fingerprint of the credential that the session goes back to, "" if unknown."""

    token: Token | None = None
    """The session in this boot's time. None if its age is unknown: ask DSM whether it lives."""


class SessionStore(Output, Protocol):
    """Where an app's newest sessions outlive the process, for the daemon's next run."""

    @property
    def irreplaceable(self) -> bool:
        """Whether the app has no other way back to DSM than what is stored here.

        Then the newest stored session is never ended, and the app is ready only once its
        session is stored.
        """

    @property
    def saved(self) -> int:
        """The generation of the newest token that would survive a crash now, 0 if none would."""

    @property
    def credential(self) -> str:
        """The fingerprint of the credential that the app's session goes back to, "" if unknown."""

    async def load(self) -> tuple[StoredSession, ...]:
        """Return the sessions of an earlier run, the newest first, until `begin` or `remove`.

        Raises Retryable if they cannot be read.
        """

    def begin(self, credential: str) -> None:
        """Store the tokens that follow as obtained by the credential of this fingerprint."""


class Hook(Protocol):
    """Something to be done after each new token, once: whether it works or not."""

    @property
    def name(self) -> str:
        """What operators know it by. Holds no argument, for one may be a secret."""

    async def run(self, generation: int) -> str:
        """Do it for the token of this generation, and return what is to be told of it, if anything.

        Raises HookError; leaves nothing running.
        """


class Observer(Protocol):
    """Is told what happens."""

    def observe(self, event: Event) -> None:
        """Take note of an event; must not block or raise."""
