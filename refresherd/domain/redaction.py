"""Takes secrets out of other people's words: those that are known, and what looks like one."""

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from urllib.parse import quote

MASK = "***"

SHORTEST = 8
"""A shorter part of a credential would be found in words that mean nothing of the kind."""

LOOKS_SECRET = re.compile(r"[A-Za-z0-9+/_=-]{40,}")
"""Longer than a UUID, shorter than any API key or token of DSM's (86 characters and more)."""

CUT_OFF = re.compile(r"[A-Za-z0-9+/_=.~%&#;-]*\Z")
"""What a word of these was that a cut went through; a secret may be written in entities."""


def masked(text: str, secret: str) -> str:
    """Return the text without a secret, however it is written, and without what looks like one.

    Of an API key what stands after the colon is a secret by itself.
    """
    for way in _ways(secret):
        text = text.replace(way, MASK)
    return LOOKS_SECRET.sub(MASK, text)


def beginning(text: str, length: int) -> str:
    """Return a text's first characters; a word that is cut goes: half a secret is one as well."""
    return text if len(text) <= length else CUT_OFF.sub("", text[:length])


def _ways(secret: str) -> list[str]:
    """Return what a text may hold of a secret, the longest first so that nothing is left over."""
    parts = {secret, *_decoded(secret)} - {""}
    encoded = {way for part in parts if len(part) >= SHORTEST for way in _encoded(part)}
    return sorted(parts | encoded, key=len, reverse=True)


def _decoded(secret: str) -> tuple[str, ...]:
    """Return what Basic authentication makes of an API key, and its password (RFC 7617)."""
    try:
        standard = secret.replace("-", "+").replace("_", "/")
        whole = b64decode(standard + "=" * (-len(standard) % 4), validate=True).decode()
    except ValueError:
        return ()
    password = whole.partition(":")[2]
    return (whole, password) if len(password) >= SHORTEST else ()


def _encoded(part: str) -> tuple[str, ...]:
    raw = part.encode(errors="replace")
    base64, base64url = (encode(raw).decode() for encode in (b64encode, urlsafe_b64encode))
    hexadecimal = raw.hex()
    return (
        *(part.rstrip("="), quote(part, safe="", errors="replace")),
        *(base64.rstrip("="), base64url.rstrip("=")),
        *(hexadecimal, hexadecimal.upper()),
    )
