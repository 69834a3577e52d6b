"""No credential stays in a text, however it got there and is written; the rest stays readable."""

from base64 import b64encode, urlsafe_b64encode
from hashlib import sha512
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.rig.canaries import disguises, leaks, secret_half
from refresherd.domain.redaction import redact, redact_quoted, truncate

APP_ID = "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11"
USUAL = b64encode(f"{APP_ID}:{'Zq3-' * 21}Zq".encode()).decode()
SHORT = b64encode(f"{APP_ID}:s3cr3t-canary-42>?".encode()).decode()
URLSAFE = urlsafe_b64encode(f"{APP_ID}:s3cr?t>>~~pass?word".encode()).decode()
TOKEN = "Zq3-" * 21 + "Zq"

LONG = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=30)
TOKENS = st.binary(min_size=64, max_size=64).map(lambda b: urlsafe_b64encode(b).decode()[:86])
API_KEYS = st.tuples(st.uuids(), TOKENS).map(
    lambda key: b64encode(b":".join(part.encode() for part in (str(key[0]), key[1]))).decode()
)
DIGESTS = st.integers().map(lambda n: b64encode(sha512(str(n).encode()).digest()).decode())


@given(st.text(), st.one_of(TOKENS, API_KEYS), st.text())
def test_no_token_and_no_api_key_survives_in_any_text(before: str, secret: str, after: str) -> None:
    """DSM, a proxy or a library may put what it was sent into whatever it answers."""
    for redacted in (
        redact(before + secret + after),
        redact_quoted(before + secret + after, ""),
    ):
        assert not any(secret[start : start + 20] in redacted for start in range(len(secret) - 19))


@given(DIGESTS.filter(lambda secret: not secret.startswith("/")))
def test_no_long_base64_survives(secret: str) -> None:
    """Another maker's secret passes for a path only if it starts and is divided like one."""
    assert redact(f"got {secret}, sorry") == "got ***, sorry"


@given(DIGESTS)
def test_nothing_passes_for_a_path_in_a_quoted_text(secret: str) -> None:
    """A server has no business naming files of this host."""
    assert redact_quoted(f"got {secret}, sorry", "") == "got ***, sorry"


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
        ("http://user:p@ss?w#rd@proxy:3128/", "http://***@proxy:3128/"),
        ("OGYyYjdhMzYtNTljMi00ZjBlLTljNTItMmQxZjNlMGE3YzExOnNlc2FtZQ==", "***"),
        ("id " + "a" * 40 + " here", "id *** here"),
        ("id " + "a" * 39 + " here", None),
        ("no such file: /run/" + "Ab1" * 30 + "/x", "no such file: ***"),
        ("/run/refresherd/Payments1/" + "service/" * 9 + "T", None),
        ("/nix/store/" + "0a" * 16 + "-python3-3.13/lib", None),
        ("Ab1" + "/service" * 9, "***"),
        ("https://x.example/sys/v1/" + "a-" * 30, "https://x.***"),
    ],
)
def test_a_credential_is_recognised_by_its_context_or_its_length(
    text: str, redacted: str | None
) -> None:
    """A short credential is recognised by its scheme or place in a URL, a long one by itself."""
    assert redact(text) == (redacted or text)


@given(st.uuids())
def test_a_request_id_stays(request_id: UUID) -> None:
    """The vendor's support asks for it."""
    text = f"request {request_id} failed"
    assert redact(text) == redact_quoted(text, "") == text


@given(st.lists(st.from_regex(r"[a-z][a-z-]{0,30}", fullmatch=True), min_size=1))
def test_a_path_stays(parts: list[str]) -> None:
    """The operator has to find that file."""
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


@pytest.mark.parametrize("key", [USUAL, SHORT, SHORT.rstrip("=")])
@pytest.mark.parametrize("spelling", sorted(disguises("")))
def test_an_api_key_is_masked_in_whole_and_its_secret_half_alone(key: str, spelling: str) -> None:
    """A server that decodes the key and quotes it in its complaint reveals the secret half."""
    half = secret_half(key)
    for secret in (key, half, f"{APP_ID}:{half}"):
        said = redact_quoted(f"bad key: {disguises(secret)[spelling]} (no such app)", key)
        assert not leaks({spelling: said}, [key, half])
        assert said.startswith("bad key: ")
        assert said.endswith(" (no such app)")


def test_a_key_in_the_url_safe_alphabet_hides_its_password_too() -> None:
    """Both alphabets are accepted for an API key, so a server may decode either."""
    assert redact_quoted("bad login s3cr?t>>~~pass?word", URLSAFE) == "bad login ***"


@given(LONG)
def test_a_known_secret_is_masked_in_every_encoding(secret: str) -> None:
    """It need not look like a secret."""
    for spelling, disguise in disguises(secret).items():
        assert disguise.rstrip("=") not in redact_quoted(f"<{disguise}>", secret), spelling


def test_an_unknown_token_is_masked_in_a_quoted_text() -> None:
    """A token that was just issued is as secret as the one that was sent."""
    assert redact_quoted(f"token {TOKEN} for {APP_ID}", "") == f"token *** for {APP_ID}"


def test_a_short_part_of_a_key_is_not_masked() -> None:
    """A password of one letter would make every text unreadable."""
    key = b64encode(f"{APP_ID}:a".encode()).decode()
    assert redact_quoted("a bad name", key) == "a bad name"


def test_a_truncated_text_ends_with_a_whole_word() -> None:
    """Half a token is too short to be recognised, and half-way to a whole one."""
    assert truncate(f"token {TOKEN}", 40) == "token "
    assert truncate(f"token={TOKEN}", 40) == ""
    assert truncate("a b", 3) == "a b"
