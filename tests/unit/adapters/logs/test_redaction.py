"""Credentials never reach the log, however they got into a text; the rest stays readable."""

from base64 import b64encode, urlsafe_b64encode
from hashlib import sha512
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.logs.redaction import redact

TOKENS = st.binary(min_size=64, max_size=64).map(lambda b: urlsafe_b64encode(b).decode()[:86])
API_KEYS = st.tuples(st.uuids(), TOKENS).map(
    lambda key: b64encode(b":".join(part.encode() for part in (str(key[0]), key[1]))).decode()
)
DIGESTS = st.integers().map(lambda n: b64encode(sha512(str(n).encode()).digest()).decode())


@given(st.text(), st.one_of(TOKENS, API_KEYS), st.text())
def test_no_token_and_no_api_key_survives_in_any_text(before: str, secret: str, after: str) -> None:
    """DSM, a proxy or a library may put what it was sent into whatever it answers."""
    redacted = redact(before + secret + after)
    assert not any(secret[start : start + 20] in redacted for start in range(len(secret) - 19))


@given(DIGESTS.filter(lambda secret: not secret.startswith("/")))
def test_no_long_base64_survives(secret: str) -> None:
    """Another maker's secret passes for a path only if it starts and is divided like one."""
    assert redact(f"got {secret}, sorry") == "got ***, sorry"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abc-DEF_1.2~3", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwYXNz==, x", "authorization: basic ***, x"),
        ('{"Authorization": "Bearer abc"}', '{"Authorization": "Bearer ***"}'),
        ("Bearer\n\tabc", "Bearer\n\t***"),
        ("Basic OGYyYjdhMzYtNTljMi00Zg==", "Basic ***"),
        (
            "cannot connect to http://user:pass@proxy:3128/",
            "cannot connect to http://***@proxy:3128/",
        ),
        ("OGYyYjdhMzYtNTljMi00ZjBlLTljNTItMmQxZjNlMGE3YzExOnNlc2FtZQ==", "***"),
        ("no such file: /run/" + "Ab1" * 30 + "/x", "no such file: ***"),
        ("/run/refresherd/Payments1/" + "service/" * 9 + "T", None),
        ("Ab1" + "/service" * 9, "***"),
        ("https://x.example/sys/v1/" + "a-" * 30, "https://x.***"),
    ],
)
def test_credentials_are_known_by_what_is_around_them(text: str, redacted: str | None) -> None:
    """A short credential is recognised by its scheme or place in a URL, a long one by itself."""
    assert redact(text) == (redacted or text)


@given(st.uuids())
def test_a_request_id_stays(request_id: UUID) -> None:
    """It is what the vendor's support asks for."""
    assert redact(f"request {request_id} failed") == f"request {request_id} failed"


@given(st.lists(st.from_regex(r"[a-z][a-z-]{0,30}", fullmatch=True), min_size=1))
def test_a_path_stays(parts: list[str]) -> None:
    """It is what an operator has to mend."""
    parts.append("1f0c6a1e-5b0a-4c52-9d8e-0123456789ab")
    path = "/var/lib/" + "/".join(parts) + "/payments.token"
    assert redact(f"cannot write {path}: disk full") == f"cannot write {path}: disk full"


def test_ordinary_sentences_stay() -> None:
    """A log that hides too much gets its redaction switched off."""
    text = (
        "the bearer of bad news, ops@example.com, has a basically unreasonable complaint about it"
    )
    assert redact(text) == text.replace("of", "***", 1)
    assert redact("no user@host is too short") == "no user@host is too short"
