"""Which hosts NO_PROXY exempts, compared with what curl does since 7.86."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.no_proxy import is_exempt, not_understood, variable


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("dsm.example.com", "dsm.example.com"),
        ("example.com", "dsm.example.com"),
        (".example.com", "dsm.example.com"),
        (".example.com", "example.com"),
        ("EXAMPLE.com", "dsm.Example.COM"),
        ("example.com.", "dsm.example.com"),
        ("example.com", "dsm.example.com."),
        ("example.com:443", "dsm.example.com"),
        ("intranet_host", "intranet_host"),
        ("*", "dsm.example.com"),
        ("*", "10.0.0.1"),
        ("localhost,*", "fd00::1"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.9.8.7/8", "10.1.2.3"),
        ("0.0.0.0/0", "10.1.2.3"),
        ("10.1.2.3:443", "10.1.2.3"),
        ("fd00::/8", "fd12::1"),
        ("FD00:0:0::5/8", "fd12::1"),
        ("fd00:0::1", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
        ("[fd00::1]:443", "[fd00::1]"),
        ("a b\t10.0.0.0/8", "10.1.2.3"),
        (" a , b ,, 10.0.0.0/8 ", "10.1.2.3"),
    ],
)
def test_what_curl_exempts_is_exempt(entry: str, host: str) -> None:
    """The variable is shared by every program of a host, and curl is what people try it with."""
    assert is_exempt(host, 443, entry)
    assert not not_understood(entry)


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("", "dsm.example.com"),
        ("ample.com", "dsm.example.com"),
        ("dsm.example.com", "example.com"),
        ("example.com:8443", "dsm.example.com"),
        ("10.0.0.0/8", "11.1.2.3"),
        ("10.0.0.0/8", "dsm.example.com"),
        ("10.0.0.0/8", "10.example.com"),
        ("fd00::/8", "10.1.2.3"),
        ("10.1.2.3:8443", "10.1.2.3"),
        ("0.0.0.0/0", "fd00::1"),
        ("com", "10.0.0.1"),
    ],
)
def test_nothing_else_is_exempt(entry: str, host: str) -> None:
    """A request that goes around the proxy may be blocked, or seen by somebody else."""
    assert not is_exempt(host, 443, entry)
    assert not not_understood(entry)


@pytest.mark.parametrize(
    "entry",
    [
        "*.example.com",
        "10.*",
        "10.",
        "10",
        "192.168",
        "10.0.0.0/33",
        "10.0.0.0/x",
        "10.0.0/8",
        "fd00::/129",
        "example.com/8",
        "https://example.com",
        "example.com:https",
        "10.0.0.0/8:443",
        "[10.0.0.1",
        "<local>",
        ".",
    ],
)
def test_what_is_not_understood_is_reported(entry: str) -> None:
    """People expect it to exempt something, and look for the fault in the network."""
    assert not_understood(f"a, {entry} b") == (entry,)
    assert not is_exempt("10.0.0.1", 443, entry)
    assert not is_exempt("dsm.example.com", 443, entry)


@pytest.mark.parametrize(
    ("environ", "counts"),
    [
        ({}, ("", "")),
        ({"NO_PROXY": "a"}, ("NO_PROXY", "a")),
        ({"no_proxy": "b"}, ("no_proxy", "b")),
        ({"NO_PROXY": "a", "no_proxy": "b"}, ("no_proxy", "b")),
        ({"NO_PROXY": "a", "no_proxy": ""}, ("NO_PROXY", "a")),
    ],
)
def test_the_lower_case_variable_comes_first(
    environ: dict[str, str], counts: tuple[str, str]
) -> None:
    """It does in curl."""
    assert variable(environ) == counts


@given(st.ip_addresses(), st.data())
def test_a_network_exempts_each_of_its_addresses(
    address: IPv4Address | IPv6Address, data: st.DataObject
) -> None:
    """Whichever of its addresses the network is named by."""
    bits = data.draw(st.integers(0, address.max_prefixlen))
    network = ip_network(f"{address}/{bits}", strict=False)
    other = data.draw(st.integers(int(network[0]), int(network[-1])).map(type(address)))
    assert is_exempt(str(other), 443, f"x, {address}/{bits}")


@given(st.text(), st.text(), st.integers(0, 65535))
def test_any_text_exempts_something_or_nothing(host: str, no_proxy: str, port: int) -> None:
    """Whatever stands in the environment, the daemon starts."""
    assert is_exempt(host, port, no_proxy) in (True, False)
    assert all(entry in no_proxy for entry in not_understood(no_proxy))
