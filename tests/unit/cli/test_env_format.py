"""The `env` format, read: what the daemon writes, and nothing else."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.cli.child.env_format import variables
from refresherd.cli.client.failures import Unintelligible
from refresherd.domain.formats import Answer, render
from refresherd.domain.model import Format

VALUE = st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=["Cs"]), min_size=1)


def answer(token: str, endpoint: str) -> Answer:
    """Return a token as the daemon tells it."""
    return Answer("payments", token, 60.0, 1e9, 1e9 - 60, 1, "", endpoint)


@given(VALUE, VALUE)
def test_what_the_daemon_writes_is_read(token: str, endpoint: str) -> None:
    """Any value without a line break survives, spaces, quotes and equals signs included."""
    assert variables(render(answer(token, endpoint), Format.ENV)) == {
        "FORTANIX_API_ENDPOINT": endpoint,
        "FORTANIX_ACCESS_TOKEN": token,
        "FORTANIX_TOKEN_EXPIRES_AT": "2001-09-09T01:46:40Z",
    }


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"FORTANIX_ACCESS_TOKEN=abc",
        b"FORTANIX_ACCESS_TOKEN=\n",
        b"FORTANIX_API_ENDPOINT=x\n",
        b"FORTANIX_ACCESS_TOKEN=abc\n\n",
        b"FORTANIX_ACCESS_TOKEN=abc\nFORTANIX_ACCESS_TOKEN=def\n",
        b"FORTANIX_ACCESS_TOKEN=a\0b\n",
        b"FORTANIX_ACCESS_TOKEN\n",
        b"LD_PRELOAD=/tmp/x.so\nFORTANIX_ACCESS_TOKEN=abc\n",
        b"export FORTANIX_ACCESS_TOKEN=abc\n",
    ],
)
def test_what_is_not_the_format_is_refused(text: bytes) -> None:
    """A program must not start with half an environment, nor with one that was smuggled in."""
    with pytest.raises(Unintelligible, match="`env` format"):
        variables(text)


@given(st.binary(max_size=100))
def test_any_bytes_are_variables_or_refused(text: bytes) -> None:
    """What is taken can be put into an environment, to the byte."""
    for candidate in (text, b"FORTANIX_ACCESS_TOKEN=" + text + b"\n"):
        try:
            found = variables(candidate)
        except Unintelligible:
            continue
        lines = b"".join(
            os.fsencode(key) + b"=" + os.fsencode(value) + b"\n" for key, value in found.items()
        )
        assert lines == candidate
        assert all(key.startswith("FORTANIX_") for key in found)
