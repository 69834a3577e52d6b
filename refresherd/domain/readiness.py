"""Is an app ready, and if not, why? A verdict over reports, without looking anywhere."""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from refresherd.domain.model import Instant, Token
from refresherd.domain.session_state import SessionState, valid_token


class Ready(StrEnum):
    """When the service manager hears that the daemon is ready."""

    ALL = "all"
    ANY = "any"
    STARTED = "started"


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """What an output holds. `error` is why it is behind, "" if it is not failing."""

    name: str
    holds: Token | None = None
    error: str = ""
    written_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class AppStatus:
    """All that readers outside the core are told of an app; `name` is the app's."""

    name: str
    session: SessionState
    outputs: tuple[OutputStatus, ...] = ()


def reasons(status: AppStatus, now: Instant) -> tuple[str, ...]:
    """Return why an app is not ready, nothing if it is.

    Ready means: there is a valid token, and every output holds it or is just getting it.
    """
    token = valid_token(status.session, now)
    if token is None:
        failure = status.session.last_failure
        cause = "" if failure is None else f": {failure.reason}: {failure.message}"
        return (f"no valid token ({status.session.state}){cause}",)
    return tuple(
        f"{output.name} does not hold the newest token" + (output.error and f": {output.error}")
        for output in status.outputs
        if not _serves(output, token, now)
    )


def _serves(output: OutputStatus, token: Token, now: Instant) -> bool:
    """Return whether an output's consumers are well served.

    For the moment that a new token takes to get there they still have the one before,
    which lives: readiness must not flap at each refresh.
    """
    if output.holds == token:
        return True
    return output.holds is not None and output.holds.expires_at > now and not output.error


def ready(status: AppStatus, now: Instant) -> bool:
    """Return whether the app has a valid token and every output holds it."""
    return not reasons(status, now)


def enough(wanted: Ready, served: int, apps: int) -> bool:
    """Return whether the daemon is ready when so many of its apps are."""
    match wanted:
        case Ready.ALL:
            return served == apps
        case Ready.ANY:
            return served > 0
        case Ready.STARTED:
            return True
        case _:
            assert_never(wanted)
