"""Puts an answer's pieces together, in a thread beside the event loop's."""

import os
import zlib
from collections.abc import Iterable, Iterator

FASTEST = 1
GZIP_BITS = 31
"""zlib's largest window, in gzip's framing."""


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header names gzip."""
    codings = (part.partition(";")[0].strip() for part in accept_encoding.lower().split(","))
    return "gzip" in codings


def join(pieces: Iterable[bytes], *, gzip: bool) -> bytes:
    """Return the pieces as one body, compressed if wanted."""
    return b"".join(_unhurried(_compressed(pieces) if gzip else pieces))


def _compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(FASTEST, wbits=GZIP_BITS)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()


def _unhurried(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces, and offer the event loop its turn after each.

    It would get one anyway, but only after it has waited 5 ms, each time.
    """
    for piece in pieces:
        yield piece
        os.sched_yield()
