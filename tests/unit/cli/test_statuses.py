"""The daemon's status, read and shown."""

import io
import json
import os
import shutil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.cli.client.failures import Unintelligible
from refresherd.cli.client.plain import one_line
from refresherd.cli.client.statuses import Status, read, read_one
from refresherd.cli.screen import Screen
from refresherd.cli.table import span, table
from support.fake_daemon import stamp, starting

NOW = 1_700_000_000.0

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


ALIGNED = """\
APP       STATE     EXPIRES IN  NEXT REFRESH IN  GENERATION  FAILURES  OUTAGE BUDGET  LAST ERROR
payments  fresh     7m 11s      2m 11s           7           0         5m 00s         -
a         retrying  7m 11s      2m 11s           7           12        5m 00s         connect"""


def message(name: str = "payments", **changes: object) -> dict[str, object]:
    """Return an app's status as the daemon tells it: fresh, unless something else is said."""
    fresh = {
        "state": "fresh",
        "ready": True,
        "expires_at": stamp(NOW + 431),
        "next_refresh_at": stamp(NOW + 131),
        "generation": 7,
        "outage_budget_seconds": 300.0,
    }
    return {**starting(name), "not_ready_because": [], **fresh, **changes}


def status(name: str = "payments", **changes: object) -> Status:
    """Return that status as a value."""
    return read_one(json.dumps(message(name, **changes)).encode())


def test_every_app_is_read_in_the_daemons_order() -> None:
    """The order is the configuration's, which operators know."""
    apps = read(json.dumps({"apps": [message("b"), message("a")]}).encode())
    assert [app.name for app in apps] == ["b", "a"]
    assert apps[0].expires_at == NOW + 431
    assert (apps[0].generation, apps[0].outage_budget, apps[0].ready) == (7, 300.0, True)


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, 431.0),
        ({"state": "retrying"}, 431.0),
        ({"state": "expired"}, 0.0),
        ({"expires_at": None}, 0.0),
        ({"expires_at": stamp(NOW - 1)}, 0.0),
    ],
)
def test_only_a_valid_token_has_time_left(changes: dict[str, Any], left: float) -> None:
    """The daemon goes on telling when a token expired that is dead by now."""
    assert status(**changes).left(NOW) == left


def test_an_app_says_why_it_is_not_ready_even_without_reasons() -> None:
    """A daemon that gives none still tells the state and the last error."""
    plain = {key: value for key, value in message(state="expired").items() if "ready" not in key}
    assert read_one(json.dumps(plain).encode()).reasons == ("expired",)
    assert not read_one(json.dumps(plain).encode()).ready
    failing = {**plain, "last_error": "connect: refused"}
    assert read_one(json.dumps(failing).encode()).reasons == ("expired: connect: refused",)


@given(st.binary(max_size=30) | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_status_is_called_so(text: bytes) -> None:
    """A daemon of another version must not end a command in a traceback."""
    try:
        assert read(text) == ()
    except Unintelligible as error:
        assert "another version" in str(error)  # noqa: PT017  # both outcomes are fine


@given(JSON, st.sampled_from(sorted(message())))
def test_a_member_of_another_kind_is_read_or_called_so(value: object, member: str) -> None:
    """The same where only one member has changed."""
    try:
        read(json.dumps({"apps": [{**message(), member: value}]}).encode())
    except Unintelligible:
        return


def test_deeply_nested_json_is_called_so() -> None:
    """Python's parser gives up with an error of its own."""
    with pytest.raises(Unintelligible):
        read(b"[" * 200_000)


def test_one_app_is_one() -> None:
    """Whoever asks for an app must not be answered with others."""
    with pytest.raises(Unintelligible, match="other apps"):
        read_one(json.dumps({"apps": [message("a"), message("b")]}).encode())


@given(st.text(max_size=1000))
def test_text_from_elsewhere_stays_on_its_line(text: str) -> None:
    """An error's text goes to a terminal, which obeys what is written to it."""
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 403


def test_a_long_text_is_cut_visibly() -> None:
    """Whoever reads it should know that there is more."""
    assert one_line("x" * 400) == "x" * 400
    assert one_line("x" * 401) == "x" * 400 + "..."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0s"), (59, "59s"), (431, "7m 11s"), (7500, "2h 05m"), (273_600, "3d 04h")],
)
def test_a_time_is_told_as_people_do(seconds: float, text: str) -> None:
    """Two units are as exact as anybody reads."""
    assert span(seconds) == text


def test_the_table_is_aligned() -> None:
    """A column must be one, whatever is in it."""
    failing = status("a", state="retrying", consecutive_failures=12, last_error="connect")
    assert "\n".join(table([status(), failing], NOW)) == ALIGNED


def test_what_there_is_not_is_a_dash() -> None:
    """An empty cell would read as a fault of the table."""
    nothing: dict[str, Any] = {
        "state": "starting",
        "expires_at": None,
        "outage_budget_seconds": None,
    }
    row = table([status(**nothing, next_refresh_at=None)], NOW)[1]
    assert row.split() == ["payments", "starting", "-", "-", "7", "0", "-", "-"]
    assert table([status(next_refresh_at=stamp(NOW))], NOW)[1].split()[4] == "now"


def test_no_apps_are_a_table_as_well() -> None:
    """The headings alone say that the daemon answers and keeps nothing."""
    assert len(table([], NOW)) == 1


def test_a_state_has_its_colour_and_nothing_else() -> None:
    """The state is what the eye looks for."""
    plain, coloured = (table([status()], NOW, colour=on) for on in (False, True))
    assert coloured[0] == plain[0]
    assert coloured[1] == plain[1].replace("fresh", "\x1b[32mfresh\x1b[0m")
    assert table([status(state="novel")], NOW, colour=True) == table([status(state="novel")], NOW)


def test_lines_are_cut_to_a_width() -> None:
    """A line that wraps would spoil the picture that is drawn over it."""
    lines = table([status(last_error="x" * 200)], NOW, width=40)
    assert [len(line) for line in lines] == [40, 40]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def test_a_stream_gets_one_picture_below_the_other() -> None:
    """Through a pipe or into a file there is nothing to draw over."""
    stream = io.StringIO()
    screen = Screen(stream, {})
    screen.draw(["a", "b"])
    screen.draw(["c"])
    assert stream.getvalue() == "a\nb\n\nc\n\n"
    assert (screen.colour, screen.width) == (False, None)


def test_a_terminal_is_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture stands still and only its numbers change."""
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((50, 24)))
    stream = Terminal()
    screen = Screen(stream, {"TERM": "xterm"})
    screen.draw(["a", "b"])
    screen.draw(["c"])
    screen.draw(["d"])
    assert stream.getvalue() == "\x1b[Ja\nb\n\x1b[2F\x1b[Jc\n\x1b[1F\x1b[Jd\n"
    assert (screen.colour, screen.width) == (True, 50)


def test_a_picture_is_cut_to_the_terminals_height(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has scrolled away can't be drawn over."""
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((50, 4)))
    stream = Terminal()
    Screen(stream, {}).draw(list("abcdef"))
    assert stream.getvalue() == "\x1b[Ja\nb\n...\n"


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_declined(environ: dict[str, str]) -> None:
    """no-color.org, and terminals that have none."""
    assert not Screen(Terminal(), environ).colour
    assert Screen(Terminal(), {"NO_COLOR": ""}).colour
