"""The file's text, before any key of it is looked at."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.config.source import parse
from refresherd.domain.errors import ConfigError

FILE = Path("config.toml")


def complaint(text: str) -> str:
    """Return what is said about a text that is no TOML."""
    with pytest.raises(ConfigError) as error:
        parse(FILE, text)
    (fault,) = error.value.faults
    return fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nmode = 0600", "2: no valid TOML, at column 9: more stands here than one value"),
        ("a = 20s", "1: no valid TOML, at column 7: more stands here than one value"),
        ("a = foo", "1: no valid TOML, at column 5: this is no value; strings stand in quotes"),
        ("a =\n\n", "1: no valid TOML, at column 4: this is no value"),
        ("a = 'x'\n\nb = [1,\n", "3: no valid TOML, at the file's end: this is no value"),
        ("a = 1\na = 2\n", "2: no valid TOML, at column 6: this key stands here twice"),
        ("[a]\n[a]\n", "2: no valid TOML, at column 3: this table stands here twice"),
        ("a = []\n[[a]]\n", "2: no valid TOML, at column 4: this was given a value before"),
        ("a", "1: no valid TOML, at the file's end: a key needs ="),
        ("[a\nb = 1", "1: no valid TOML, at column 3: a table's heading needs its closing"),
        ("= 1", "1: no valid TOML, at column 1: this is neither a key nor"),
        ('a = "x', "1: no valid TOML, at the file's end: a string lacks its closing quotes"),
        ("a = [1 2]", "1: no valid TOML, at column 8: a list or an inline table lacks"),
        ('a = "\\q"', "1: no valid TOML, at column 8: a backslash stands for itself in"),
        ('a = "\x01"', "1: no valid TOML, at column 6: Illegal character '\\x01'"),
        ("", ""),
    ],
)
def test_what_is_no_toml_is_told_with_line_and_column_in_plain_words(text: str, said: str) -> None:
    """TOML's grammar is not what operators are there for."""
    if said:
        assert complaint(text).startswith(f"config.toml:{said}")
    else:
        assert parse(FILE, text) == {}


def test_a_key_that_is_no_toml_is_not_repeated() -> None:
    """Somebody pasted `FORTANIX_API_KEY=…` from a shell."""
    fault = complaint("FORTANIX_API_KEY=OGYyYjdhMzYtNTljMi00ZjBlLTljNTI=\n")
    assert fault.startswith("config.toml:1: no valid TOML, at column 18: this is no value")
    assert "OGYy" not in fault


def test_what_the_reader_itself_breaks_on_is_a_fault_as_well() -> None:
    """Not a bug of the daemon's."""
    assert "nest too deeply" in complaint("a = " + "[" * 100_000)
    assert "too many digits" in complaint("a = " + "9" * 5000)


@given(st.text() | st.lists(st.sampled_from("a'\"[]{}=,.#\n0\\ ")).map("".join))
def test_any_text_is_a_document_or_a_fault(text: str) -> None:
    """The reader raises nothing else."""
    try:
        parse(FILE, text)
    except ConfigError as error:
        (fault,) = error.faults
        assert fault.startswith("config.toml:")
        assert "\n" not in fault
