"""What the engine needs from the outside, in its own words: Protocols, no code."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from refresherd.domain.events import Event
from refresherd.domain.login_budget import History
from refresherd.domain.model import Grant, Instant, Secret, Token
from refresherd.domain.readiness import AppStatus
from refresherd.domain.report import AppReport


class Clock(Protocol):
    """Boot time, and its translation into wall time."""

    def now(self) -> Instant:
        """Return the boot time in seconds."""

    def wall(self, instant: Instant) -> float:
        """Return an instant as unix seconds."""


class Alarm(Protocol):
    """An alarm clock for one task."""

    async def wait(self, until: Instant) -> None:
        """Return once boot time has reached `until`, or `ring` is called."""

    def ring(self) -> None:
        """End the wait now; if nobody waits, the next wait returns at once."""


class Schedule(Protocol):
    """Wakes tasks at their time."""

    def alarm(self) -> Alarm:
        """Return a new alarm clock."""


class SessionClient(Protocol):
    """DSM, as one app sees it.

    Every `timeout` is in seconds, for the whole attempt. Its errors are Retryable, SessionLost
    and Rejected.
    """

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Return a new session for the credential."""

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Return a new session for the token of a live one, which lives on."""

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Keep a session from idling out; return DSM's request id."""

    async def terminate(self, token: Secret, timeout: float) -> None:
        """End a session."""


class CredentialSource(Protocol):
    """Where an app's credential comes from; it is read again for each login."""

    async def read(self) -> Secret:
        """Return the credential. Raises Retryable if it cannot be read."""

    async def stamp(self) -> Hashable:
        """Return a value that changes when the source does, None if only reading could tell."""

    async def files(self) -> Hashable:
        """Return a value that changes with any file on this host that an attempt needs.

        These are the credential's files, the program that prints it and the CAs to trust.
        """

    @property
    def entity_id(self) -> str:
        """The app's UUID that the last credential read contains, "" if it contains none."""


class LoginStore(Protocol):
    """Where the login histories of credentials outlive a restart, by fingerprint."""

    def fingerprint(self, credential: Secret) -> str:
        """Return the credential's fingerprint; only after `load` has returned."""

    async def load(self) -> Mapping[str, History] | None:
        """Return what an earlier run saved, None (after a warning) if that is lost."""

    async def save(self, histories: Mapping[str, History]) -> None:
        """Replace what is saved, durably. Raises OutputError, also soon after a hang begins."""


class GenerationStore(Protocol):
    """Where the generation of each app's last token outlives a restart. Nothing here raises."""

    async def load(self) -> Mapping[str, int]:
        """Return what an earlier run saved, by app, nothing (after a warning) if that is lost."""

    async def save(self, changes: Mapping[str, int], last: Mapping[str, int]) -> None:
        """Save `last`, of which `changes` is new, so that a kill does not lose it.

        A store that fails warns, and returns at once until it may work again.
        """


class Roster(Protocol):
    """The status of all apps, for readers on any thread."""

    def statuses(self) -> Iterable[AppStatus]:
        """Return a snapshot of every app's status, in the order of the configuration."""

    def status(self, name: str) -> AppStatus | None:
        """Return one app's status, None if no app has that name."""

    def reports(self) -> Iterable[AppReport]:
        """Return a snapshot of all that operators may see of every app, in the same order."""


class Output(Protocol):
    """A place where consumers find the token. Its errors are OutputError."""

    @property
    def name(self) -> str:
        """The `output` label of metrics and logs: the path."""

    @property
    def removes_expired(self) -> bool:
        """Whether an expired token is removed."""

    async def prepare(self) -> None:
        """Clear what an earlier run left behind, and check that a token could be written."""

    async def put(self, token: Token) -> "PutReport | None":
        """Replace what consumers find by this token, atomically."""

    async def remove(self) -> None:
        """Remove the token, if there is one."""

    def close(self) -> None:
        """Stop serving, if the output serves by itself; a token in a file stays there."""


@dataclass(frozen=True, slots=True)
class PutReport:
    """The outcome of `Output.put`."""

    unchanged: bool = False
    """Whether the output held exactly this already, so that nothing was replaced."""
    altered: str = ""
    """What somebody else had done to the output before this, "" for nothing."""


class WatchedOutput(Output, Protocol):
    """An output that other processes may remove, replace or overwrite."""

    @property
    def directory(self) -> str:
        """Where it is: the outputs of one directory are looked at in one thread."""

    def look(self) -> "Alteration | None":
        """Return how it differs from what this process left. It blocks: call it in a thread."""

    def confirm(self, alteration: "Alteration") -> str:
        """Return what somebody did to it, "" if nothing has to be restored. Call it in the loop.

        It is "" for an alteration that is harmless, out of date, or reported already.
        """

    def leave(self) -> None:
        """Stop serving at the end of the process, but leave what the next run can use."""

    async def discard(self) -> str:
        """Remove an output that a reload dropped; return why it stays, "" if it is gone."""


@dataclass(frozen=True, slots=True)
class Alteration:
    """What this process left as an output, and what is there now, in the output's own terms."""

    before: object
    now: object


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
        """Whether the app may be unable to get another session if this one is lost.

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
        """Store the tokens that follow as obtained with the credential of this fingerprint."""


class Hook(Protocol):
    """A command or signal for after each new token. It runs once, whether it works or not."""

    @property
    def name(self) -> str:
        """How operators know it. It contains no argument, for one may be a secret."""

    async def run(self, generation: int) -> str:
        """Run for the token of this generation; return a message for the log, "" for none.

        Raises HookError; leaves nothing running.
        """


class Observer(Protocol):
    """Receives what happens, for metrics and logs."""

    def observe(self, event: Event) -> None:
        """Take note of an event. Must not block or raise."""
