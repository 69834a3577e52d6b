"""Reports to the service manager: starting, ready, reloading, stopping, and a status line."""

import asyncio
from contextlib import suppress
from typing import NoReturn

from refresherd.adapters.systemd.wording import Report, report, summary
from refresherd.domain import events
from refresherd.domain.events import Event
from refresherd.domain.readiness import Ready, daemon_ready
from refresherd.engine.ports import Clock, Roster
from refresherd.host.service_manager import MICROSECONDS, Notifier, reloading

BATCH = 64
"""Apps to report on before the event loop gets a turn."""

PAUSE = 1.0
"""Seconds between two status lines."""

STARTING_PAUSE = 0.05
"""Seconds between two status lines during the start."""

RETRY = 0.1
"""Seconds until a message is sent again for which the service manager had no room."""

EXTEND_EVERY = 20.0
"""Seconds between two extensions of the start's timeout."""

EXTENSION = f"EXTEND_TIMEOUT_USEC={60 * MICROSECONDS}"
"""Makes the service manager wait 60 s more for the start. It does not wait for a daemon that hangs,
which sends no extension."""


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
        match event:
            case (
                events.Renewed(app)
                | events.SessionResumed(app)
                | events.AttemptFailed(app)
                | events.TokenExpired(app)
                | events.CredentialChanged(app)
                | events.LoginPostponed(app)
                | events.OutputWritten(app)
                | events.OutputRemoved(app)
                | events.OutputFailed(app)
            ):
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
            await self._wait(sent=self._send())

    async def _update(self, roster: Roster) -> None:
        """Renew the reports that are out of date."""
        changed, self._changed = self._changed, set()
        now = self._clock.now()
        if changed is None:
            self._reports = {}
            for number, status in enumerate(roster.statuses(), start=1):
                self._reports[status.name] = report(status, now)
                if number % BATCH == 0:
                    await asyncio.sleep(0)
            return
        for name in changed:
            if (found := roster.status(name)) is not None:
                self._reports[name] = report(found, now)

    def _send(self) -> bool:
        """Send what is new, READY included; return False if it has to be sent again."""
        served = [one.served for one in self._reports.values()]
        if not self._ready and daemon_ready(self._wanted, sum(served), len(served)):
            self._ready = True
            self._queue("READY=1")
        starting = not self._ready
        text = self._stopping or summary(
            self._reports.values(), self._clock, starting=starting, refused=self._refused
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

    async def _wait(self, *, sent: bool) -> None:
        """Return when there may be something to send."""
        if not sent:
            await _wait_for(self._urgent, RETRY)
            return
        await _wait_for(self._urgent, PAUSE if self._ready else STARTING_PAUSE)
        if not self._urgent.is_set():
            await _wait_for(self._news, None if self._ready else EXTEND_EVERY)

    def _send_now(self, *assignments: str) -> None:
        """Send without waiting for the loop's turn, or else as soon as there is room."""
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
