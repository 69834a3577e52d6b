"""Logs events: each becomes an entry, repetitions are suppressed, and floods are cut."""

import asyncio
import dataclasses
import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, assert_never

import structlog

from refresherd.adapters.logs.writer import LineWriter
from refresherd.domain import events
from refresherd.domain.certificates import Validity
from refresherd.domain.errors import Reason
from refresherd.domain.events import AcceptFailed, Event
from refresherd.domain.formats import timestamp
from refresherd.domain.labels import Ending, HookResult
from refresherd.domain.model import Instant, Method
from refresherd.engine.ports import Clock

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

NOTABLE_LAG = 1.0
"""Seconds of event loop lag that deserve a warning."""

FOR_OPERATOR = (Reason.REJECTED, Reason.MFA_REQUIRED)
"""Failures that only an operator can end."""

DEBUG_ONLY = frozenset(
    (
        events.AttemptBegan,
        events.SessionChecked,
        events.ApiAnswered,
        events.OutputWritten,
        events.OutputUnchanged,
    )
)
"""Events that are logged at debug level alone, unless they end some trouble."""

FREQUENT = frozenset((events.ApiAnswered,))
"""Those of them that may come ten thousand times a second, and that never end any trouble."""

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


REPEAT_SECONDS = 600.0
"""The same trouble is logged at most once in this time."""

MAX_TROUBLES = 100_000
"""If there are more at once, the oldest is forgotten; its next occurrence counts as new."""

NEVER_YET = Instant(-inf)

LINES_PER_SECOND = 1000.0
BURST = 5000.0
"""Limits on the lines of all apps together; further lines are dropped and counted."""


@dataclass(slots=True)
class _Trouble:
    count: int = 0
    logged: dict[str, tuple[Instant, int]] = field(default_factory=dict)
    """By kind, when it was last logged, and how many repetitions were suppressed since."""


class Repeats:
    """Suppresses repetitions of the same kind of trouble in the same scope, such as one output."""

    def __init__(self, max_troubles: int = MAX_TROUBLES) -> None:
        self._max_troubles = max_troubles
        self._troubles: dict[Hashable, _Trouble] = {}

    def admit(self, scope: Hashable, kind: str, now: Instant) -> int | None:
        """Return how many entries were suppressed before this one; None to suppress it as well."""
        trouble = self._troubles.get(scope)
        if trouble is None:
            if len(self._troubles) >= self._max_troubles:
                del self._troubles[next(iter(self._troubles))]
            trouble = self._troubles[scope] = _Trouble()
        trouble.count += 1
        logged_at, suppressed = trouble.logged.get(kind, (NEVER_YET, 0))
        if now < logged_at + REPEAT_SECONDS:
            trouble.logged[kind] = logged_at, suppressed + 1
            return None
        trouble.logged[kind] = now, 0
        return suppressed

    def recover(self, scope: Hashable) -> int:
        """Forget a trouble that is over; return how often it occurred, 0 if there was none."""
        trouble = self._troubles.pop(scope, None)
        return 0 if trouble is None else trouble.count


class Logs:
    """An Observer that logs. No method blocks, even if nobody reads the log."""

    def __init__(
        self, logger: structlog.typing.FilteringBoundLogger, writer: LineWriter, clock: Clock
    ) -> None:
        self._logger = logger
        self._writer = writer
        self._clock = clock
        self._repeats = Repeats()
        self._allowance = BURST
        self._refilled_at = clock.now()
        self._unseen = frozenset() if logger.is_enabled_for(logging.DEBUG) else FREQUENT
        self._ignored = frozenset() if logger.is_enabled_for(logging.DEBUG) else DEBUG_ONLY

    def observe(self, event: Event) -> None:
        """Log an event, unless it is a repetition or below the level."""
        if type(event) in self._unseen:
            return
        scope = trouble_of(event)
        failures = 0 if scope is None else self._repeats.recover(scope)
        if failures or type(event) not in self._ignored:
            self._log(describe(event, failures))

    def library(self, record: logging.LogRecord) -> None:
        """Log what a library logged."""
        level = logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING
        error = record.exc_info[1] if record.exc_info else None
        fields = {"logger": record.name, "exc_info": error}
        scope = ("library", record.name, str(record.msg))
        self._log(Entry(level, record.getMessage().strip(), fields, scope))

    def loop_failed(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Log what the event loop reports: its exception handler."""
        error, listening = context.get("exception"), context.get("socket")
        if isinstance(error, OSError) and listening is not None:
            # Not a bug: asyncio accepts TCP connections for us, and no descriptor is left.
            name = "{}:{}".format(*listening.getsockname()[:2])
            self.observe(AcceptFailed(name, error.strerror or str(error)))
        else:
            self.bug(str(context["message"]), error)

    def bug(self, message: str, error: BaseException | None) -> None:
        """Log an exception that nobody caught."""
        fields = {"message": message, "exc_info": error}
        self._log(Entry(logging.ERROR, "bug", fields, ("bug", message), type(error).__name__))

    def close(self, timeout: float = 0.5) -> None:
        """Write the queued lines, for at most `timeout` seconds."""
        self._writer.close(timeout)

    def _log(self, entry: Entry) -> None:
        if not self._logger.is_enabled_for(entry.level):
            return
        fields, now = entry.fields, self._clock.now()
        if entry.scope is not None:
            suppressed = self._repeats.admit(entry.scope, entry.kind, now)
            if suppressed is None:
                return
            if suppressed:
                fields = {**fields, "suppressed": suppressed}
        refill = (now - self._refilled_at) * LINES_PER_SECOND
        self._allowance = min(BURST, self._allowance + refill)
        self._refilled_at = now
        if self._allowance < 1:
            self._writer.drop(1)
            return
        self._allowance -= 1
        self._logger.log(entry.level, entry.event, **fields)
