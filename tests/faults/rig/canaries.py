"""Recognises a secret wherever it turns up, whole or in part, in the ways that text is encoded."""

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

PIECE = 20
"""So many characters in a row of a secret are a leak: whoever cuts a line cuts secrets as well."""

STRIDE = PIECE // 2
PADDING = re.compile("=*$")


@dataclass(frozen=True, slots=True)
class Leak:
    """Where a secret was found, with what stands around it."""

    place: str
    context: str


def disguises(secret: str) -> dict[str, str]:
    """Return the ways in which text carries a secret, by their names."""
    raw = secret.encode()
    return {
        "raw": secret,
        "base64": b64encode(raw).decode(),
        "base64url": urlsafe_b64encode(raw).decode(),
        "url": quote(secret, safe=""),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "html": secret.replace("=", "&#61;"),
    }


def secret_half(api_key: str) -> str:
    """Return what stands after the colon in an API key."""
    return b64decode(api_key + "=" * (-len(api_key) % 4)).decode().partition(":")[2]


def traces(secrets: Iterable[str]) -> frozenset[str]:
    """Return what must not be found anywhere, in lower case: pieces of all disguises."""
    return frozenset(
        piece
        for secret in secrets
        for disguise in disguises(secret).values()
        for piece in _pieces(PADDING.sub("", disguise).lower())
    )


def leaks(places: Mapping[str, str], secrets: Iterable[str]) -> list[Leak]:
    """Return where there is a trace of a secret."""
    wanted = traces(secrets)
    found = []
    for place, content in places.items():
        text = content.lower()
        found += [_leak(place, content, text.index(piece)) for piece in wanted if piece in text]
    return found


def _leak(place: str, content: str, at: int) -> Leak:
    return Leak(place, content[max(0, at - 200) : at + 100])


def _pieces(text: str) -> Iterable[str]:
    """Yield pieces of which one is in any 30 characters of the text; a short text is one."""
    if len(text) < PIECE + STRIDE:
        return (text,)
    return (text[at : at + PIECE] for at in range(0, len(text) - PIECE + 1, STRIDE))
