"""The whole core against a model of DSM, over simulated days of trouble."""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from itertools import count
from math import inf

from fakes import ENTITY_ID, FakeClock, FakeCredential, FakeSchedule
from hypothesis import given, settings
from hypothesis import strategies as st
from kept import HonestOutput, Kept, running

from refresherd.errors import Reason, Rejected, Retryable, SessionLost
from refresherd.events import TokenExpired
from refresherd.keeper import Keeper
from refresherd.lifecycle import State, valid_token
from refresherd.model import Grant, Instant, Method, Secret, Timing

HOUR = 3600.0
LONGEST_TIMEOUT = 20.0


class Kind(Enum):
    """What can be the matter for a while."""

    REFUSED = "connection refused"
    HANGS = "no answer"
    THROTTLED = "429, with a Retry-After beyond reason"
    FORBIDDEN = "a proxy answers 403 to everything"
    WRONG_KEY = "the key on the host is not the app's"
    LOGGED_OUT = "all sessions are ended as it begins"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something is the matter from `start` to `end`, in boot time."""

    kind: Kind
    start: float
    end: float


class Troubles:
    """All that is planned to be the matter, and what of it is so now."""

    def __init__(self, clock: FakeClock, planned: list[Trouble]) -> None:
        self._clock = clock
        self._planned = planned

    def now(self, kind: Kind) -> bool:
        """Return whether this is the matter now."""
        now = self._clock.now()
        return any(one.kind is kind and one.start <= now < one.end for one in self._planned)

    def changes(self, kind: Kind) -> int:
        """Return how often this has begun and ended so far."""
        now = self._clock.now()
        return sum((one.start <= now) + (one.end <= now) for one in self._of(kind))

    def logged_out_since(self, instant: float) -> bool:
        """Return whether all sessions of back then have been ended."""
        now = self._clock.now()
        return any(instant <= one.start <= now for one in self._of(Kind.LOGGED_OUT))

    def _of(self, kind: Kind) -> list[Trouble]:
        return [one for one in self._planned if one.kind is kind]


class Key(FakeCredential):
    """A key file that holds the wrong key for a while."""

    def __init__(self, troubles: Troubles) -> None:
        super().__init__()
        self._troubles = troubles

    async def read(self) -> Secret:
        """Return the key of now."""
        return Secret("wrong" if self._troubles.now(Kind.WRONG_KEY) else "right")

    async def stamp(self) -> Hashable:
        """Return how often the file was written."""
        return self._troubles.changes(Kind.WRONG_KEY)


@dataclass(frozen=True, slots=True)
class Habits:
    """How a DSM behaves: `idle` counts a session's lifetime from its last use."""

    lifetime: float
    idle: bool
    latency: float


@dataclass(slots=True)
class Session:
    """A session at the DSM."""

    began: float
    ends: float


class ModelDsm:
    """A DSM with one app: keeps its sessions, and is in trouble as planned."""

    def __init__(self, schedule: FakeSchedule, habits: Habits, troubles: Troubles) -> None:
        self._clock = schedule.clock
        self._habits = habits
        self._troubles = troubles
        self._attempting = schedule.alarm()
        self._ending = schedule.alarm()
        self._sessions: dict[str, Session] = {}
        self._numbers = count(1)
        self.attempts: list[float] = []
        self.refusals = 0

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Grant a session to the right key."""
        await self._answer(timeout)
        if self._troubles.now(Kind.FORBIDDEN) or credential.reveal() == "wrong":
            self.refusals += 1
            raise Rejected(Reason.REJECTED, "refused")
        return self._grant()

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Grant a session to a live one."""
        await self._answer(timeout)
        self._use(token)
        return self._grant()

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Take note of a use."""
        await self._answer(timeout)
        self._use(token)
        return ""

    async def terminate(self, token: Secret, timeout: float) -> None:
        """End a session."""
        await self._ending.wait(Instant(self._clock.now() + self._taken(timeout)))
        self._fail()
        self._use(token)
        self._sessions[token.reveal()].ends = self._clock.now()

    def lives(self, token: Secret) -> bool:
        """Return whether a session lives: it has not run out and nobody has ended it."""
        session = self._sessions[token.reveal()]
        ended = self._troubles.logged_out_since(session.began)
        return not ended and self._clock.now() < session.ends

    def consume(self, token: Secret) -> None:
        """Let a consumer use its token, which DSM must know unless somebody has ended it."""
        session = self._sessions[token.reveal()]
        if not self._troubles.logged_out_since(session.began):
            assert self.lives(token)
            self._touch(session)

    @property
    def living(self) -> int:
        """How many sessions live."""
        return sum(self.lives(Secret(token)) for token in self._sessions)

    async def _answer(self, timeout: float) -> None:
        self.attempts.append(self._clock.now())
        await self._attempting.wait(Instant(self._clock.now() + self._taken(timeout)))
        self._fail()

    def _taken(self, timeout: float) -> float:
        return timeout if self._troubles.now(Kind.HANGS) else min(timeout, self._habits.latency)

    def _fail(self) -> None:
        if self._troubles.now(Kind.REFUSED):
            raise Retryable(Reason.CONNECT, "connection refused")
        if self._troubles.now(Kind.HANGS):
            raise Retryable(Reason.TIMEOUT, "no answer")
        if self._troubles.now(Kind.THROTTLED):
            raise Retryable(Reason.THROTTLED, "slow down", retry_after=inf)

    def _use(self, token: Secret) -> None:
        if not self.lives(token):
            raise SessionLost("Session does not exist")
        if self._troubles.now(Kind.FORBIDDEN):
            raise SessionLost("forbidden", dead=False)
        self._touch(self._sessions[token.reveal()])

    def _touch(self, session: Session) -> None:
        if self._habits.idle:
            session.ends = self._clock.now() + self._habits.lifetime

    def _grant(self) -> Grant:
        token, now = f"token-{next(self._numbers)}", self._clock.now()
        self._sessions[token] = Session(now, now + self._habits.lifetime)
        return Grant(Secret(token), ENTITY_ID, self._habits.lifetime)


class Simulation(Kept):
    """An app, its keeper, its consumer and the model of its DSM."""

    def __init__(self, timing: Timing, habits: Habits, planned: list[Trouble]) -> None:
        super().__init__(timing=timing)
        troubles = Troubles(self.clock, planned)
        self.dsm = ModelDsm(self.schedule, habits, troubles)
        self.client = self.dsm
        self.credential = Key(troubles)
        self.output = HonestOutput(self.clock)
        self.outputs = (self.output,)
        self.keeper = Keeper(self.app, self.equipment, self.world)
        self.gaps: list[float] = []
        """When the consumer found no valid token."""

    async def run(self) -> None:
        """Keep the app and have its token used."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.keeper.run())
            tasks.create_task(self._consume())

    async def _consume(self) -> None:
        alarm = self.schedule.alarm()
        while True:
            await alarm.wait(Instant(self.clock.now() + 37))
            token = valid_token(self.keeper.view.life, self.clock.now())
            if token is None:
                self.gaps.append(self.clock.now())
            else:
                self.dsm.consume(token.access_token)


