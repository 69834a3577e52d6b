"""A log line from event to stream: what it looks like, and what it hides."""

import io
import json
import logging
import re
from base64 import b64encode, urlsafe_b64encode
from dataclasses import fields
from hashlib import sha512
from typing import Any, NoReturn, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.logs import configure
from refresherd.adapters.logs.stages import LONGEST_VALUE
from refresherd.domain.errors import Reason
from refresherd.domain.events import (
    ApiRoute,
    AppCrashed,
    AttemptFailed,
    Ending,
    Event,
    HookResult,
    Jump,
    Renewed,
    Started,
    Warned,
)
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
    """A stream with a person before it."""

    def isatty(self) -> bool:
        """Return True."""
        return True


class Log:
    """A log in memory; reading it closes it."""

    def __init__(self, form: str, level: str = "info", stream: io.StringIO | None = None) -> None:
        self.stream = stream or io.StringIO()
        self.clock = FakeClock()
        self.logs = configure(level, form, self.stream, self.clock)

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
    """Return what one event writes at level debug."""
    log = Log(form, "debug")
    log.logs.observe(event)
    return log.text()


def told_with(kind: type[Any], text: str) -> Event:
    """Return an event of a kind with a text wherever it takes one."""
    values: dict[Any, object] = {
        str: text,
        int: 1,
        float: 1.0,
        Instant: Instant(1.0),
        Method: Method.AUTH,
        Reason: Reason.TLS,
        Ending: Ending.FAILED,
        Jump: Jump.STEP,
        HookResult: HookResult.FAILED,
        ApiRoute: ApiRoute.TOKEN,
        BaseException: ValueError(text),
    }
    event: Event = kind(*(values[field.type] for field in fields(kind)))
    return event


def test_a_line_of_json_is_an_object_with_dates() -> None:
    """Log stores index these names; a person reads the dates without converting them."""
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
    """A line must bear the time that the host's other logs bear."""
    log = Log("json")
    log.logs.observe(Started("1.0", 1))
    log.clock.offset += 3600
    log.clock.advance(1.5)
    log.logs.observe(Started("1.0", 1))
    assert [line["ts"] for line in log.objects()] == [
        "2023-11-14T22:30:00.000Z",
        "2023-11-14T23:30:01.500Z",
    ]


def test_a_console_line_is_short_and_in_the_readers_order() -> None:
    """Time, level, what happened, to which app; no colours for a pipe."""
    log = Log("console")
    log.logs.observe(failure(message='said "no"'))
    assert re.fullmatch(
        r"\d\d:\d\d:00\.000 \[warning *\] refresh failed +app=payments method=auth reason=connect "
        r'message="said \\"no\\"" duration=0\.5 failures=1 next_refresh_at=2023-11-14T22:30:30Z '
        rf"endpoint={URL}\n",
        log.text(),
    )


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
    """Colours belong on terminals only, JSON everywhere else."""
    log = Log(form, stream=stream())
    log.logs.observe(Started("1.0", 1))
    text = log.text()
    assert text.startswith("{") != console
    assert ("\x1b[" in text) == colored


def test_colours_can_be_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is what people set who cannot see them, or whose terminal cannot."""
    monkeypatch.setenv("NO_COLOR", "1")
    log = Log("auto", stream=Terminal())
    log.logs.observe(Started("1.0", 1))
    assert "\x1b" not in log.text()


@FORMS
@pytest.mark.parametrize("kind", get_args(Event))
@pytest.mark.parametrize("secret", [TOKEN, API_KEY])
def test_no_secret_is_written_from_any_field_of_any_event(
    form: str, kind: type[Any], secret: str
) -> None:
    """An event is made without secrets; should one slip in, this is the last door."""
    text = line_of(form, told_with(kind, f"x={secret};"))
    assert text.count("\n") >= 1
    assert not any(secret[start : start + 20] in text for start in range(len(secret) - 19))


@FORMS
@given(TEXTS, TEXTS)
def test_a_line_is_one_line_whatever_it_is_about(form: str, app: str, message: str) -> None:
    """DSM's error texts come from outside: none may forge a line or move the cursor."""
    event = AttemptFailed(
        app, URL, Method.AUTH, Reason.TLS, message, 0.5, 1, Instant(1030), request_id=""
    )
    text = line_of(form, event)
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    assert not any(character < " " or "\x7f" <= character < "\xa0" for character in text[:-1])
    if form == "json":
        assert json.loads(text)["event"] == "refresh failed"


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


def test_a_crash_brings_its_traceback_without_locals_and_secrets() -> None:
    """A bug is mended from the log alone, and the log is read by many."""
    text = line_of("json", crash(f"token {TOKEN}"))
    exception = json.loads(text)["exception"]
    assert exception.startswith("Traceback (most recent call last):\n")
    assert "ValueError: token ***" in exception
    assert exception.endswith("KeyError: 86")
    assert TOKEN[:20] not in text


def test_a_traceback_on_a_console_is_indented() -> None:
    """An exception's message has newlines: what follows them must not pass for a line."""
    forged = "x\n12:00:00.000 [info    ] token refreshed\x1b[2J"
    first, *rest = line_of("console", crash(forged)).splitlines()
    assert "app crashed" in first
    assert {line[:4] for line in rest} == {"    "}
    assert "    12:00:00.000 [info    ] token refreshed\\x1b[2J" in rest


def test_a_value_without_end_is_shortened() -> None:
    """One answer of a broken proxy must not fill the disk."""
    message = "start" + "x " * 10_000 + "end"
    log = Log("json")
    log.logs.observe(failure(message=message))
    (line,) = log.objects()
    assert len(line["message"]) <= LONGEST_VALUE + 1
    assert line["message"].startswith("start")
    assert line["message"].endswith("end")


def test_what_cannot_be_encoded_is_shown_as_it_is() -> None:
    """A path of bytes that are no UTF-8 reaches Python as lone surrogates."""
    log = Log("json")
    log.logs.observe(Warned("cannot read /etc/\udcff.key"))
    assert log.objects()[0]["message"] == "cannot read /etc/\\udcff.key"


def test_a_secret_prints_as_nothing() -> None:
    """The type itself is the first door."""
    log = Log("json")
    log.logs.library(logging.LogRecord("x", 30, "", 0, "got %s", (Secret("short"),), None))
    assert log.objects()[0]["event"] == "got ***"
