"""Addresses of DSM, of a proxy, and to listen on."""

import pytest

from refresherd.config.addresses import EndpointUrl, Listen, ProxyUrl, is_loopback
from support.configurations import APP, DSM, faults_in

BARE = r"^$"
"""No text: the noun of the kind says enough."""


@pytest.mark.parametrize(
    ("text", "url", "local"),
    [
        ("https://amer.smartkey.io", "https://amer.smartkey.io", "remote"),
        ("HTTPS://amer.smartkey.io", "https://amer.smartkey.io", "remote"),
        ("https://AMER.smartkey.io:8443/", "https://amer.smartkey.io:8443", "remote"),
        ("https://dsm_emulator", "https://dsm_emulator", "remote"),
        ("https://[2001:DB8::1]:443", "https://[2001:db8::1]:443", "remote"),
        ("http://localhost:4443", "http://localhost:4443", "this host"),
        ("http://127.8.9.1", "http://127.8.9.1", "this host"),
        ("https://[::1]", "https://[::1]", "this host"),
        ("", "", "remote"),
    ],
)
def test_an_endpoint_is_https_or_loopback(text: str, url: str, local: str) -> None:
    """Its trailing slash is removed, or requests would go to `//sys/…`."""
    endpoint = EndpointUrl(text)
    assert (endpoint.url, endpoint.loopback) == (url, local == "this host")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://amer.smartkey.io", "would send the credential"),
        ("http://localhost.example.com", "would send the credential"),
        ("https://amer.smartkey.io/sys", "a path or query"),
        ("https://amer.smartkey.io?x=1", "a path or query"),
        ("https://amer.smartkey.io#x", "a path or query"),
        ("https://user@amer.smartkey.io", "user or password is not accepted"),
        ("amer.smartkey.io", BARE),
        ("https://[fe80::1%eth0]", "a zone"),
        ("https://amer.smartkey.io:0", "port 0"),
        ("https://amer.smartkey.io:65536", "port 65536 is out of range"),
        ("ftp://amer.smartkey.io", BARE),
        ("https://", BARE),
        ("https://a b", BARE),
        ("https://[::g]", BARE),
        ("https://[dead]", BARE),
        ("https://1.2.3", BARE),
        ("https://hôte", BARE),
    ],
)
def test_invalid_endpoints_are_refused(text: str, expected: str) -> None:
    """The error says what to write where the noun alone does not."""
    with pytest.raises(ValueError, match=expected):
        EndpointUrl(text)


@pytest.mark.parametrize(
    "text", ["", "http://proxy:3128", "http://user@proxy:3128/", "http://[::1]:3128"]
)
def test_a_proxy_is_a_host_and_a_port(text: str) -> None:
    """A user without a password is not a secret."""
    assert ProxyUrl(text) == text


@pytest.mark.parametrize(
    "text",
    ["http://user:hunter2@proxy:3128", "user:hunter2@proxy", "socks5://u:hunter2@p", "http://:@p"],
)
def test_a_proxy_password_is_refused_and_not_repeated(text: str) -> None:
    """Secrets are never in the file; this one belongs in the environment."""
    with pytest.raises(ValueError, match="HTTPS_PROXY") as refusal:
        ProxyUrl(text)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("proxy:3128", BARE),
        ("http://proxy:3128/path", "a path or query"),
        ("http://proxy:0", "port 0"),
        ("https://proxy", BARE),
        ("socks5://proxy", BARE),
        ("http://a@b@c", BARE),
        ("http://", BARE),
    ],
)
def test_invalid_proxies_are_refused(text: str, expected: str) -> None:
    """Only plain HTTP proxies are supported."""
    with pytest.raises(ValueError, match=expected):
        ProxyUrl(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9749", ("127.0.0.1", 9749)),
        ("[::1]:0", ("::1", 0)),
        ("metrics.example.com:65535", ("metrics.example.com", 65535)),
    ],
)
def test_a_listen_address_is_a_host_and_a_port(text: str, address: object) -> None:
    """The brackets around IPv6 addresses are removed for the kernel."""
    assert Listen(text).address == address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9749", "0.0.0.0:9749"),
        ("*:9749", "0.0.0.0:9749"),
        ("[fe80::1%lo]:9749", "a zone"),
        ("a..b:9749", BARE),
        ("127.0.0.1:65536", "port 65536 is out of range"),
        ("127.0.0.1", BARE),
        ("::1:9749", BARE),
        ("[127.0.0.1x]:1", BARE),
        ("256.0.0.1:9749", BARE),
        ("a b:1", BARE),
        ("", BARE),
    ],
)
def test_invalid_listen_addresses_are_refused(text: str, expected: str) -> None:
    """Otherwise binding would fail in the running daemon."""
    with pytest.raises(ValueError, match=expected):
        Listen(text)


def test_loopback_hosts() -> None:
    """Plain http to any other host would expose the credential."""
    assert all(map(is_loopback, ["localhost", "LOCALHOST", "127.0.0.53", "::1"]))
    assert not any(map(is_loopback, ["a.localhost", "128.0.0.1", "127.0.0.1.example.com"]))


@pytest.mark.parametrize(
    ("listed", "fault"),
    [
        ("'127.0.0.1:1', '127.0.0.1:1'", '4: http.listen[1]: "127.0.0.1:1" is listed twice'),
        ("'[::1]:1', '[0:0::1]:1'", '4: http.listen[1]: "[0:0::1]:1" is listed twice'),
        ("'127.0.0.1:1', '0.0.0.0:1'", '4: http.listen[0]: "0.0.0.0:1" listens on it as well'),
        ("'[::]:1', '[::1]:1'", '4: http.listen[1]: "[::]:1" listens on it as well'),
        ("'0.0.0.0:1', 'localhost:1'", '4: http.listen[1]: "0.0.0.0:1" listens on it as well'),
    ],
)
def test_an_address_that_is_taken_already_is_named(listed: str, fault: str) -> None:
    """The daemon would not start, and blame another process."""
    (found,) = faults_in(f"{DSM}[http]\nlisten = [{listed}]\n{APP}")
    assert found == f"{fault}; remove one of them"


def test_addresses_of_both_kinds_may_be_listed_together() -> None:
    """`[::]` stands for all IPv6 addresses alone, and port 0 for a different one each time."""
    listed = "'0.0.0.0:1', '[::]:1', '127.0.0.1:2', '127.0.0.1:0', '0.0.0.0:0'"
    assert faults_in(f"{DSM}[http]\nlisten = [{listed}]\n{APP}") == ()
