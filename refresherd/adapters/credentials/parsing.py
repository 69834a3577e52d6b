"""Checks that what a source holds is a credential, without ever quoting it."""

import re
from base64 import b64decode
from dataclasses import dataclass

from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import B64TOKEN, UUID, Secret

LONGEST = 64 * 1024
"""The most bytes that are read of a source. DSM's keys and tokens are under 300."""

BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
"""The standard and the URL-safe alphabet."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A credential."""

    secret: Secret
    entity_id: str = ""
    """The app's UUID, "" if the credential does not name it."""


def api_key(raw: bytes, where: object) -> Parsed:
    """Return the API key in `raw`. Raises Retryable, naming `where`.

    Any base64 is accepted: only DSM can tell whether a key is valid.
    """
    text = _checked(raw, BASE64, "an API key (base64)", where)
    return Parsed(Secret(text), _entity_id(text))


def bearer_token(raw: bytes, where: object) -> Parsed:
    """Return the bearer token in `raw`. Raises Retryable, naming `where`."""
    return Parsed(Secret(_checked(raw, B64TOKEN, "a bearer token", where)))


def unreadable(where: object, why: object) -> Retryable:
    """Return the error for a credential that cannot be read."""
    return Retryable(Reason.CREDENTIAL, f"{where}: {why}")


def _checked(raw: bytes, pattern: re.Pattern[str], kind: str, where: object) -> str:
    if len(raw) > LONGEST:
        raise unreadable(where, f"it is longer than {LONGEST} bytes, so it is not {kind}")
    text = raw.decode(errors="replace").strip()
    if not text:
        raise unreadable(where, f"it is empty; it must hold {kind}")
    if not pattern.fullmatch(text):
        raise unreadable(where, f"it must hold {kind} and nothing else, on one line")
    return text


def _entity_id(text: str) -> str:
    """Return the user part of an API key, which the vendor makes as base64 of `<uuid>:<secret>`."""
    digits = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        user = b64decode(digits + "=" * (-len(digits) % 4)).partition(b":")[0].decode()
    except ValueError:
        return ""
    return user.lower() if UUID.fullmatch(user) else ""
