"""The emulated DSM's operations: who calls, what that changes and what is answered. No network."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from refresherd.emulator.state import App, Apps, Session, Sessions

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"

ROUTES: Final[dict[str, tuple[str, str]]] = {
    "/sys/v1/session/auth": ("POST", "auth"),
    "/sys/v1/session/reauth": ("POST", "reauth"),
    "/sys/v1/session/refresh": ("POST", "refresh"),
    "/sys/v1/session/terminate": ("POST", "terminate"),
    "/sys/v1/health": ("GET", "health"),
    "/sys/v1/version": ("GET", "version"),
    "/crypto/v1/keys": ("GET", "keys"),
}
"""The method and operation of each path."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer before it is sent."""

    status: int
    body: bytes = b""
    content_type: str = ""
    """"" if there is no body."""
    headers: Mapping[str, str] = field(default_factory=dict)


def _json(value: object) -> Answer:
    return Answer(200, json.dumps(value, separators=(",", ":")).encode(), JSON)


def _text(status: int, text: str) -> Answer:
    """DSM reports every error as plain text."""
    return Answer(status, text.encode(), TEXT)


def _grant(session: Session) -> Answer:
    """Answer a login or reauth; DSM gives `expires_in` in whole seconds, here rounded down."""
    return _json(
        {
            "token_type": "Bearer",
            "expires_in": int(session.lifetime),
            "access_token": session.token,
            "entity_id": session.app.id,
            "allowed_mfa_methods": [],
        }
    )


NO_CONTENT: Final = Answer(204)
LOGIN_REFUSED: Final = _text(401, "Authentication failed")
UNAUTHENTICATED: Final[dict[str, Answer]] = {
    "health": NO_CONTENT,
    "version": _json(
        {"version": "5.6.2919", "api_version": "v1-20260710", "server_mode": "Software"}
    ),
    "not_found": _text(404, "Not found"),
    "not_allowed": _text(405, "Method not allowed"),
}


@dataclass(frozen=True, slots=True)
class Call:
    """The parts of a request on which DSM's answer depends."""

    operation: str
    """One of ROUTES, "not_found" or "not_allowed"."""
    scheme: str = ""
    """Of the Authorization header, in lower case; "" without credentials."""
    credential: str = ""
    certificate_name: str | None = None
    """The common name of the TLS client certificate, None without one."""


@dataclass(frozen=True, slots=True)
class Dsm:
    """Carries out calls on apps and their sessions."""

    apps: Apps
    sessions: Sessions
    now: Callable[[], float]
    """The emulator's clock, in seconds."""

    def caller(self, call: Call) -> App | None:
        """Return the app that a call concerns, even if the call will be refused; no effects."""
        if call.scheme == "bearer":
            session = self.sessions.issued(call.credential)
            return session.app if session else None
        return self.apps.named_by(call.credential) if call.scheme == "basic" else None

    def carry_out(self, call: Call) -> Answer:
        """Do what the call asks for and return the answer."""
        if call.operation in UNAUTHENTICATED:
            return UNAUTHENTICATED[call.operation]
        if call.operation == "auth":
            if call.scheme != "basic":
                return LOGIN_REFUSED
            app = self.apps.log_in(call.credential, call.certificate_name, self.now())
            return _grant(self.sessions.open(app)) if app else LOGIN_REFUSED
        session = self.sessions.use(call.credential) if call.scheme == "bearer" else None
        if session is None:
            return _text(401, "Session does not exist")
        if session.app.secret is None and call.certificate_name != session.app.id:
            return _text(401, "Client certificate does not match the session's app")
        return self._with_session(call.operation, session)

    def _with_session(self, operation: str, session: Session) -> Answer:
        counts = session.app.counts
        if operation == "reauth":
            counts.reauths += 1
            return _grant(self.sessions.open(session.app))
        if operation == "refresh":
            counts.refreshes += 1
            return NO_CONTENT
        if operation == "terminate":
            counts.terminates += 1
            self.sessions.end(session.token)
            return NO_CONTENT
        counts.key_listings += 1
        return _json([])
