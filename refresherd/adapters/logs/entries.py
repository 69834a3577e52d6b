"""The log entry of each event: its level, its name and its fields."""

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import assert_never

from refresherd.domain import events
from refresherd.domain.errors import Reason
from refresherd.domain.events import Ending, Event, HookResult
from refresherd.domain.model import Method

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

NOTABLE_LAG = 1.0
"""Seconds of event loop lag from which an operator should hear of it."""

FOR_OPERATOR = (Reason.REJECTED, Reason.MFA_REQUIRED)
"""Failures that only an operator can end."""

DEBUG_ONLY = frozenset(
    (events.AttemptBegan, events.SessionChecked, events.ApiAnswered, events.OutputWritten)
)
"""Events that are logged at debug level alone, unless they end some trouble."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A log entry before it is rendered."""

    level: int
    event: str
    fields: Mapping[str, object]
    scope: Hashable = None
    """What is in trouble; None if the entry is not about trouble. Repetitions are suppressed."""
    kind: str = ""
    """Trouble of another kind in the same scope is no repetition."""


def describe(event: Event, failures: int = 0) -> Entry:  # noqa: C901, PLR0911, PLR0912  # per event
    """Return the entry of an event; `failures` is how many failures it brings to an end."""
    recovered = {"recovered_after": failures} if failures else {}
    fields: dict[str, object]
    match event:
        case events.AttemptBegan(app, method, delay):
            fields = {"app": app, "method": method, "delay": round(delay, 3)}
            return Entry(DEBUG, "attempt began", fields)
        case events.Renewed():
            return _renewed(event, recovered)
        case events.AttemptFailed():
            return _failed(event)
        case events.LoginPostponed(app, message, next_at):
            fields = {"app": app, "message": message, "next_refresh_at": next_at}
            return Entry(ERROR, "login withheld", fields, (app, "attempt"), "withheld")
        case events.SessionChecked(app, _, duration):
            return Entry(DEBUG, "session checked", {"app": app, "duration": round(duration, 3)})
        case events.SessionResumed(app, generation, expires_at, next_at):
            fields = {"app": app, "generation": generation, "expires_at": expires_at}
            return Entry(INFO, "session resumed", fields | {"next_refresh_at": next_at})
        case events.SessionEnded(app, result, message):
            fields = {"app": app, "result": result, "message": message}
            if result is Ending.FAILED:
                return Entry(WARNING, "session not ended", fields, (app, "ending"))
            return Entry(DEBUG, "session ended", fields)
        case events.TokenExpired(app, generation):
            return Entry(ERROR, "token expired", {"app": app, "generation": generation})
        case events.CredentialChanged(app):
            return Entry(INFO, "credential changed", {"app": app})
        case events.EntityMismatch(app, expected, entity_id):
            fields = {"app": app, "expected": expected, "entity_id": entity_id}
            return Entry(WARNING, "entity mismatch", fields, (app, "entity"))
        case events.OutputWritten(app, output, generation):
            fields = {"app": app, "output": output, **recovered, "generation": generation}
            return Entry(INFO if failures else DEBUG, "output written", fields)
        case events.OutputRemoved(app, output):
            return Entry(INFO, "output removed", {"app": app, "output": output, **recovered})
        case events.OutputFailed(app, output, message, retry_in):
            fields = {"app": app, "output": output, "message": message}
            fields["retry_in"] = round(retry_in, 3)
            return Entry(WARNING, "output failed", fields, (app, "output", output))
        case events.HookRan():
            return _hook(event, recovered)
        case events.ApiAnswered(route, code, duration):
            fields = {"route": route, "code": code, "duration": round(duration, 6)}
            return Entry(DEBUG, "request answered", fields)
        case events.AccessDenied(app, socket, uid, gid, pid, unit):
            fields = {"socket": socket, "uid": uid, "app": app, "gid": gid, "pid": pid}
            return Entry(
                WARNING, "access denied", fields | {"unit": unit}, (socket, app, uid), unit
            )
        case events.ConnectionRejected(socket, uid, connections):
            fields = {"socket": socket, "uid": uid, "connections": connections}
            return Entry(WARNING, "connection refused", fields, (socket, uid))
        case events.AcceptFailed(socket, reason):
            advice = f"{reason}; raise the limit on open files (in a unit: LimitNOFILE=)"
            fields = {"socket": socket, "message": advice}
            return Entry(ERROR, "cannot accept connections", fields, (socket, "accept"))
        case events.AppCrashed(app, error, restart_in):
            fields = {"app": app, "restart_in": round(restart_in, 3), "exc_info": error}
            return Entry(ERROR, "app crashed", fields, (app, "crash"), type(error).__name__)
        case events.ClockJumped(kind, seconds):
            return Entry(INFO, "clock jumped", {"kind": kind, "seconds": round(seconds, 3)})
        case events.LoopLagged(lag):
            level = WARNING if lag >= NOTABLE_LAG else DEBUG
            return Entry(level, "event loop lagged", {"lag": round(lag, 3)}, "lag", str(level))
        case events.Started(version, apps):
            return Entry(INFO, "started", {"version": version, "apps": apps})
        case events.Warned(message, app):
            fields = {"app": app} if app else {}
            return Entry(WARNING, "warning", fields | {"message": message})
        case events.Reloaded(_, started, stopped, restarted, retuned):
            fields = {"started": started, "stopped": stopped}
            return Entry(INFO, "reloaded", fields | {"restarted": restarted, "retuned": retuned})
        case events.ReloadFailed(message):
            return Entry(ERROR, "reload failed", {"message": message})
        case events.Stopping(cause):
            return Entry(INFO, "stopping", {"cause": cause})
        case _:
            assert_never(event)


