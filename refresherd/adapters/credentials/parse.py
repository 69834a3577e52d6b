"""What was read, as a credential: nothing that no header could hold, and never quoted."""

import re
from base64 import b64decode
from dataclasses import dataclass

from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import B64TOKEN, UUID, Secret

LONGEST = 64 * 1024
"""As many bytes are read of any source. DSM's keys and tokens are under 300."""

BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
"""Its URL-safe variant as well."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A credential, and the app's UUID if it names one, else ""."""

    secret: Secret
    entity_id: str = ""


def api_key(raw: bytes, where: object) -> Parsed:
    """Return the API key in `raw`. Raises Retryable, naming `where`.

    It is sent as it is, whatever it decodes to: what a key is made of is DSM's business.
    """
    text = _checked(raw, BASE64, "an API key (base64)", where)
    return Parsed(Secret(text), _entity_id(text))


def bearer_token(raw: bytes, where: object) -> Parsed:
    """Return the bearer token in `raw`. Raises Retryable, naming `where`."""
    return Parsed(Secret(_checked(raw, B64TOKEN, "a bearer token", where)))


def unreadable(where: object, why: object) -> Retryable:
    """Return the error of a credential that cannot be read."""
    return Retryable(Reason.CREDENTIAL, f"{where}: {why}")


def _checked(raw: bytes, pattern: re.Pattern[str], kind: str, where: object) -> str:
    if len(raw) > LONGEST:
        raise unreadable(where, f"over {LONGEST} bytes, which {kind} never has")
    text = raw.decode(errors="replace").strip()
    if not text:
        raise unreadable(where, "empty")
    if not pattern.fullmatch(text):
        raise unreadable(where, f"not {kind} on one line")
    return text


def _entity_id(text: str) -> str:
    """Return the user part of base64 of `<app uuid>:<secret>`, as the vendor makes its keys."""
    digits = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        user = b64decode(digits + "=" * (-len(digits) % 4)).partition(b":")[0].decode()
    except ValueError:
        return ""
    return user.lower() if UUID.fullmatch(user) else ""
