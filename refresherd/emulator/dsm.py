"""The emulated DSM's operations: who calls, what that changes and what is answered. No network."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from refresherd.emulator import auth_request
from refresherd.emulator.apps import App, Apps
from refresherd.emulator.sessions import Session, Sessions

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
            "entity_id": session.user.id,
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
    "options": NO_CONTENT,
}


@dataclass(frozen=True, slots=True)
class Call:
    """The parts of a request on which DSM's answer depends."""

    operation: str
    """One of ROUTES, "not_found", "not_allowed" or "options"."""
    scheme: str = ""
    """Of the Authorization header, in lower case; "" without credentials."""
    credential: str = ""
    certificate_name: str | None = None
    """The common name of the TLS client certificate, None without one."""
    body: bytes = b""
    allow: str = ""
    """The methods that the path allows."""


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
        if call.scheme == "basic":
            return self.apps.named_by(call.credential)
        with suppress(ValueError):
            if call.operation == "auth":
                request = auth_request.parse(call.body)
                return self.apps.with_name(request.fields.get("name"))
        return None

    def carry_out(self, call: Call) -> Answer:
        """Do what the call asks for and return the answer."""
        if call.operation in UNAUTHENTICATED:
            answer = UNAUTHENTICATED[call.operation]
            refuses_method = call.operation in ("options", "not_allowed")
            return replace(answer, headers={"Allow": call.allow}) if refuses_method else answer
        if call.operation == "auth":
            return self._log_in(call)
        if call.scheme == "basic":
            # The API description lets an API key stand for a session.
            app = self.apps.authenticate(call.credential, call.certificate_name, self.now())
            return self._act(call.operation, app) if app else LOGIN_REFUSED
        session = self.sessions.use(call.credential) if call.scheme == "bearer" else None
        if session is None:
            return _text(401, "Session does not exist")
        if session.user.kind == "certificate" and call.certificate_name != session.user.id:
            return _text(401, "Client certificate does not match the session's app")
        return self._act(call.operation, session.app, session)

    def _log_in(self, call: Call) -> Answer:
        try:
            request = auth_request.parse(call.body)
        except ValueError as error:
            return _text(400, str(error))
        if request.method and call.scheme:
            return _text(400, "the request has both an Authorization header and a method")
        target = self.apps.with_id(request.bind_to)
        if request.bind_to and target is None:
            return _text(400, f"bind_to.app: there is no app {request.bind_to}")
        app = None
        if request.method == auth_request.BY_NAME:
            app = self.apps.authenticate_by_name(**request.fields)
        elif call.scheme == "basic":
            app = self.apps.authenticate(call.credential, call.certificate_name, self.now())
        if app is None:
            return LOGIN_REFUSED
        app.counts.logins += 1
        return _grant(self.sessions.open(app, target))

    def _act(self, operation: str, app: App, session: Session | None = None) -> Answer:
        """Carry out an operation in an app's session, or for its API key without a session."""
        if operation == "reauth":
            app.counts.reauths += 1
            return _grant(self.sessions.open(app, session.bound_to if session else None))
        if operation == "refresh":
            app.counts.refreshes += 1
            return NO_CONTENT
        if operation == "terminate":
            if session:
                app.counts.terminates += 1
                self.sessions.end(session.token)
            return NO_CONTENT
        app.counts.key_listings += 1
        return _json([])
