"""Routing: which route each path is, and that no other path is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.api.service import METHODS, match
from refresherd.domain.events import ApiRoute


@pytest.mark.parametrize(
    ("path", "route", "app"),
    [
        ("/v1/apps", ApiRoute.APPS, ""),
        ("/v1/apps/payments", ApiRoute.APP, "payments"),
        ("/v1/apps/payments/token", ApiRoute.TOKEN, "payments"),
        ("/v1/apps/payments/refresh", ApiRoute.REFRESH, "payments"),
        ("/v1/apps/token", ApiRoute.APP, "token"),
        ("/v1/apps/token/token", ApiRoute.TOKEN, "token"),
        ("/v1/apps/payments/token/x", ApiRoute.UNKNOWN, "payments"),
        ("/v1/apps/payments/Token", ApiRoute.UNKNOWN, "payments"),
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
