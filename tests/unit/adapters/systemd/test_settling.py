"""Which apps hold up the start, and since when."""

import pytest

from refresherd.adapters.systemd.settling import Settling
from refresherd.domain.errors import Reason
from refresherd.domain.events import (
    AppCrashed,
    AttemptBegan,
    AttemptFailed,
    ClockJumped,
    Event,
    OutputFailed,
    OutputWritten,
)
from refresherd.domain.labels import Jump
from refresherd.domain.model import Instant, Method

BEGAN = AttemptBegan("a", Method.AUTH, 0.0)
FAILED = AttemptFailed(
    "a", "https://dsm", Method.AUTH, Reason.CREDENTIAL, "no file", 0.0, 1, Instant(1), ""
)


def settling() -> Settling:
    """Return what is known at 0 about two apps that have not settled."""
    found = Settling(Instant(0))
    for app in ("a", "b"):
        found.update(app, settled=False, now=Instant(0))
    return found


def since(found: Settling) -> list[float]:
    """Return since when apps have made no progress."""
    return sorted(found.unsettled_since())


@pytest.mark.parametrize(
    "event",
    [BEGAN, FAILED, OutputFailed("a", "/run/a", "full", 1.0), AppCrashed("a", OSError(), 1)],
)
def test_an_app_fails_from_its_first_trouble_on(event: Event) -> None:
    """An attempt that hangs counts from its beginning: `timeout` may be longer than the boot."""
    found = settling()
    found.observe(event, Instant(5))
    found.observe(FAILED, Instant(25))
    found.observe(OutputWritten("a", "/run/other", 1), Instant(26))
    assert since(found) == [0, 5]


def test_an_app_that_waits_its_turn_does_not_fail_while_others_settle() -> None:
    """Ten thousand apps at a slow endpoint need minutes, and none of them is in trouble."""
    found = settling()
    found.observe(BEGAN, Instant(1))
    found.update("a", settled=True, now=Instant(20))
    assert since(found) == [20]
    found.update("a", settled=True, now=Instant(40))
    assert since(found) == [20]  # a renewal of a settled app is no progress of others
    found.update("b", settled=True, now=Instant(41))
    assert since(found) == []


def test_an_app_that_has_settled_and_loses_its_token_fails_anew() -> None:
    """While others hold up the start, short tokens may expire."""
    found = settling()
    found.observe(BEGAN, Instant(1))
    found.update("a", settled=True, now=Instant(2))
    found.update("a", settled=False, now=Instant(50))
    found.observe(BEGAN, Instant(50))
    assert since(found) == [2, 50]


def test_an_app_that_comes_and_goes_is_no_progress_of_others() -> None:
    """Its short tokens expire now and then, and the others' endpoint hangs all the same."""
    found = settling()
    found.update("c", settled=True, now=Instant(0))
    for at in (20, 40, 60):
        found.update("a", settled=True, now=Instant(at))
        found.update("a", settled=False, now=Instant(at + 10))
    assert since(found) == [20, 20]


def test_a_suspend_is_no_failure() -> None:
    """After a night's sleep, an app whose login was under way gets its thirty seconds."""
    found = settling()
    found.observe(BEGAN, Instant(1))
    found.observe(ClockJumped(Jump.STEP, 9999.0), Instant(2))
    assert since(found) == [0, 1]
    found.observe(ClockJumped(Jump.SUSPEND, 9999.0), Instant(10_000))
    assert since(found) == [10_000, 10_000]


def test_an_app_that_a_reload_removed_holds_up_nothing() -> None:
    """Removing the app that cannot work ends the wait."""
    found = settling()
    found.clear()
    found.update("b", settled=False, now=Instant(3))
    assert since(found) == [0]
