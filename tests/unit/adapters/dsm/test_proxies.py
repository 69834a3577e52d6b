"""Which proxy stands between here and an endpoint."""

import pytest
from yarl import URL

from refresherd.adapters.dsm.proxies import proxy_for
from refresherd.domain.errors import Reason, Retryable

DSM = URL("https://amer.smartkey.io")

VARIABLES = ("https_proxy", "http_proxy", "no_proxy", "all_proxy")


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the proxies of whoever runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_any_setting_there_is_none() -> None:
    """This is the common case."""
    assert proxy_for(DSM, "") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_the_environment_names_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Hosts behind a proxy have it in the environment, in either case."""
    monkeypatch.setenv(name, "http://proxy.example:3128")
    assert proxy_for(DSM, "") == URL("http://proxy.example:3128")


def test_the_environment_without_a_scheme_means_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """So curl takes it, hence people write it so."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    assert proxy_for(DSM, "") == URL("http://proxy.example:3128")


def test_a_proxy_for_http_is_not_for_https(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scheme has a variable of its own."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert proxy_for(DSM, "") is None


@pytest.mark.parametrize(
    "exempt", ["amer.smartkey.io", ".smartkey.io", "smartkey.io", "a,amer.smartkey.io:443", "*"]
)
def test_no_proxy_exempts_hosts_and_domains(monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    """An installation in the own network is reached directly."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert proxy_for(DSM, "") is None


@pytest.mark.parametrize("host", ["localhost", "dsm.localhost", "127.0.0.2", "[::1]"])
def test_loopback_is_reached_directly(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A proxy's loopback is another machine's."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert proxy_for(URL(f"https://{host}:8443"), "") is None


@pytest.mark.parametrize("host", ["amer.smartkey.io", "127.0.0.1"])
def test_a_configured_one_is_used_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """What stands in the configuration was meant for this endpoint."""
    monkeypatch.setenv("HTTPS_PROXY", "http://other.example:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for(URL(f"https://{host}"), "https://p.example") == URL("https://p.example")


@pytest.mark.parametrize(
    "text", ["socks5://user:hunter2@proxy.example", "http://", "http://user:hunter2@[oops", "://"]
)
def test_what_is_no_http_proxy_is_told_without_its_password(text: str) -> None:
    """Going on without it would send the credential a way that the operator did not want."""
    with pytest.raises(Retryable) as caught:
        proxy_for(DSM, text)
    assert caught.value.reason is Reason.CONNECT
    assert caught.value.message == "the proxy is not an http:// or https:// URL"
