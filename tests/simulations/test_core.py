"""The whole core against a model of DSM and of its host, over simulated days of trouble."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.events import AttemptFailed
from refresherd.domain.model import App, Method, Timing
from simulations.incidents import (
    Ask,
    Incident,
    LogOut,
    Refresh,
    Reload,
    Restart,
    Step,
    Suspend,
    Trouble,
)
from simulations.model_dsm import Habits
from simulations.model_host import LOOK_EVERY, Host, an_app
from simulations.troubles import INSTANTS, Kind
from support.drawn import drawn
from support.simulation import simulate

HOUR, DAY = 3600.0, 86_400.0
TEN_YEARS = 315_576_000.0

Plan = Sequence[tuple[float, Incident]]
"""Incidents, each with its delay in seconds after the previous one."""


@dataclass(frozen=True, slots=True)
class Story:
    """A DSM, the apps that are configured at first, and what happens to them."""

    habits: Habits
    apps: Sequence[App]
    plan: Plan
    rand: float | int = 0.0


def live(story: Story, peace: float = HOUR) -> list[str]:
    """Run a story, then leave time for recovery; return the broken promises.

    A float `rand` is every random number; an integer is the seed from which they are drawn.
    """
    rand = story.rand
    # Reproducible numbers need no secrecy.
    drawn = Random(rand).random if isinstance(rand, int) else lambda: rand  # noqa: S311  # as above
    host = Host(story.habits, drawn)

    async def main() -> None:
        await host.start(story.apps)
        consumers = asyncio.create_task(host.consume())
        for delay, incident in story.plan:
            await asyncio.sleep(delay)
            await incident.happen(host)
        await asyncio.sleep(peace)
        consumers.cancel()
        await asyncio.wait({consumers})
        await host.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        if not consumers.cancelled():
            consumers.result()

    simulate(host.machine, main())
    host.promises.finish()
    return host.promises.broken


NAMES = st.sampled_from(["a", "b", "c"])
URLS = st.sampled_from(["https://one.example.com", "https://two.example.com"])


RAND = st.one_of(st.sampled_from([0.0, 0.5, 0.999]), st.integers(0, 999))
SECONDS = st.one_of(st.floats(0.1, 100), st.floats(100, HOUR / 2))
LASTING = st.sampled_from([kind for kind in Kind if kind not in INSTANTS])
TROUBLES = st.builds(Trouble, LASTING, SECONDS, st.one_of(st.just(""), NAMES))
EVENTS = st.one_of(
    st.builds(LogOut, NAMES),
    st.builds(Suspend, st.one_of(st.floats(1, 100), st.floats(1, 24 * HOUR))),
    st.builds(Step, st.sampled_from([-TEN_YEARS, -HOUR, -1.0, 1.0, HOUR, TEN_YEARS])),
    st.builds(Restart, st.booleans(), st.floats(0, 100)),
    st.builds(Refresh, st.one_of(st.just(""), NAMES)),
    st.builds(Ask, NAMES, st.floats(0, 1)),
)


@st.composite
def timings(draw: st.DrawFn, methods: Sequence[Method]) -> Timing:
    """Draw a timing."""
    at = draw(st.sampled_from([0.05, 0.5, 0.8]))
    retry_min = draw(st.sampled_from([1.0, 5.0]))
    return Timing(
        at=at,
        jitter=draw(st.sampled_from([0.0, min(0.1, at - 0.05)])),
        retry_min=retry_min,
        retry_max=draw(st.sampled_from([retry_min, 30.0])),
        rejected_retry=draw(st.sampled_from([120.0, 1800.0])),
        renew=draw(st.sampled_from(methods)),
        session_check=draw(st.sampled_from([None, 30.0])),
        terminate_after=draw(st.sampled_from([None, 5.0, 60.0])),
    )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Draw a story, with keep-alives only if sessions have no absolute end."""
    lifetime, latency = st.sampled_from([60.0, 600.0, 1800.0]), st.sampled_from([0.0, 0.2, 3.0])
    habits = Habits(draw(lifetime), draw(st.booleans()), draw(latency))
    methods = list(Method) if habits.idle else [Method.REAUTH, Method.AUTH]
    apps = st.builds(an_app, NAMES, timings(methods), URLS)
    reloads = st.builds(Reload, apps, st.booleans(), st.booleans())
    # Every second incident is a trouble, and every sixth a reload.
    incidents = st.integers(0, 5).flatmap(lambda n: (reloads, EVENTS, EVENTS, *[TROUBLES] * 3)[n])
    plan = st.lists(st.tuples(SECONDS, incidents), max_size=6)
    first = st.lists(apps, min_size=1, max_size=3, unique_by=lambda app: app.name)
    return Story(habits, draw(first), draw(plan), draw(RAND))


