"""Content codings (RFC 9110, 8.4), which gateways add to the bodies of answers."""

import re
import zlib

from refresherd.domain.errors import Reason, Retryable

ACCEPTED = "gzip, deflate"
"""For Accept-Encoding."""

MOST_CODINGS = 4
"""How many codings of a body are undone, one after the other."""

MOST_MEMBERS = 16
"""How many members of a gzip file are read: each one copies the rest."""

LONGEST_ANSWER = 1024 * 1024
"""In bytes, decompressed. DSM's answers are under 1 KiB."""

NAME = re.compile("[a-z0-9-]{1,12}")

GZIP, ZLIB, DEFLATE = 31, 15, -15
"""zlib's numbers for its formats (RFC 1952, 1950, 1951)."""


def decoded(body: bytes, content_encoding: str) -> bytes:
    """Return a body without its codings. Raises Retryable.

    aiohttp knows neither `x-gzip`, which RFC 9110 (8.4.1.3) equates with gzip, nor several codings
    at once, nor does it say which one it does not know.
    """
    codings = [name.strip().lower() for name in content_encoding.split(",")]
    for coding in reversed(codings[:MOST_CODINGS] if body else []):
        if coding in ("gzip", "x-gzip"):
            body = _inflated(body, GZIP)
        elif coding == "deflate":
            # Some servers leave zlib's header out, whose first byte ends in 8 (RFC 1950, 2.2).
            body = _inflated(body, ZLIB if body[:1].hex()[1:] == "8" else DEFLATE)
        elif coding not in ("", "identity"):
            name = f" {coding}" if NAME.fullmatch(coding) else ""
            message = f"the answer has an unknown content coding{name}; a proxy may have added it"
            raise Retryable(Reason.BAD_RESPONSE, message)
    if len(codings) > MOST_CODINGS:
        raise Retryable(Reason.BAD_RESPONSE, "the answer has too many content codings")
    return body


def too_long() -> Retryable:
    """Return the error for an answer of more than LONGEST_ANSWER bytes."""
    message = f"the answer is longer than {LONGEST_ANSWER} bytes, so it is not from DSM"
    return Retryable(Reason.BAD_RESPONSE, message)


def _inflated(body: bytes, form: int) -> bytes:
    """Return a body decompressed, but no more of it than LONGEST_ANSWER. Raises Retryable."""
    whole = b""
    for _ in range(MOST_MEMBERS):
        if not body:
            break
        stream = zlib.decompressobj(form)
        try:
            whole += stream.decompress(body, LONGEST_ANSWER + 1 - len(whole))
        except zlib.error:
            break
        if len(whole) > LONGEST_ANSWER:
            raise too_long()
        if not stream.eof:
            break
        # A gzip file may have several members (RFC 1952, 2.2).
        body = stream.unused_data if form == GZIP else b""
    if body:
        message = "the answer broke off or is badly encoded"
        raise Retryable(Reason.BAD_RESPONSE, message)
    return whole
