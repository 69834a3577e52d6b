"""The JSON records in which state outlives the process, decoded strictly.

Unknown fields are ignored, so that a record of a later version can be read as well.
"""

from typing import TypeVar

import msgspec

from refresherd.domain.model import B64TOKEN, Secret

MAX_SESSION_BYTES = 64 * 1024
"""The longest record of a session that is read. DSM's tokens have under 100 bytes."""

R = TypeVar("R", bound=msgspec.Struct)


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What each backend stores of a session; each adds what it needs to trust it later."""

    endpoint: str
    access_token: Secret
    entity_id: str = ""


def encode(record: msgspec.Struct) -> bytes:
    """Return a record as JSON."""
    return msgspec.json.encode(record, enc_hook=_reveal)


def decode(raw: bytes, kind: type[R], max_bytes: int = MAX_SESSION_BYTES) -> R:
    """Return the record of this kind in some bytes.

    Raises ValueError, whose text says what is wrong and quotes nothing of the bytes.
    """
    if len(raw) > max_bytes:
        raise ValueError(f"it has over {max_bytes} bytes")
    try:
        return msgspec.json.decode(raw, type=kind, dec_hook=_secret)
    except msgspec.ValidationError as error:
        raise ValueError(f"it is not a valid record: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("it is not valid JSON") from None


def _reveal(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"a record holds no {type(value).__name__}")


def _secret(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str) and B64TOKEN.fullmatch(value) is not None:
        return Secret(value)
    raise ValueError("Expected a bearer token")
