"""The lines of the generations file, whatever a crash has made of them."""

from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.state.generation_file import MAX_APPS, decoded, encoded

APPS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@given(st.dictionaries(APPS, st.integers(0, 10**15)))
def test_what_is_written_is_read(generations: dict[str, int]) -> None:
    """Every app gets its own number back."""
    assert decoded(encoded(generations)) == generations


def test_the_last_line_of_an_app_counts() -> None:
    """Lines are appended; a lower number is one that a stop gave back."""
    assert decoded(b"a 7\nb 1\na 8\na 7\n") == {"b": 1, "a": 7}


def test_half_a_line_is_ignored() -> None:
    """A disk that is full cuts the last line short: 12 must not become 1."""
    assert decoded(b"a 11\na 1") == {"a": 11}
    assert decoded(b"a 11\na 1a 12\nb 1\n") == {"a": 11, "b": 1}


def test_the_latest_apps_are_remembered() -> None:
    """Apps that are named by the day would fill the disk one day."""
    generations = {f"app-{number}": 1 for number in range(MAX_APPS + 5)}
    kept = decoded(encoded(generations))
    assert len(kept) == MAX_APPS
    assert "app-4" not in kept


@given(st.binary())
def test_no_content_raises_an_error(content: bytes) -> None:
    """A garbled file must not keep the daemon from its tokens."""
    assert all(number >= 0 for number in decoded(content).values())
