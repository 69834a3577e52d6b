"""What is logged: events at or above the level, without repetitions."""

import io
import json
from typing import Any

import pytest

from refresherd.adapters.logs.observer import REPEAT_SECONDS, Repeats
from refresherd.adapters.logs.pipeline import configure
from refresherd.domain.errors import Reason
from refresherd.domain.events import (
    AttemptBegan,
    AttemptFailed,
    OutputFailed,
    OutputWritten,
    Renewed,
    TokenExpired,
)
from refresherd.domain.model import Instant, Method
from support.fakes import FakeClock

URL = "https://amer.smartkey.io"
RENEWED = Renewed(
    "payments", URL, Method.REAUTH, 0.02, 7, Instant(1600), Instant(1300), request_id="r-1"
)


class Log:
    """A log in memory; reading it closes it."""

    def __init__(self, level: str = "info") -> None:
        self._stream = io.StringIO()
        self.clock = FakeClock()
        self.logs = configure(level, "json", self._stream, self.clock)

    def objects(self) -> list[dict[str, Any]]:
        """Return all lines."""
        self.logs.close()
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


def failure(reason: Reason = Reason.CONNECT) -> AttemptFailed:
    """Return a failed login."""
    return AttemptFailed(
        "payments", URL, Method.AUTH, reason, "refused", 0.5, 1, Instant(1030), request_id=""
    )


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["attempt began", "token refreshed", "refresh failed", "token expired"]),
        ("info", ["token refreshed", "refresh failed", "token expired"]),
        ("warning", ["refresh failed", "token expired"]),
        ("error", ["token expired"]),
    ],
)
def test_the_level_decides_what_is_logged(level: str, seen: list[str]) -> None:
    """An operator who asks for errors gets nothing else."""
    log = Log(level)
    for event in (AttemptBegan("payments", Method.AUTH, 0.1), RENEWED, failure()):
        log.logs.observe(event)
    log.logs.observe(TokenExpired("payments", 7))
    assert [line["event"] for line in log.objects()] == seen


def test_a_repeated_failure_is_logged_rarely_and_its_end_always() -> None:
    """After an outage of a week, other entries must still be found in the log."""
    log = Log()
    for _ in range(700):
        log.logs.observe(failure())
        log.clock.advance(1)
    log.logs.observe(failure(Reason.REJECTED))
    log.logs.observe(RENEWED)
    log.logs.observe(RENEWED)
    log.logs.observe(failure())
    lines = [(li["event"], li.get("suppressed"), li.get("recovered_after")) for li in log.objects()]
    assert lines == [
        ("refresh failed", None, None),
        ("refresh failed", 599, None),
        ("refresh failed", None, None),
        ("token refreshed", None, 701),
        ("token refreshed", None, None),
        ("refresh failed", None, None),
    ]


def test_the_trouble_of_each_output_is_separate() -> None:
    """A successful write ends no other file's trouble; ordinary writes are not logged."""
    log = Log()
    for path in ("/run/a", "/run/b"):
        log.logs.observe(OutputFailed("payments", path, "disk full", 1.0))
    for _ in range(2):
        log.logs.observe(OutputWritten("payments", "/run/a", 7))
    lines = [(line["event"], line["output"]) for line in log.objects()]
    assert lines == [
        ("output failed", "/run/a"),
        ("output failed", "/run/b"),
        ("output written", "/run/a"),
    ]


def test_a_repetition_is_suppressed_for_a_while() -> None:
    """An app that fails each second for ten minutes is two lines, not six hundred."""
    repeats = Repeats()
    suppressed = [repeats.admit("payments", "connect", Instant(1000 + s)) for s in range(601)]
    assert suppressed[0] == 0
    assert set(suppressed[1:600]) == {None}
    assert suppressed[600] == 599
    assert repeats.admit("payments", "connect", Instant(1601)) is None


def test_another_kind_or_scope_is_logged_at_once() -> None:
    """A refused key must not hide behind network trouble."""
    repeats = Repeats()
    now = Instant(1000)
    assert repeats.admit("payments", "connect", now) == 0
    assert repeats.admit("payments", "rejected", now) == 0
    assert repeats.admit("ledger", "connect", now) == 0


def test_after_a_recovery_trouble_is_new_again() -> None:
    """Each outage has a beginning and an end in the log."""
    repeats = Repeats()
    now = Instant(1000)
    assert repeats.recover("payments") == 0
    for kind in ("connect", "connect", "timeout"):
        repeats.admit("payments", kind, now)
    assert repeats.recover("payments") == 3
    assert repeats.recover("payments") == 0
    assert repeats.admit("payments", "connect", now) == 0


def test_memory_for_troubles_is_bounded() -> None:
    """A library whose every message differs must not fill the memory."""
    repeats = Repeats(max_troubles=2)
    now = Instant(1000)
    for scope in ("oldest", "older", "newest"):
        assert repeats.admit(scope, "", now) == 0
    assert repeats.recover("oldest") == 0
    assert repeats.recover("older") == 1
    assert repeats.admit("newest", "", Instant(now + REPEAT_SECONDS)) == 0
