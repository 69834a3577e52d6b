"""The bodies of answers without their content codings."""

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.dsm.content_codings import LONGEST_ANSWER, decoded
from refresherd.domain.errors import Reason, Retryable

BODY = b'{"token_type": "Bearer"}' * 9


def raw_deflate(body: bytes) -> bytes:
    """Return the format without zlib's header, which some servers send as deflate."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": lambda body: body,
    "": lambda body: body,
}


@pytest.mark.parametrize(
    ("encoded", "codings"),
    [
        (BODY, "identity"),
        (gzip.compress(BODY), "gzip"),
        (gzip.compress(BODY), " GZip "),
        (gzip.compress(BODY), "x-gzip"),
        (gzip.compress(gzip.compress(BODY)), "gzip, gzip"),
        (gzip.compress(zlib.compress(BODY)), "deflate,gzip"),
        (zlib.compress(gzip.compress(BODY)), "x-gzip ,identity,\tdeflate"),
        (gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]), "gzip"),
        (zlib.compress(BODY), "deflate"),
        (raw_deflate(BODY), "deflate"),
    ],
)
def test_the_codings_that_we_ask_for_are_undone(encoded: bytes, codings: str) -> None:
    """Each gateway on the way may add one, under any of its names (RFC 9110, 8.4)."""
    assert decoded(encoded, codings) == BODY


@pytest.mark.parametrize("codings", ["gzip", "br", "gzip, br"])
def test_no_body_has_nothing_to_undo(codings: str) -> None:
    """204 comes with the fields of other answers."""
    assert decoded(b"", codings) == b""


@pytest.mark.parametrize(
    ("codings", "named"),
    [
        ("br", " br;"),
        ("zstd, gzip", " zstd;"),
        ("compress", " compress;"),
        ("gzip br", ";"),
        ("x" * 99, ";"),
    ],
)
def test_an_unknown_coding_is_named(codings: str, named: str) -> None:
    """The operator has to find the gateway that adds it; a long name may be anything."""
    with pytest.raises(Retryable) as caught:
        decoded(gzip.compress(BODY), codings)
    assert caught.value.reason is Reason.BAD_RESPONSE
    assert caught.value.message == (
        f"the answer has an unknown content coding{named} a proxy may have added it"
    )


@pytest.mark.parametrize(
    "encoded", [BODY, gzip.compress(BODY)[:-9], gzip.compress(BODY) + b"x", b"\x1f\x8b"]
)
def test_a_damaged_body_is_called_that(encoded: bytes) -> None:
    """It was not DSM that sent malformed JSON."""
    with pytest.raises(Retryable, match="the answer broke off or is badly encoded"):
        decoded(encoded, "gzip")


@pytest.mark.parametrize("codings", [1, 2, 3])
def test_a_bomb_is_not_unpacked(codings: int) -> None:
    """A small answer may hold gigabytes, which must not fill the memory."""
    body = bytes(100 * LONGEST_ANSWER)
    for _ in range(codings):
        body = gzip.compress(body)
    with pytest.raises(Retryable, match="longer than"):
        decoded(body, ", ".join(["gzip"] * codings))


def test_many_codings_are_refused() -> None:
    """Each takes as long as the first."""
    with pytest.raises(Retryable, match="too many content codings"):
        decoded(BODY, ", ".join(["identity"] * 5))


@given(st.binary(), st.lists(st.sampled_from(sorted(ENCODE)), max_size=4))
def test_whatever_was_encoded_comes_back(body: bytes, codings: list[str]) -> None:
    """The order of the names is that in which they were applied."""
    encoded = body
    for coding in codings:
        encoded = ENCODE[coding](encoded)
    assert decoded(encoded, ",".join(codings)) == body


@given(st.binary(), st.text() | st.sampled_from(["gzip", "deflate", "gzip, deflate"]))
def test_any_bytes_are_decoded_or_a_bad_response(body: bytes, codings: str) -> None:
    """Nothing else may be raised, and the message is one line."""
    try:
        assert len(decoded(body, codings)) <= LONGEST_ANSWER
    except Retryable as error:
        assert error.reason is Reason.BAD_RESPONSE  # noqa: PT017  # one of two good ends
        assert error.message.isprintable()  # noqa: PT017  # as above
