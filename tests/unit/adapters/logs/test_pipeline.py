"""A log line from event to stream: its form, what it hides, and how many there are."""

import io
import json
import logging
from base64 import b64encode, urlsafe_b64encode
from dataclasses import fields
from hashlib import sha512
from typing import Any, NoReturn, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.logs.console import INDENT
from refresherd.adapters.logs.observer import BURST, LINES_PER_SECOND
from refresherd.adapters.logs.pipeline import MAX_VALUE, configure
from refresherd.domain.certificates import Validity
from refresherd.domain.connection_quota import Refusal
from refresherd.domain.errors import Reason
from refresherd.domain.events import AppCrashed, AttemptFailed, Event, Renewed, Started, Warned
from refresherd.domain.labels import ApiRoute, Ending, HookResult, Jump
from refresherd.domain.model import Instant, Method, Secret
from support.fakes import FakeClock

URL = "https://amer.smartkey.io"
RENEWED = Renewed(
    "payments", URL, Method.REAUTH, 0.02, 7, Instant(1600.9), Instant(1300), request_id="r-1"
)
TOKEN = urlsafe_b64encode(sha512(b"token").digest()).decode()[:86]
API_KEY = b64encode(b"8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11:" + TOKEN.encode()).decode()

FORMS = pytest.mark.parametrize("form", ["json", "console"])
TEXTS = st.text(st.characters())


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


class Log:
    """A log in memory; reading it closes it."""

    def __init__(
        self, form: str, level: str = "info", stream: io.StringIO | None = None, **environ: str
    ) -> None:
        self.stream = stream or io.StringIO()
        self.clock = FakeClock()
        self.logs = configure(level, form, self.stream, self.clock, environ)

    def text(self) -> str:
        """Return all that was written."""
        self.logs.close()
        return self.stream.getvalue()

    def objects(self) -> list[dict[str, Any]]:
        """Return all lines of JSON."""
        return [json.loads(line) for line in self.text().split("\n")[:-1]]


def failure(reason: Reason = Reason.CONNECT, message: str = "refused") -> AttemptFailed:
    """Return a failed login."""
    return AttemptFailed(
        "payments", URL, Method.AUTH, reason, message, 0.5, 1, Instant(1030), request_id=""
    )


def line_of(form: str, event: Event) -> str:
    """Return the line of one event, at level debug."""
    log = Log(form, "debug")
    log.logs.observe(event)
    return log.text()


def event_with(kind: type[Any], text: str) -> Event:
    """Return an event of a kind, with a text in every field that takes one."""
    values: dict[Any, object] = {
        str: text,
        tuple[str, ...]: (text,),
        int: 1,
        float: 1.0,
        Instant: Instant(1.0),
        Method: Method.AUTH,
        Reason: Reason.TLS,
        Ending: Ending.FAILED,
        Jump: Jump.STEP,
        Refusal: Refusal.USER_CONNECTIONS,
        Validity: Validity.EXPIRED,
        HookResult: HookResult.FAILED,
        ApiRoute: ApiRoute.TOKEN,
        BaseException: ValueError(text),
    }
    event: Event = kind(*(values[field.type] for field in fields(kind)))
    return event


def test_a_json_line_is_an_object_with_dates() -> None:
    """Log stores index these names; people read the dates without converting them."""
    log = Log("json")
    log.logs.observe(RENEWED)
    assert log.objects() == [
        {
            "ts": "2023-11-14T22:30:00.000Z",
            "level": "info",
            "event": "token refreshed",
            "app": "payments",
            "method": "reauth",
            "duration": 0.02,
            "generation": 7,
            "expires_at": "2023-11-14T22:40:00Z",
            "next_refresh_at": "2023-11-14T22:35:00Z",
            "request_id": "r-1",
        }
    ]


def test_dates_follow_a_step_of_the_wall_clock() -> None:
    """A line must show the same time as the host's other logs."""
    log = Log("json")
    log.logs.observe(Started("1.0", 1))
    log.clock.offset += 3600
    log.clock.advance(1.5)
    log.logs.observe(Started("1.0", 1))
    assert [line["ts"] for line in log.objects()] == [
        "2023-11-14T22:30:00.000Z",
        "2023-11-14T23:30:01.500Z",
    ]


@pytest.mark.parametrize(
    ("form", "stream", "console", "colored"),
    [
        ("auto", io.StringIO, False, False),
        ("auto", Terminal, True, True),
        ("console", io.StringIO, True, False),
        ("json", Terminal, False, False),
    ],
)
def test_the_format_follows_the_stream_unless_it_is_set(
    form: str, stream: type[io.StringIO], *, console: bool, colored: bool
) -> None:
    """People at a terminal get colours; programs get JSON."""
    log = Log(form, stream=stream())
    log.logs.observe(Started("1.0", 1))
    text = log.text()
    assert text.startswith("{") != console
    assert ("\x1b[" in text) == colored


