"""Plays the demo: looks at the daemon again and again, and shows what it sees."""

import asyncio
import time
from asyncio import FIRST_COMPLETED
from dataclasses import replace

from refresherd.demo.changes import changes
from refresherd.demo.child import last_lines
from refresherd.demo.picture import Picture, with_results
from refresherd.demo.scrape import scrape
from refresherd.demo.snapshot import AppView, Snapshot, parse
from refresherd.demo.stage import Settings, Stage, stage
from refresherd.demo.view import Open, View
from refresherd.domain.errors import RefresherdError

PACE = 0.25
"""Seconds between two pictures."""

REST = 3.0
"""A picture of hundreds of apps is work; so many times as long is left to the emulator after it."""


async def play(settings: Settings, open_view: Open, stop: asyncio.Event) -> Picture:
    """Play until the time is over or `stop` is set, and return the last picture.

    Raises RefresherdError, with the end of the daemon's log, if the daemon ends before.
    """
    async with stage(settings) as on:
        with open_view(on.guide) as view:
            return await Play(on, view, settings.duration).run(stop)


class Play:
    """One showing. `duration` in seconds, None for no end."""

    def __init__(self, on: Stage, view: View, duration: float | None) -> None:
        self._stage = on
        self._view = view
        self._duration = duration
        self._began = time.monotonic()
        apps = tuple(AppView(name) for name in on.guide.apps)
        self._picture = Picture(on.guide.place.endpoint, Snapshot(time.time(), apps))

    async def run(self, stop: asyncio.Event) -> Picture:
        """Show pictures until the end, and return the last."""
        stopping = asyncio.create_task(stop.wait())
        dying = asyncio.create_task(self._stage.process.wait())
        endings = {stopping, dying, self._stage.consuming}
        try:
            while not any(task.done() for task in endings) and self._ends_in() != 0:
                pause = await self._look()
                await asyncio.wait(endings, timeout=pause, return_when=FIRST_COMPLETED)
            if dying.done():
                raise self._death(dying.result())
            if self._stage.consuming.done():
                self._stage.consuming.result()
        finally:
            stopping.cancel()
            dying.cancel()
        await self._look()
        return self._picture

    async def _look(self) -> float:
        """Show the newest picture, and return for how many seconds it is good."""
        worked = time.process_time()
        before = self._picture.snapshot
        metrics = await scrape(self._stage.session, self._stage.guide.place.metrics)
        now = time.time()
        # A daemon that does not answer is shown as it was last seen.
        after = replace(before, now=now) if metrics is None else parse(metrics, now)
        found = changes(before, after)
        self._picture = replace(
            self._picture,
            snapshot=after,
            results=with_results(self._picture.results, found),
            reads=self._stage.consumer.reads,
            elapsed=time.monotonic() - self._began,
            ends_in=self._ends_in(),
        )
        self._view.show(self._picture, found)
        pause = max(PACE, REST * (time.process_time() - worked))
        ends_in = self._ends_in()
        return pause if ends_in is None else min(pause, ends_in)

    def _ends_in(self) -> float | None:
        if self._duration is None:
            return None
        return max(0.0, self._began + self._duration - time.monotonic())

    def _death(self, status: int) -> RefresherdError:
        log = last_lines(self._stage.guide.place.log)
        return RefresherdError(f"the daemon ended with status {status}; last it logged:\n{log}")
