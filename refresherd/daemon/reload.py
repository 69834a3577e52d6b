"""Reloads the configuration: read, compared with the one in force, applied; or refused whole."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import NoReturn

from refresherd.adapters.metrics import Metrics
from refresherd.config import Configuration, Shutdown, load
from refresherd.daemon.assembly import Assembly
from refresherd.domain import reload_plan
from refresherd.domain.errors import ConfigError
from refresherd.domain.events import Reloaded, ReloadFailed, Warned
from refresherd.domain.reload_plan import ReloadPlan

FIXED = (
    "ready",
    "state_dir",
    "api.path",
    "api.mode",
    "api.group",
    "http.listen",
    "http.web_config_file",
    "log.level",
    "log.format",
)
"""Keys that are heeded at start only."""

READ_TIMEOUT = 30.0
"""Seconds that reading the file and its key files may take; ten thousand apps take two."""


class Reloader:
    """Applies the configuration file anew each time that it is asked to, one at a time.

    Requests that come while a reload is under way are served by one more after it.
    """

    def __init__(
        self,
        configuration: Configuration,
        environ: Mapping[str, str],
        assembly: Assembly,
        metrics: Metrics,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Reload into `assembly`; `ended` is told when no reload that was asked for is left."""
        self._started_with = configuration
        self._configuration = configuration
        self._environ = environ
        self._assembly = assembly
        self._metrics = metrics
        self._observer = assembly.context.observer
        self._ended = ended
        self._wanted = asyncio.Event()

    def ends_sessions(self) -> bool:
        """Return whether sessions are to be ended when they are not kept any more."""
        return self._configuration.shutdown is Shutdown.TERMINATE

    def request(self) -> None:
        """Have the configuration reloaded as soon as `run` runs."""
        self._wanted.set()

    async def run(self) -> NoReturn:
        """Serve requests until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._reload()
            await asyncio.sleep(
                0
            )  # a request whose signal has come in this turn of the loop is one
            if not self._wanted.is_set():
                self._ended()

    async def _reload(self) -> None:
        path = self._configuration.path
        read = partial(_compared, self._configuration, self._environ)
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                # In a lane: a disk may hang, and ten thousand apps would hold the loop for long.
                new, steps = await self._assembly.executor.call("configuration", read)
        except ConfigError as error:
            self._refuse(*error.faults)
        except TimeoutError:
            message = f"not read within {READ_TIMEOUT:g} s; its disk hangs, or one that it names"
            self._refuse(f"{path}: {message}")
        else:
            await self._apply(new, steps)

    def _refuse(self, *faults: str) -> None:
        for fault in faults:
            self._observer.observe(ReloadFailed(fault))

    async def _apply(self, new: Configuration, steps: ReloadPlan) -> None:
        for warning in (*new.warnings, *unapplied(self._started_with, new)):
            self._observer.observe(Warned(warning))
        self._configuration = new
        # Before the apps themselves go: their last state would be shown as that of a new one.
        for name in steps.stop:
            self._metrics.remove_app(name)
        for app in (*steps.start, *steps.restart, *steps.retune):
            self._metrics.add_app(app)
        order = [app.name for app in new.apps]
        await self._assembly.supervisor.apply(steps, order, end_sessions=self.ends_sessions())
        self._observer.observe(
            Reloaded(
                at=self._assembly.context.clock.now(),
                started=len(steps.start),
                stopped=len(steps.stop),
                restarted=len(steps.restart),
                retuned=len(steps.retune),
            )
        )


def unapplied(started_with: Configuration, new: Configuration) -> tuple[str, ...]:
    """Return a line for each key whose value is another than at start, where it was heeded."""
    return tuple(
        f"{new.path}: {key} has changed; restart refresherd to apply it"
        for key in FIXED
        if attrgetter(key)(started_with) != attrgetter(key)(new)
    )


def _compared(old: Configuration, environ: Mapping[str, str]) -> tuple[Configuration, ReloadPlan]:
    new = load(old.path, environ)
    return new, reload_plan.diff(old.apps, new.apps)
