"""Queries: what may be asked, and what is said of the rest."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.api.parameters import (
    LONGEST_WAIT,
    WAIT_FOR_LASTING,
    WAIT_FOR_REFRESH,
    BadParameter,
    TokenQuery,
    no_query,
    refresh_query,
    token_query,
)
from refresherd.domain.model import Format

NAMES = st.sampled_from(("format", "min_ttl", "wait", "watch", "other", ""))
VALUES = st.one_of(
    st.sampled_from(("0", "1", "30", "0.5", "-1", "1e9", "inf", "nan", "٣", "raw", "json", "")),
    st.text(max_size=8),
)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=4)


@pytest.mark.parametrize(
    ("pairs", "query"),
    [
        ([], TokenQuery(Format.JSON, 0.0, 0.0, watch=False)),
        ([("format", "sdkms-cli")], TokenQuery(Format.SDKMS_CLI)),
        ([("min_ttl", "30")], TokenQuery(min_ttl=30.0, wait=WAIT_FOR_LASTING)),
        ([("min_ttl", "30.250"), ("wait", "0")], TokenQuery(min_ttl=30.25, wait=0.0)),
        ([("wait", "2.5")], TokenQuery(wait=2.5)),
        ([("wait", "9999999999")], TokenQuery(wait=LONGEST_WAIT)),
        ([("watch", "0"), ("format", "raw")], TokenQuery(Format.RAW)),
        ([("watch", "1")], TokenQuery(watch=True)),
        ([("watch", "1"), ("format", "json")], TokenQuery(watch=True)),
    ],
)
def test_what_is_asked_of_a_token(pairs: list[tuple[str, str]], query: TokenQuery) -> None:
    """Without parameters it is the current one at once; one that lasts is worth some waiting."""
    assert token_query(pairs) == query


@pytest.mark.parametrize(
    ("pairs", "parameter", "message"),
    [
        ([("format", "xml")], "format", "there are raw, header, json, env, sdkms-cli"),
        ([("format", "RAW")], "format", "no such format"),
        ([("min_ttl", "30s")], "min_ttl", "write one such as 30"),
        ([("min_ttl", "-1")], "min_ttl", "no number of seconds"),
        ([("min_ttl", "nan")], "min_ttl", "no number of seconds"),
        ([("min_ttl", "1" * 11)], "min_ttl", "no number of seconds"),
        ([("wait", "")], "wait", "no number of seconds"),
        ([("wait", "1\n")], "wait", "no number of seconds"),
        ([("watch", "yes")], "watch", "neither 1 nor 0"),
        ([("min-ttl", "30")], "min-ttl", "there are format, min_ttl, wait, watch"),
        ([("wait", "1"), ("wait", "1")], "wait", "given twice"),
        ([("watch", "1"), ("format", "raw")], "format", "json only"),
        ([("watch", "1"), ("min_ttl", "1")], "min_ttl", "leave it out"),
        ([("watch", "1"), ("wait", "1")], "wait", "leave it out"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_right(
    pairs: list[tuple[str, str]], parameter: str, message: str
) -> None:
    """A misspelt parameter that did nothing would be found on the day the token is too short."""
    with pytest.raises(BadParameter, match=f"^{parameter}: .*{re.escape(message)}") as raised:
        token_query(pairs)
    assert raised.value.parameter == parameter


def test_a_refresh_may_be_waited_for_or_not() -> None:
    """A script that only wants to set it off need not stay."""
    assert refresh_query([]) == WAIT_FOR_REFRESH
    assert refresh_query([("wait", "0")]) == 0.0
    assert refresh_query([("wait", "301")]) == LONGEST_WAIT
    with pytest.raises(BadParameter, match=r"^min_ttl: .*; there are wait$"):
        refresh_query([("min_ttl", "1")])


def test_a_status_takes_no_parameters() -> None:
    """Whoever asks for `?app=payments` would be shown all apps, and believe it is one."""
    no_query([])
    with pytest.raises(BadParameter, match=r"^app: .* there are none here$"):
        no_query([("app", "payments")])


def understood(pairs: list[tuple[str, str]]) -> TokenQuery | BadParameter:
    """Return what is asked, or why that cannot be."""
    try:
        return token_query(pairs)
    except BadParameter as error:
        return error


@given(PAIRS)
def test_whatever_is_asked_is_understood_or_refused(pairs: list[tuple[str, str]]) -> None:
    """Nothing else comes of it, and what is understood keeps within its bounds."""
    match understood(pairs):
        case TokenQuery(form, min_ttl, wait, watch):
            assert 0 <= min_ttl < 1e10
            assert 0 <= wait <= LONGEST_WAIT
            assert not (watch and form is not Format.JSON)
        case BadParameter() as error:
            assert str(error).startswith(f"{error.parameter}: ")
            assert error.parameter in dict(pairs)
