"""Finds a secret in text, whole or in part, in any of the usual encodings."""

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

PIECE = 20
"""Characters of a secret in a row that count as a leak: a line that is cut may cut a secret."""

STRIDE = PIECE // 2
PADDING = re.compile("=*$")


@dataclass(frozen=True, slots=True)
class Leak:
    """Where a secret was found, with its surroundings."""

    place: str
    context: str


def disguises(secret: str) -> dict[str, str]:
    """Return the encodings of a secret, by name."""
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
    """Return the part of an API key after the colon."""
    return b64decode(api_key + "=" * (-len(api_key) % 4)).decode().partition(":")[2]


def traces(secrets: Iterable[str]) -> frozenset[str]:
    """Return the pieces that must not be found anywhere, in lower case, of all encodings."""
    return frozenset(
        piece
        for secret in secrets
        for disguise in disguises(secret).values()
        for piece in _pieces(PADDING.sub("", disguise).lower())
    )


def leaks(places: Mapping[str, str], secrets: Iterable[str]) -> list[Leak]:
    """Return where a piece of a secret was found."""
    wanted = traces(secrets)
    found = []
    for place, content in places.items():
        text = content.lower()
        found += [_leak(place, content, text.index(piece)) for piece in wanted if piece in text]
    return found


def _leak(place: str, content: str, at: int) -> Leak:
    return Leak(place, content[max(0, at - 200) : at + 100])


def _pieces(text: str) -> Iterable[str]:
    """Yield pieces so that any 30 characters of the text contain one; a short text is one piece."""
    if len(text) < PIECE + STRIDE:
        return (text,)
    return (text[at : at + PIECE] for at in range(0, len(text) - PIECE + 1, STRIDE))
