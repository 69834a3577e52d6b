"""A secret that others repeat is taken out of their words, however they write it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.rig.canaries import disguises, leaks, secret_half
from refresherd.domain.redaction import beginning, masked

UUID = "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11"
USUAL = base64.b64encode(f"{UUID}:{'Zq3-' * 21}Zq".encode()).decode()
SHORT = base64.b64encode(f"{UUID}:s3cr3t-canary-42>?".encode()).decode()
URLSAFE = base64.urlsafe_b64encode(f"{UUID}:s3cr?t>>~~pass?word".encode()).decode()
TOKEN = "Zq3-" * 21 + "Zq"

LONG = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=30)


@pytest.mark.parametrize("key", [USUAL, SHORT, SHORT.rstrip("=")])
@pytest.mark.parametrize("way", sorted(disguises("")))
def test_an_api_key_is_masked_in_whole_and_its_secret_half_alone(key: str, way: str) -> None:
    """A server that decodes the key to complain of it gives away what matters of it."""
    half = secret_half(key)
    for secret in (key, half, f"{UUID}:{half}"):
        said = masked(f"bad key: {disguises(secret)[way]} (no such app)", key)
        assert not leaks({way: said}, [key, half])
        assert said.startswith("bad key: ")
        assert said.endswith(" (no such app)")


def test_a_key_in_the_url_safe_alphabet_hides_its_password_too() -> None:
    """Both alphabets are taken for an API key, so both may be decoded by who complains."""
    assert masked("bad login s3cr?t>>~~pass?word", URLSAFE) == "bad login ***"


@given(LONG)
def test_a_known_secret_is_masked_in_every_disguise(secret: str) -> None:
    """It need not look like one."""
    for way, disguise in disguises(secret).items():
        assert disguise.rstrip("=") not in masked(f"<{disguise}>", secret), way


def test_what_looks_like_a_secret_is_masked_though_nobody_knows_it() -> None:
    """A token just issued is as secret as the one that was sent."""
    assert masked(f"token {TOKEN} for {UUID}", "") == f"token *** for {UUID}"


def test_a_short_part_of_a_key_is_no_secret() -> None:
    """A password of one letter would make every text unreadable."""
    key = base64.b64encode(f"{UUID}:a".encode()).decode()
    assert masked("a bad name", key) == "a bad name"


def test_a_beginning_holds_no_half_of_a_word() -> None:
    """Half a token is too short to be recognised, and half-way to a whole one."""
    assert beginning(f"token {TOKEN}", 40) == "token "
    assert beginning(f"token={TOKEN}", 40) == ""
    assert beginning("a b", 3) == "a b"
