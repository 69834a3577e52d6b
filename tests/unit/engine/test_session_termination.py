"""Replaced sessions: ended after their grace period, bounded in number, and counted."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise

import pytest

from refresherd.domain.errors import DsmError, Reason, Retryable, SessionLost
from refresherd.domain.events import SessionEnded
from refresherd.domain.labels import Ending
from refresherd.domain.model import Instant, Secret, Timing, Token
from refresherd.domain.readiness import OutputStatus
from refresherd.domain.session_state import NEVER
from refresherd.engine.session_termination import MAX_PENDING, SessionTermination
from support.fake_app import TIMING, FakeApp
from support.fakes import settle

OUTAGE = Retryable(Reason.CONNECT, "connection refused")


def token(number: int = 1, left: float = 300.0) -> Token:
    """Return a token that has `left` seconds to live at 1000."""
    lifetime = 600.0
    expires_at = Instant(1000 + left)
    issued_at = Instant(expires_at - lifetime)
    return Token(Secret(f"token-{number}"), "", number, issued_at, lifetime, expires_at)


class Retired:
    """An app's terminations, made whenever they are due."""

    def __init__(
        self,
        terminations: Iterable[BaseException | asyncio.Event | None] = (),
        timing: Timing = TIMING,
    ) -> None:
        self.fake_app = FakeApp(timing=timing, terminations=terminations)
        self.termination = SessionTermination(self.fake_app.running_app)

    async def due(self) -> float:
        """Go on to when a termination is due, make it, and return when that was."""
        now = max(self.fake_app.clock.now(), self.termination.due_at)
        self.fake_app.clock.set(now)
        await self.termination.work()
        return now

    @property
    def endings(self) -> list[SessionEnded]:
        """The events that observers saw."""
        return self.fake_app.observer.of(SessionEnded)

    @property
    def ended(self) -> list[str]:
        """The tokens whose termination was asked for."""
        return [call.secret for call in self.fake_app.scripted.calls]


async def test_an_old_session_ends_after_its_grace() -> None:
    """Consumers that have just read the old token can finish their work with it."""
    retired = Retired([None])
    retired.termination.retire(token())
    await retired.termination.work()
    assert retired.ended == []
    assert await retired.due() == 1060
    assert retired.ended == ["token-1"]
    assert retired.endings == [SessionEnded("payments", Ending.TERMINATED)]
    assert (retired.termination.pending, retired.termination.due_at) == ((), NEVER)


async def test_a_grace_ends_just_before_the_token() -> None:
    """Nobody can use an expired token, and DSM answers 401 to its termination."""
    retired = Retired([None])
    retired.termination.retire(token(left=20))
    assert await retired.due() == 1019
    assert retired.ended == ["token-1"]


async def test_an_expired_session_is_not_ended() -> None:
    """A suspend, or an outage, has outlasted it: the request would be a wasted 401."""
    retired = Retired()
    retired.termination.retire(token(left=-1))
    assert retired.termination.due_at == NEVER
    retired.termination.retire(token())
    retired.fake_app.clock.advance(301)
    await retired.due()
    await retired.termination.end_all(token(2, left=200))
    assert retired.ended == []
    assert retired.endings == [], "what nobody tried to end counts as nothing"
    assert retired.termination.due_at == NEVER


async def test_the_last_termination_is_tried_twice() -> None:
    """One of DSM's addresses may be down at a stop, after which nobody ends the session."""
    retired = Retired([OUTAGE, None])
    await retired.termination.end_all(token())
    assert retired.ended == ["token-1", "token-1"]
    assert retired.endings == [SessionEnded("payments", Ending.TERMINATED)]


async def test_the_last_termination_is_not_tried_for_long() -> None:
    """A stop has two seconds for both tries, so the first must not take all of them."""
    retired = Retired([OUTAGE, OUTAGE])
    await retired.termination.end_all(token())
    assert [event.result for event in retired.endings] == [Ending.FAILED]
    assert [call.timeout for call in retired.fake_app.scripted.calls] == [1.5, 1.5]


async def test_a_session_that_expires_while_it_waits_its_turn_is_not_ended() -> None:
    """A few terminations are under way at once, and one that hangs holds up the others."""
    retired = Retired()
    retired.termination.retire(token(left=100))
    async with retired.fake_app.endings:
        work = asyncio.create_task(retired.due())
        await settle()
        retired.fake_app.clock.advance(100)
    await work
    assert (retired.ended, retired.endings) == ([], [])


async def test_a_termination_is_not_tried_again_after_the_expiry() -> None:
    """The first failure is the last word then, and counts."""
    retired = Retired([OUTAGE])
    retired.termination.retire(token(left=60.5))
    await retired.due()
    assert [event.result for event in retired.endings] == [Ending.FAILED]
    assert retired.termination.due_at == NEVER


def test_a_grace_may_be_unlimited() -> None:
    """`terminate_after = "never"` leaves the session to idle out."""
    retired = Retired(timing=Timing(terminate_after=None))
    retired.termination.retire(token())
    assert retired.termination.due_at == NEVER
    assert retired.termination.pending == ()


async def test_a_termination_is_tried_thrice() -> None:
    """A short outage should not leave a session behind, and a long one causes no more requests."""
    retired = Retired([OUTAGE, OUTAGE, OUTAGE])
    retired.termination.retire(token())
    assert [await retired.due() for _ in range(3)] == [1060, 1061, 1062]
    assert retired.endings == [SessionEnded("payments", Ending.FAILED, "connection refused")]
    assert retired.termination.due_at == NEVER


