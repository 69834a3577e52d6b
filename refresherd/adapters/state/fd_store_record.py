"""What the fd store holds of a session: written, and read with suspicion."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite

from refresherd.domain.model import B64TOKEN, App, Credential, Instant, Secret, Token

LONGEST = 64 * 1024
"""As many bytes are read of a record. DSM's tokens are under 100."""


LARGEST = 10**15
"""No count and no number of seconds is larger; a larger integer may not even be a float."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session, whose it is, and by what it was got; of the credential fingerprints only.

    `source` stands for where the credential is configured to be, `credential` for what it was.
    Instants are of the boot `boot_id`, "" where that could not be learned.
    """

    app: str
    endpoint: str
    source: str
    credential: str
    boot_id: str
    token: Token


def source_fingerprint(credential: Credential) -> str:
    """Return what tells where a credential is configured to be from any other place."""
    return sha256(repr(credential).encode()).hexdigest()


def recorded(app: App, token: Token, credential: str, boot_id: str) -> SessionRecord:
    """Return the record of an app's token."""
    source = source_fingerprint(app.credential)
    return SessionRecord(app.name, app.endpoint.url, source, credential, boot_id, token)


def written(record: SessionRecord) -> bytes:
    """Return a record's bytes."""
    token = record.token
    fields = {
        "app": record.app,
        "endpoint": record.endpoint,
        "source_sha256": record.source,
        "credential_sha256": record.credential,
        "boot_id": record.boot_id,
        "access_token": token.access_token.reveal(),
        "entity_id": token.entity_id,
        "generation": token.generation,
        "issued_at": token.issued_at,
        "lifetime": token.lifetime,
        "expires_at": token.expires_at,
    }
    return json.dumps(fields).encode()


def parsed(raw: bytes) -> SessionRecord:
    """Return the record in some bytes. Raises ValueError, and quotes nothing of them."""
    if len(raw) > LONGEST:
        raise ValueError(f"it has over {LONGEST} bytes")
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  # the content's fault
    return SessionRecord(
        app=_text(fields, "app"),
        endpoint=_text(fields, "endpoint"),
        source=_text(fields, "source_sha256"),
        credential=_text(fields, "credential_sha256"),
        boot_id=_text(fields, "boot_id"),
        token=_token(fields),
    )


def _token(fields: Mapping[str, object]) -> Token:
    access_token = _text(fields, "access_token")
    if B64TOKEN.fullmatch(access_token) is None:
        raise ValueError("its access_token is no bearer token")
    generation, lifetime = _number(fields, "generation"), _number(fields, "lifetime")
    if generation < 1 or generation != int(generation):
        raise ValueError("its generation is no count")
    if lifetime <= 0:
        raise ValueError("its lifetime is none")
    return Token(
        access_token=Secret(access_token),
        entity_id=_text(fields, "entity_id"),
        generation=int(generation),
        issued_at=Instant(_number(fields, "issued_at")),
        lifetime=lifetime,
        expires_at=Instant(_number(fields, "expires_at")),
    )


def _text(fields: Mapping[str, object], key: str) -> str:
    text = fields.get(key)
    if not isinstance(text, str):
        raise ValueError(f"it has no {key}")  # noqa: TRY004  # the content's fault, not a caller's
    return text


def _number(fields: Mapping[str, object], key: str) -> float:
    number = fields.get(key)
    # True is an integer as well.
    if isinstance(number, bool) or not isinstance(number, int | float) or abs(number) > LARGEST:
        raise ValueError(f"it has no {key}")
    if not isfinite(number):
        raise ValueError(f"its {key} is no number")
    return float(number)
