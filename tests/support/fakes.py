"""The ports as fakes that mirror them, driven by hand: no real clock, no sleep, no network.

A typical test:

    clock = FakeClock()
    schedule = FakeSchedule(clock)
    client = ScriptedClient(clock, [Retryable(Reason.CONNECT, "refused"), *islice(grants(), 2)])
    ... start the task under test with them ...
    await schedule.advance(600)   # fires each alarm at its time, in order
    assert client.instants("login") == [1000.0, 1001.0]

A suspend is `clock.advance(3600)` and then `await schedule.advance(0)`.
"""

import asyncio
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count, repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from refresherd.domain.errors import OutputError, Retryable
from refresherd.domain.events import Event
from refresherd.domain.login_budget import History
from refresherd.domain.model import Grant, Instant, Secret, Token
from refresherd.engine import ports
from refresherd.engine.ports import Alteration, StoredSession

E = TypeVar("E")

ENTITY_ID = "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11"

API_KEY = "OGYyYjdhMzYtNTljMi00ZjBlLTljNTItMmQxZjNlMGE3YzExOnNlc2FtZQ=="

MAX_TURNS = 10_000
"""A task that is still busy after this many turns of the loop is spinning."""


class FakeClock:
    """Boot time that moves on demand. `offset` is wall time less boot time: set it to step."""

    def __init__(self, now: float = 1000.0, offset: float = 1_700_000_000.0) -> None:
        self._now = now
        self.offset = offset

    def now(self) -> Instant:
        """Return the boot time in seconds."""
        return Instant(self._now)

    def wall(self, instant: Instant) -> float:
        """Return an instant as unix seconds."""
        return instant + self.offset

    def advance(self, seconds: float) -> None:
        """Move boot time without firing anything: time that passes in a suspend, or in a call."""
        self._now += seconds

    def set(self, now: float) -> None:
        """Move boot time to an instant."""
        self._now = now


class FakeAlarm:
    """An alarm of a FakeSchedule; `until` is the end of the present wait, None while awake."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._rung = False
        self._future: asyncio.Future[None] | None = None
        self.until: Instant | None = None

    async def wait(self, until: Instant) -> None:
        """Return once boot time has reached `until`, or `ring` is called."""
        assert self.until is None, "an alarm has one sleeper"
        if not self._rung:
            self.until = until
            self._future = asyncio.get_running_loop().create_future()
            if until <= self._clock.now():
                self.wake()
            try:
                await self._future
            finally:
                self.until = self._future = None
        self._rung = False

    def ring(self) -> None:
        """End the wait now; if nobody waits, the next wait returns at once."""
        self._rung = True
        self.wake()

    def wake(self) -> None:
        """End the present wait, if there is one."""
        self.until = None
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class FakeSchedule:
    """A schedule whose time moves only in `advance`."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.alarms: list[FakeAlarm] = []

    def alarm(self) -> FakeAlarm:
        """Return a new alarm clock."""
        self.alarms.append(FakeAlarm(self.clock))
        return self.alarms[-1]

    @property
    def next_at(self) -> Instant | None:
        """When the next alarm goes off, None if no task waits."""
        return min((a.until for a in self.alarms if a.until is not None), default=None)

    async def advance(self, seconds: float) -> None:
        """Let time pass: go to each alarm in turn, and let all tasks settle after each."""
        target = self.clock.now() + seconds
        await settle()
        while (head := self.next_at) is not None and head <= target:
            self.clock.set(max(head, self.clock.now()))
            next(alarm for alarm in self.alarms if alarm.until == head).wake()
            await settle()
        self.clock.set(target)
        await settle()


async def settle() -> None:
    """Return once no task can go on by itself; a task that never rests fails the test.

    This covers the event loop only, not threads or sockets.
    """
    loop = asyncio.get_running_loop()
    for _ in range(MAX_TURNS):
        await asyncio.sleep(0)
        # asyncio has no public way to ask whether anything is left to run.
        if not loop._ready:  # type: ignore[attr-defined]  # as above
            return
    raise AssertionError("a task spins: the loop never came to rest")


class RecordingObserver:
    """Records every event in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def observe(self, event: Event) -> None:
        """Record an event."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


def grants(lifetime: float = 600.0, entity_id: str = ENTITY_ID) -> Iterator[Grant]:
    """Yield grants without end: `token-1`, `token-2`, …, with request ids `request-1`, …."""
    for number in count(1):
        yield Grant(Secret(f"token-{number}"), entity_id, lifetime, f"request-{number}")


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a ScriptedClient; `name` is the port's method, `at` when it was sent."""

    name: str
    secret: str
    timeout: float
    at: Instant


