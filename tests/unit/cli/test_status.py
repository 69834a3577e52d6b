"""The table of statuses, and drawing it on a terminal."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.cli.client.messages import Status
from refresherd.cli.status import Screen, duration, table

NOW = 1_700_000_000.0

FRESH: dict[str, Any] = {
    "name": "payments",
    "state": "fresh",
    "expires_at": NOW + 431,
    "next_refresh_at": NOW + 131,
    "generation": 7,
    "failures": 0,
    "last_error": "",
    "outage_budget": 300.0,
    "ready": True,
    "reasons": (),
}

ALIGNED = """\
APP       STATE     EXPIRES IN  NEXT REFRESH IN  GENERATION  FAILURES  OUTAGE BUDGET  LAST ERROR
payments  fresh     7m 11s      2m 11s           7           0         5m 00s         -
a         retrying  7m 11s      2m 11s           7           12        5m 00s         connect"""


def status(**changes: object) -> Status:
    """Return the status of a fresh app, with changes."""
    return Status(**{**FRESH, **changes})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0s"), (59, "59s"), (431, "7m 11s"), (7500, "2h 05m"), (273_600, "3d 04h")],
)
def test_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    """Nobody needs it more exactly."""
    assert duration(seconds) == text


def test_table_is_aligned() -> None:
    """Columns line up, whatever is in them."""
    failing = status(name="a", state="retrying", failures=12, last_error="connect")
    assert "\n".join(table([status(), failing], NOW)) == ALIGNED


def test_missing_values_are_dashes() -> None:
    """An empty cell would look like a fault of the table."""
    nothing: dict[str, Any] = {"state": "starting", "expires_at": None, "outage_budget": None}
    row = table([status(**nothing, next_refresh_at=None)], NOW)[1]
    assert row.split() == ["payments", "starting", "-", "-", "7", "0", "-", "-"]
    assert table([status(next_refresh_at=NOW)], NOW)[1].split()[4] == "now"


def test_a_token_that_does_not_reach_its_consumers_is_shown() -> None:
    """The session is fresh, but a file's directory or group may be missing on the host."""
    reasons = ("/run/a does not hold the newest token: cannot write it", "/run/b does not hold it")
    row = table([status(ready=False, reasons=reasons)], NOW)[1]
    assert row.endswith("  " + "; ".join(reasons))
    row = table([status(state="starting", ready=False, reasons=("no valid token",))], NOW)[1]
    assert row.endswith("  -"), "the state says so already"


def test_table_of_no_apps_has_headings() -> None:
    """They show that the daemon answers and has no apps."""
    assert len(table([], NOW)) == 1


def test_only_the_state_is_coloured() -> None:
    """The state is what the eye looks for."""
    plain, coloured = (table([status()], NOW, colour=on) for on in (False, True))
    assert coloured[0] == plain[0]
    assert coloured[1] == plain[1].replace("fresh", "\x1b[32mfresh\x1b[0m")
    assert table([status(state="novel")], NOW, colour=True) == table([status(state="novel")], NOW)


def test_the_last_error_is_the_last_column_to_go() -> None:
    """On a narrow terminal it is what an operator needs; counters can be asked for."""
    error = "connect: " + "x" * 200
    assert len(table([status(last_error=error)], NOW, width=320)[0].split()) == 13
    lines = table([status(last_error=error)], NOW, width=80)
    assert lines[0].split() == ["APP", "STATE", "EXPIRES", "IN", "LAST", "ERROR"]
    assert lines[1].startswith("payments  fresh  7m 11s      connect: xxx")
    assert [len(line) for line in lines[1:]] == [80]
    (_, row) = table([status(last_error=error)], NOW, width=40)
    assert row == f"payments  fresh  connect: {'x' * 14}"


def test_columns_go_only_as_far_as_needed() -> None:
    """A short error, or none, leaves room for the others."""
    assert "GENERATION" in table([status()], NOW, width=93)[0]
    assert "GENERATION" not in table([status()], NOW, width=92)[0]
    assert "FAILURES" in table([status()], NOW, width=81)[0]
    assert "NEXT REFRESH IN" in table([status()], NOW, width=56)[0]
    assert "NEXT REFRESH IN" not in table([status()], NOW, width=55)[0]


@given(st.integers(1, 200), st.text("ab ", max_size=150))
def test_no_line_is_wider_than_the_terminal(width: int, error: str) -> None:
    """A wrapped line would spoil the table that is redrawn over it."""
    assert all(len(line) <= width for line in table([status(last_error=error)], NOW, width=width))


@pytest.mark.parametrize(
    ("state", "expires_at", "text"),
    [
        ("expired", NOW - 184, "expired 3m ago"),
        ("expired", NOW - 0.5, "expired 0s ago"),
        ("rejected", NOW - 90_000, "expired 1d ago"),
        ("expired", NOW + 60, "-"),
        ("starting", None, "-"),
    ],
)
def test_an_expired_token_shows_since_when(state: str, expires_at: float | None, text: str) -> None:
    """How long consumers have been without a token; one that DSM ended early has not expired."""
    assert text in table([status(state=state, expires_at=expires_at)], NOW)[1]


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_a_stream_gets_one_picture_below_the_other() -> None:
    """In a pipe or a file there is nothing to redraw."""
    stream = io.StringIO()
    screen = Screen(stream, {})
    screen.draw(["a", "b"])
    screen.draw(["c"])
    assert stream.getvalue() == "a\nb\n\nc\n\n"
    assert (screen.colour, screen.width) == (False, None)


def test_a_terminal_is_redrawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture stands still and only its numbers change."""
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("LINES", "24")
    stream = Terminal()
    screen = Screen(stream, {"TERM": "xterm"})
    screen.draw(["a", "b"])
    screen.draw(["c"])
    screen.draw(["d"])
    assert stream.getvalue() == "\x1b[Ja\nb\n\x1b[2F\x1b[Jc\n\x1b[1F\x1b[Jd\n"
    assert (screen.colour, screen.width) == (True, 50)


def test_a_picture_is_cut_to_the_terminals_height(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that have scrolled away cannot be redrawn."""
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("LINES", "4")
    stream = Terminal()
    Screen(stream, {}).draw(list("abcdef"))
    assert stream.getvalue() == "\x1b[Ja\nb\n...\n"


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_switched_off(environ: dict[str, str]) -> None:
    """As no-color.org says, and on terminals that have no colours."""
    assert not Screen(Terminal(), environ).colour
    assert Screen(Terminal(), {"NO_COLOR": ""}).colour
