"""How much is logged: what the level lets through, no repetitions, no floods."""

import io
import json
from typing import Any

import pytest

from refresherd.adapters.logs import configure
from refresherd.adapters.logs.stages import BURST, LINES_A_SECOND
from refresherd.domain.errors import Reason
from refresherd.domain.events import (
    AttemptBegan,
    AttemptFailed,
    OutputFailed,
    OutputWritten,
    Renewed,
    Started,
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
def test_the_level_says_what_is_written(level: str, seen: list[str]) -> None:
    """Who asks for errors gets nothing else."""
    log = Log(level)
    for event in (AttemptBegan("payments", Method.AUTH, 0.1), RENEWED, failure()):
        log.logs.observe(event)
    log.logs.observe(TokenExpired("payments", 7))
    assert [line["event"] for line in log.objects()] == seen


def test_a_repeated_failure_is_told_rarely_and_its_end_always() -> None:
    """An outage of a week must leave a log in which other things can be found."""
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


def test_an_outputs_trouble_is_its_own() -> None:
    """A write that succeeds ends no other file's trouble; unremarkable writes are not told."""
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


def test_no_flood_of_lines_and_the_gap_is_told() -> None:
    """Ten thousand apps that all change at once must not write as many lines in a second."""
    log = Log()
    for _ in range(int(BURST) + 100):
        log.logs.observe(Started("1.0", 1))
    log.clock.advance(10 / LINES_A_SECOND)
    log.logs.observe(Started("1.0", 1))
    lines = log.objects()
    assert len(lines) == BURST + 1
    assert lines[-1]["dropped"] == 100
    assert not any("dropped" in line for line in lines[:-1])
