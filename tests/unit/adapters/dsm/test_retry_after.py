"""The Retry-After header."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.dsm.retry_after import retry_after

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


def http_date(unix: float) -> str:
    """Return the date as HTTP writes it."""
    return format_datetime(datetime.fromtimestamp(unix, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("-5", 0.0),
        ("9" * 400, float("inf")),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("\uff11\uff12", None),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Monday, 23-Nov-26 12:01:00 GMT", 60.0),
        ("Mon Nov 23 12:01:00 2026", 60.0),
        ("Mon, 23 Nov 2026 12:01:00 -0000", 60.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 99 Nov 2026 12:01:00 GMT", None),
        ("Mon, 23 Nov 99999999999999999999 12:01:00 GMT", None),
    ],
)
def test_seconds_and_dates_are_read_and_the_rest_is_ignored(value: str, wait: float | None) -> None:
    """A server in trouble asks for a pause in either form; nonsense asks for nothing."""
    assert retry_after({"Retry-After": value}, NOON) == wait


def test_no_header_asks_for_nothing() -> None:
    """Most errors come without one."""
    assert retry_after({}, NOON) is None


def test_a_date_counts_from_the_servers_own_clock() -> None:
    """Our wall clock may be hours off, and must not turn a minute into hours."""
    headers = {"Retry-After": http_date(NOON + 30), "Date": http_date(NOON)}
    assert retry_after(headers, NOON - 7200) == 30.0


def test_an_illegible_date_header_is_as_good_as_none() -> None:
    """A proxy may garble it; our clock is the next best."""
    assert retry_after({"Retry-After": http_date(NOON + 30), "Date": "noonish"}, NOON) == 30.0


@given(st.integers(min_value=0, max_value=10**9))
def test_seconds_are_taken_at_their_word(seconds: int) -> None:
    """How much of an absurd wait is obeyed is the policy's decision, not the parser's."""
    assert retry_after({"Retry-After": str(seconds)}, NOON) == seconds


@given(st.integers(min_value=0, max_value=4_000_000_000), st.integers(-86400, 86400))
def test_a_date_is_the_difference_to_the_servers_clock(server: int, ahead: int) -> None:
    """Any server's clock will do, as long as it agrees with itself."""
    headers = {"Retry-After": http_date(max(0, server + ahead)), "Date": http_date(server)}
    assert retry_after(headers, NOON) == max(0.0, max(0, server + ahead) - server)


DATE_LIKE = st.from_regex(
    r"[A-Z][a-z]{2}, [0-9]{1,30} (Nov|[a-z]{3}) [0-9]{1,30} [0-9]{1,3}(:[0-9]{1,30}){0,3} "
    r"(GMT|[+-][0-9]{1,30})",
    fullmatch=True,
)


@given(st.text() | DATE_LIKE, st.text() | DATE_LIKE)
def test_any_header_is_read_without_a_fuss(value: str, date: str) -> None:
    """A header must never bring an attempt down."""
    wait = retry_after({"Retry-After": value, "Date": date}, NOON)
    assert wait is None or wait >= 0.0
