"""The file's text: its syntax errors, and the line of every key."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refresherd.config.findings import Finding, KeyPath, Kind
from refresherd.config.source import locate, read_toml, report
from refresherd.domain.errors import ConfigError

FILE = Path("config.toml")


def complaint(text: str) -> str:
    """Return the fault of a text that is not TOML."""
    with pytest.raises(ConfigError) as error:
        read_toml(FILE, text)
    (fault,) = error.value.faults
    return fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nmode = 0600", "2: invalid TOML at column 9: unexpected text after a value"),
        ("a = 20s", "1: invalid TOML at column 7: unexpected text after a value"),
        ("a = foo", "1: invalid TOML at column 5: this is not a value; write strings in"),
        ("a =\n\n", "1: invalid TOML at column 4: this is not a value"),
        ("a = 'x'\n\nb = [1,\n", "3: invalid TOML at the end of the file: a value or a closing"),
        ("a = 1\na = 2\n", "2: invalid TOML at column 6: this key is already set"),
        ("[a]\n[a]\n", "2: invalid TOML at column 3: this table is already defined"),
        ("a = []\n[[a]]\n", "2: invalid TOML at column 4: this name already has a value"),
        ("a", "1: invalid TOML at column 2: a key needs ="),
        ("[a\nb = 1", "1: invalid TOML at column 3: a table header is missing its closing"),
        ("= 1", "1: invalid TOML at column 1: this is neither a key nor"),
        (
            "; why",
            "1: invalid TOML at column 1: this is neither a key nor a table header; comments",
        ),
        (
            'a = "x',
            "1: invalid TOML at column 7: a string is missing its closing quotes",
        ),
        ("a = [1 2]", "1: invalid TOML at column 8: a list or an inline table is missing"),
        ('a = "\\q"', "1: invalid TOML at column 8: invalid escape; write text with"),
        ('a = "\x01"', "1: invalid TOML at column 6: control characters are not allowed"),
        ("", ""),
    ],
)
def test_syntax_errors_have_line_and_column_and_a_cure(text: str, expected: str) -> None:
    """Operators need not know TOML's grammar."""
    if expected:
        assert complaint(text).startswith(f"config.toml:{expected}")
    else:
        assert read_toml(FILE, text) == {}


def test_a_secret_in_invalid_toml_is_not_repeated() -> None:
    """Somebody may have pasted `FORTANIX_API_KEY=…` from a shell."""
    fault = complaint("FORTANIX_API_KEY=OGYyYjdhMzYtNTljMi00ZjBlLTljNTI=\n")
    assert fault.startswith("config.toml:1: invalid TOML at column 18: this is not a value")
    assert "OGYy" not in fault


def test_limits_of_the_toml_parser_are_faults() -> None:
    """They are not bugs of the daemon."""
    assert "nested too deeply" in complaint("a = " + "[" * 100_000)
    assert "too many digits" in complaint("a = " + "9" * 5000)


@given(st.text() | st.lists(st.sampled_from("a'\"[]{}=,.#\n0\\ ")).map("".join))
def test_any_text_is_a_document_or_has_a_fault(text: str) -> None:
    """The parser raises nothing else."""
    try:
        read_toml(FILE, text)
    except ConfigError as error:
        (fault,) = error.faults
        assert fault.startswith("config.toml:")
        assert "\n" not in fault


PARTS = st.sampled_from(["a", "b-1", "2", '"c d"', "'e.f'", '"g\\u00e9\\"h"', '""', "'#'"])
DOTTED = st.lists(PARTS, min_size=1, max_size=3).map(" . ".join)

SCALARS = st.sampled_from(
    [
        *("1", "-0.5e3", "inf", "true", "1979-05-27 07:32:00", "0xdead_beef"),
        *('""', "''", '""""""', "''''''", '"# ] } , = \\" \\\\"', "'# ] } \" \\'"),
        *('"""\nk0 = 1\n[a]\n"""', "'''\nk0 = 1 # '\n[[a]]\n'''", '"""\\"""\\\n  x"""'),
        *('""""q"""""', "'''''q'''''"),
    ]
)

GAPS = st.sampled_from(["", " ", "\n", " # ], } k0 = 1\n", "\n\t"])


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Draw arrays over several lines, with comments and a trailing comma."""
    items = st.lists(st.tuples(GAPS, values, GAPS).map("".join), max_size=3)
    return st.tuples(items.map(",".join), GAPS).map(lambda parts: f"[{''.join(parts)}]")


def inline_tables(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Draw inline tables with quoted and dotted keys."""
    pairs = st.lists(st.tuples(DOTTED, values).map(" = ".join), max_size=3)
    return pairs.map(lambda written: f"{{ {', '.join(written)} }}")


VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=8)