def trouble_of(event: Event) -> Hashable:
    """Return the scope of the trouble that an event brings to an end; None for no trouble."""
    match event:
        case events.Renewed(app):
            return (app, "attempt")
        case events.OutputWritten(app, output) | events.OutputRemoved(app, output):
            return (app, "output", output)
        case events.HookRan(app, hook, HookResult.OK):
            return (app, "hook", hook)
        case _:
            return None


def _renewed(event: events.Renewed, recovered: Mapping[str, object]) -> Entry:
    keepalive = event.method is Method.KEEPALIVE
    fields: dict[str, object] = {
        "app": event.app,
        "method": event.method,
        "duration": round(event.duration, 3),
        "generation": event.generation,
        "expires_at": event.expires_at,
        "next_refresh_at": event.next_refresh_at,
        "request_id": event.request_id,
        **recovered,
    }
    return Entry(INFO, "session kept alive" if keepalive else "token refreshed", fields)


def _failed(event: events.AttemptFailed) -> Entry:
    level = ERROR if event.reason in FOR_OPERATOR else WARNING
    fields = {
        "app": event.app,
        "method": event.method,
        "reason": event.reason,
        "message": event.message,
        "duration": round(event.duration, 3),
        "failures": event.consecutive_failures,
        "next_refresh_at": event.next_refresh_at,
        "endpoint": event.endpoint,
        "request_id": event.request_id,
    }
    return Entry(level, "refresh failed", fields, (event.app, "attempt"), event.reason)


def _hook(event: events.HookRan, recovered: Mapping[str, object]) -> Entry:
    fields: dict[str, object] = {
        "app": event.app,
        "hook": event.hook,
        "result": event.result,
        "duration": round(event.duration, 3),
    }
    if event.message:
        fields["message"] = event.message
    if event.result is not HookResult.OK:
        return Entry(WARNING, "hook failed", fields, (event.app, "hook", event.hook), event.result)
    level = INFO if recovered or event.message else DEBUG
    return Entry(level, "hook ran", {**fields, **recovered})
