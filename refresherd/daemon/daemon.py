"""The daemon: started, told by signals what to do, and stopped, in order."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import refresherd.adapters.dsm  # noqa: F401  # before whatever else imports aiohttp: see there
from refresherd import __version__
from refresherd.adapters.api import ApiListener, service
from refresherd.adapters.metrics import Exposition, Metrics
from refresherd.adapters.state import directory
from refresherd.adapters.systemd import Reporter
from refresherd.adapters.web import HttpListener
from refresherd.config import Api, Configuration
from refresherd.daemon.assembly import Assembly, Observers, assemble, keeping, logging_to_stderr
from refresherd.daemon.reload import Reloader
from refresherd.daemon.service_manager import Unit, unit
from refresherd.domain.events import Started, Stopping, Warned
from refresherd.domain.model import Ownership
from refresherd.engine.ports import Observer
from refresherd.host import process
from refresherd.host.clock import BootClock
from refresherd.host.process import end_after
from refresherd.host.service_manager import without_own

YOUNG_OBJECTS = 10_000
"""So many new objects are waited for before a collection; Python's own choice is 700."""

REQUESTS = (signal.SIGHUP, signal.SIGUSR1)
"""What asks for something, and may be held (blocked) until it is heeded."""

STOP_SECONDS = 4.5
"""A stop takes this long at most, whatever hangs; its steps' own bounds add up to less."""

SIGNALLED = 128
"""What a shell adds to a signal's number for the exit status of what it ended."""


def run(configuration: Configuration, environ: Mapping[str, str]) -> None:
    """Run the daemon until TERM or INT. Raises RefresherdError where it cannot start.

    Who starts it should block HUP and USR1 first: before they are heeded they end a process.
    """
    process.keep_memory_private()
    process.raise_descriptor_limit()
    try:
        with unit(configuration, environ) as me:
            if configuration.state_dir is not None:
                directory.claim(configuration.state_dir)
            asyncio.run(_run(configuration, without_own(environ), me))
    finally:
        # Python sets every handler back while it ends, and then a HUP would still end the process.
        for number in REQUESTS:
            signal.signal(number, signal.SIG_IGN)


def calm_collector() -> None:
    """Have Python's garbage collector leave alone what there is, and look at the rest less often.

    What apps are made of lives as long as the process, and a refresh leaves no cycles behind:
    with ten thousand apps, collections held up the loop for 0.3 s at a time and took a quarter
    of all CPU time.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


async def _run(configuration: Configuration, environ: Mapping[str, str], me: Unit) -> None:
    clock = BootClock()
    with logging_to_stderr(configuration.log, clock) as logs:
        metrics = Metrics(clock.now())
        for app in configuration.apps:
            metrics.add_app(app)
        reporter = Reporter(me.notifier, clock, configuration.ready)
        observer = Observers(metrics, logs, reporter)
        apps, state_dir = configuration.apps, configuration.state_dir
        assembly = assemble(apps, environ, clock, observer, state_dir, me.given)
        calm_collector()
        render = Exposition(metrics, assembly.supervisor, clock).render
        http = HttpListener(configuration.http.listen, render, assembly.supervisor, clock)
        api = _api(configuration.api, assembly, clock, observer, me.api)
        async with _serving(http, *api), me.telling(assembly, reporter):
            for warning in (*configuration.warnings, *me.warnings):
                observer.observe(Warned(warning))
            observer.observe(Started(__version__, len(configuration.apps)))
            ended = reporter.reload_ended
            reloader = Reloader(configuration, environ, assembly, metrics, ended)
            async with keeping(assembly, reloader.ends_sessions):
                await _heed_signals(assembly, reloader, reporter)
                for listener in api:
                    await listener.leave()


def _api(
    api: Api,
    assembly: Assembly,
    clock: BootClock,
    observer: Observer,
    passed: socket.socket | None,
) -> list[ApiListener]:
    """Return the API socket's listener, or none."""
    if api.path is None:
        return []
    path = api.path if passed is None else Path(passed.getsockname())
    served = service(assembly.supervisor, clock, observer, assembly.executor, str(path))
    ownership = Ownership(mode=api.mode, group=api.group)
    return [ApiListener(path, ownership, served, observer, assembly.executor, passed=passed)]


@asynccontextmanager
async def _serving(*listeners: HttpListener | ApiListener) -> AsyncIterator[None]:
    """Listen while the block runs, on all of them or on none; they stop side by side."""
    started: list[HttpListener | ApiListener] = []
    try:
        for listener in listeners:
            await listener.start()
            started.append(listener)
        yield
    finally:
        await asyncio.gather(*(listener.stop() for listener in started))


async def _heed_signals(assembly: Assembly, reloader: Reloader, reporter: Reporter) -> None:
    """Do what signals say until one of them says stop; a second of those ends the process."""
    stop = asyncio.Event()

    def end(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(SIGNALLED + number)
        end_after(STOP_SECONDS)
        assembly.context.observer.observe(Stopping(number.name))
        stop.set()

    _heed(signal.SIGTERM, partial(end, signal.SIGTERM))
    _heed(signal.SIGINT, partial(end, signal.SIGINT))
    _heed(signal.SIGUSR1, assembly.supervisor.refresh_all)
    _heed(signal.SIGHUP, reloader.request, at_once=reporter.reload_begins)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)
    async with asyncio.TaskGroup() as tasks:
        reloads = tasks.create_task(reloader.run())
        await stop.wait()
        reloads.cancel()


def _heed(
    number: signal.Signals, act: Callable[[], None], at_once: Callable[[], None] = lambda: None
) -> None:
    """Have the event loop do something at a signal, and nothing any more once it is closed.

    What is to be done `at_once` comes first, in the signal's handler: before the loop's turn.

    Its own `add_signal_handler` is not for floods: it has Python complain on standard error of
    signals that come faster than the loop looks. And its handlers end with the loop, so that
    a HUP would still end the process.
    """
    loop = asyncio.get_running_loop()

    def handle(*_: object) -> None:
        at_once()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(act)

    signal.signal(number, handle)
