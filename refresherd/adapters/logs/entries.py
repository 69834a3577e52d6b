"""What each event says in the log, and which trouble it begins or ends."""

import dataclasses
import logging
from collections.abc import Hashable, Mapping
from typing import assert_never

from refresherd.domain import events
from refresherd.domain.certificates import Validity
from refresherd.domain.errors import Reason
from refresherd.domain.events import Event
from refresherd.domain.formats import timestamp
from refresherd.domain.labels import Ending, HookResult
from refresherd.domain.model import Method

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

NOTABLE_LAG = 1.0
"""Seconds of event loop lag that deserve a warning."""

FOR_OPERATOR = (Reason.REJECTED, Reason.MFA_REQUIRED)
"""Failures that only an operator can end."""

DURATIONS = ("delay", "duration", "lag", "restart_in", "retry_in", "seconds")

UNLOGGED = ("at", "endpoint", "error", "validity")
"""Attributes that are logged for single events only, if at all."""

LOGGED_AS = {"consecutive_failures": "failures"}


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A log entry before it is rendered."""

    level: int
    event: str
    fields: Mapping[str, object]
    scope: Hashable = None
    """What is in trouble; None if the entry is not about trouble. Repetitions are suppressed."""
    kind: str = ""
    """Trouble of another kind in the same scope is not a repetition."""


def describe(  # noqa: C901, PLR0911, PLR0912, PLR0915  # a case for each event
    event: Event, failures: int = 0
) -> Entry:
    """Return the entry of an event; `failures` is how many failures it brings to an end."""
    fields = _fields(event)
    if failures:
        fields["recovered_after"] = failures
    match event:
        case events.AttemptBegan():
            return Entry(DEBUG, "attempt began", fields)
        case events.Renewed(method=method):
            kept_alive = method is Method.KEEPALIVE
            return Entry(INFO, "session kept alive" if kept_alive else "token refreshed", fields)
        case events.AttemptFailed(app, endpoint, _, reason):
            level = ERROR if reason in FOR_OPERATOR else WARNING
            fields["endpoint"] = endpoint
            return Entry(level, "refresh failed", fields, (app, "attempt"), reason)
        case events.LoginPostponed(app):
            return Entry(ERROR, "login withheld", fields, (app, "attempt"), "withheld")
        case events.SessionChecked():
            return Entry(DEBUG, "session checked", fields)
        case events.SessionResumed():
            return Entry(INFO, "session resumed", fields)
        case events.SessionEnded(app, Ending.FAILED):
            return Entry(WARNING, "session not ended", fields, (app, "ending"))
        case events.SessionEnded():
            return Entry(DEBUG, "session ended", fields)
        case events.TokenExpired():
            return Entry(ERROR, "token expired", fields)
        case events.CredentialChanged():
            return Entry(INFO, "credential changed", fields)
        case events.EntityMismatch(app):
            return Entry(WARNING, "entity mismatch", fields, (app, "entity"))
        case events.CertificateRead(not_after=not_after):
            fields["not_after"] = timestamp(not_after)
            return Entry(DEBUG, "client certificate read", fields)
        case events.CertificateExpires(validity=validity):
            level = WARNING if validity is Validity.EXPIRES_SOON else ERROR
            return Entry(level, "client certificate expires", fields)
        case events.OutputWritten():
            return Entry(INFO if failures else DEBUG, "output written", fields)
        case events.OutputUnchanged():
            return Entry(INFO if failures else DEBUG, "output unchanged", fields)
        case events.OutputAltered():
            # Each time: the delivery bounds how often.
            return Entry(WARNING, "output altered", fields)
        case events.OutputRemoved():
            return Entry(INFO, "output removed", fields)
        case events.OutputFailed(app, output):
            return Entry(WARNING, "output failed", fields, (app, "output", output))
        case events.HookRan(_, _, HookResult.OK, _, message):
            return Entry(INFO if failures or message else DEBUG, "hook ran", fields)
        case events.HookRan(app, hook, result):
            return Entry(WARNING, "hook failed", fields, (app, "hook", hook), result)
        case events.ApiAnswered(duration=duration):
            fields["duration"] = round(duration, 6)
            return Entry(DEBUG, "request answered", fields)
        case events.AccessDenied(app, socket, uid, _, _, unit):
            return Entry(WARNING, "access denied", fields, (socket, app, uid), unit)
        case events.AccessUndecided(app, socket, uid, _, _, message):
            return Entry(WARNING, "access undecided", fields, (socket, app, uid), message)
        case events.ConnectionRejected(socket, reason, user):
            return Entry(WARNING, "connection refused", fields, (socket, user), reason)
        case events.AcceptFailed(socket, reason):
            advice = f"{reason}; raise the limit on open files (in a unit: LimitNOFILE=)"
            fields = {"socket": socket, "message": advice}
            return Entry(ERROR, "cannot accept connections", fields, (socket, "accept"))
        case events.AppCrashed(app, error):
            fields["exc_info"] = error
            return Entry(ERROR, "app crashed", fields, (app, "crash"), type(error).__name__)
        case events.ClockJumped():
            return Entry(INFO, "clock jumped", fields)
        case events.LoopLagged(lag):
            level = WARNING if lag >= NOTABLE_LAG else DEBUG
            return Entry(level, "event loop lagged", fields, "lag", str(level))
        case events.Started():
            return Entry(INFO, "started", fields)
        case events.Warned():
            fields["message"] = fields.pop("message")  # after the app
            return Entry(WARNING, "warning", fields)
        case events.Reloaded():
            return Entry(INFO, "reloaded", fields)
        case events.ReloadFailed():
            return Entry(ERROR, "reload failed", fields)
        case events.WebConfigRead():
            return Entry(INFO, "web configuration read", fields)
        case events.WebConfigRefused(faults):
            return Entry(ERROR, "web configuration refused", {"message": "; ".join(faults)})
        case events.HandshakeFailed(socket, user, message):
            return Entry(WARNING, "handshake failed", fields, (socket, "TLS", user), message)
        case events.Stopping():
            return Entry(INFO, "stopping", fields)
        case events.Stopped():
            return Entry(INFO, "stopped", fields)
        case _:
            assert_never(event)


def _fields(event: Event) -> dict[str, object]:
    """Return the logged attributes that are not empty, with durations to the millisecond."""
    fields: dict[str, object] = {}
    for attribute in dataclasses.fields(event):
        name, value = attribute.name, getattr(event, attribute.name)
        if name not in UNLOGGED and value != "":
            fields[LOGGED_AS.get(name, name)] = round(value, 3) if name in DURATIONS else value
    return fields


def trouble_of(event: Event) -> Hashable:
    """Return the scope of the trouble that an event brings to an end; None for no trouble."""
    match event:
        case events.Renewed(app):
            return (app, "attempt")
        case (
            events.OutputWritten(app, output)
            | events.OutputUnchanged(app, output)
            | events.OutputRemoved(app, output)
        ):
            return (app, "output", output)
        case events.HookRan(app, hook, HookResult.OK):
            return (app, "hook", hook)
        case _:
            return None
