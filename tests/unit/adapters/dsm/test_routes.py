"""Which proxy an endpoint is reached through."""

import pytest
from yarl import URL

from refresherd.adapters.dsm.routes import proxy_for
from refresherd.domain.errors import Reason, Retryable

DSM = URL("https://amer.smartkey.io")

VARIABLES = ("https_proxy", "http_proxy", "no_proxy", "all_proxy")


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies of the shell that runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_any_setting_there_is_no_proxy() -> None:
    """This is the common case."""
    assert proxy_for(DSM, "") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_the_environment_names_a_proxy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Hosts behind a proxy have it in a variable, in upper or lower case."""
    monkeypatch.setenv(name, "http://proxy.example:3128")
    assert proxy_for(DSM, "") == URL("http://proxy.example:3128")


def test_a_proxy_without_a_scheme_is_an_http_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """People write it that way because curl accepts it."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    assert proxy_for(DSM, "") == URL("http://proxy.example:3128")


def test_a_proxy_for_http_is_not_used_for_https(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scheme has a variable of its own."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert proxy_for(DSM, "") is None


@pytest.mark.parametrize(
    ("host", "exempt"),
    [
        ("amer.smartkey.io", "a,amer.smartkey.io:443"),
        ("amer.smartkey.io", "*"),
        ("10.1.2.3:8443", "10.0.0.0/8"),
        ("[fd00::7]", "fd00::/8"),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_exempts_hosts_and_networks(
    monkeypatch: pytest.MonkeyPatch, name: str, host: str, exempt: str
) -> None:
    """A DSM in the local network is reached directly."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert proxy_for(URL(f"https://{host}"), "") is not None
    monkeypatch.setenv(name, exempt)
    assert proxy_for(URL(f"https://{host}"), "") is None


@pytest.mark.parametrize("host", ["localhost", "dsm.localhost", "127.0.0.2", "[::1]"])
def test_loopback_is_reached_directly(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """The proxy's loopback is another machine."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert proxy_for(URL(f"https://{host}:8443"), "") is None


@pytest.mark.parametrize("host", ["amer.smartkey.io", "127.0.0.1"])
def test_a_configured_proxy_overrides_the_environment(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """The configuration was written for this endpoint."""
    monkeypatch.setenv("HTTPS_PROXY", "http://other.example:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for(URL(f"https://{host}"), "https://p.example") == URL("https://p.example")


@pytest.mark.parametrize(
    "text", ["socks5://user:hunter2@proxy.example", "http://", "http://user:hunter2@[oops", "://"]
)
def test_an_unusable_proxy_is_an_error_that_hides_its_password(text: str) -> None:
    """Without the proxy the credential would take a route that the operator did not choose."""
    with pytest.raises(Retryable) as caught:
        proxy_for(DSM, text)
    assert caught.value.reason is Reason.CONNECT
    assert caught.value.message == (
        "the proxy (proxy, or HTTPS_PROXY) is not an http:// or https:// URL"
    )
