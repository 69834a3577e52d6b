"""Spans of time as people write and read them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.durations import PATTERN, UNITS, guess, in_seconds, parse

WRITTEN = st.lists(
    st.tuples(st.integers(0, 99) | st.just(1.5), st.sampled_from(list(UNITS))), min_size=1
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1m30s", 90), ("1d1h1m1s1ms", 90061.001), ("1.5h", 5400), ("0s", 0)],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, seconds: float) -> None:
    """The largest unit comes first, as people say it."""
    assert parse(text) == pytest.approx(seconds)


@given(WRITTEN)
def test_each_unit_comes_once_and_the_largest_first(parts: list[tuple[float, str]]) -> None:
    """In any other order one part is a slip of the pen, such as "30m1h"."""
    text = "".join(f"{number}{unit}" for number, unit in parts)
    order = [list(UNITS).index(unit) for _, unit in parts]
    ascending = order == sorted(set(order))
    assert (re.fullmatch(PATTERN, text) is not None) == ascending
    if ascending:
        assert parse(text) == pytest.approx(sum(number * UNITS[unit] for number, unit in parts))
    else:
        with pytest.raises(ValueError, match=r"^$"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *[("20", "20s"), ("1 m", "1m"), ("30m1h", "1h30m"), ("10M", "10m"), ("1,5h", "1.5h")],
        *[("10 sec", "10s"), ("5 minutes", "5m"), ("1h 30min", "1h30m"), (".5s", "0.5s")],
        *[("1m30", "1m30s"), ("5.s", "5s"), ("100msecs", "100ms"), (" 2days ", "2d")],
        *[
            ("1h1h", ""),
            ("soon", ""),
            ("1w", ""),
            ("-1s", ""),
            ("1e3s", ""),
            ("", ""),
            ("0x5s", ""),
        ],
        *[("\u0661s", ""), ("1..2s", ""), ("P1D", ""), ("9" * 50, "")],
    ],
)
def test_the_duration_that_is_meant_is_guessed(text: str, meant: str) -> None:
    """An operator corrects it without looking up the syntax; a wild guess would be worse."""
    assert guess(text) == meant


@given(st.text() | st.from_regex(r"[0-9. ,]{0,4}[a-zA-Z ]{0,4}[0-9]{0,2}[dhms]{0,2}"))
def test_a_guess_is_valid(text: str) -> None:
    """A message must not suggest what is refused next."""
    meant = guess(text)
    assert not meant or parse(meant) >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(5.70555, "5.7 s"), (20.0, "20 s"), (57.3, "57 s"), (1_296_000.0, "1296000 s")],
        *[(1.0, "1 s"), (9.96, "10 s"), (0.25, "0.25 s"), (0.1004, "0.1 s"), (0.0, "0 s")],
    ],
)
def test_seconds_are_rounded_for_people(seconds: float, text: str) -> None:
    """Nobody waits for a hundred-thousandth of a second."""
    assert in_seconds(seconds) == text