LUCK = st.floats(0, 1, exclude_max=True)
LIFETIMES = st.sampled_from([400.0, 600.0, 1800.0])
LATENCIES = st.sampled_from([0.0, 0.2, 3.0])


@st.composite
def troubles(draw: st.DrawFn) -> Trouble:
    """Draw something that is the matter for up to three hours of the first eight."""
    start = draw(st.floats(1000, 1000 + 8 * HOUR))
    length = draw(st.one_of(st.floats(1, 100), st.floats(100, 3 * HOUR)))
    return Trouble(draw(st.sampled_from(Kind)), start, start + length)


@st.composite
def habits_for(draw: st.DrawFn, renew: Method) -> Habits:
    """Draw habits; keep-alives can only last where sessions have no absolute end."""
    idle = renew is Method.KEEPALIVE or draw(st.booleans())
    return Habits(draw(LIFETIMES), idle, draw(LATENCIES))


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(Method), st.lists(troubles(), max_size=5), LUCK, st.data())
async def test_a_bad_day(
    renew: Method, planned: list[Trouble], luck: float, data: st.DataObject
) -> None:
    """Whatever happens: no bad token is shown, DSM is left in peace, and it ends well."""
    timing = Timing(renew=renew, session_check=data.draw(st.sampled_from([None, 60.0])))
    app = Simulation(timing, data.draw(habits_for(renew)), planned)
    app.luck = luck
    async with running(app.run()):
        await app.schedule.advance(6 * HOUR)
        app.clock.advance(data.draw(st.sampled_from([0, HOUR])))
        await app.schedule.advance(6 * HOUR)
        life = app.keeper.view.life
        assert life.state is State.FRESH
        assert app.output.holds == life.token
        assert app.dsm.living <= 2, "the current session, and one in its grace"
    attempts = app.dsm.attempts
    # A renewal that is lost, the login that follows it, and a check on their heels.
    assert all(later - one >= 1 for one, later in zip(attempts, attempts[3:], strict=False))
    assert app.dsm.refusals <= 13 * HOUR / timing.rejected_retry + 1 + 2 * len(planned)


@st.composite
def short_outages(draw: st.DrawFn, lifetime: float) -> list[Trouble]:
    """Draw outages that end a minute and a half before the budget does, with peace between them."""
    planned: list[Trouble] = []
    start = 1010 + draw(st.floats(0, lifetime))
    for _ in range(draw(st.integers(0, 6))):
        kinds = [Kind.REFUSED, Kind.HANGS, Kind.THROTTLED, Kind.FORBIDDEN]
        length = draw(st.floats(1, lifetime / 2 - 90))
        planned.append(Trouble(draw(st.sampled_from(kinds)), start, start + length))
        start += length + draw(st.floats(lifetime, 2 * lifetime))
    return planned


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([Method.REAUTH, Method.KEEPALIVE]), st.booleans(), LUCK, st.data())
async def test_outages_within_the_budget_are_never_noticed(
    renew: Method,
    wrong_key: bool,  # noqa: FBT001  # hypothesis passes it by position
    luck: float,
    data: st.DataObject,
) -> None:
    """Not even by an app whose key on the host went wrong: its session lives from itself."""
    habits = data.draw(habits_for(renew))
    planned = data.draw(short_outages(habits.lifetime))
    if wrong_key:
        planned.append(Trouble(Kind.WRONG_KEY, 1010, inf))
    app = Simulation(Timing(renew=renew), habits, planned)
    app.luck = luck
    async with running(app.run()):
        await app.schedule.advance(5 * HOUR)
    assert app.gaps == []
    assert app.observer.of(TokenExpired) == []
