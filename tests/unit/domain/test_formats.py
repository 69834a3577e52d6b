"""The formats byte for byte; no value can break their structure."""

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.formats import render_token, timestamp
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Format, Instant, Secret, Token


@dataclass(frozen=True, slots=True)
class Case:
    """A token as of an instant, on a host whose boot time is unix time."""

    app: App
    token: Token
    now: Instant

    def render(self, form: Format) -> bytes:
        """Return the token in a format."""
        return render_token(self.app, self.token, form, self.now, float)

    @property
    def access_token(self) -> str:
        """The token in clear."""
        return self.token.access_token.reveal()


EXAMPLE = Case(
    App("payments", Endpoint("https://amer.smartkey.io"), ApiKeyEnv("KEY")),
    Token(
        access_token=Secret("tok-EN_1"),
        entity_id="8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11",
        generation=7,
        issued_at=Instant(1_795_427_400.2),
        lifetime=600.7,
        expires_at=Instant(1_795_428_000.9),
    ),
    Instant(1_795_427_569.0),
)

TOKENS = st.from_regex(r"[A-Za-z0-9._~+/-]+=*", fullmatch=True)
"""RFC 6750's b64token: what may stand in an Authorization header."""

ENDPOINTS = st.from_regex(r"https://[a-z0-9.-]+(:[0-9]{1,5})?", fullmatch=True)

LONGEST_LIFETIME = 4_294_967_295

YEAR_9999 = 253_402_300_799
"""Its last second, in unix time."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a case with whatever DSM and a configuration may hold."""
    issued_at = draw(st.floats(0, YEAR_9999))
    lifetime = draw(st.floats(1, LONGEST_LIFETIME))
    expires_at = Instant(issued_at + lifetime)
    return Case(
        App(draw(st.text()), Endpoint(draw(ENDPOINTS)), ApiKeyEnv("KEY")),
        Token(
            access_token=Secret(draw(TOKENS)),
            entity_id=draw(st.uuids()).hex,
            generation=draw(st.integers(1)),
            issued_at=Instant(issued_at),
            lifetime=lifetime,
            expires_at=expires_at,
        ),
        Instant(expires_at - draw(st.floats(-1e6, LONGEST_LIFETIME))),
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
    assert EXAMPLE.render(form) == text.encode()


@given(cases())
def test_raw_is_the_token_alone(drawn: Case) -> None:
    """The vendor's Python client raises ValueError for a token with a newline behind it."""
    assert drawn.render(Format.RAW) == drawn.access_token.encode()


@given(cases())
def test_json_is_one_line_with_all_values(drawn: Case) -> None:
    """A watcher reads line by line, and an app's name may hold any character."""
    text = drawn.render(Format.JSON).decode("ascii")
    fields = json.loads(text)
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert fields["app"] == drawn.app.name
    assert fields["access_token"] == drawn.access_token
    assert fields["generation"] == drawn.token.generation
    assert (fields["entity_id"], fields["endpoint"]) == (
        drawn.token.entity_id,
        drawn.app.endpoint.url,
    )


@given(cases())
def test_json_never_promises_more_time_than_is_left(drawn: Case) -> None:
    """A consumer that trusts a rounded-up second is refused by DSM in that second."""
    fields = json.loads(drawn.render(Format.JSON))
    assert isinstance(fields["expires_in"], int)
    assert fields["expires_in"] >= 0
    left = max(0.0, drawn.token.expires_at - drawn.now)
    assert left - 1 < fields["expires_in"] <= left


@given(cases())
def test_env_has_three_variables_and_no_more(drawn: Case) -> None:
    """A value that broke its line could set LD_PRELOAD for the service that loads the file."""
    lines = drawn.render(Format.ENV).decode().split("\n")
    assert lines.pop() == ""
    assert [line.split("=", 1) for line in lines] == [
        ["FORTANIX_API_ENDPOINT", drawn.app.endpoint.url],
        ["FORTANIX_ACCESS_TOKEN", drawn.access_token],
        ["FORTANIX_TOKEN_EXPIRES_AT", timestamp(drawn.token.expires_at)],
    ]


@given(cases())
def test_sdkms_cli_has_the_two_lines_of_the_vendors_file(drawn: Case) -> None:
    """The vendor's command splits each line at its first equals sign."""
    lines = drawn.render(Format.SDKMS_CLI).decode().splitlines()
    assert [line.split("=", 1) for line in lines] == [
        ["app-token", drawn.access_token],
        ["end-point", drawn.app.endpoint.url],
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
    expires_at = Instant(EXAMPLE.token.issued_at + LONGEST_LIFETIME)
    token = replace(EXAMPLE.token, lifetime=LONGEST_LIFETIME, expires_at=expires_at)
    text = replace(EXAMPLE, token=token).render(form).decode()
    assert EXAMPLE.access_token in text
    assert ("2162-12-30T16:18:15Z" in text) == (form in {Format.JSON, Format.ENV})
