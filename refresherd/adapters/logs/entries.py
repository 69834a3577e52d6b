"""What is said of each event, and how loud."""

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import assert_never

from refresherd.domain.errors import Reason
from refresherd.domain.events import (
    AcceptFailed,
    AccessDenied,
    ApiAnswered,
    AppCrashed,
    AttemptBegan,
    AttemptFailed,
    ClockJumped,
    ConnectionRejected,
    CredentialChanged,
    Ending,
    EntityMismatch,
    Event,
    HookRan,
    HookResult,
    LoginPostponed,
    LoopLagged,
    OutputFailed,
    OutputRemoved,
    OutputWritten,
    Reloaded,
    ReloadFailed,
    Renewed,
    SessionChecked,
    SessionEnded,
    SessionResumed,
    Started,
    Stopping,
    TokenExpired,
    Warned,
)
from refresherd.domain.model import Method

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

NOTABLE_LAG = 1.0
"""Seconds of the event loop's lag from which an operator should hear of it."""

FOR_AN_OPERATOR = (Reason.REJECTED, Reason.MFA_REQUIRED)
"""Failures that do not pass by themselves."""

ONLY_DEBUG = frozenset((AttemptBegan, SessionChecked, ApiAnswered, OutputWritten))
"""Events that nobody reads of unless they are debugging, or trouble is over."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A log entry before it is rendered.

    Entries with a `scope` are trouble: of those with the same scope and kind few are told.
    """

    level: int
    event: str
    fields: Mapping[str, object]
    scope: Hashable = None
    kind: str = ""


def describe(event: Event, failures: int = 0) -> Entry:  # noqa: C901, PLR0912  # one an event
    """Return what is said of an event; `failures` is how much trouble it brings to an end."""
    match event:
        case Renewed():
            entry = _renewed(event, failures)
        case AttemptFailed():
            entry = _failed(event)
        case LoginPostponed(app, message, next_at):
            withheld = {"app": app, "message": message, "next_refresh_at": next_at}
            entry = Entry(ERROR, "login withheld", withheld, (app, "attempt"), "withheld")
        case AttemptBegan(app, method, delay):
            attempt = {"app": app, "method": method, "delay": round(delay, 3)}
            entry = Entry(DEBUG, "attempt began", attempt)
        case SessionChecked(app, _, duration):
            entry = Entry(DEBUG, "session checked", {"app": app, "duration": round(duration, 3)})
        case SessionResumed(app, generation, expires_at, next_refresh_at):
            fields = {"app": app, "generation": generation, "expires_at": expires_at}
            entry = Entry(INFO, "session resumed", fields | {"next_refresh_at": next_refresh_at})
        case OutputWritten() | OutputRemoved() | OutputFailed():
            entry = _of_output(event, failures)
        case HookRan():
            entry = _of_hook(event, failures)
        case SessionEnded():
            entry = _of_ending(event)
        case ApiAnswered() | AccessDenied() | ConnectionRejected() | AcceptFailed():
            entry = _of_request(event)
        case TokenExpired(app, generation):
            entry = Entry(ERROR, "token expired", {"app": app, "generation": generation})
        case CredentialChanged(app):
            entry = Entry(INFO, "credential changed", {"app": app})
        case EntityMismatch(app, expected, entity_id):
            fields = {"app": app, "expected": expected, "entity_id": entity_id}
            entry = Entry(WARNING, "entity mismatch", fields, (app, "entity"))
        case AppCrashed(app, error, restart_in):
            crash = {"app": app, "restart_in": round(restart_in, 3), "exc_info": error}
            entry = Entry(ERROR, "app crashed", crash, (app, "crash"), type(error).__name__)
        case ClockJumped() | LoopLagged() | Started() | Stopping():
            entry = _of_daemon(event)
        case Warned(message, app):
            about = {"app": app} if app else {}
            entry = Entry(WARNING, "warning", {**about, "message": message})
        case Reloaded() | ReloadFailed():
            entry = _of_reload(event)
        case _:
            assert_never(event)
    return entry


