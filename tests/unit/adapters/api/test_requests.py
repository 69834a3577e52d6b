"""What a request asks for: its route and parameters, and the error for any others."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.api.requests import (
    MAX_WAIT,
    METHODS,
    REFRESH_WAIT,
    TOKEN_WAIT,
    BadParameter,
    TokenQuery,
    match,
    no_query,
    refresh_query,
    token_query,
)
from refresherd.domain.labels import ApiRoute
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
        ([("min_ttl", "30")], TokenQuery(min_ttl=30.0, wait=TOKEN_WAIT)),
        ([("min_ttl", "30.250"), ("wait", "0")], TokenQuery(min_ttl=30.25, wait=0.0)),
        ([("wait", "2.5")], TokenQuery(wait=2.5)),
        ([("wait", "9999999999")], TokenQuery(wait=MAX_WAIT)),
        ([("watch", "0"), ("format", "raw")], TokenQuery(Format.RAW)),
        ([("watch", "1")], TokenQuery(watch=True)),
        ([("watch", "1"), ("format", "json")], TokenQuery(watch=True)),
    ],
)
def test_a_valid_query_is_parsed(pairs: list[tuple[str, str]], query: TokenQuery) -> None:
    """Without parameters the current token is wanted at once; `min_ttl` implies some waiting."""
    assert token_query(pairs) == query


@pytest.mark.parametrize(
    ("pairs", "parameter", "message"),
    [
        ([("format", "xml")], "format", "use raw, header, json, env, sdkms-cli"),
        ([("format", "RAW")], "format", "unknown"),
        ([("min_ttl", "30s")], "min_ttl", "write a number such as 30"),
        ([("min_ttl", "-1")], "min_ttl", "not a number of seconds"),
        ([("min_ttl", "nan")], "min_ttl", "not a number of seconds"),
        ([("min_ttl", "1" * 11)], "min_ttl", "not a number of seconds"),
        ([("wait", "")], "wait", "not a number of seconds"),
        ([("wait", "1\n")], "wait", "not a number of seconds"),
        ([("watch", "yes")], "watch", "must be 0 or 1"),
        ([("min-ttl", "30")], "min-ttl", "use format, min_ttl, wait, watch"),
        ([("wait", "1"), ("wait", "1")], "wait", "given more than once"),
        ([("watch", "1"), ("format", "raw")], "format", "JSON only"),
        ([("watch", "1"), ("min_ttl", "1")], "min_ttl", "leave this out"),
        ([("watch", "1"), ("wait", "1")], "wait", "leave this out"),
    ],
)
def test_an_error_names_the_parameter_and_the_cure(
    pairs: list[tuple[str, str]], parameter: str, message: str
) -> None:
    """If a misspelt `min_ttl` were ignored, nobody would notice until a token is too short."""
    with pytest.raises(BadParameter, match=f"^{parameter}: .*{re.escape(message)}") as raised:
        token_query(pairs)
    assert raised.value.parameter == parameter


def test_a_client_may_wait_for_a_refresh_or_not() -> None:
    """A script that only starts a refresh need not stay."""
    assert refresh_query([]) == REFRESH_WAIT
    assert refresh_query([("wait", "0")]) == 0.0
    assert refresh_query([("wait", "301")]) == MAX_WAIT
    with pytest.raises(BadParameter, match=r"^min_ttl: .*; use wait$"):
        refresh_query([("min_ttl", "1")])


def test_a_status_takes_no_parameters() -> None:
    """A client that sends `?app=payments` would take the status of all apps for that of one."""
    no_query([])
    with pytest.raises(BadParameter, match=r"^app: .* leave it out; this path takes none$"):
        no_query([("app", "payments")])


def parsed(pairs: list[tuple[str, str]]) -> TokenQuery | BadParameter:
    """Return the query, or the error."""
    try:
        return token_query(pairs)
    except BadParameter as error:
        return error


@given(PAIRS)
def test_any_query_is_parsed_or_refused(pairs: list[tuple[str, str]]) -> None:
    """No other error is raised, and parsed values are within their bounds."""
    match parsed(pairs):
        case TokenQuery(form, min_ttl, wait, watch):
            assert 0 <= min_ttl < 1e10
            assert 0 <= wait <= MAX_WAIT
            assert not (watch and form is not Format.JSON)
        case BadParameter() as error:
            assert str(error).startswith(f"{error.parameter}: ")
            assert error.parameter in dict(pairs)


@pytest.mark.parametrize(
    ("path", "route", "app"),
    [
        ("/v1/apps", ApiRoute.APPS, ""),
        ("/v1/apps/payments", ApiRoute.APP, "payments"),
        ("/v1/apps/payments/token", ApiRoute.TOKEN, "payments"),
        ("/v1/apps/payments/refresh", ApiRoute.REFRESH, "payments"),
        ("/v1/apps/token", ApiRoute.APP, "token"),
        ("/v1/apps/token/token", ApiRoute.TOKEN, "token"),
        ("/v1/apps/payments/token/x", ApiRoute.UNKNOWN, ""),
        ("/v1/apps/payments/Token", ApiRoute.UNKNOWN, ""),
        ("/v1/apps/payments/", ApiRoute.UNKNOWN, ""),
        ("/v1/apps/", ApiRoute.UNKNOWN, ""),
        ("/v1/apps//token", ApiRoute.UNKNOWN, ""),
        ("/v1/appsx", ApiRoute.UNKNOWN, ""),
        ("/v1", ApiRoute.UNKNOWN, ""),
        ("/", ApiRoute.UNKNOWN, ""),
        ("", ApiRoute.UNKNOWN, ""),
        ("*", ApiRoute.UNKNOWN, ""),
    ],
)
def test_each_path_is_one_route(path: str, route: ApiRoute, app: str) -> None:
    """An app may have the name of a route."""
    assert match(path) == (route, app)


@given(st.text())
def test_route_and_app_determine_the_path(path: str) -> None:
    """No two paths are the same request, so the log shows what was requested."""
    for candidate in (path, f"/v1/apps/{path}"):
        route, app = match(candidate)
        if route is not ApiRoute.UNKNOWN:
            assert route.value.replace("{app}", app) == candidate
            assert "/" not in app


def test_every_known_route_has_its_method() -> None:
    """Another method is refused as such, and the path is not called unknown."""
    assert set(METHODS) == set(ApiRoute) - {ApiRoute.UNKNOWN}
