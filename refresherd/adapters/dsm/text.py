"""Other people's words for our messages: one short printable line without secrets."""

import html
import re

from refresherd.domain.model import Secret
from refresherd.domain.redaction import redact_quoted, truncate

READ = 4096
"""As many characters of an answer are looked at; bounds the work of the patterns below."""

TAG = re.compile(r"<[^>]*>")


def plain(text: str, sent: Secret, limit: int = 120) -> str:
    """Return the text as a printable line of at most `limit` characters.

    `sent` is the credential or token of the request, which a server may echo.
    """
    said = redact_quoted(text, sent.reveal())
    if not said.isprintable():
        said = "".join(char if char.isprintable() else " " for char in said)
    line = " ".join(said.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def words(body: bytes, sent: Secret) -> str:
    """Return the first words of an answer, markup left out; "" if it is no text."""
    start = truncate(body.decode(errors="replace"), READ)
    if "\0" in start:
        return ""
    return plain(html.unescape(TAG.sub(" ", start)), sent)
