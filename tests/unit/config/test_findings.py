"""How findings name keys and values."""

from base64 import b64encode
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.config.findings import (
    describe_value,
    dotted,
    listed,
    nearest,
    quoted,
)
from refresherd.domain.redaction import holds_secret
from support.fakes import API_KEY

TOKEN = "Zk3-x_9QbT" * 8 + "aB3dE6"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0600", '"0600"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("two\nlines", '"two\\nlines"'),
        ("back\\slash", '"back\\\\slash"'),
        ("grüße", '"grüße"'),
        ("\u202egnp", '"\\u202egnp"'),
        ("/etc/refresherd/production-payments-service-eu-west-1.key", None),
        ("x" * 201, '"…"'),
        (API_KEY, '"…"'),
        (f"Bearer {TOKEN}", '"…"'),
        ("http://user:hunter2@proxy", '"…"'),
    ],
)
def test_strings_are_shown_as_in_toml_unless_they_may_be_secret(
    text: str, expected: str | None
) -> None:
    """A fault is one line, hides no control characters and repeats no key or token."""
    assert quoted(text) == (expected or f'"{text}"')


@given(st.uuids(), st.binary(min_size=1))
def test_every_api_key_counts_as_secret(app_id: UUID, secret: bytes) -> None:
    """An API key may be pasted anywhere by mistake."""
    api_key = b64encode(f"{app_id}:".encode() + secret).decode()
    assert holds_secret(f"prefix {api_key} suffix")


@pytest.mark.parametrize(
    ("value", "expected", "expected_kind"),
    [
        ("a", '"a"', "a string"),
        (True, "true", "a boolean"),
        (384, "384", "a number"),
        pytest.param(10**5000, "this", "a number", id="more digits than Python prints"),
        (0.5, "0.5", "a number"),
        (float("nan"), "nan", "a number"),
        ([1], "this", "a list"),
        ({"a": API_KEY}, "this", "a table"),
        (datetime(2026, 1, 1, tzinfo=UTC), "this", "a date or time"),
    ],
)
def test_values_are_named_by_their_toml_types(
    value: object, expected: str, expected_kind: str
) -> None:
    """Operators know TOML's types, not Python's."""
    assert describe_value(value) == (expected, expected_kind)


def test_key_paths_are_written_as_in_toml() -> None:
    """Quotes are used where TOML needs them, and a secret pasted as a name is hidden."""
    assert dotted(("apps", "payments", "files", 0, "mode")) == "apps.payments.files[0].mode"
    assert dotted(("apps", "a.b", "")) == 'apps."a.b".""'
    assert dotted((TOKEN,)) == '"…"'


def test_words_are_joined_and_guessed() -> None:
    """Both are parts of sentences for operators."""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], "and") == "a, b and c"
    assert nearest("att", ("at", "jitter")) == "at"
    assert nearest("zzz", ("at", "jitter")) == ""
