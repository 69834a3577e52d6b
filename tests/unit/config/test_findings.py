"""How values and keys are named to operators."""

from base64 import b64encode
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.config.findings import (
    dotted,
    kind,
    listed,
    nearest,
    quoted,
    secretive,
    shown,
)
from support.fakes import API_KEY

TOKEN = "Zk3-x_9QbT" * 8 + "aB3dE6"


@pytest.mark.parametrize(
    ("text", "told"),
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
def test_strings_are_told_as_the_file_has_them_unless_they_may_be_secret(
    text: str, told: str | None
) -> None:
    """One line a fault, nothing that fools the eye, and no key or token by a side door."""
    assert quoted(text) == (told or f'"{text}"')


@given(st.uuids(), st.binary(min_size=1))
def test_any_api_key_counts_as_secret(app_id: UUID, secret: bytes) -> None:
    """Wherever it was pasted by mistake."""
    api_key = b64encode(f"{app_id}:".encode() + secret).decode()
    assert secretive(f"prefix {api_key} suffix")


@pytest.mark.parametrize(
    ("value", "told", "named"),
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
def test_values_are_told_by_what_they_are(value: object, told: str, named: str) -> None:
    """In TOML's words, not Python's."""
    assert shown(value) == told
    assert kind(value) == named


def test_key_paths_read_as_one_would_write_them() -> None:
    """With quotes only where TOML wants them, and without a secret pasted as a name."""
    assert dotted(("apps", "payments", "files", 0, "mode")) == "apps.payments.files[0].mode"
    assert dotted(("apps", "a.b", "")) == 'apps."a.b".""'
    assert dotted((TOKEN,)) == '"…"'


def test_lists_and_guesses_read_as_sentences() -> None:
    """Operators read them."""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], "and") == "a, b and c"
    assert nearest("att", ("at", "jitter")) == "at"
    assert nearest("zzz", ("at", "jitter")) == ""