def trouble_of(event: Event) -> Hashable:
    """Return the scope of the trouble that an event brings to an end, None for no trouble."""
    match event:
        case Renewed(app):
            return (app, "attempt")
        case OutputWritten(app, output) | OutputRemoved(app, output):
            return (app, "output", output)
        case HookRan(app, hook, HookResult.OK):
            return (app, "hook", hook)
        case _:
            return None


def _of_daemon(event: ClockJumped | LoopLagged | Started | Stopping) -> Entry:
    match event:
        case ClockJumped(kind, seconds):
            return Entry(INFO, "clock jumped", {"kind": kind, "seconds": round(seconds, 3)})
        case LoopLagged(lag):
            level = WARNING if lag >= NOTABLE_LAG else DEBUG
            return Entry(level, "event loop lagged", {"lag": round(lag, 3)}, "lag", str(level))
        case Started(version, apps):
            return Entry(INFO, "started", {"version": version, "apps": apps})
        case Stopping(cause):
            return Entry(INFO, "stopping", {"cause": cause})


def _of_reload(event: Reloaded | ReloadFailed) -> Entry:
    match event:
        case Reloaded(_, started, stopped, restarted, retuned):
            counts = {"started": started, "stopped": stopped}
            return Entry(INFO, "reloaded", counts | {"restarted": restarted, "retuned": retuned})
        case ReloadFailed(message):
            return Entry(ERROR, "reload failed", {"message": message})


def _renewed(event: Renewed, failures: int) -> Entry:
    kept = event.method is Method.KEEPALIVE
    fields: dict[str, object] = {
        "app": event.app,
        "method": event.method,
        "duration": round(event.duration, 3),
        "generation": event.generation,
        "expires_at": event.expires_at,
        "next_refresh_at": event.next_refresh_at,
        "request_id": event.request_id,
    }
    if failures:
        fields["recovered_after"] = failures
    return Entry(INFO, "session kept alive" if kept else "token refreshed", fields)


def _failed(event: AttemptFailed) -> Entry:
    level = ERROR if event.reason in FOR_AN_OPERATOR else WARNING
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


def _of_output(event: OutputWritten | OutputRemoved | OutputFailed, failures: int) -> Entry:
    fields: dict[str, object] = {"app": event.app, "output": event.output}
    if failures:
        fields["recovered_after"] = failures
    if isinstance(event, OutputWritten):
        fields["generation"] = event.generation
        return Entry(INFO if failures else DEBUG, "output written", fields)
    if isinstance(event, OutputRemoved):
        return Entry(INFO, "output removed", fields)
    fields |= {"message": event.message, "retry_in": round(event.retry_in, 3)}
    return Entry(WARNING, "output failed", fields, (event.app, "output", event.output))


def _of_hook(event: HookRan, failures: int) -> Entry:
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
    if failures:
        fields["recovered_after"] = failures
    return Entry(INFO if failures or event.message else DEBUG, "hook ran", fields)


def _of_request(event: ApiAnswered | AccessDenied | ConnectionRejected | AcceptFailed) -> Entry:
    fields: dict[str, object]
    if isinstance(event, AcceptFailed):
        advice = f"{event.reason}; raise the limit on open files (in a unit: LimitNOFILE=)"
        fields = {"socket": event.socket, "message": advice}
        return Entry(ERROR, "cannot accept connections", fields, (event.socket, "accept"))
    if isinstance(event, ApiAnswered):
        duration = round(event.duration, 6)
        fields = {"route": event.route, "code": event.code, "duration": duration}
        return Entry(DEBUG, "request answered", fields)
    fields = {"socket": event.socket, "uid": event.uid}
    if isinstance(event, ConnectionRejected):
        fields["connections"] = event.connections
        return Entry(WARNING, "connection refused", fields, (event.socket, event.uid))
    fields |= {"app": event.app, "gid": event.gid, "pid": event.pid, "unit": event.unit}
    return Entry(WARNING, "access denied", fields, (event.socket, event.app, event.uid), event.unit)


def _of_ending(event: SessionEnded) -> Entry:
    fields = {"app": event.app, "result": event.result, "message": event.message}
    if event.result is Ending.FAILED:
        return Entry(WARNING, "session not ended", fields, (event.app, "ending"))
    return Entry(DEBUG, "session ended", fields)
