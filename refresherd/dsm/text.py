"""Other people's words for our messages: one short printable line without secrets."""

import html
import re

from refresherd.model import Secret

MASK = "***"

READ = 4096
"""As many characters of an answer are looked at; bounds the work of the patterns below."""

TAG = re.compile(r"<[^>]*>")

LOOKS_SECRET = re.compile(r"[A-Za-z0-9+/_=-]{40,}")
"""Longer than a UUID, shorter than any API key or token of DSM's (86 characters and more)."""


def plain(text: str, sent: Secret, limit: int = 120) -> str:
    """Return the text as a printable line of at most `limit` characters.

    `sent` is the credential or token of the request, which a server may echo.
    """
    masked = LOOKS_SECRET.sub(MASK, _without(text, sent.reveal()))
    if not masked.isprintable():
        masked = "".join(char if char.isprintable() else " " for char in masked)
    line = " ".join(masked.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def words(body: bytes, sent: Secret) -> str:
    """Return the first words of an answer, markup left out; "" if it is no text."""
    start = _without(body.decode(errors="replace"), sent.reveal())[:READ]
    if "\0" in start:
        return ""
    return plain(html.unescape(TAG.sub(" ", start)), sent)


def _without(text: str, secret: str) -> str:
    return text.replace(secret, MASK) if secret else text
