"""What stands in a session file: written, and read with suspicion."""

import json
from dataclasses import dataclass

from refresherd.domain.formats import timestamp
from refresherd.domain.model import B64TOKEN, Secret, Token

LONGEST = 64 * 1024
"""As many bytes are read of a session file, in bytes. DSM's tokens are under 100."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session, where it is valid, and which bootstrap token it goes back to.

    `origin` is that one's fingerprint, "" for one that is not known.
    """

    endpoint: str
    origin: str
    access_token: Secret


def written(token: Token, endpoint: str, origin: str, expires_at: float) -> bytes:
    """Return a session file's content; `expires_at` in unix seconds.

    The last two lines are for people only: whether a session lives is DSM's to say.
    """
    fields = {
        "endpoint": endpoint,
        "bootstrap_sha256": origin,
        "access_token": token.access_token.reveal(),
        "entity_id": token.entity_id,
        "expires_at": timestamp(expires_at),
    }
    return (json.dumps(fields, indent=1) + "\n").encode()


def parsed(raw: bytes) -> SessionRecord:
    """Return the record in a session file. Raises ValueError, and quotes nothing of it."""
    if len(raw) > LONGEST:
        raise ValueError(f"it has over {LONGEST} bytes")
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    token = _text(fields, "access_token")
    if B64TOKEN.fullmatch(token) is None:
        raise ValueError("its access_token is no bearer token")
    origin = _text(fields, "bootstrap_sha256")
    return SessionRecord(_text(fields, "endpoint"), origin, Secret(token))


def _text(fields: object, key: str) -> str:
    if isinstance(fields, dict) and isinstance(text := fields.get(key), str):
        return text
    raise ValueError(f"it has no {key}")
