"""Floods by local users: others are served meanwhile, files stay fresh, and memory is bounded.

These are the floods that harm a daemon without limits most, a few seconds each; run.py has more.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from operator import attrgetter

import pytest

from attacks.catalogue import FLOODS, Flood
from attacks.stage import LIFETIME, WITNESSES, Outcome, Target, target
from support.lab import needs_tool
from support.other_users import AS_ROOT
from support.witness import PATIENCE

pytestmark = AS_ROOT

SECONDS = 2.0

FEW_APPS = 200
"""Enough for answers that are too long for a socket's buffer."""

WORST = (
    "bombs-api",
    "bombs-http",
    "connects-processes",
    "users-4-api",
    "users-16-api",
    "users-16-http",
    "idle-http-1024",
    "scrapes",
)

RACES = ("connects-processes",)
"""On a busy machine they fill the queue of a socket faster than any program empties it."""


def kind(flood: Flood) -> tuple[int, int]:
    """Return what a daemon has to be like for a flood."""
    return flood.apps, flood.descriptors


CHOSEN = sorted(
    (replace(flood, apps=min(flood.apps, FEW_APPS)) for flood in FLOODS if flood.name in WORST),
    key=kind,
)


class Targets:
    """Runs one daemon at a time, for as long as floods need one like it."""

    def __init__(self) -> None:
        self._kind: tuple[int, int] | None = None
        self._target: Target | None = None
        self._stack = ExitStack()

    def of(self, flood: Flood) -> Target:
        """Return a daemon as the flood needs it."""
        if self._target is None or kind(flood) != self._kind:
            self.close()
            self._kind = kind(flood)
            self._target = self._stack.enter_context(target(*self._kind))
        return self._target

    def close(self) -> None:
        """Stop the daemon."""
        self._stack.close()


@pytest.fixture(scope="module")
def targets() -> Iterator[Targets]:
    """Share a daemon between floods."""
    needs_tool("prlimit")
    found = Targets()
    yield found
    found.close()


@pytest.fixture(scope="module")
def outcome(request: pytest.FixtureRequest, targets: Targets) -> Outcome:
    """Return what a flood did: once for both tests, and again for one that is repeated."""
    flood: Flood = request.param
    return targets.of(flood).under(flood, SECONDS)


def harmless(outcome: Outcome, within: float) -> None:
    """Assert that others were served within so many seconds, and that the daemon held out."""
    for name, seen in outcome.witnesses.items():
        at_once = WITNESSES[name][1].at_once
        assert seen.asked >= at_once
        assert seen.fewest(within) >= at_once - 1, f"{name}: {seen.failures} {seen.slowest}"
        assert seen.answered(within) >= 0.95 * seen.asked, f"{name}: {seen.failures} {seen.slowest}"
    assert outcome.oldest < LIFETIME
    assert outcome.most < 2 * outcome.idle


@pytest.mark.parametrize(
    "outcome",
    [flood for flood in CHOSEN if flood.name not in RACES],
    indirect=True,
    ids=attrgetter("name"),
)
def test_a_flood_keeps_nobody_else_from_the_daemon(outcome: Outcome) -> None:
    """Whatever a user does, a permitted user and root get their tokens, and files are renewed."""
    harmless(outcome, PATIENCE)


@pytest.mark.timing
@pytest.mark.parametrize("outcome", CHOSEN, indirect=True, ids=attrgetter("name"))
def test_a_flood_delays_nobody_else_for_long(outcome: Outcome) -> None:
    """Programs ask for a token before each of their own requests, and cannot wait for seconds."""
    harmless(outcome, 1.0)
