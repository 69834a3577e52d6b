"""How often a refused credential is tried: never so often that DSM resets it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain import login_budget
from refresherd.domain.login_budget import (
    DAY,
    FREE,
    MOST,
    NEVER_YET,
    PROBE,
    SCHEDULED,
    SPACING,
    WINDOW,
    History,
)
from refresherd.domain.model import Instant

NOW = Instant(1_000_000)

WAITS = st.one_of(st.sampled_from([0.0, 1.0, SPACING, WINDOW]), st.floats(0, 2 * WINDOW))


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants a login, `wait` seconds after the one before, and `asked` for it or not."""

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
    """Return when there were logins, where each wish is fulfilled if it may be, and DSM refuses."""
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
    assert most_within_a_day(granted(wishes)) <= MOST


def test_not_even_a_flood_of_requests_gets_more() -> None:
    """One a second for two days: the first fifty go out, and the next a day later."""
    failures = granted([Wish(1.0, by_operator=True)] * 170_000)
    assert len(failures) == 2 * MOST
    assert failures[MOST] - failures[0] >= DAY


def test_the_schedule_alone_stays_well_below() -> None:
    """So that there is always something left for an operator to ask for."""
    failures = granted([Wish(60.0, by_operator=False)] * 5000)
    assert most_within_a_day(failures) <= SCHEDULED
    gaps = [later - earlier for earlier, later in pairwise(failures)]
    assert all(gap == 60 for gap in gaps[: FREE - 1])
    assert all(SPACING <= gap < SPACING + 60 for gap in gaps[FREE - 1 :])


@given(WISHES, st.booleans())
def test_there_is_always_a_next_time(wishes: list[Wish], by_operator: bool) -> None:  # noqa: FBT001
    """Nothing is for ever: it is at most a window off, and then the login may be made."""
    history = refused_at(*granted(wishes))
    now = Instant(max(history.failed, default=NOW))
    at = login_budget.allowed_at(history, now, by_operator=by_operator)
    assert now <= at <= now + WINDOW
    assert login_budget.allowed_at(history, at, by_operator=by_operator) == at
    assert login_budget.places(history, at, patient=True) >= 1


@given(WISHES)
def test_what_is_forgotten_had_stopped_to_count(wishes: list[Wish]) -> None:
    """A history that is cut short allows what the long one does."""
    history, now = History(), NOW
    for wish in wishes:
        now = Instant(now + wish.wait)
        history = login_budget.refused(history, now)
        short = login_budget.recent(history, now)
        for by_operator in (False, True):
            allowed = login_budget.allowed_at(history, now, by_operator=by_operator)
            assert login_budget.allowed_at(short, now, by_operator=by_operator) == allowed


def test_nothing_is_remembered_for_longer_than_it_counts() -> None:
    """At the very end of its window as well: that is when the next login was said to be allowed."""
    instants = (Instant(0), Instant(1))
    short = login_budget.recent(History(instants, cut_off=instants), Instant(WINDOW))
    assert short == History((Instant(1),), cut_off=(Instant(1),))


def test_a_day_with_too_many_is_left_to_operators() -> None:
    """The schedule does not use up what they may still ask for."""
    history = refused_at(*range(SCHEDULED))
    assert login_budget.allowed_at(history, Instant(100), by_operator=False) == WINDOW
    assert login_budget.allowed_at(history, Instant(100), by_operator=True) == Instant(100)


def test_a_good_key_is_never_made_to_wait() -> None:
    """However long the outage was before which it worked."""
    for history in (History(), History(good_at=Instant(5.0))):
        assert login_budget.allowed_at(history, NOW, by_operator=False) == NOW


def test_a_mended_key_is_not_made_to_wait_for_its_past() -> None:
    """Its refusals count towards the most of all alone: DSM may not have forgotten them."""
    history = login_budget.good(refused_at(*range(30)), Instant(30))
    assert login_budget.allowed_at(history, Instant(31), by_operator=False) == Instant(31)
    assert login_budget.places(history, Instant(31), patient=True) == FREE
    burnt = login_budget.good(refused_at(*range(MOST)), Instant(MOST))
    for by_operator in (False, True):
        assert login_budget.allowed_at(burnt, Instant(MOST), by_operator=by_operator) == WINDOW


