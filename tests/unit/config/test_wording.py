"""How values and keys are named to operators."""

from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.config.findings import Findings
from refresherd.config.unknown import unknown_key
from refresherd.config.wording import dotted, kind, listed, nearest, quoted, shown
from refresherd.domain.redaction import holds_secret
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
    assert holds_secret(f"prefix {api_key} suffix")


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


def test_findings_come_in_the_order_of_the_lines_each_once() -> None:
    """So that an operator goes through the file once."""
    findings = Findings()
    findings.add(("b", "c"), "second")
    findings.add(("a",), "first")
    findings.add(("a",), "first")
    findings.add(("a",), "first again")
    findings.add((), "of the whole")
    assert findings.lines(Path("f"), "\na = 1\n[b]\n") == (
        "f:1: of the whole",
        "f:2: a: first",
        "f:2: a: first again",
        "f:3: b.c: second",
    )
    assert len(findings) == 4
    assert ("a",) in findings
    assert ("b",) not in findings


def test_no_findings_need_no_lines() -> None:
    """A good file is not scanned: at ten thousand apps that would cost."""
    assert Findings().lines(Path("f"), "no TOML at all") == ()


@pytest.mark.parametrize(
    ("key", "value", "table", "known", "said"),
    [
        ("api_key", "x", ("apps", "a"), ("api_key_file",), "unknown key; secrets are never inline"),
        ("anything", TOKEN, (), ("at",), "unknown key; secrets are never inline"),
        ("att", 1, ("refresh",), ("at", "jitter"), 'unknown key; did you mean "at"?'),
        ("at", 1, ("dsm",), ("proxy",), "unknown key here; it belongs in [refresh]"),
        ("app", {}, ("apps", "my"), ("app_id",), "unknown key; an app's name that holds a dot"),
        ("file", {}, ("apps", "my"), ("files",), 'unknown key; did you mean "files"?'),
        ("zzz", 1, ("log",), ("level", "format"), "unknown key; known here: format and level"),
        ("zzz", 1, (), tuple("abcdefghi"), "unknown key; `refresherd schema` tells"),
    ],
)
def test_an_unknown_key_comes_with_the_likeliest_remedy(
    key: str, value: object, table: tuple[str, ...], known: tuple[str, ...], said: str
) -> None:
    """A typo, the wrong table, an unquoted name, or a secret in the wrong place."""
    message = unknown_key(key, value, table, known)
    assert message.startswith(said)
    assert TOKEN not in message
