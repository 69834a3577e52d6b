"""Reports to the service manager: starting, ready, reloading, stopping, and a status line."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from refresherd.adapters.systemd.settling import Settling
from refresherd.domain import events, readiness
from refresherd.domain.events import Event
from refresherd.domain.formats import timestamp
from refresherd.domain.model import Instant
from refresherd.domain.readiness import AppStatus, Ready, daemon_ready_at
from refresherd.domain.session_state import ALWAYS, State
from refresherd.engine.ports import Clock, Roster
from refresherd.engine.supervisor import in_batches
from refresherd.host.service_manager import MICROSECONDS, Notifier, reloading

PAUSE = 1.0
"""Seconds between two status lines."""

STARTING_PAUSE = 0.05
"""Seconds between two status lines during the start."""

RETRY = 0.1
"""Seconds until a message that found no room at the service manager is sent again."""

EXTEND_EVERY = 20.0
"""Seconds between two extensions of the start's timeout."""

EXTENSION = f"EXTEND_TIMEOUT_USEC={60 * MICROSECONDS}"
"""Makes the service manager wait 60 s more for the start. A daemon that hangs sends no extension,
so the service manager gives up on it."""

MAX_APPS = 3
"""Apps in trouble that are named; further ones are counted."""

MAX_REASON = 160

MAX_LINE = 800
"""Characters; systemd accepts datagrams of 4096 bytes (PIPE_BUF) and shows all of the line."""


@dataclass(frozen=True, slots=True)
class Report:
    """The part of the line about one app."""

    app: str
    served: bool
    """Whether its token is delivered."""
    settled: bool
    """Whether it is served, or DSM refused its credential."""
    trouble: str
    """What is wrong; "" for nothing."""
    next_at: Instant


class Reporter:
    """An Observer that collects what to report; `run` sends it. No method blocks.

    The status line is composed of reports on single apps. Each is renewed only when something
    happens to its app, so that a refresh costs the same with ten thousand apps.
    """

    def __init__(self, notifier: Notifier, clock: Clock, wanted: Ready) -> None:
        self._notifier = notifier
        self._clock = clock
        self._wanted = wanted
        self._reports: dict[str, Report] = {}
        self._settling = Settling(clock.now())
        self._changed: set[str] | None = None
        """The apps whose report is out of date; None for all."""
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._unsent: tuple[str, ...] = ()
        """Assignments to send before anything else."""
        self._status = ""
        """The last status line that was sent."""
        self._ready = False
        self._refused = ""
        self._stopping = ""

    def observe(self, event: Event) -> None:
        """Note an event that changes the state."""
        if not self._ready:
            self._settling.observe(event, self._clock.now())
        match event:
            case events.AppEvent(app):
                if self._changed is not None:
                    self._changed.add(app)
            case events.Reloaded():
                self._changed = None
            case events.ReloadFailed(message):
                self._refused = self._refused or message
            case events.Stopping(cause):
                self._stopping = f"stopping: {cause}"
                self._send_now("STOPPING=1", f"STATUS={self._stopping}")
            case _:
                return
        self._news.set()

    def reload_begins(self) -> None:
        """Report a reload, from the signal's handler: systemd may look as soon as kill(1) returns.

        Before READY there is nothing to report: systemd does not reload a unit that is starting.
        """
        self._refused = ""
        if self._ready and not self._stopping:
            self._send_now(*reloading())

    def reload_ended(self) -> None:
        """Report the end of a reload, successful or not."""
        if self._ready and not self._stopping:
            # If the beginning is still unsent, systemd accepts both in one message.
            self._queue(*self._unsent, "READY=1")

    async def run(self, roster: Roster) -> NoReturn:
        """Report on these apps until cancelled."""
        while True:
            self._news.clear()
            self._urgent.clear()
            await self._update(roster)
            ready_at = self._ready_at()
            if not self._send(starting=ready_at > self._clock.now()):
                await _wait_for(self._urgent, RETRY)
                continue
            await _wait_for(self._urgent, PAUSE if self._ready else STARTING_PAUSE)
            if not self._urgent.is_set():
                wait = min(ready_at - self._clock.now(), EXTEND_EVERY)
                await _wait_for(self._news, None if self._ready else wait)

    async def _update(self, roster: Roster) -> None:
        """Renew the reports that are out of date."""
        changed, self._changed = self._changed, set()
        now = self._clock.now()
        if changed is None:
            self._reports, statuses = {}, roster.statuses()
            self._settling.clear()
        else:
            statuses = filter(None, map(roster.status, changed))
        async for status in in_batches(statuses):
            self._reports[status.name] = one = report(status, now)
            if not self._ready:
                self._settling.update(one.app, settled=one.settled, now=now)

    def _ready_at(self) -> Instant:
        """Return when READY is due if nothing happens until then."""
        if self._ready:
            return ALWAYS
        served = [one.served for one in self._reports.values()]
        since = self._settling.unsettled_since()
        return daemon_ready_at(self._wanted, len(served), sum(served), since)

    def _send(self, *, starting: bool) -> bool:
        """Send what is new, READY included; return False if it has to be sent again."""
        if not (self._ready or starting):
            self._ready = True
            self._queue("READY=1")
        waits_for = self._wanted if starting else None
        text = self._stopping or summary(
            self._reports.values(), self._clock, waits_for=waits_for, refused=self._refused
        )
        unsent = assignments = self._unsent
        if starting:
            assignments = (*unsent, EXTENSION)
        if not assignments and text == self._status:
            return True
        if not self._notifier.send(*assignments, f"STATUS={text}"):
            return False
        self._status = text
        if self._unsent is unsent:  # unless a signal's handler has queued others meanwhile
            self._unsent = ()
        return True

    def _send_now(self, *assignments: str) -> None:
        """Send at once or, if there is no room, as soon as there is."""
        if not self._notifier.send(*assignments):
            self._queue(*(line for line in assignments if not line.startswith("STATUS=")))

    def _queue(self, *assignments: str) -> None:
        self._unsent = assignments
        self._urgent.set()
        self._news.set()  # `run` may be waiting for this event


