"""The formats byte for byte; no value can break their structure."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.formats import Answer, render, timestamp
from refresherd.domain.model import Format

ANSWER = Answer(
    app="payments",
    access_token="tok-EN_1",
    expires_in=431.9,
    expires_at=1_795_428_000.9,
    issued_at=1_795_427_400.2,
    generation=7,
    entity_id="8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11",
    endpoint="https://amer.smartkey.io",
)

TOKENS = st.from_regex(r"[A-Za-z0-9._~+/-]+=*", fullmatch=True)
"""RFC 6750's b64token: what may stand in an Authorization header."""

ENDPOINTS = st.from_regex(r"https://[a-z0-9.-]+(:[0-9]{1,5})?", fullmatch=True)

LONGEST_LIFETIME = 4_294_967_295

YEAR_9999 = 253_402_300_799
"""Its last second, in unix time."""


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Draw an answer with whatever DSM and a configuration may hold."""
    issued_at = draw(st.floats(0, YEAR_9999))
    lifetime = draw(st.floats(1, LONGEST_LIFETIME))
    return Answer(
        app=draw(st.text()),
        access_token=draw(TOKENS),
        expires_in=draw(st.floats(-1e6, LONGEST_LIFETIME)),
        expires_at=issued_at + lifetime,
        issued_at=issued_at,
        generation=draw(st.integers(1)),
        entity_id=draw(st.uuids()).hex,
        endpoint=draw(ENDPOINTS),
    )


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Format.RAW, "tok-EN_1"),
        (Format.HEADER, "Authorization: Bearer tok-EN_1\n"),
        (
            Format.JSON,
            (
                '{"app": "payments", "token_type": "Bearer", "access_token": "tok-EN_1", '
                '"expires_in": 431, "expires_at": "2026-11-23T10:00:00Z", '
                '"issued_at": "2026-11-23T09:50:00Z", "generation": 7, '
                '"entity_id": "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11", '
                '"endpoint": "https://amer.smartkey.io"}\n'
            ),
        ),
        (
            Format.ENV,
            (
                "FORTANIX_API_ENDPOINT=https://amer.smartkey.io\n"
                "FORTANIX_ACCESS_TOKEN=tok-EN_1\n"
                "FORTANIX_TOKEN_EXPIRES_AT=2026-11-23T10:00:00Z\n"
            ),
        ),
        (Format.SDKMS_CLI, "app-token=tok-EN_1\nend-point=https://amer.smartkey.io\n"),
    ],
)
def test_each_format_is_what_its_consumers_parse(form: Format, text: str) -> None:
    """Scripts and the vendor's clients rely on these bytes."""
    assert render(ANSWER, form) == text.encode()


@given(answers())
def test_raw_is_the_token_alone(answer: Answer) -> None:
    """The vendor's Python client raises ValueError for a token with a newline behind it."""
    assert render(answer, Format.RAW) == answer.access_token.encode()


@given(answers())
def test_json_is_one_line_with_all_values(answer: Answer) -> None:
    """A watcher reads line by line, and an app's name may hold any character."""
    text = render(answer, Format.JSON).decode("ascii")
    fields = json.loads(text)
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert fields["app"] == answer.app
    assert fields["access_token"] == answer.access_token
    assert fields["generation"] == answer.generation
    assert (fields["entity_id"], fields["endpoint"]) == (answer.entity_id, answer.endpoint)


@given(answers())
def test_json_never_promises_more_time_than_is_left(answer: Answer) -> None:
    """A consumer that trusts a rounded-up second is refused by DSM in that second."""
    fields = json.loads(render(answer, Format.JSON))
    assert isinstance(fields["expires_in"], int)
    assert fields["expires_in"] >= 0
    assert max(0.0, answer.expires_in) - 1 < fields["expires_in"] <= max(0.0, answer.expires_in)


@given(answers())
def test_env_has_three_variables_and_no_more(answer: Answer) -> None:
    """A value that broke its line could set LD_PRELOAD for the service that loads the file."""
    lines = render(answer, Format.ENV).decode().split("\n")
    assert lines.pop() == ""
    assert [line.split("=", 1) for line in lines] == [
        ["FORTANIX_API_ENDPOINT", answer.endpoint],
        ["FORTANIX_ACCESS_TOKEN", answer.access_token],
        ["FORTANIX_TOKEN_EXPIRES_AT", timestamp(answer.expires_at)],
    ]


@given(answers())
def test_sdkms_cli_has_the_two_lines_of_the_vendors_file(answer: Answer) -> None:
    """The vendor's command splits each line at its first equals sign."""
    lines = render(answer, Format.SDKMS_CLI).decode().splitlines()
    assert [line.split("=", 1) for line in lines] == [
        ["app-token", answer.access_token],
        ["end-point", answer.endpoint],
    ]


def test_a_timestamp_is_in_utc_wherever_the_host_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers trust the Z, and a host's local time may be hours off."""
    monkeypatch.setenv("TZ", "Etc/GMT-9")
    time.tzset()
    try:
        assert timestamp(0.0) == "1970-01-01T00:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.floats(0, YEAR_9999))
def test_a_timestamp_is_rounded_down_to_the_second(unix: float) -> None:
    """A token must never look alive in a second in which it is not."""
    moment = datetime.fromisoformat(timestamp(unix))
    assert moment.tzinfo is UTC
    assert 0 <= unix - moment.timestamp() < 1


@given(st.floats(YEAR_9999, 1e300))
def test_a_time_beyond_the_calendar_is_written_as_its_last_second(unix: float) -> None:
    """A clock that was set absurdly must not stop the outputs."""
    assert timestamp(unix) == "9999-12-31T23:59:59Z"


@pytest.mark.parametrize("form", list(Format))
def test_a_token_for_136_years_can_be_written_in_every_format(form: Format) -> None:
    """DSM may answer with the largest `expires_in` of 32 bits."""
    answer = replace(
        ANSWER,
        expires_in=float(LONGEST_LIFETIME),
        expires_at=ANSWER.issued_at + LONGEST_LIFETIME,
    )
    text = render(answer, form).decode()
    assert answer.access_token in text
    assert ("2162-12-30T16:18:15Z" in text) == (form in {Format.JSON, Format.ENV})


def test_an_answer_in_a_traceback_does_not_show_its_token() -> None:
    """Tracebacks with local variables end up in logs."""
    assert repr(ANSWER) == "Answer(app='payments', generation=7)"