def test_no_color_turns_colours_off() -> None:
    """People set it who cannot see colours, or whose terminal cannot show them."""
    log = Log("auto", stream=Terminal(), NO_COLOR="1")
    log.logs.observe(Started("1.0", 1))
    assert "\x1b" not in log.text()


@FORMS
@pytest.mark.parametrize("kind", get_args(Event))
@pytest.mark.parametrize("secret", [TOKEN, API_KEY])
def test_no_secret_is_written_from_any_field_of_any_event(
    form: str, kind: type[Any], secret: str
) -> None:
    """Events have no secrets; if one slips in, this is the last barrier."""
    text = line_of(form, event_with(kind, f"x={secret};"))
    assert text.count("\n") >= 1
    assert not any(secret[start : start + 20] in text for start in range(len(secret) - 19))


@pytest.mark.parametrize(
    ("form", "stream"),
    [("json", io.StringIO), ("console", io.StringIO), ("auto", Terminal)],
)
@given(TEXTS, TEXTS)
def test_no_value_forges_an_entry(
    form: str, stream: type[io.StringIO], app: str, message: str
) -> None:
    """DSM's error texts come from outside; none may look like a line or control a terminal."""
    event = AttemptFailed(
        app, URL, Method.AUTH, Reason.TLS, message, 0.5, 1, Instant(1030), request_id=""
    )
    log = Log(form, "debug", stream(), NO_COLOR="1")
    log.logs.observe(event)
    text = log.text()
    assert text.endswith("\n")
    first, *rest = text.splitlines()
    assert all(line.startswith(INDENT) for line in rest)
    assert not rest or stream is Terminal
    assert not any(
        character < " " or "\x7f" <= character < "\xa0" for character in text.replace("\n", "")
    )
    if form == "json":
        assert json.loads(text)["event"] == "refresh failed"
    else:
        assert "refresh failed" in first


def crash(message: str) -> AppCrashed:
    """Return a crash whose traceback has two exceptions."""
    secret_in_a_local = Secret(TOKEN).reveal()
    try:
        fail(message)
    except ValueError as error:
        crashed = KeyError(len(secret_in_a_local))
        crashed.__cause__ = error
        return AppCrashed("payments", crashed, 1.0)


def fail(message: str) -> NoReturn:
    """Raise."""
    raise ValueError(message)


def test_a_crash_has_its_traceback_without_locals_and_secrets() -> None:
    """A bug is fixed from the log alone, and many people read the log."""
    text = line_of("json", crash(f"token {TOKEN}"))
    exception = json.loads(text)["exception"]
    assert exception.startswith("Traceback (most recent call last):\n")
    assert "ValueError: token ***" in exception
    assert exception.endswith("KeyError: 86")
    assert TOKEN[:20] not in text


def test_a_traceback_on_a_console_is_indented() -> None:
    """An exception's message may have newlines; what follows must not look like an entry."""
    forged = "x\n12:00:00 info    token refreshed\x1b[2J"
    first, *rest = line_of("console", crash(forged)).splitlines()
    assert "app crashed" in first
    assert {line[:4] for line in rest} == {"    "}
    assert "    12:00:00 info    token refreshed\\x1b[2J" in rest


def test_a_long_value_is_shortened() -> None:
    """One answer of a broken proxy must not fill the disk."""
    message = "start" + "x " * 10_000 + "end"
    log = Log("json")
    log.logs.observe(failure(message=message))
    (line,) = log.objects()
    assert len(line["message"]) <= MAX_VALUE + 1
    assert line["message"].startswith("start")
    assert line["message"].endswith("end")


def test_bytes_that_are_not_utf_8_are_escaped() -> None:
    """In a path they reach Python as lone surrogates, which no encoder accepts."""
    log = Log("json")
    log.logs.observe(Warned("cannot read /etc/\udcff.key"))
    assert log.objects()[0]["message"] == "cannot read /etc/\\udcff.key"


def test_a_secret_is_logged_as_asterisks() -> None:
    """The type itself is the first barrier."""
    log = Log("json")
    log.logs.library(logging.LogRecord("x", 30, "", 0, "got %s", (Secret("short"),), None))
    assert log.objects()[0]["event"] == "got ***"


def test_the_rate_of_lines_is_limited_and_the_gap_is_shown() -> None:
    """Ten thousand apps that change at once must not write as many lines in a second."""
    log = Log("json")
    for _ in range(int(BURST) + 100):
        log.logs.observe(Started("1.0", 1))
    log.clock.advance(10 / LINES_PER_SECOND)
    log.logs.observe(Started("1.0", 1))
    lines = log.objects()
    assert len(lines) == BURST + 1
    assert lines[-1]["dropped"] == 100
    assert not any("dropped" in line for line in lines[:-1])
