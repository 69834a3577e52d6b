"""Trouble that goes on is told once, then rarely, and never without its count."""

import pytest

from refresherd.adapters.logs import repeats
from refresherd.adapters.logs.repeats import REPEAT_SECONDS, Repeats
from refresherd.domain.model import Instant


def test_the_first_is_told_and_the_next_only_after_a_while() -> None:
    """An app that fails each second for ten minutes is two lines, not six hundred."""
    repeats = Repeats()
    message = [repeats.admit("payments", "connect", Instant(1000 + s)) for s in range(601)]
    assert message[0] == 0
    assert set(message[1:600]) == {None}
    assert message[600] == 599
    assert repeats.admit("payments", "connect", Instant(1601)) is None


def test_another_kind_and_another_scope_are_told_at_once() -> None:
    """A refused key must not hide behind yesterday's network trouble."""
    repeats = Repeats()
    now = Instant(1000)
    assert repeats.admit("payments", "connect", now) == 0
    assert repeats.admit("payments", "rejected", now) == 0
    assert repeats.admit("ledger", "connect", now) == 0


def test_after_a_recovery_trouble_is_new_again() -> None:
    """Two outages are two stories."""
    repeats = Repeats()
    now = Instant(1000)
    assert repeats.recover("payments") == 0
    for kind in ("connect", "connect", "timeout"):
        repeats.admit("payments", kind, now)
    assert repeats.recover("payments") == 3
    assert repeats.recover("payments") == 0
    assert repeats.admit("payments", "connect", now) == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that words each complaint anew must not fill the memory with them."""
    monkeypatch.setattr(repeats, "MAX_TROUBLES", 2)
    known = Repeats()
    now = Instant(1000)
    for scope in ("oldest", "older", "newest"):
        assert known.admit(scope, "", now) == 0
    assert known.recover("oldest") == 0
    assert known.recover("older") == 1
    assert known.admit("newest", "", Instant(now + REPEAT_SECONDS)) == 0