async def _wait_for(event: asyncio.Event, seconds: float | None) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def report(status: AppStatus, now: Instant) -> Report:
    """Return the report on an app."""
    session = status.session
    reasons = readiness.reasons(status, now)
    trouble = "; ".join(reasons)
    if not reasons and session.state is not State.FRESH:
        failure = session.last_failure
        cause = "" if failure is None else f": {failure.reason}: {failure.message}"
        trouble = f"{session.state}{cause}"
    settled = readiness.settled(status, now)
    trouble = one_line(trouble, MAX_REASON)
    served = readiness.delivered(status, now)
    return Report(status.name, served, settled, trouble, session.next_attempt_at)


def summary(
    reports: Collection[Report], clock: Clock, *, waits_for: Ready | None, refused: str
) -> str:
    """Return the state of all apps in one line.

    Times are dates, since nobody knows when the line is read. `waits_for` is what the start waits
    for, None once READY was sent: the apps that hold it up come first. `refused` is the fault for
    which a new configuration was refused, "" if none was.
    """
    starting = waits_for is not None
    holding_up = {one.app for one in reports if starting and not one.served}
    if waits_for is Ready.SETTLED:
        holding_up -= {one.app for one in reports if one.settled}
    troubled = sorted(
        (one for one in reports if one.trouble), key=lambda one: one.app not in holding_up
    )
    parts = [f"{len(reports) - len(troubled)} of {len(reports)} fresh"]
    parts += [
        f"{'waiting for ' * (one.app in holding_up)}{one.app}: {one.trouble}"
        for one in troubled[:MAX_APPS]
    ]
    if len(troubled) > MAX_APPS:
        parts.append(f"and {len(troubled) - MAX_APPS} more in trouble")
    if starting:
        parts[0] = f"starting: {parts[0]}"
    if refused:
        parts.insert(0, f"configuration refused: {one_line(refused, MAX_REASON)}")
    next_at = min((one.next_at for one in reports), default=None)
    if next_at is not None:
        parts.append(f"next refresh at {timestamp(clock.wall(max(next_at, clock.now())))}")
    return one_line("; ".join(parts), MAX_LINE)


def one_line(text: str, longest: int) -> str:
    """Return the text without line breaks and control characters, cut to a length."""
    visible = "".join(one if one.isprintable() else " " for one in text)
    return visible if len(visible) <= longest else f"{visible[: longest - 1]}…"
