"""Reloads the configuration: reads it, compares it with the one in force, and applies it whole."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import attrgetter
from typing import NoReturn

from refresherd.adapters.metrics.observer import Metrics
from refresherd.config import STANDARD_INPUT, Configuration, Shutdown, load
from refresherd.daemon.assembly import Assembly
from refresherd.domain import readiness, reload_plan
from refresherd.domain.durations import in_seconds
from refresherd.domain.errors import ConfigError
from refresherd.domain.events import Reloaded, ReloadFailed, Warned
from refresherd.domain.reload_plan import ReloadPlan

READ_TIMEOUT = 30.0
"""Seconds to read the configuration and its key files; ten thousand apps take two."""

DELIVERY_TIMEOUT = 10.0
"""Seconds that a reload waits for the outputs of the apps that it changed."""

DELIVERY_PAUSE = 0.02
"""Seconds between two checks of such an app."""

RESTART_KEYS = (
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
"""Keys that take effect at start only."""


class Reloader:
    """Applies the configuration file again on request, one reload at a time.

    Any number of requests during a reload are answered by one more reload after it.
    """

    def __init__(  # noqa: PLR0913  # the last three have defaults
        self,
        configuration: Configuration,
        environ: Mapping[str, str],
        assembly: Assembly,
        metrics: Metrics,
        *,
        finished: Callable[[], None] = lambda: None,
        read_timeout: float = READ_TIMEOUT,
        delivery_timeout: float = DELIVERY_TIMEOUT,
    ) -> None:
        """Reload into `assembly`; `finished` is called when no requested reload is left.

        By then the outputs of the apps that have changed hold their tokens, unless that takes
        longer than `delivery_timeout` seconds.
        """
        self._started_with = configuration
        self._configuration = configuration
        self._environ = environ
        self._assembly = assembly
        self._metrics = metrics
        self._observer = assembly.context.observer
        self._finished = finished
        self._read_timeout = read_timeout
        self._delivery_timeout = delivery_timeout
        self._requested = asyncio.Event()

    def ends_sessions(self) -> bool:
        """Return whether the sessions of apps that stop are to be terminated."""
        return self._configuration.shutdown is Shutdown.TERMINATE

    def request(self) -> None:
        """Request a reload; `run` does it."""
        self._requested.set()

    async def run(self) -> NoReturn:
        """Serve requests until cancelled."""
        while True:
            await self._requested.wait()
            self._requested.clear()
            await self._reload()
            # Let the loop deliver signals that have arrived: they count as requests.
            await asyncio.sleep(0)
            if not self._requested.is_set():
                self._finished()

    async def _reload(self) -> None:
        old = self._configuration
        if old.path == STANDARD_INPUT:
            message = "the configuration was read from standard input, which has no more to read"
            self._observer.observe(ReloadFailed(f"{message}; restart refresherd to change it"))
            return

        def read() -> tuple[Configuration, ReloadPlan]:
            new = load(old.path, self._environ)
            return new, reload_plan.diff(old.apps, new.apps)

        try:
            async with asyncio.timeout(self._read_timeout):
                # In a thread: a disk may hang, and ten thousand apps would block the loop.
                new, plan = await self._assembly.executor.call("configuration", read)
        except ConfigError as error:
            faults = error.faults
        except TimeoutError:
            within = f"within {in_seconds(self._read_timeout)}; is a disk hanging?"
            faults = (f"{old.path}: cannot read it and the files that it names {within}",)
        else:
            await self._apply(new, plan)
            await self._delivered(plan)
            return
        for fault in faults:
            self._observer.observe(ReloadFailed(fault))

    async def _delivered(self, plan: ReloadPlan) -> None:
        """Wait until the apps that have changed are settled, but not for ever.

        So an app that was added has its token when the reload is over. An app in trouble delays the
        end of the reload only so long, and never the next reload, which may fix it.
        """
        statuses, clock = self._assembly.supervisor, self._assembly.context.clock
        waiting = [app.name for app in (*plan.start, *plan.restart, *plan.retune)]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._delivery_timeout):
                while waiting and not self._requested.is_set():
                    status = statuses.status(waiting[-1])
                    if status is None or readiness.settled(status, clock.now()):
                        waiting.pop()
                    else:
                        await asyncio.sleep(DELIVERY_PAUSE)

    async def _apply(self, new: Configuration, plan: ReloadPlan) -> None:
        for warning in (*new.troubles, *new.warnings):
            self._observer.observe(Warned(warning))
        for key in RESTART_KEYS:
            if attrgetter(key)(self._started_with) != attrgetter(key)(new):
                warning = f"{new.path}: {key} has changed; restart refresherd to apply it"
                self._observer.observe(Warned(warning))
        self._configuration = new
        self._metrics.ends_sessions = self.ends_sessions()
        self._assembly.claims.configure(new.output_paths, new.read)
        # Before the apps are removed: a new app of the same name would show the old one's counts.
        for name in plan.stop:
            self._metrics.remove_app(name)
        for app in (*plan.start, *plan.restart, *plan.retune):
            self._metrics.add_app(app)
        self._assembly.certificates.follow(new.apps)
        order = [app.name for app in new.apps]
        await self._assembly.supervisor.apply(plan, order, end_sessions=self.ends_sessions())
        self._observer.observe(
            Reloaded(
                at=self._assembly.context.clock.now(),
                started=len(plan.start),
                stopped=len(plan.stop),
                restarted=len(plan.restart),
                retuned=len(plan.retune),
            )
        )
