"""Requests through a real proxy, and what of the environment they use."""

from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from refresherd.adapters.dsm.client import Connections
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Secret
from refresherd.host.keyed_executor import KeyedExecutor
from support.dsm_loopback import GRANT, Authority, Tunnel, answering, reply, serving
from support.fakes import API_KEY, FakeClock

GRANTING = answering(reply(200, GRANT))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set up a home directory whose .netrc has a password for every host, and no proxies."""
    for name in ("https_proxy", "http_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login somebody password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return a CA."""
    return Authority(tmp_path)


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    """Yield connections that are closed after the test."""
    async with Connections(KeyedExecutor(), FakeClock()) as opened:
        yield opened


async def login(connections: Connections, endpoint: Endpoint) -> str:
    """Log in; return the token."""
    app = App("payments", endpoint, ApiKeyEnv("KEY"))
    return (await connections.client(app).login(Secret(API_KEY), 5)).access_token.reveal()


@pytest.mark.parametrize("how", ["setting", "environment"])
async def test_a_proxy_tunnels_to_dsm(
    connections: Connections, authority: Authority, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The proxy resolves the name, TLS is end to end, and the connection is reused."""
    async with (
        serving(GRANTING, authority.server("dsm.example")) as dsm,
        serving(Tunnel(dsm.port)) as proxy,
    ):
        endpoint = Endpoint("https://dsm.example", authority.ca_file, proxy=proxy.http)
        if how == "environment":
            endpoint = Endpoint("https://dsm.example", authority.ca_file)
            monkeypatch.setenv("HTTPS_PROXY", proxy.http)
        assert await login(connections, endpoint) == "new-token"
        assert await login(connections, endpoint) == "new-token"
        (connect,) = proxy.requests
        assert connect.startswith(b"CONNECT dsm.example:443 HTTP/1.1\r\n")
        assert b"Authorization" not in connect
        assert dsm.connections == 1


async def test_a_proxys_password_goes_only_to_the_proxy(
    connections: Connections, authority: Authority
) -> None:
    """It is part of the proxy's URL, as with curl."""
    async with (
        serving(GRANTING, authority.server("dsm.example")) as dsm,
        serving(Tunnel(dsm.port)) as proxy,
    ):
        url = f"http://user:pass@127.0.0.1:{proxy.port}"
        await login(connections, Endpoint("https://dsm.example", authority.ca_file, proxy=url))
        basic = b64encode(b"user:pass")
        assert b"Proxy-Authorization: Basic " + basic in proxy.requests[0]
        assert basic not in dsm.requests[0]


async def test_netrc_is_not_read(connections: Connections) -> None:
    """A password from it would replace the credential, and be sent to DSM."""
    async with serving(GRANTING) as peer:
        await login(connections, Endpoint(peer.http))
        assert f"Authorization: Basic {API_KEY}\r\n".encode() in peer.requests[0]
        assert peer.requests[0].count(b"Authorization") == 1


async def test_loopback_and_no_proxy_are_reached_directly(
    connections: Connections, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test setups are on loopback, and a DSM may be in the local network."""
    async with (
        serving(GRANTING, authority.server()) as dsm,
        serving(answering(reply(403))) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.http)
        assert await login(connections, Endpoint(dsm.https, authority.ca_file)) == "new-token"
        monkeypatch.setenv("NO_PROXY", "invalid")
        with pytest.raises(Retryable, match="cannot be resolved"):
            await login(connections, Endpoint("https://dsm.invalid", authority.ca_file))
        assert proxy.connections == 0


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_the_message_for_a_refusing_proxy_has_its_status(
    connections: Connections, status: int
) -> None:
    """The operator has to get the endpoint allowed, or correct the password."""
    async with serving(answering(reply(status))) as proxy:
        with pytest.raises(Retryable) as caught:
            await login(connections, Endpoint("https://dsm.example", proxy=proxy.http))
        assert caught.value.reason is Reason.CONNECT
        assert caught.value.message == f"the proxy answered {status} to CONNECT"


async def test_the_message_for_an_unreachable_proxy_names_it(connections: Connections) -> None:
    """The operator has to look at the proxy, not at DSM; its password stays secret."""
    async with serving(GRANTING) as gone:
        pass
    url = f"http://user:hunter2@127.0.0.1:{gone.port}"
    with pytest.raises(Retryable) as caught:
        await login(connections, Endpoint("https://dsm.example", proxy=url))
    assert caught.value.message == (
        f"cannot connect to the proxy at 127.0.0.1:{gone.port}: Connection refused"
    )