STATEMENTS = st.lists(
    DOTTED.map(lambda key: f" [ {key} ] # table")
    | DOTTED.map(lambda key: f"[[{key}]]")
    | st.tuples(DOTTED, VALUES).map(lambda pair: f"KEY.{pair[0]} = {pair[1]}")
    | VALUES.map(lambda value: f"\t'KEY'={value}# done")
    | st.just("# a = [\n"),
    max_size=12,
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Draw a valid document, in which each of `k0`, `k1` … occurs once."""
    text = ""
    for number, statement in enumerate(draw(STATEMENTS)):
        longer = text + statement.replace("KEY", f"k{number + 1}") + "\n"
        try:
            tomllib.loads(longer)
        except tomllib.TOMLDecodeError:
            continue
        text = longer
    return text


def paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Return the path of everything inside a value."""
    match value:
        case dict():
            children: list[tuple[str | int, object]] = list(value.items())
        case list():
            children = list(enumerate(value))
        case _:
            return
    for key, child in children:
        yield (*path, key)
        yield from paths(child, (*path, key))


# Drawing nested documents is slow on a busy machine, which is no fault of the code.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), st.sampled_from(["\n", "\r\n"]))
def test_every_parsed_key_is_on_the_line_that_is_found(text: str, newline: str) -> None:
    """A wrong line would send the operator searching, however the file is written."""
    text = text.replace("\n", newline)
    lines = locate(text)
    written = text.split("\n")
    for path in paths(tomllib.loads(text)):
        line = written[lines[path] - 1]
        last = path[-1]
        if isinstance(last, str):
            assert last in line or '"g\\u00e9\\"h"' in line


def test_lines_of_a_typical_document() -> None:
    """The indices in a path tell equal tables apart."""
    text = (
        "ready = 'all'\n"
        "[apps.'pay.ments']\n"
        "refresh.at = 0.5\n"
        "[[apps.'pay.ments'.files]]\n"
        "path = 'a'\n"
        "[[apps.'pay.ments'.files]]\n"
        "path = 'b'\n"
        "[apps.'pay.ments'.files.more]\n"
        "x = [\n"
        "  1,\n"
        "  { y = 2 },\n"
        "]\n"
    )
    app = ("apps", "pay.ments")
    assert locate(text) == {
        ("ready",): 1,
        ("apps",): 2,
        app: 2,
        (*app, "refresh"): 3,
        (*app, "refresh", "at"): 3,
        (*app, "files"): 4,
        (*app, "files", 0): 4,
        (*app, "files", 0, "path"): 5,
        (*app, "files", 1): 6,
        (*app, "files", 1, "path"): 7,
        (*app, "files", 1, "more"): 8,
        (*app, "files", 1, "more", "x"): 9,
        (*app, "files", 1, "more", "x", 0): 10,
        (*app, "files", 1, "more", "x", 1): 11,
        (*app, "files", 1, "more", "x", 1, "y"): 11,
    }


def test_deep_nesting_is_scanned() -> None:
    """The scan does not recurse, so it accepts whatever the parser accepted."""
    depth = 2_000
    assert len(locate("a = " + "[" * depth + "]" * depth)) == depth


@pytest.mark.parametrize("text", ["= 1", "]", "a", "a = \"x'", "[a\n"])
def test_scanning_invalid_toml_ends_with_an_error(text: str) -> None:
    """It must not go on for ever."""
    with pytest.raises(ValueError, match="not a valid TOML"):
        locate(text)


def test_findings_are_reported_once_in_the_order_of_lines() -> None:
    """An operator goes through the file once."""
    findings = (
        Finding(("b", "c"), "second"),
        Finding(("a",), "first"),
        Finding(("a",), "first"),
        Finding(("a",), "first again"),
        Finding((), "of the whole"),
    )
    assert report(Path("f"), "\na = 1\n[b]\n", findings)[Kind.FAULT] == (
        "f:1: of the whole",
        "f:2: a: first",
        "f:2: a: first again",
        "f:3: b.c: second",
    )


def test_findings_are_told_apart_by_kind() -> None:
    """A script finds warnings and notes by the word after the place, which faults do not have."""
    findings = [Finding(("a",), str(kind.value), kind) for kind in Kind]
    assert report(Path("f"), "a = 1\n", findings) == {
        Kind.FAULT: ("f:1: a: fault",),
        Kind.TROUBLE: ("f:1: a: trouble",),
        Kind.WARNING: ("f:1: warning: a: warning",),
        Kind.NOTE: ("f:1: note: a: note",),
    }


def test_a_file_without_findings_is_not_scanned() -> None:
    """Scanning ten thousand apps would take seconds."""
    assert not any(report(Path("f"), "no TOML at all", ()).values())
