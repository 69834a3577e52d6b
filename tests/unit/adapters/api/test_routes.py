"""Paths: which route each is, and that nothing else is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.api.routes import METHODS, match
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
    """An app may be called as a route is."""
    assert match(path) == (route, app)


@given(st.text())
def test_a_path_of_an_app_is_put_together_from_its_parts(path: str) -> None:
    """No two paths are the same request, so that what is logged is what was asked."""
    for candidate in (path, f"/v1/apps/{path}"):
        route, app = match(candidate)
        if route is not ApiRoute.UNKNOWN:
            assert route.value.replace("{app}", app) == candidate
            assert "/" not in app


def test_every_known_route_has_its_method() -> None:
    """What is asked for by another is refused, not taken for an unknown path."""
    assert set(METHODS) == set(ApiRoute) - {ApiRoute.UNKNOWN}