IDLE = Habits(lifetime=600.0, idle=True, latency=0.2)

TRIO = [
    an_app("a", Timing(session_check=30.0)),
    an_app("b", Timing(renew=Method.AUTH, at=0.05, jitter=0.0, terminate_after=5.0)),
    an_app("c", Timing(renew=Method.KEEPALIVE)),
]
LASTING_KINDS = [kind for kind in Kind if kind not in INSTANTS | {Kind.TINY}]
SINGLE: list[Incident] = [
    Trouble(Kind.TINY, 90.0),
    *(Trouble(kind, seconds) for kind in LASTING_KINDS for seconds in (90.0, 600.0)),
    *(LogOut(app) for app in "abc"),
    *(Suspend(seconds) for seconds in (5.0, 250.0, HOUR)),
    *(Step(seconds) for seconds in (-TEN_YEARS, -HOUR, 1.0, HOUR, TEN_YEARS)),
    *(Restart(end_sessions=end_sessions) for end_sessions in (False, True)),
    Refresh(),
    Ask("a", 0.9),
    Ask("a", 1.0),
    Reload(an_app("a", Timing(), "https://two.example.com"), end_sessions=True),
    Reload(an_app("a", Timing(at=0.8))),
    Reload(an_app("b", Timing()), goes=True),
    Reload(an_app("d", Timing())),
]


@pytest.mark.parametrize("incident", SINGLE, ids=repr)
def test_no_promise_is_broken_by_a_single_incident(incident: Incident) -> None:
    """Each of them happens once, just before the renewals are due, to three different apps."""
    assert live(Story(IDLE, TRIO, [(295.0, incident)]), peace=700.0) == []


def test_a_session_that_is_ended_long_before_its_renewal_is_noticed_by_a_check() -> None:
    """Without `session_check`, its consumers would have a dead token for minutes."""
    assert live(Story(IDLE, TRIO, [(65.0, LogOut("a"))]), peace=200.0) == []


def test_a_session_that_is_granted_for_years_is_renewed_within_a_day() -> None:
    """Otherwise nobody would notice that it was ended; the same holds for keep-alives."""
    plan: Plan = [(0.0, Trouble(Kind.ENDLESS, HOUR)), (1.0, Suspend(DAY - 600))]
    assert live(Story(IDLE, TRIO, plan), peace=900.0) == []


def test_a_read_in_the_middle_of_an_instant_is_not_checked() -> None:
    """A renewal is answered just before a read that is due at the same instant of the loop."""
    before = IDLE.latency + 5e-10
    plan = [(12 * LOOK_EVERY - before, Refresh())]
    assert live(Story(IDLE, [an_app("a", Timing())], plan), peace=20.0) == []


@pytest.mark.parametrize("maximum", [650.0, 1000.0, 1500.0, 4000.0])
@pytest.mark.parametrize(("at", "jitter"), [(0.05, 0.0), (0.5, 0.1), (0.8, 0.1)])
def test_a_login_comes_before_sessions_reach_their_maximum_age(
    maximum: float, at: float, jitter: float
) -> None:
    """Consumers keep tokens that outlast an outage, and the key is used about once in that time."""
    host = Host(Habits(maximum=maximum), Random(7).random)  # noqa: S311  # as above

    async def main() -> None:
        await host.start([an_app("a", Timing(at=at, jitter=jitter))])
        await asyncio.sleep(10 * maximum)
        await host.stop()

    simulate(host.machine, main())
    host.promises.finish()
    assert host.promises.broken == []
    assert host.machine.observer.of(AttemptFailed) == []
    logins = [one for one in host.dsm.requests["a"] if one.name == "login"]
    assert 10 <= len(logins) <= len(host.dsm.requests["a"]) / 3 + 1
    assert len(logins) <= 10 / (1 - at) + 10 or maximum < 1000
    shortest = min(session.lifetime for session in host.dsm.sessions.values())
    assert shortest >= 0.65 * (1 - at) ** 2 * host.dsm.habits.lifetime


@drawn(examples=12)
@given(stories())
def test_no_promise_is_broken_by_any_sequence_of_incidents(story: Story) -> None:
    """None of the nine, in any order; and all apps are well an hour after the last incident."""
    assert live(story) == []