class ScriptedClient:
    """A DSM that answers by a script, with one entry per login, reauth or keep-alive.

    A Grant is returned (a keep-alive returns its request id), an exception is raised, an
    Event is waited for before the next entry follows. `terminations` is the script of the
    terminations, in which None succeeds. A script that runs out fails the test.
    """

    def __init__(
        self,
        clock: FakeClock,
        script: Iterable[Grant | BaseException | asyncio.Event],
        terminations: Iterable[BaseException | asyncio.Event | None] = repeat(None),
    ) -> None:
        self._clock = clock
        self._script = iter(script)
        self._terminations = iter(terminations)
        self.calls: list[Call] = []

    def instants(self, name: str) -> list[float]:
        """Return when each request of that name was sent."""
        return [call.at for call in self.calls if call.name == name]

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Answer a login by the script."""
        return await self._answer("login", credential, timeout)

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Answer a reauth by the script."""
        return await self._answer("reauth", token, timeout)

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Answer a keep-alive by the script."""
        return (await self._answer("keep_alive", token, timeout)).request_id

    async def terminate(self, token: Secret, timeout: float) -> None:
        """Answer a termination by its script."""
        self._record("terminate", token, timeout)
        await _play(self._terminations)

    async def _answer(self, name: str, secret: Secret, timeout: float) -> Grant:
        self._record(name, secret, timeout)
        grant = await _play(self._script)
        assert grant is not None
        return grant

    def _record(self, name: str, secret: Secret, timeout: float) -> None:
        self.calls.append(Call(name, secret.reveal(), timeout, self._clock.now()))


class FakeCredential:
    """A credential source: set `secret` and `version` to change it, `error` to break it.

    Set `files_version` to change a file that an attempt needs.
    """

    def __init__(self, secret: str = API_KEY, entity_id: str = ENTITY_ID) -> None:
        self.secret = secret
        self.version: Hashable = 1
        self.files_version: Hashable = 1
        self.error: Exception | None = None
        self.reads = 0
        self.entity_id = entity_id

    async def read(self) -> Secret:
        """Return the credential, or raise `error`."""
        self.reads += 1
        if self.error is not None:
            raise self.error
        return Secret(self.secret)

    async def stamp(self) -> Hashable:
        """Return `version`."""
        return self.version

    async def files(self) -> Hashable:
        """Return `files_version`."""
        return self.files_version


class NeverAltered:
    """The part of a WatchedOutput that looks after it, for an output that nobody alters."""

    directory = "/run"

    def look(self) -> Alteration | None:
        """Find nothing."""
        return None

    def confirm(self, alteration: Alteration) -> str:
        """Say what was done."""
        return str(alteration.now)

    def leave(self) -> None:
        """Do nothing, as the process ends."""

    async def discard(self) -> str:
        """Do nothing: nobody looks at the output again."""
        return ""


class FakeOutput(NeverAltered):
    """An output in memory: `holds` is what consumers would see, `history` all they ever saw.

    `script` has an entry per call of `prepare`, `put` or `remove`: None succeeds, an
    OutputError is raised, an Event is waited for; when it runs out, calls succeed.
    """

    def __init__(
        self,
        name: str = "/run/payments.token",
        script: Iterable[OutputError | asyncio.Event | None] = (),
        *,
        removes_expired: bool = False,
    ) -> None:
        self.name = name
        self.removes_expired = removes_expired
        self._script = chain(script, repeat(None))
        self.holds: Token | None = None
        self.history: list[Token | None] = []
        self.prepared = 0
        self.puts = 0
        self.removes = 0
        self.closed = False
        self.discarded = False

    async def prepare(self) -> None:
        """Count, and follow the script."""
        self.prepared += 1
        await _play(self._script)

    async def put(self, token: Token) -> None:
        """Hold this token, if the script lets it."""
        self.puts += 1
        await _play(self._script)
        self.holds = token
        self.history.append(token)

    async def remove(self) -> None:
        """Hold nothing, if the script lets it."""
        self.removes += 1
        await _play(self._script)
        self.holds = None
        self.history.append(None)

    def close(self) -> None:
        """Take note."""
        self.closed = True

    async def discard(self) -> str:
        """Hold nothing, if the script lets it."""
        self.discarded = True
        await _play(self._script)
        self.holds = None
        return ""


@dataclass(slots=True)
class Disk:
    """What a FakeSessionStore has saved: it outlives a crash, unlike the store that wrote it.

    `credential` is the fingerprint of the credential that `token` goes back to.
    """

    credential: str = ""
    token: Secret | None = None


class FakeSessionStore(FakeOutput):
    """A session store, by default one of an app that can log in again. Its calls follow a script.

    `found` are the sessions of an earlier run; what `disk` holds is one of unknown age. Set
    `error` to make them unreadable.
    """

    def __init__(
        self,
        *found: StoredSession,
        disk: Disk | None = None,
        script: Iterable[OutputError | asyncio.Event | None] = (),
    ) -> None:
        super().__init__("the session store", script, removes_expired=disk is None)
        self.disk = disk or Disk()
        self.irreplaceable = disk is not None
        self.saved = 0
        self.error: Retryable | None = None
        self.credential = self.disk.credential
        self._found = found
        if self.disk.token is not None:
            self._found = (StoredSession(self.disk.token, self.credential),)

    async def load(self) -> tuple[StoredSession, ...]:
        """Return what is left of an earlier run, or raise `error`."""
        if self.error is not None:
            raise self.error
        return self._found

    def begin(self, credential: str) -> None:
        """Store what is put from now on under this credential."""
        self._found, self.credential = (), credential

    async def put(self, token: Token) -> None:
        """Save this token, if the script lets it."""
        credential = self.credential
        await super().put(token)
        self.disk.credential, self.disk.token = credential, token.access_token
        self.saved = token.generation

    async def remove(self) -> None:
        """Save nothing, if the script lets it."""
        self._found, self.saved = (), 0
        await super().remove()
        self.disk.token = None


class FakeLoginStore:
    """A login store in memory: `saved` is what the next run finds, None if that is lost.

    `script` has an entry per save: None succeeds, an OutputError is raised, an Event is waited
    for; when it runs out, saves succeed. The fingerprint of a key is the key itself.
    """

    def __init__(
        self,
        saved: Mapping[str, History] | None = MappingProxyType({}),
        script: Iterable[OutputError | asyncio.Event | None] = (),
    ) -> None:
        self.saved = saved
        self.saves = 0
        self._script = chain(script, repeat(None))

    def fingerprint(self, credential: Secret) -> str:
        """Return the key."""
        return credential.reveal()

    async def load(self) -> Mapping[str, History] | None:
        """Return what is saved."""
        return self.saved

    async def save(self, histories: Mapping[str, History]) -> None:
        """Save this, if the script lets it."""
        self.saves += 1
        await _play(self._script)
        self.saved = histories


class FakeGenerationStore:
    """A generation store in memory: `saved` is what the next run finds.

    `script` has an entry per save: None succeeds, an Event is waited for; when it runs out, saves
    succeed.
    """

    def __init__(
        self,
        saved: Mapping[str, int] = MappingProxyType({}),
        script: Iterable[asyncio.Event | None] = (),
    ) -> None:
        self.saved = dict(saved)
        self.saves: list[dict[str, int]] = []
        self._script = chain(script, repeat(None))

    async def load(self) -> Mapping[str, int]:
        """Return what is saved."""
        return dict(self.saved)

    async def save(self, changes: Mapping[str, int], last: Mapping[str, int]) -> None:
        """Save this, if the script lets it."""
        assert changes.items() <= last.items()
        await _play(self._script)
        self.saves.append(dict(changes))
        self.saved |= changes


async def _play(script: Iterator[Grant | BaseException | asyncio.Event | None]) -> Grant | None:
    """Take entries from a script up to the first that is not an Event."""
    for entry in script:
        if isinstance(entry, asyncio.Event):
            await entry.wait()
        elif isinstance(entry, BaseException):
            raise entry
        else:
            return entry
    raise AssertionError("the script has run out")


if TYPE_CHECKING:

    def _mirror(clock: FakeClock, observer: RecordingObserver) -> tuple[object, ...]:
        """Let mypy compare each fake with its port."""
        ports_clock: ports.Clock = clock
        schedule: ports.Schedule = FakeSchedule(clock)
        alarm: ports.Alarm = FakeAlarm(clock)
        client: ports.SessionClient = ScriptedClient(clock, grants())
        credential: ports.CredentialSource = FakeCredential()
        output: ports.WatchedOutput = FakeOutput()
        session_store: ports.SessionStore = FakeSessionStore()
        ports_observer: ports.Observer = observer
        store: ports.LoginStore = FakeLoginStore()
        generations: ports.GenerationStore = FakeGenerationStore()
        return (
            ports_clock,
            schedule,
            alarm,
            client,
            credential,
            output,
            session_store,
            ports_observer,
            store,
            generations,
        )
