"""What the emulated DSM answers when nothing is wrong with the network between."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from refresherd.emulator.sessions import Session

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer before it is sent; `content_type` is "" where there is no body."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(value: object) -> Answer:
    """Answer 200 with a JSON value."""
    return Answer(200, json.dumps(value, separators=(",", ":")).encode(), JSON)


def text_answer(status: int, text: str) -> Answer:
    """Answer with a plain text, which is how DSM reports every error."""
    return Answer(status, text.encode(), TEXT)


def auth_answer(session: Session) -> Answer:
    """Answer a login or a reauth with the new session; `expires_in` is cut to whole seconds."""
    fields: dict[str, Any] = {
        "token_type": "Bearer",
        "expires_in": int(session.lifetime),
        "access_token": session.token,
        "entity_id": session.app.id,
        "allowed_mfa_methods": [],
    }
    return json_answer(fields)


DONE: Final = Answer(204)
NO_KEYS: Final = json_answer([])
VERSION: Final = json_answer(
    {"version": "5.6.2919", "api_version": "v1-20260710", "server_mode": "Software"}
)
NO_SESSION: Final = text_answer(401, "Session does not exist")
REFUSED: Final = text_answer(401, "Authentication failed")
NO_CERTIFICATE: Final = text_answer(401, "Client certificate does not match the session's app")
NOT_FOUND: Final = text_answer(404, "Not found")
NOT_ALLOWED: Final = text_answer(405, "Method not allowed")
