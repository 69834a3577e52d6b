"""The operations of the emulated DSM: who calls, what that does, and what is answered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from refresherd.emulator import answers
from refresherd.emulator.answers import Answer
from refresherd.emulator.apps import App
from refresherd.emulator.logins import Logins
from refresherd.emulator.sessions import Session, Sessions

Operation = Literal[
    "auth",
    "reauth",
    "refresh",
    "terminate",
    "health",
    "version",
    "keys",
    "not_found",
    "not_allowed",
]

ROUTES: Final[dict[str, tuple[str, Operation]]] = {
    "/sys/v1/session/auth": ("POST", "auth"),
    "/sys/v1/session/reauth": ("POST", "reauth"),
    "/sys/v1/session/refresh": ("POST", "refresh"),
    "/sys/v1/session/terminate": ("POST", "terminate"),
    "/sys/v1/health": ("GET", "health"),
    "/sys/v1/version": ("GET", "version"),
    "/crypto/v1/keys": ("GET", "keys"),
}
"""The method and operation of each path."""

UNAUTHENTICATED: Final[dict[Operation, Answer]] = {
    "health": answers.DONE,
    "version": answers.VERSION,
    "not_found": answers.NOT_FOUND,
    "not_allowed": answers.NOT_ALLOWED,
}


def operation_of(method: str, path: str) -> Operation:
    """Return the operation that a request asks for."""
    expected, operation = ROUTES.get(path, (method, "not_found"))
    return operation if method == expected else "not_allowed"


@dataclass(frozen=True, slots=True)
class Call:
    """A request as far as DSM decides by it; `scheme` is in lower case, "" without credentials.

    `certificate_name` is the common name of the TLS client certificate, if there was one.
    """

    operation: Operation
    scheme: str = ""
    credential: str = ""
    certificate_name: str | None = None


class Operations:
    """Carries out calls; `now` is the clock, in seconds."""

    def __init__(self, logins: Logins, sessions: Sessions, now: Callable[[], float]) -> None:
        self._logins = logins
        self._sessions = sessions
        self._now = now

    def caller(self, call: Call) -> App | None:
        """Return the app that a call is about, without any effect, even if it will be refused."""
        if call.scheme == "bearer":
            return self._sessions.owner(call.credential)
        return self._logins.named_by(call.credential) if call.scheme == "basic" else None

    def carry_out(self, call: Call) -> Answer:
        """Do what the call asks for and return the answer."""
        if call.operation in UNAUTHENTICATED:
            return UNAUTHENTICATED[call.operation]
        return self._log_in(call) if call.operation == "auth" else self._use_session(call)

    def _log_in(self, call: Call) -> Answer:
        if call.scheme != "basic":
            return answers.REFUSED
        app = self._logins.log_in(call.credential, call.certificate_name, self._now())
        return answers.auth_answer(self._sessions.open(app)) if app else answers.REFUSED

    def _use_session(self, call: Call) -> Answer:
        session = self._sessions.use(call.credential) if call.scheme == "bearer" else None
        if session is None:
            return answers.NO_SESSION
        if session.app.secret is None and call.certificate_name != session.app.id:
            return answers.NO_CERTIFICATE
        return self._with_session(call.operation, session)

    def _with_session(self, operation: Operation, session: Session) -> Answer:
        counts = session.app.counts
        if operation == "reauth":
            counts.reauths += 1
            return answers.auth_answer(self._sessions.open(session.app))
        if operation == "refresh":
            counts.refreshes += 1
            return answers.DONE
        if operation == "terminate":
            counts.terminates += 1
            self._sessions.end(session.token)
            return answers.DONE
        counts.key_listings += 1
        return answers.NO_KEYS
