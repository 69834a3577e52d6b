"""The picture of all apps in a terminal, at any width and height."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.app_row import AppRow
from refresherd.domain.status_lines import (
    ASCII_BAR,
    BAR,
    Frame,
    Line,
    status_lines,
    table,
    wrapped,
)
from support.app_fields import NOW, failing, fresh, starting

HEALTHY = """\
The app is well

                                 EXPIRES  NEXT        OUTAGE
APP       STATE  TOKEN'S LIFE    IN       REFRESH IN  BUDGET
payments  fresh  ····━━━┃──────  7m 11s   2m 11s      5m 00s
"""

TROUBLED = """\
The app is in trouble

                    EXPIRES  NEXT        OUTAGE
APP       STATE     IN       REFRESH IN  BUDGET
payments  retrying  7m 11s   8s          5m 00s
  Consumers have a valid token for another 7m 11s.
  connect: refused
  3 attempts have failed since 22:12:18 UTC (1m 02s ago),
    the last one 2s ago. The next attempt is in 8s.
  What to do: check endpoint, proxy, DNS and the firewall
"""

ONE_LINE_EACH = """\
APP       STATE     EXPIRES IN  NEXT REFRESH IN  OUTAGE BUDGET  LAST ERROR
orders    retrying  7m 11s      8s               5m 00s         connect: refused
payments  fresh     7m 11s      2m 11s           5m 00s         -
new       starting  -           -                -              -
"""

NAMES = st.text("abcdefgh-", min_size=1, max_size=64)
STATES = st.sampled_from(["rejected", "expired", "starting", "retrying", "fresh"])


def rows(*apps: dict[str, Any]) -> list[AppRow]:
    """Return apps at NOW."""
    return [AppRow(fields, NOW) for fields in apps]


def text(lines: list[Line]) -> str:
    """Return lines without their styles."""
    return "".join("".join(piece.text for piece in line) + "\n" for line in lines)


def drawn(
    *apps: dict[str, Any],
    width: int | None = None,
    height: int | None = None,
    bar: str = BAR,
    details: bool = False,
) -> str:
    """Return a picture as text."""
    return text(status_lines(rows(*apps), Frame(width, height, bar), details=details))


def test_a_healthy_app_is_one_line() -> None:
    """The bar shows at a glance what the numbers say."""
    assert drawn(fresh(), width=60) == HEALTHY


def test_an_app_in_trouble_says_what_to_do_below() -> None:
    """At 60 columns texts are broken between words, and there is no room for the bar."""
    assert drawn(failing(), width=60) == TROUBLED


def test_without_a_terminal_there_is_one_line_for_each_app() -> None:
    """A line that `grep` finds has everything about its app."""
    apps = rows(failing("orders"), fresh(), starting("new"))
    assert text(table(apps)) == ONE_LINE_EACH


def test_a_table_of_no_apps_has_headings() -> None:
    """They show that the daemon answers and has no apps."""
    assert text(table([])).split() == ONE_LINE_EACH.splitlines()[0].split()
    assert drawn(width=80) == "No app is configured\n"


def test_the_verdict_comes_first() -> None:
    """It counts what is shown, and says how bad it is."""
    first, second, *_ = drawn(failing(), fresh("orders"), width=80).splitlines()
    assert first == "1 of 2 apps is in trouble"
    assert second == "Consumers still have valid tokens."


def test_details_are_shown_if_wanted() -> None:
    """Whoever names one app wants to know everything about it."""
    shown = drawn(failing(), details=True, width=80)
    assert "\n\n  endpoint: https://amer.smartkey.io\n  renewed by: reauth\n" in shown
    assert "renewed by" not in drawn(failing(), width=80)


def test_an_output_that_is_late_is_named() -> None:
    """Its consumers may read an older token for a moment."""
    output = {"path": "/run/a", "current": False, "generation": 6, "written_at": None}
    late = fresh(ready=False, outputs=[output | {"valid": True, "expires_at": None, "error": None}])
    assert drawn(late, width=80).endswith("\n  an output does not hold the token\n")


def test_columns_go_only_as_far_as_needed() -> None:
    """First the bar, then what can be asked for, and last how long the token is valid."""
    heads = {}
    for width in range(20, 121):
        heads[width] = drawn(fresh(), width=width).splitlines()[-2]
    assert ("LIFE" in heads[58], "LIFE" in heads[57]) == (True, False)
    assert heads[44].split() == ["APP", "STATE", "IN", "REFRESH", "IN", "BUDGET"]
    assert heads[43].split() == ["APP", "STATE", "IN", "REFRESH", "IN"]
    assert heads[35].split() == ["APP", "STATE", "IN"]
    assert heads[23].split() == ["APP", "STATE"]


def test_the_bar_has_an_end() -> None:
    """Across a wide screen, the eye would lose the line."""
    assert drawn(fresh(), width=300).splitlines()[-1] == drawn(fresh(), width=200).splitlines()[-1]


def test_a_terminal_without_unicode_gets_another_bar() -> None:
    """The characters that it lacks would be printed as escapes, which are wider."""
    assert "  ....===|------  " in drawn(fresh(), width=60, bar=ASCII_BAR)
    assert drawn(failing(), width=120, bar=ASCII_BAR).isascii()


def test_an_app_without_a_token_says_so_in_place_of_the_bar() -> None:
    """An empty bar would look like a token that is over."""
    assert "  no token yet  " in drawn(starting("new"), width=80)


def test_styles_are_the_states() -> None:
    """What a person looks for is coloured; all of it is there without colours, too."""
    *_, line, consumers, _, _, _ = status_lines(rows(failing()), Frame(120))
    assert next(piece.text for piece in line if piece.style == "retrying") == "retrying"
    assert {piece.style for piece in line} == {"", "dim", "bold", "retrying"}
    assert consumers[-1].style == "retrying"
    assert table(rows(failing()))[1][2] == ("retrying", "retrying")


def test_a_name_that_is_too_long_keeps_both_ends() -> None:
    """Names of many apps often differ only at their ends."""
    name = "payments-report-europe-west-1"
    assert "payment...-west-1  fresh" in drawn(fresh(name), width=24)
    assert name in drawn(fresh(name), width=40)


@given(st.lists(st.tuples(NAMES, STATES, st.booleans()), max_size=5), st.integers(1, 200))
def test_no_line_is_wider_than_the_terminal(apps: list[tuple[str, str, bool]], width: int) -> None:
    """A wrapped line would spoil the picture that is redrawn over it."""
    made = [
        failing(name, state=state) if bad else fresh(name, state=state) for name, state, bad in apps
    ]
    for details in (True, False):
        shown = drawn(*made, details=details, width=width)
        assert max(map(len, shown.splitlines())) <= width


@given(NAMES, STATES, st.text("ab -/:", max_size=150), st.integers(20, 200))
def test_name_and_state_are_always_visible(name: str, state: str, error: str, width: int) -> None:
    """All else can be asked for; without these two nobody knows for what."""
    shown = drawn(failing(name, state=state, last_error=error), width=width)
    (line,) = (line for line in shown.splitlines() if state in line.split()[1:2])
    assert line.startswith(name if len(name) + 2 + len(state) <= width else name[:4])


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 60), st.integers(10, 100))
def test_no_picture_is_higher_than_the_terminal(bad: list[bool], height: int, width: int) -> None:
    """Lines that have scrolled away cannot be redrawn; who is missing must be counted."""
    made = [failing(f"app-{n}") if trouble else fresh(f"app-{n}") for n, trouble in enumerate(bad)]
    whole, shown = drawn(*made, width=width), drawn(*made, width=width, height=height)
    assert len(shown.splitlines()) <= height
    if len(whole.splitlines()) <= height:
        assert shown == whole
    elif height >= 8 and "more app" in shown:
        seen = sum(line.startswith("app-") for line in shown.splitlines())
        assert f"... and {len(bad) - seen} more app" in shown.splitlines()[-1]


def test_a_picture_that_is_cut_ends_with_how_much_is_missing() -> None:
    """Apps in trouble come first, so the others are those that can wait."""
    made = [failing("a"), *(fresh(name) for name in "bcdef")]
    lines = drawn(*made, width=120, height=13).splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["b", "c", "..."]
    assert lines[-1] == "... and 3 more apps"
    assert drawn(failing("a"), width=80, height=8).splitlines()[-1] == "..."


def test_a_path_stays_whole_where_it_fits() -> None:
    """Somebody will mark it with a double click, and paste it."""
    path = "/run/refresherd/payments-report.token"
    lines = text(wrapped(f"holds the newest token: {path}", 50)).splitlines()
    assert lines[1].strip() == path


@pytest.mark.parametrize("width", [None, 20, 7, 1])
def test_a_text_is_broken_between_words(width: int | None) -> None:
    """Without a width it stays on its line, however long."""
    lines = text(wrapped("one two three four five", width, indent="  ")).splitlines()
    assert all(width is None or len(line) <= width for line in lines)
    assert (len(lines) == 1) == (width is None)
