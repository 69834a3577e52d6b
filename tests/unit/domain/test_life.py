"""The bar of a token's life: its parts add up, whatever the times are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.life import Cell, Life, life

LETTERS = {Cell.OVER: ".", Cell.LEFT: "=", Cell.BUDGET: "~", Cell.REFRESH: "|"}
SHARES = st.floats(0, 1)
TIMES = st.floats(-1e9, 1e9)


def drawn(bar: Life, width: int) -> str:
    """Return a bar as letters."""
    return "".join(LETTERS[cell] for cell in bar.cells(width))


@pytest.mark.parametrize(
    ("now", "picture"),
    [
        (0, "========|=~~~~~~~~~~"),
        (300, "......==|=~~~~~~~~~~"),
        (405, "........|=~~~~~~~~~~"),
        (700, "..............|~~~~~"),
        (1000, "...................|"),
        (2000, "...................|"),
    ],
)
def test_a_token_grows_old(now: float, picture: str) -> None:
    """What is left shrinks; a refresh that is overdue stands at the present moment."""
    bar = life(0, 1000, min(400 if now < 405 else now, 999), 500, now)
    assert bar is not None
    assert drawn(bar, 20) == picture


@given(SHARES, SHARES, SHARES | st.none(), st.integers(1, 300))
def test_a_bar_is_as_wide_as_wanted_and_in_order(
    now: float, budget: float, refresh: float | None, width: int
) -> None:
    """It stands in a column, and nobody must take the past for the future."""
    bar = drawn(Life(now, budget, refresh), width)
    assert len(bar) == width
    assert bar.count("|") == (refresh is not None)
    kinds = bar.replace("|", "")
    assert kinds == "".join(sorted(kinds, key=".=~".index))


@given(TIMES | st.none(), TIMES | st.none(), TIMES | st.none(), TIMES | st.none(), TIMES)
def test_any_times_make_a_bar_or_none(
    issued: float | None,
    expires: float | None,
    refresh: float | None,
    budget: float | None,
    now: float,
) -> None:
    """A wall clock may have been set in between."""
    bar = life(issued, expires, refresh, budget, now)
    if issued is None or expires is None or expires <= issued:
        assert bar is None
    else:
        assert bar is not None
        assert 0 <= bar.now <= 1
        assert 0 <= bar.budget <= 1
        assert bar.refresh is None or 0 <= bar.refresh <= 1
        assert len(bar.cells(10)) == 10
