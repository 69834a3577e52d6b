"""Warnings of what the environment says about proxies."""

from collections.abc import Mapping

import pytest

from refresherd.config.environment import check_environment
from refresherd.config.parse import parse_settings
from refresherd.config.source import read_toml, report
from support.configurations import APP, DSM, ENVIRON, FILE

PROXY = {"HTTPS_PROXY": "http://p:3128"}


def warnings(environ: Mapping[str, str], text: str = f"{DSM}{APP}") -> tuple[str, ...]:
    """Return the warnings of a configuration in an environment."""
    settings = parse_settings(read_toml(FILE, text), FILE, {**ENVIRON, **environ})
    return next(
        lines for lines in report(FILE, text, check_environment(settings)).values() if lines
    )


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_an_entry_that_is_not_understood_is_a_warning(name: str) -> None:
    """Otherwise it is ignored without a word, and the credential goes to the proxy."""
    (warning,) = warnings({**PROXY, name: "localhost, *.example.com 10.0.0.0/8"})
    assert warning.startswith(f"{FILE}:")
    assert f'warning: dsm.proxy: {name} in the environment has "*.example.com", which' in warning
    assert "write names, domains (example.com)" in warning


def test_the_place_is_the_app_that_leaves_the_proxy_to_the_environment() -> None:
    """Apps with a proxy of their own ignore the variable."""
    text = f"{DSM}proxy = 'http://q:1'\n{APP}proxy = ''\n"
    (warning,) = warnings({**PROXY, "NO_PROXY": "10."}, text)
    assert "warning: apps.payments.proxy: " in warning


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({**PROXY, "NO_PROXY": "example.com, .b.c *, ::1 10.0.0.0/8"}, f"{DSM}{APP}"),
        ({"NO_PROXY": "10."}, f"{DSM}{APP}"),
        ({**PROXY, "NO_PROXY": "10."}, f"{DSM}proxy = 'http://q:1'\n{APP}"),
        (PROXY, f"{DSM}{APP}"),
    ],
)
def test_there_is_no_warning_without_need(environ: Mapping[str, str], text: str) -> None:
    """The variable is common, and matters only to those who follow it."""
    settings = parse_settings(read_toml(FILE, text), FILE, {**ENVIRON, **environ})
    assert not list(check_environment(settings))
