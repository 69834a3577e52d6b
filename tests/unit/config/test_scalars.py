"""Strings with a meaning."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.config.addresses import EndpointUrl, Listen, ProxyUrl, is_loopback
from refresherd.config.scalars import (
    AppId,
    Argument,
    CredentialName,
    Duration,
    DurationOrNever,
    Location,
    Mode,
    Principal,
    Scalar,
    Signal,
    Unit,
    Variable,
)

BARE = r"^$"
"""No text: the noun of the kind says enough."""

KINDS: list[type[Scalar]] = [
    *(AppId, Argument, CredentialName, Duration, DurationOrNever, EndpointUrl, Listen, Location),
    *(Mode, Principal, ProxyUrl, Signal, Unit, Variable),
]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[("500ms", 0.5), ("90s", 90), ("10m", 600), ("1h", 3600), ("1d", 86400)],
        *[("1.5s", 1.5), ("1m30s", 90), ("1h0.5m10ms", 3630.01), ("0s", 0), ("365d", 31_536_000)],
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    """Several are added, such as an hour and thirty minutes."""
    assert Duration(text).seconds == pytest.approx(seconds)
    assert DurationOrNever(text).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "20", "20 s", "-1s", "s", "1e3s", ".5s", "1.s", "\u0661s", "1s\n", "never", "20S"]
)
def test_invalid_durations_are_refused(text: str) -> None:
    """A number without a unit is ambiguous."""
    with pytest.raises(ValueError, match=BARE):
        Duration(text)


@pytest.mark.parametrize("text", ["366d", "9" * 400 + "d", "1h" * 9000])
def test_durations_beyond_a_year_are_refused(text: str) -> None:
    """Timers and dates overflow on longer ones."""
    with pytest.raises(ValueError, match="or less"):
        Duration(text)


def test_never_means_none() -> None:
    """It switches a feature off."""
    assert DurationOrNever("never").seconds is None


@pytest.mark.parametrize(("text", "bits"), [("0600", 0o600), ("640", 0o640), ("0777", 0o777)])
def test_a_mode_is_octal(text: str, bits: int) -> None:
    """Modes are written as for chmod."""
    assert Mode(text).bits == bits


@pytest.mark.parametrize("text", ["rw", "0999", "", "0o600", "1777", "06", "00600", "0600\n"])
def test_invalid_modes_are_refused(text: str) -> None:
    """So are set-id and sticky bits, which a token's file does not need."""
    with pytest.raises(ValueError, match=BARE):
        Mode(text)


def test_paths_are_relative_to_the_files_directory() -> None:
    """The daemon's working directory does not matter."""
    base = Path("/etc/refresherd")
    assert Location("keys/../a.key", base).path == Path("/etc/refresherd/a.key")
    assert Location("/run/a", base).path == Path("/run/a")
    assert Location("", base).or_none is None


@pytest.mark.parametrize("text", ["~/a.key", "~root/a.key"])
def test_a_leading_tilde_is_refused(text: str) -> None:
    """No shell expands it, so it would name a directory called ~."""
    with pytest.raises(ValueError, match="not expanded"):
        Location(text)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (AppId, "F47ac10b-58cc-4372-a567-0e02b2c3d479", "{f47ac10b-58cc-4372-a567-0e02b2c3d479}"),
        (Variable, "FORTANIX_API_KEY", "1=2"),
        (CredentialName, "payments.key", "../payments"),
        (Principal, "DOMAIN\\user", "a:b"),
        (Principal, "1000", "two words"),
        (Unit, "getty@tty1.service", "payments"),
        (Signal, "HUP", "HUPP"),
        (Signal, "SIGUSR1", "hup"),
        (Argument, "--", "a\0b"),
    ],
)
def test_names_are_checked_by_pattern(kind: type[Scalar], good: str, bad: str) -> None:
    """A name that cannot exist is a mistake."""
    assert kind(good) == good
    with pytest.raises(ValueError, match=BARE):
        kind(bad)


@pytest.mark.parametrize(
    ("text", "url", "local"),
    [
        ("https://amer.smartkey.io", "https://amer.smartkey.io", "remote"),
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
        ("amer.smartkey.io", "write https:// in front"),
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
        ("proxy:3128", "write http:// in front"),
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


@given(st.sampled_from(KINDS), st.text() | st.from_regex(r"https?://[a-z0-9:@/.\[\]]*"))
def test_accepted_text_matches_the_schema(kind: type[Scalar], text: str) -> None:
    """An editor with the schema must not complain about a valid file."""
    try:
        accepted = kind(text)
    except ValueError:
        return
    assert accepted == text
    assert re.search(f"^({kind.pattern})$", text)


@pytest.mark.parametrize("kind", [Argument, Listen, Location, Principal, Unit])
def test_kinds_used_in_lists_have_a_valid_stand_in(kind: type[Scalar]) -> None:
    """It takes the place of an invalid element, so that checks can go on."""
    assert kind(kind.stand_in) == kind.stand_in