def test_a_mended_key_may_fail_no_more_often_at_once_than_is_left() -> None:
    """It may be taken back while many of its logins are under way."""
    history = login_budget.good(refused_at(*range(MOST - 3)), Instant(MOST))
    assert login_budget.places(history, Instant(MOST), patient=True) == 3


def test_a_key_that_was_taken_back_is_spaced_anew() -> None:
    """What came after the success counts as ever."""
    history = login_budget.good(refused_at(*range(20)), Instant(20))
    for at in range(21, 21 + FREE):
        assert login_budget.allowed_at(history, Instant(at), by_operator=False) == Instant(at)
        history = login_budget.refused(history, Instant(at))
    assert login_budget.allowed_at(history, Instant(40), by_operator=False) == 20 + FREE + SPACING


def test_a_success_shows_that_what_was_cut_off_had_not_failed() -> None:
    """A crash loop with a good key is not to shut that out."""
    history = History()
    for at in range(MOST):
        history = login_budget.cut_off(history, Instant(at))
    assert login_budget.allowed_at(history, Instant(MOST), by_operator=True) == WINDOW
    assert login_budget.good(history, Instant(60)) == History(good_at=Instant(60))


def test_a_restart_while_dsm_hangs_shuts_out_no_good_key() -> None:
    """Ten apps with one key leave ten logins cut off, of which DSM has refused none."""
    history = History(cut_off=(NOW,) * FREE)
    assert login_budget.allowed_at(history, NOW, by_operator=False) == NOW + PROBE
    history = login_budget.cut_off(history, Instant(NOW + PROBE))
    assert login_budget.allowed_at(history, NOW, by_operator=False) == NOW + 3 * PROBE
    once_refused = login_budget.refused(history, Instant(NOW + 3 * PROBE))
    assert (
        login_budget.allowed_at(once_refused, NOW, by_operator=False) == NOW + 3 * PROBE + SPACING
    )
    mended = login_budget.good(refused_at(*range(10)), NOW)
    cut = replace(mended, cut_off=(Instant(NOW + 1),) * FREE)
    assert login_budget.allowed_at(cut, NOW, by_operator=False) == NOW + 1 + PROBE


def test_a_day_of_logins_that_are_cut_off_leaves_the_operator_some() -> None:
    """A crash loop may hide that DSM refuses each of them."""
    now, history = NOW, History()
    while now < NOW + DAY:
        if login_budget.allowed_at(history, now, by_operator=False) <= now:
            history = login_budget.cut_off(history, now)
        now = Instant(now + 10)
    assert FREE < len(history.failed) <= SCHEDULED


def test_a_lost_record_lets_one_login_find_out() -> None:
    """A good key works at once; a wrong one gets nowhere near the hundred, whatever was lost."""
    history = login_budget.unknown(NOW)
    assert login_budget.allowed_at(history, NOW, by_operator=False) == NOW
    assert login_budget.places(history, NOW, patient=False) == 1
    assert login_budget.good(history, NOW).failed == ()
    failures = granted([Wish(1.0, by_operator=True)] * 500, history)
    assert MOST + len(failures) < 100


def test_one_login_finds_out_for_all() -> None:
    """Unless it is not answered; and once it is known to be good, many may go at a time."""
    fresh = History()
    assert login_budget.places(fresh, NOW, patient=True) == 1
    assert login_budget.places(fresh, NOW, patient=False) == FREE
    refused = refused_at(NOW - 2, NOW - 1)
    assert login_budget.places(refused, NOW, patient=False) == FREE - 2
    assert login_budget.places(login_budget.good(refused, NOW), NOW, patient=True) == FREE


@given(st.lists(st.floats(0, WINDOW), max_size=80), st.booleans(), st.booleans())
def test_those_under_way_never_take_more_than_is_left(
    ages: list[float],
    proven: bool,  # noqa: FBT001  # hypothesis passes by position
    patient: bool,  # noqa: FBT001  # as above
) -> None:
    """All of them may be refused."""
    instants = sorted(NOW - age for age in ages)
    history = History(tuple(map(Instant, instants)), good_at=NOW if proven else NEVER_YET)
    counted = len(login_budget.recent(history, NOW).failed)
    assert login_budget.places(history, NOW, patient=patient) + counted <= max(MOST, counted)