async def test_a_termination_that_works_at_last_counts_once() -> None:
    """A dashboard counts sessions, not tries."""
    retired = Retired([OUTAGE, None])
    retired.termination.retire(token())
    await retired.due()
    assert retired.termination.pending == (token(),)
    await retired.due()
    assert retired.endings == [SessionEnded("payments", Ending.TERMINATED)]


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (SessionLost("Session does not exist"), Ending.GONE),
        (SessionLost("forbidden", dead=False), Ending.FAILED),
    ],
)
async def test_a_definite_answer_is_not_asked_again(error: DsmError, ending: Ending) -> None:
    """A session that had ended before is no failure; one that may not be ended is."""
    retired = Retired([error])
    retired.termination.retire(token())
    await retired.due()
    assert [event.result for event in retired.endings] == [ending]
    assert retired.termination.due_at == NEVER


async def test_sessions_end_in_the_order_of_their_graces() -> None:
    """A session that expires earlier does not wait for those before it."""
    retired = Retired([None, None])
    retired.termination.retire(token(1))
    retired.termination.retire(token(2, left=20))
    assert [await retired.due(), await retired.due()] == [1019, 1060]
    assert retired.ended == ["token-2", "token-1"]


async def test_too_many_end_early() -> None:
    """Tokens that live for seconds must not hold hundreds of sessions for their grace."""
    retired = Retired([None])
    for number in range(MAX_PENDING + 1):
        retired.termination.retire(token(number))
    assert retired.termination.due_at == 1000.0
    await retired.termination.work()
    assert retired.ended == ["token-0"]
    assert len(retired.termination.pending) == MAX_PENDING


async def test_terminations_that_hang_do_not_pile_up() -> None:
    """If DSM grants sessions for days but ends none, memory must not grow."""
    gate = asyncio.Event()
    retired = Retired([gate, *[None] * (MAX_PENDING + 2)])
    retired.termination.retire(token(0, left=1000))
    retired.fake_app.clock.advance(60)
    work = asyncio.create_task(retired.termination.work())
    await settle()
    for number in range(1, 100):
        retired.termination.retire(token(number, left=1000))
    assert len(retired.termination.pending) <= MAX_PENDING + 1
    gate.set()
    await work
    retired.fake_app.clock.advance(300)
    await retired.termination.work()
    results = [event.result for event in retired.endings]
    assert len(results) == 100, "each session counts once"
    assert results.count(Ending.FAILED) == 100 - (MAX_PENDING + 1)


async def test_a_termination_takes_a_place_and_gives_it_back() -> None:
    """Terminations have places of their own, so that they never delay attempts."""
    retired = Retired([OUTAGE, None])
    retired.termination.retire(token())
    async with retired.fake_app.endings:
        work = asyncio.create_task(retired.due())
        await settle()
        assert retired.ended == []
    await work
    assert retired.ended == ["token-1"]
    assert not retired.fake_app.endings.locked()


async def test_an_interrupted_termination_is_repeated() -> None:
    """A crash of the app, or a stop, must not forget a session that is still to be ended."""
    retired = Retired([asyncio.Event(), None])
    retired.termination.retire(token())
    work = asyncio.create_task(retired.due())
    await settle()
    work.cancel()
    await asyncio.wait({work})
    assert retired.termination.pending == (token(),)
    assert not retired.fake_app.endings.locked()


@pytest.mark.parametrize(("grace", "instants"), [(60.0, [1060]), (300.0, [1060]), (None, [])])
async def test_what_waits_for_its_end_outlives_a_change_of_settings(
    grace: float | None, instants: list[float]
) -> None:
    """If each reload put it off, sessions would pile up; "never" applies to them as well."""
    earlier = Retired()
    earlier.termination.retire(token())
    later = Retired([None], Timing(terminate_after=grace))
    later.fake_app.clock.advance(50)
    later.termination.follow(earlier.termination)
    while later.termination.due_at < NEVER:
        await later.due()
    assert later.fake_app.scripted.instants("terminate") == instants


async def test_a_session_lives_on_while_an_output_is_behind() -> None:
    """On a full disk the old token is all that consumers have."""
    retired = Retired([None])
    held = [token(2), token(1)]
    retired.termination.outputs = lambda: [OutputStatus("/run/token", one) for one in held]
    retired.termination.retire(token(1))
    assert [await retired.due() for _ in range(2)] == [1060.0, 1120.0]
    assert retired.ended == []
    held[1] = token(2)
    assert await retired.due() == 1180.0
    assert retired.ended == [], "a consumer that has just read the old one may finish with it"
    assert await retired.due() == 1240.0
    assert retired.ended == ["token-1"]


@pytest.mark.parametrize("grace", [60.0, 0.0])
async def test_a_session_lives_on_until_its_expiry_only(grace: float) -> None:
    """A disk that stays full must neither let sessions pile up nor be checked without pause."""
    retired = Retired(timing=Timing(terminate_after=grace))
    held = OutputStatus("/run/payments.token", token(1, left=100.0))
    retired.termination.outputs = lambda: (held,)
    retired.termination.retire(token(1, left=100.0))
    looks = []
    while retired.termination.due_at < NEVER:
        looks.append(await retired.due())
    assert looks[-1] == 1100.0
    assert retired.ended == []
    assert all(later - one >= 1.0 for one, later in pairwise(looks))


async def test_a_postponed_end_comes_before_the_expiry() -> None:
    """DSM may count from the last use: the session would live on after it, for nothing."""
    retired = Retired([None], timing=Timing(terminate_after=0.0))
    held = [OutputStatus("/run/token", token(left=1.2))]
    retired.termination.outputs = lambda: held
    retired.termination.retire(token(left=1.2))
    await retired.termination.work()
    assert retired.ended == [], "the output has not got the next token yet"
    held.clear()
    assert await retired.due() < 1001.2
    assert retired.ended == ["token-1"]
