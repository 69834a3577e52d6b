"""Floods by local users: others are served meanwhile, files stay fresh, and memory is bounded.

These are the floods that harm a daemon without limits most, a few seconds each; run.py has more.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from attacks.catalogue import FLOODS, Flood
from attacks.stage import LIFETIME, WITNESSES, Target, target
from support.lab import needs_tool
from support.other_users import AS_ROOT

pytestmark = [AS_ROOT, pytest.mark.timing]

SECONDS = 2.0

FEW_APPS = 200
"""Enough for answers that are too long for a socket's buffer."""

WORST = (
    "bombs-api",
    "connects-processes",
    "users-4-api",
    "users-16-api",
)

CHOSEN = tuple(
    replace(flood, apps=min(flood.apps, FEW_APPS)) for flood in FLOODS if flood.name in WORST
)


class Targets:
    """Runs one daemon at a time, for as long as floods need one like it."""

    def __init__(self) -> None:
        self._kind: tuple[int, int] | None = None
        self._target: Target | None = None
        self._stack = ExitStack()

    def of(self, flood: Flood) -> Target:
        """Return a daemon as the flood needs it."""
        kind = (flood.apps, flood.descriptors)
        if self._target is None or kind != self._kind:
            self.close()
            self._kind, self._target = kind, self._stack.enter_context(target(*kind))
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


@pytest.mark.parametrize("flood", CHOSEN, ids=lambda flood: flood.name)
def test_a_flood_harms_nobody_else(targets: Targets, flood: Flood) -> None:
    """Whatever a user does, a permitted user and root get their tokens, and files are renewed."""
    outcome = targets.of(flood).under(flood, SECONDS)
    for name, seen in outcome.witnesses.items():
        at_once = WITNESSES[name][1].at_once
        assert seen.asked >= at_once
        assert seen.fewest(1.0) >= at_once - 1, f"{name}: {seen.failures} {seen.slowest}"
        assert seen.answered(1.0) >= 0.95 * seen.asked, f"{name}: {seen.failures} {seen.slowest}"
    assert outcome.oldest < LIFETIME
    assert outcome.most < 2 * outcome.idle
