"""Tells the service manager how it goes: starting, ready, reloading, stopping, and the state."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from refresherd.adapters.systemd.wording import Report, report, summary
from refresherd.domain.events import (
    AttemptFailed,
    CredentialChanged,
    Event,
    LoginPostponed,
    OutputFailed,
    OutputRemoved,
    OutputWritten,
    Reloaded,
    ReloadFailed,
    Renewed,
    SessionResumed,
    Stopping,
    TokenExpired,
)
from refresherd.domain.readiness import Ready, enough
from refresherd.engine.ports import Clock, Roster
from refresherd.host.sd_notify import Notifier, reloading
from refresherd.host.service_manager import MICROSECONDS

BATCH = 64
"""Apps looked at before the event loop gets its turn."""

PAUSE = 1.0
"""Seconds between two lines about the state."""

STARTING_PAUSE = 0.05
"""Seconds while the start waits for the news."""

RETRY = 0.1
"""Seconds after which what the manager had no room for is said again."""

EXTEND_EVERY = 20.0

EXTENSION = f"EXTEND_TIMEOUT_USEC={60 * MICROSECONDS}"
"""Has the manager wait for a start for 60 s more from when it last heard of it. It gives up by its
own TimeoutStartSec= if nothing comes, and so it does not wait for a daemon that hangs."""


class Reporter:
    """An Observer that has the manager told; `run` tells it, and nothing here blocks.

    A line is made from reports of single apps, each made anew when something happens to that
    app: with ten thousand of them no refresh costs more for it.
    """

    def __init__(self, notifier: Notifier, clock: Clock, wanted: Ready) -> None:
        self._notifier = notifier
        self._clock = clock
        self._wanted = wanted
        self._reports: dict[str, Report] = {}
        self._changed: set[str] | None = None
        """The apps to look at anew, None for all."""
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._owed: tuple[str, ...] = ()
        self._told = ""
        self._ready = False
        self._refused = ""
        self._stopping = ""

    def observe(self, event: Event) -> None:
        """Take note of what changes the state."""
        match event:
            case (
                Renewed(app)
                | SessionResumed(app)
                | AttemptFailed(app)
                | TokenExpired(app)
                | CredentialChanged(app)
                | LoginPostponed(app)
                | OutputWritten(app)
                | OutputRemoved(app)
                | OutputFailed(app)
            ):
                if self._changed is not None:
                    self._changed.add(app)
            case Reloaded():
                self._changed = None
            case ReloadFailed(message):
                self._refused = self._refused or message
            case Stopping(cause):
                self._stopping = f"stopping: {cause}"
                self._at_once("STOPPING=1", f"STATUS={self._stopping}")
            case _:
                return
        self._news.set()

    def reload_begins(self) -> None:
        """Tell of a reload, from the signal's handler: who asked for it may wait for no more.

        Before READY there is nothing to tell: a unit that is being started is not reloaded.
        """
        self._refused = ""
        if self._ready and not self._stopping:
            self._at_once(*reloading())

    def reload_ended(self) -> None:
        """Tell that a reload is done, whatever came of it."""
        if self._ready and not self._stopping:
            # Where there was no room for its beginning: systemd takes both for one that is over.
            self._owe(*self._owed, "READY=1")

    async def run(self, roster: Roster) -> NoReturn:
        """Tell the manager of these apps until cancelled."""
        while True:
            self._news.clear()
            self._urgent.clear()
            await self._survey(roster)
            await self._rest(sent=self._tell())

    async def _survey(self, roster: Roster) -> None:
        """Look at the apps to which something has happened."""
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
            known = roster.status(name)
            if known is not None:
                self._reports[name] = report(known, now)

    def _tell(self) -> bool:
        """Say what there is to say; return False where it has to be said again."""
        self._settle(self._reports.values())
        starting = not self._ready
        text = self._stopping or summary(
            self._reports.values(), self._clock, starting=starting, refused=self._refused
        )
        owed = said = self._owed
        if starting:
            said = (*owed, EXTENSION)
        if not said and text == self._told:
            return True
        if not self._notifier.send(*said, f"STATUS={text}"):
            return False
        self._told = text
        if self._owed is owed:  # else a signal's handler has come in between
            self._owed = ()
        return True

    def _settle(self, reports: Iterable[Report]) -> None:
        """Owe the manager READY once what it waits for holds; it is said once, and for good."""
        served = [one.served for one in reports]
        if not self._ready and enough(self._wanted, sum(served), len(served)):
            self._ready = True
            self._owe("READY=1")

    async def _rest(self, *, sent: bool) -> None:
        """Return when there is something to say again."""
        if not sent:
            await _either(self._urgent, RETRY)
            return
        await _either(self._urgent, PAUSE if self._ready else STARTING_PAUSE)
        if not self._urgent.is_set():
            await _either(self._news, None if self._ready else EXTEND_EVERY)

    def _at_once(self, *assignments: str) -> None:
        """Say it without waiting for the loop's turn, or else as soon as there is room."""
        if not self._notifier.send(*assignments):
            self._owe(*(line for line in assignments if not line.startswith("STATUS=")))

    def _owe(self, *assignments: str) -> None:
        self._owed = assignments
        self._urgent.set()
        self._news.set()  # `run` may be waiting for that one


async def _either(event: asyncio.Event, seconds: float | None) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
