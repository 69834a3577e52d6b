"""What counts as an API key."""

from base64 import b64encode, urlsafe_b64encode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.api_keys import app_uuid

APP = UUID("8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11")


@given(st.uuids(), st.binary(min_size=1))
def test_a_key_reveals_its_app(app: UUID, secret: bytes) -> None:
    """DSM makes it so; tools write base64 in two alphabets, and some drop the padding."""
    plain = f"{app}:".encode() + secret
    for key in (b64encode(plain).decode(), urlsafe_b64encode(plain).decode()):
        assert app_uuid(key) == app_uuid(key.rstrip("=")) == str(app)


def test_the_case_of_the_uuid_does_not_matter() -> None:
    """It is compared with DSM's."""
    assert app_uuid(b64encode(f"{APP}:secret".upper().encode()).decode()) == str(APP)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "A",
        b64encode(f"{APP}".encode()).decode(),
        b64encode(f"{APP}:".encode()).decode(),
        b64encode(b"payments:secret").decode(),
        f"{APP}:secret",
        f"{b64encode(f'{APP}:secret'.encode()).decode()}\n",
        "\N{EM DASH}" * 40,
    ],
)
def test_anything_else_is_no_key(key: str) -> None:
    """It may be the half of one that somebody is writing."""
    assert app_uuid(key) == ""


@given(st.text())
def test_no_text_is_a_bug(text: str) -> None:
    """The text comes from files of operators."""
    assert app_uuid(text) in {"", app_uuid(text).lower()}
