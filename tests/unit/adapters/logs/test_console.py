"""What a person at a terminal reads of each event."""

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.logs.console import INDENT, WIDTH, Console
from refresherd.adapters.logs.entries import describe
from refresherd.adapters.logs.observer import REPEAT_SECONDS
from refresherd.adapters.logs.pipeline import configure
from refresherd.domain import events
from refresherd.domain.events import Event
from refresherd.domain.model import Instant
from support.fakes import FakeClock
from support.logged_events import (
    ENDING_TROUBLE,
    FAILED,
    HOOK_FAILED,
    LOGGED,
    OUTPUT_FAILED,
    REFUSED,
    RELOAD_FAILED,
    RENEWED,
    STARTED,
)

KINDS = [pytest.param(one[0], id=f"{number} {one[2]}") for number, one in enumerate(LOGGED)]

TROUBLE: Mapping[type[Any], Event] = {
    events.Renewed: FAILED,
    events.OutputWritten: OUTPUT_FAILED,
    events.OutputUnchanged: OUTPUT_FAILED,
    events.OutputRemoved: OUTPUT_FAILED,
    events.HookRan: HOOK_FAILED,
}


class TerminalStream(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


class Screen:
    """A terminal that shows a log at level debug."""

    def __init__(self, level: str = "debug") -> None:
        self._stream = TerminalStream()
        self.clock = FakeClock()
        self.logs = configure(level, "auto", self._stream, self.clock, {"NO_COLOR": "1"})

    def last(self) -> list[str]:
        """Return the lines of the last entry, without its time."""
        self.logs.close()
        text = self._stream.getvalue().rstrip("\n")
        entry = re.split(r"\n(?=\S)", text)[-1]
        assert re.match(r"\d\d:\d\d:\d\d ", entry)
        return [line[9:] if number == 0 else line for number, line in enumerate(entry.split("\n"))]


def shown(event: Event, level: str = "debug") -> list[str]:
    """Return the lines of an event, without its time."""
    screen = Screen(level)
    screen.logs.observe(event)
    return screen.last()


def assert_fits(lines: Sequence[str], event: Event) -> None:
    """Assert that an event is one line of 100 columns, but for a message that is too long for it.

    A traceback is as wide as it is.
    """
    first, *rest = lines
    assert len("12:00:00 " + first) <= WIDTH
    if not isinstance(event, events.AppCrashed):
        assert max(map(len, rest), default=0) <= WIDTH
        words = " ".join(line.removeprefix(INDENT) for line in rest)
        assert str(describe(event).fields.get("message", "")).endswith(words)


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("event", KINDS)
def test_every_event_fits_on_a_line(event: Event, level: str) -> None:
    """Lines that the terminal breaks hide where the next event begins."""
    screen = Screen(level)
    screen.logs.observe(events.Stopped())
    screen.logs.observe(event)
    assert_fits(screen.last(), event)


@pytest.mark.parametrize("event", ENDING_TROUBLE, ids=str)
def test_the_end_of_trouble_fits_on_a_line(event: Event) -> None:
    """It is what an operator waits for."""
    screen = Screen()
    for _ in range(12):
        screen.logs.observe(TROUBLE[type(event)])
    screen.logs.observe(event)
    lines = screen.last()
    assert lines[0].endswith("failures=12")
    assert_fits(lines, event)


def test_a_repeated_failure_fits_on_a_line() -> None:
    """Its line has one more detail."""
    screen = Screen("info")
    for _ in range(13):
        screen.logs.observe(FAILED)
    screen.clock.advance(REPEAT_SECONDS)
    screen.logs.observe(FAILED)
    lines = screen.last()
    assert lines[0].endswith("suppressed=12")
    assert_fits(lines, FAILED)


def test_a_refresh_says_how_long_the_token_lives_and_what_comes_next() -> None:
    """Whoever looks at the terminal wants to know just that."""
    assert shown(RENEWED, "info") == [
        f"info    token refreshed payments reauth until={local(1600)} next={local(1300)}"
    ]


def test_a_moment_of_another_day_is_shown_as_its_date() -> None:
    """The time of day alone would mislead."""
    far = replace(RENEWED, expires_at=Instant(1000 + 86_400))
    assert shown(far, "info")[0].split()[5] == "until=2023-11-15"
    never = replace(RENEWED, expires_at=Instant(1e12))
    assert shown(never, "info")[0].split()[5] == "until=9999-12-31"


def test_a_short_message_stands_behind_the_details() -> None:
    """One glance is enough."""
    altered = events.OutputAltered("payments", "/run/a b", 'said "no"', 2.0)
    assert shown(altered) == ['warning output altered  payments "/run/a b" retry_in=2s: said "no"']


def test_a_long_message_stands_below_the_details() -> None:
    """It says what to do, and must be read in one piece."""
    first, *rest = shown(REFUSED, "info")
    assert first == f"error   refresh failed  payments auth rejected failures=12 next={local(1030)}"
    assert " ".join(line.strip() for line in rest) == REFUSED.message
    assert all(re.match(r" {33}\S", line) for line in rest)


def test_elsewhere_than_on_a_terminal_each_event_is_one_line() -> None:
    """Whoever searches a file for an event wants all of it."""
    stream = io.StringIO()
    logs = configure("info", "console", stream, FakeClock(), {})
    logs.observe(REFUSED)
    logs.close()
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(f" next={local(1030)}: {REFUSED.message}")


def test_a_long_message_begins_on_its_line_if_there_is_room() -> None:
    """A line with the event alone would tell nothing."""
    first, second = shown(RELOAD_FAILED)
    assert first.startswith("error   reload failed   /etc/refresherd/config.toml:12: ")
    assert second.startswith(f"{INDENT}a way to renew")


def test_the_error_of_an_output_names_it_once() -> None:
    """The line already has the path."""
    first, *rest = shown(OUTPUT_FAILED)
    assert " ".join([first, *rest]).count(OUTPUT_FAILED.output) == 1


def test_more_details_than_fit_go_on_below() -> None:
    """Every address where the daemon listens is named."""
    http = ", ".join(f"127.0.0.1:{port}" for port in range(9749, 9755))
    first, *rest = shown(replace(STARTED, http=http))
    assert first.split()[-1] == STARTED.api
    assert rest == [f'{INDENT}"{http}"']


@given(st.lists(st.text(min_size=1, max_size=80)), st.text(max_size=300))
def test_no_character_is_lost(details: list[str], message: str) -> None:
    """Whatever does not fit goes on below."""
    fields = {"ts": "12:00:00", "level": "error", "event": "x", "message": message}
    fields |= {f"field{number}": text for number, text in enumerate(details)}
    one_line, lines = (
        "".join(Console(colors=False, width=width)(None, "error", fields).decode().split())
        for width in (0, WIDTH)
    )
    # Where the message begins a line, nothing separates it from the details.
    assert Counter(one_line) - Counter(lines) <= Counter(":")
    assert Counter(lines) <= Counter(one_line)


def test_colours_take_no_room() -> None:
    """A terminal's line is as long as what it shows."""
    fields = {"ts": "12:00:00", "level": "error", "event": "x", "a": "b" * 60, "message": "c" * 40}
    plain = Console(colors=False)(None, "error", dict(fields)).decode()
    painted = Console(colors=True)(None, "error", dict(fields)).decode()
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain != painted


def local(boot: float) -> str:
    """Return an instant as the time of day in the local time zone."""
    unix = FakeClock().wall(Instant(boot))
    return f"{datetime.fromtimestamp(unix, tz=UTC).astimezone():%H:%M:%S}"
