"""A refused credential is never tried so often that DSM resets it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain import login_budget
from refresherd.domain.login_budget import (
    BURST,
    DAY,
    FIRST_RETRY,
    MAX_REFUSALS,
    MAX_SCHEDULED,
    NEVER_YET,
    SPACING,
    WINDOW,
    History,
)
from refresherd.domain.model import Instant

NOW = Instant(1_000_000)

WAITS = st.one_of(st.sampled_from([0.0, 1.0, SPACING, WINDOW]), st.floats(0, 2 * WINDOW))


@dataclass(frozen=True, slots=True)
class Wish:
    """A login that an operator or the schedule wants, `wait` seconds after the one before."""

    wait: float
    by_operator: bool


WISHES = st.lists(st.builds(Wish, WAITS, st.booleans()), max_size=300)


def refused_at(*instants: float) -> History:
    """Return the history of a credential that was refused at these instants."""
    return History(tuple(Instant(at) for at in instants))


def most_within_a_day(failures: Sequence[float]) -> int:
    """Return how many of these were at most within any 24 hours."""
    return max((sum(at <= one <= at + DAY for one in failures) for at in failures), default=0)


def granted(wishes: list[Wish], history: History = History()) -> list[float]:  # noqa: B008  # frozen
    """Return when logins were made, each wish as soon as it is allowed; DSM refuses all of them."""
    now, failures = NOW, list[float]()
    for wish in wishes:
        now = Instant(now + wish.wait)
        if login_budget.allowed_at(history, now, by_operator=wish.by_operator) <= now:
            failures.append(now)
            history = login_budget.recent(login_budget.refused(history, now), now)
    return failures


@given(WISHES)
def test_no_day_sees_more_than_fifty(wishes: list[Wish]) -> None:
    """DSM resets the secret after a hundred, and the promise is half of that."""
    assert most_within_a_day(granted(wishes)) <= MAX_REFUSALS


def test_not_even_a_flood_of_requests_gets_more() -> None:
    """One a second for two days: the first fifty go out, and the next a day later."""
    failures = granted([Wish(1.0, by_operator=True)] * 170_000)
    assert len(failures) == 2 * MAX_REFUSALS
    assert failures[MAX_REFUSALS] - failures[0] >= DAY


def test_the_schedule_alone_stays_well_below() -> None:
    """So that an operator can always ask for another login."""
    failures = granted([Wish(60.0, by_operator=False)] * 5000)
    assert most_within_a_day(failures) <= MAX_SCHEDULED
    gaps = [later - earlier for earlier, later in pairwise(failures)]
    assert all(gap == 60 for gap in gaps[: BURST - 1])
    assert all(SPACING <= gap < SPACING + 60 for gap in gaps[BURST - 1 :])


@given(WISHES, st.booleans())
def test_there_is_always_a_next_time(wishes: list[Wish], by_operator: bool) -> None:  # noqa: FBT001
    """The next login is at most a window away, and is allowed then."""
    history = refused_at(*granted(wishes))
    now = Instant(max(history.failed, default=NOW))
    at = login_budget.allowed_at(history, now, by_operator=by_operator)
    assert now <= at <= now + WINDOW
    assert login_budget.allowed_at(history, at, by_operator=by_operator) == at
    assert login_budget.slots(history, at, patient=True) >= 1


@given(WISHES)
def test_forgotten_failures_no_longer_counted(wishes: list[Wish]) -> None:
    """The shortened history allows what the whole one allows."""
    history, now = History(), NOW
    for wish in wishes:
        now = Instant(now + wish.wait)
        history = login_budget.refused(history, now)
        short = login_budget.recent(history, now)
        for by_operator in (False, True):
            allowed = login_budget.allowed_at(history, now, by_operator=by_operator)
            assert login_budget.allowed_at(short, now, by_operator=by_operator) == allowed


def test_no_failure_is_remembered_for_longer_than_it_counts() -> None:
    """At the very end of its window as well: that is when the next login was said to be allowed."""
    instants = (Instant(0), Instant(1))
    short = login_budget.recent(History(instants, interrupted=instants), Instant(WINDOW))
    assert short == History((Instant(1),), interrupted=(Instant(1),))


def test_a_day_with_too_many_is_left_to_operators() -> None:
    """The schedule must not use up the logins reserved for them."""
    history = refused_at(*range(MAX_SCHEDULED))
    assert login_budget.allowed_at(history, Instant(100), by_operator=False) == WINDOW
    assert login_budget.allowed_at(history, Instant(100), by_operator=True) == Instant(100)


def test_a_good_key_is_never_made_to_wait() -> None:
    """However long the outage has lasted since it last worked."""
    for history in (History(), History(accepted_at=Instant(5.0))):
        assert login_budget.allowed_at(history, NOW, by_operator=False) == NOW


def test_a_repaired_key_does_not_wait_for_its_past() -> None:
    """Its refusals count for the overall limit only: DSM may not have forgotten them."""
    history = login_budget.accepted(refused_at(*range(30)), Instant(30))
    assert login_budget.allowed_at(history, Instant(31), by_operator=False) == Instant(31)
    assert login_budget.slots(history, Instant(31), patient=True) == BURST
    burnt = login_budget.accepted(refused_at(*range(MAX_REFUSALS)), Instant(MAX_REFUSALS))
    for by_operator in (False, True):
        assert (
            login_budget.allowed_at(burnt, Instant(MAX_REFUSALS), by_operator=by_operator) == WINDOW
        )


def test_a_repaired_key_may_fail_at_once_only_as_often_as_is_left() -> None:
    """It may be revoked while many of its logins are under way."""
    history = login_budget.accepted(refused_at(*range(MAX_REFUSALS - 3)), Instant(MAX_REFUSALS))
    assert login_budget.slots(history, Instant(MAX_REFUSALS), patient=True) == 3


def test_a_key_that_was_revoked_is_spaced_anew() -> None:
    """Failures after the success count as usual."""
    history = login_budget.accepted(refused_at(*range(20)), Instant(20))
    for at in range(21, 21 + BURST):
        assert login_budget.allowed_at(history, Instant(at), by_operator=False) == Instant(at)
        history = login_budget.refused(history, Instant(at))
    assert login_budget.allowed_at(history, Instant(40), by_operator=False) == 20 + BURST + SPACING


def test_a_success_shows_that_interrupted_logins_had_not_failed() -> None:
    """A crash loop must not lock out a good key."""
    history = History()
    for at in range(MAX_REFUSALS):
        history = login_budget.interrupted(history, Instant(at))
    assert login_budget.allowed_at(history, Instant(MAX_REFUSALS), by_operator=True) == WINDOW
    assert login_budget.accepted(history, Instant(60)) == History(accepted_at=Instant(60))


def test_a_restart_while_dsm_hangs_locks_out_no_good_key() -> None:
    """Ten apps with one key leave ten interrupted logins, none of them refused by DSM."""
    history = History(interrupted=(NOW,) * BURST)
    assert login_budget.allowed_at(history, NOW, by_operator=False) == NOW + FIRST_RETRY
    history = login_budget.interrupted(history, Instant(NOW + FIRST_RETRY))
    assert login_budget.allowed_at(history, NOW, by_operator=False) == NOW + 3 * FIRST_RETRY
    once_refused = login_budget.refused(history, Instant(NOW + 3 * FIRST_RETRY))
    assert (
        login_budget.allowed_at(once_refused, NOW, by_operator=False)
        == NOW + 3 * FIRST_RETRY + SPACING
    )
    mended = login_budget.accepted(refused_at(*range(10)), NOW)
    cut = replace(mended, interrupted=(Instant(NOW + 1),) * BURST)
    assert login_budget.allowed_at(cut, NOW, by_operator=False) == NOW + 1 + FIRST_RETRY


def test_a_day_of_interrupted_logins_leaves_the_operator_some() -> None:
    """A crash loop may hide that DSM refuses each of them."""
    now, history = NOW, History()
    while now < NOW + DAY:
        if login_budget.allowed_at(history, now, by_operator=False) <= now:
            history = login_budget.interrupted(history, now)
        now = Instant(now + 10)
    assert BURST < len(history.failed) <= MAX_SCHEDULED


def test_a_lost_record_lets_one_login_find_out() -> None:
    """A good key works at once; a wrong one stays below DSM's hundred, whatever was lost."""
    history = login_budget.assumed(NOW)
    assert login_budget.allowed_at(history, NOW, by_operator=False) == NOW
    assert login_budget.slots(history, NOW, patient=False) == 1
    assert login_budget.accepted(history, NOW).failed == ()
    failures = granted([Wish(1.0, by_operator=True)] * 500, history)
    assert MAX_REFUSALS + len(failures) < 100


def test_one_login_finds_out_for_all() -> None:
    """Unless it is not answered; once the key is known to be good, many may log in at a time."""
    fresh = History()
    assert login_budget.slots(fresh, NOW, patient=True) == 1
    assert login_budget.slots(fresh, NOW, patient=False) == BURST
    refused = refused_at(NOW - 2, NOW - 1)
    assert login_budget.slots(refused, NOW, patient=False) == BURST - 2
    assert login_budget.slots(login_budget.accepted(refused, NOW), NOW, patient=True) == BURST


@given(st.lists(st.floats(0, WINDOW), max_size=80), st.booleans(), st.booleans())
def test_concurrent_logins_never_exceed_the_limit(
    ages: list[float],
    proven: bool,  # noqa: FBT001  # hypothesis passes by position
    patient: bool,  # noqa: FBT001  # as above
) -> None:
    """All of them may be refused."""
    instants = sorted(NOW - age for age in ages)
    history = History(tuple(map(Instant, instants)), accepted_at=NOW if proven else NEVER_YET)
    counted = len(login_budget.recent(history, NOW).failed)
    assert login_budget.slots(history, NOW, patient=patient) + counted <= max(MAX_REFUSALS, counted)
