"""Strings with a meaning."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.config.addresses import EndpointUrl, Listen, ProxyUrl
from refresherd.config.names import AppId, CredentialName, Principal, Signal, Unit, Variable
from refresherd.config.scalars import Argument, Duration, DurationOrNever, Location, Mode, Scalar

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
    "text",
    [
        "",
        "20",
        "20 s",
        "-1s",
        "s",
        "1e3s",
        ".5s",
        "1.s",
        "\u0661s",
        "1s\n",
        "never",
        "20S",
        "30m1h",
        "1h1h",
        "1h" * 9000,
    ],
)
def test_invalid_durations_are_refused(text: str) -> None:
    """A number without a unit is ambiguous."""
    with pytest.raises(ValueError, match=BARE):
        Duration(text)


@pytest.mark.parametrize("text", ["366d", "9" * 400 + "d"])
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
