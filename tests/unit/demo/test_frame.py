"""The live table must be readable on any terminal, and must not jump about."""

from dataclasses import replace
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from refresherd.demo.bar import LifeBar
from refresherd.demo.changes import Failed, Refreshed
from refresherd.demo.frame import frame
from refresherd.demo.picture import Picture, Reads
from refresherd.demo.snapshot import AppView, Snapshot

APPS = (
    AppView("app-1", "fresh", 7, issued_at=1000, expires_at=1020, next_refresh_at=1011.2),
    AppView("app-2", "retrying", 8, issued_at=992, expires_at=1012, next_refresh_at=1004.3),
    AppView("app-3", "expired", 3, issued_at=980, expires_at=1000, next_refresh_at=1004),
    AppView("app-4"),
    AppView("app-5", "rejected", next_refresh_at=2803.5),
    AppView("app-6", "fresh", 1, issued_at=1003, expires_at=1023),
)
RESULTS: dict[str, Refreshed | Failed] = {
    "app-1": Refreshed("app-1", "reauth", 7, left=20.0, next_in=11.2, at=1000.0),
    "app-2": Failed("app-2", "server_error", 3, left=8.5, next_in=0.8),
    "app-5": Failed("app-5", "rejected", 1, left=None, next_in=1800.0),
    "app-6": Refreshed("app-6", "auth", 1, left=20.0, next_in=None, at=1003.0),
}
PICTURE = Picture(
    "https://127.0.0.1:8443",
    Snapshot(1003.5, APPS),
    RESULTS,
    Reads(138, 4, (True, False, True)),
    elapsed=33.25,
)


def drawn(picture: Picture, width: int = 79, rows: int = 40) -> list[str]:
    """Return the frame's lines as text."""
    stream = StringIO()
    Console(file=stream, width=width).print(frame(picture, rows))
    return stream.getvalue().splitlines()


def row(app: str, picture: Picture = PICTURE, width: int = 79) -> str:
    """Return the line of an app."""
    (found,) = (line for line in drawn(picture, width) if f" {app} " in line)
    return found


@pytest.mark.parametrize("width", [79, 119])
def test_each_app_is_shown_with_all_that_matters(width: int) -> None:
    """On a terminal of 80 columns nothing may be cut off, on a wider one neither."""
    assert not [line for line in drawn(PICTURE, width) if "…" in line]
    for word in ("● fresh", "16.5 s", "7.7 s", " 7 ", "reauth 3 s ago"):
        assert word in row("app-1", width=width)
    for word in ("● retrying", "8.5 s", "0.8 s", "server_error x3"):
        assert word in row("app-2", width=width)
    assert "● expired" in row("app-3", width=width)
    assert "● starting" in row("app-4", width=width)
    for word in ("● rejected", "30m 00s", "rejected"):
        assert word in row("app-5", width=width)
    assert "login 0 s ago" in row("app-6", width=width)


def test_the_edges_tell_of_the_whole() -> None:
    """Endpoint and totals above, the consumer's luck and the time below."""
    lines = drawn(PICTURE)
    assert "https://127.0.0.1:8443" in lines[1]
    assert "15 refreshes   0 failures" in lines[1]
    assert "■■■" in lines[-2]
    assert "142 reads, 4 refused" in lines[-2]
    assert "33.2 s · Ctrl-C ends it" in lines[-1]


def test_an_end_that_is_known_is_told() -> None:
    """With --for nobody should wonder whether it hangs."""
    assert "ends in 26.8 s" in drawn(replace(PICTURE, ends_in=26.75))[-1]


def test_failures_stand_out() -> None:
    """Trouble has to be seen in the heading, however many apps there are."""
    app = AppView("app-1", failures={("reauth", "tls"): 1})
    assert "1 failure " in drawn(replace(PICTURE, snapshot=Snapshot(0.0, (app,))))[1]


@given(rows=st.integers(9, 60), count=st.integers(1, 80))
def test_a_frame_never_outgrows_the_terminal(rows: int, count: int) -> None:
    """A frame that scrolls can't be drawn over; apps that don't fit are counted instead."""
    apps = tuple(AppView(f"app-{number}") for number in range(1, count + 1))
    lines = drawn(replace(PICTURE, snapshot=Snapshot(0.0, apps)), rows=rows)
    assert len(lines) <= rows
    shown = sum("● starting" in line for line in lines)
    assert shown >= 1
    assert (f"and {count - shown} more" in "\n".join(lines)) == (shown < count)


@given(left=st.floats(-1, 2), mark=st.one_of(st.none(), st.floats(-1, 2)), width=st.integers(1, 99))
def test_a_bar_is_always_as_wide_as_its_column(left: float, mark: float | None, width: int) -> None:
    """Clocks may disagree on what is left; the table must not fall apart over it."""
    assert LifeBar(left, mark, "green").text(width).cell_len == width


def test_a_bar_shrinks_to_its_mark() -> None:
    """The eye is to see when the refresh comes: where the bar meets the mark."""
    assert LifeBar(1.0, 0.5, "green").text(10).plain == "━━━━━┃━━━━"
    assert LifeBar(0.75, 0.5, "green").text(10).plain == "━━━━━┃━╸──"
    assert LifeBar(0.5, 0.5, "green").text(10).plain == "━━━━━┃────"
    assert LifeBar(0.0, None, "red").text(10).plain == "──────────"
