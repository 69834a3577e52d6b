"""The daemon's life: start, signals, and an orderly stop."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import refresherd.adapters.dsm  # noqa: F401  # before anything else imports aiohttp: see there
from refresherd import __version__
from refresherd.adapters.api.listener import ApiListener
from refresherd.adapters.metrics.exposition import Exposition
from refresherd.adapters.metrics.observer import Metrics
from refresherd.adapters.state.directory import StateDirectory
from refresherd.adapters.systemd.reporter import Reporter
from refresherd.adapters.web.listener import HttpListener, address_text
from refresherd.adapters.web.pages import Pages
from refresherd.adapters.web.protection_watch import ProtectionWatch
from refresherd.adapters.web.recent import Recent
from refresherd.config import Api, Configuration, Http, Shutdown, read_web_config
from refresherd.daemon.assembly import Assembly, logging_to_stderr, running
from refresherd.daemon.reload import Reloader
from refresherd.daemon.service_manager import ServiceManagerResources, as_service
from refresherd.domain.events import Started, Stopped, Stopping, Warned
from refresherd.domain.model import Ownership
from refresherd.engine.context import Context, Observers
from refresherd.host import process
from refresherd.host.clock import BootClock
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.service_manager import without_own

if TYPE_CHECKING:
    from refresherd.adapters.web.gate import Gate

GC_THRESHOLD = 10_000
"""New objects between two garbage collections; Python's default is 700."""

REQUESTS = (signal.SIGHUP, signal.SIGUSR1)
"""Signals that request something; they may stay blocked until the daemon handles them."""

STOP_SECONDS = 4.5
"""The process ends this long after a stop began, whatever hangs; the steps' own limits add up to
less."""

SIGNALLED = 128
"""A shell's exit status for a process that a signal ended is this plus the signal's number."""


def run(configuration: Configuration, environ: Mapping[str, str]) -> None:
    """Run the daemon until TERM or INT. Raises RefresherdError if it cannot start.

    The caller should block HUP and USR1, which end the process until their handlers are set.
    """
    process.keep_memory_private()
    process.raise_descriptor_limit()
    try:
        with as_service(configuration, environ) as service:
            path = configuration.state_dir
            state = None if path is None else StateDirectory(path)
            asyncio.run(_run(configuration, without_own(environ), service, state))
    finally:
        # Python restores the default handlers as it exits, and a HUP would then end the process.
        for number in REQUESTS:
            signal.signal(number, signal.SIG_IGN)


def tune_garbage_collector() -> None:
    """Exempt existing objects from garbage collection, and collect the others less often.

    An app's objects live as long as the process, and a refresh leaves no cycles: with ten thousand
    apps, collections blocked the loop for 0.3 s at a time and took a quarter of all CPU time.
    """
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


async def _run(
    configuration: Configuration,
    environ: Mapping[str, str],
    service: ServiceManagerResources,
    state: StateDirectory | None,
) -> None:
    clock = BootClock()
    with logging_to_stderr(configuration.log, clock) as logs:
        terminates = configuration.shutdown is Shutdown.TERMINATE
        metrics = Metrics(clock.now(), configuration.apps, ends_sessions=terminates)
        reporter = Reporter(service.notifier, clock, configuration.ready)
        reporters = (reporter,) if service.notifier.enabled else ()
        recent = Recent(clock)
        watching = (recent,) if configuration.http.listen else ()
        observer = Observers(metrics, logs, *reporters, *watching)
        passed = service.sockets.opener, service.session_store, service.generations
        assembly = Assembly(configuration.apps, environ, clock, observer, state, *passed)
        assembly.claims.configure(configuration.output_paths, configuration.read)
        tune_garbage_collector()
        exposition = Exposition(metrics, assembly.supervisor, clock, logs.dropped)
        # Not the executor of the outputs, which a stop waits for.
        roster, fault = assembly.supervisor, assembly.liveness.fault
        executor = KeyedExecutor()
        pages = Pages(exposition, roster, recent, executor, clock, fault=fault)
        gate = _gate(configuration.http, pages, executor, assembly.context)
        http = HttpListener(configuration.http.listen, pages, clock, assembly.admission, gate=gate)
        api = _api_path(configuration.api, service.api)
        await service.drop_unconfigured(configuration, assembly)
        sockets = _api_listeners(api, configuration.api, assembly, service)
        if api is not None:
            metrics.add_api(str(api))
        async with _listening(http, *sockets), service.reporting(assembly, reporter):
            addresses = [address_text(*one) for one in http.addresses]
            for address in addresses:
                metrics.add_listener(address)
            places = str(configuration.path), str(api or ""), ", ".join(addresses)
            observer.observe(Started(__version__, len(configuration.apps), *places))
            for warning in (*configuration.troubles, *configuration.warnings, *service.warnings):
                observer.observe(Warned(warning))
            finished = reporter.reload_ended
            reloader = Reloader(configuration, environ, assembly, metrics, finished=finished)
            async with running(assembly, reloader.ends_sessions):
                await _handle_signals(assembly, reloader, reporter)
                for listener in sockets:
                    await listener.leave()
        observer.observe(Stopped())


def _gate(settings: Http, pages: Pages, executor: KeyedExecutor, context: Context) -> "Gate | None":
    """Return what protects the pages, None without a web configuration."""
    path = settings.web_config_file
    if path is None:
        return None
    from refresherd.adapters.web.gate import Gate  # noqa: PLC0415  # it needs bcrypt

    watch = ProtectionWatch(path, read_web_config, executor, context.observer)
    return Gate(pages.handle, watch, executor, context.clock, context.observer)


def _api_path(settings: Api, passed: socket.socket | None) -> Path | None:
    """Return the path of the API's socket, None if the configuration wants none."""
    if settings.path is None or passed is None:
        return settings.path
    return Path(passed.getsockname())


def _api_listeners(
    path: Path | None, settings: Api, assembly: Assembly, service: ServiceManagerResources
) -> list[ApiListener]:
    """Return the API's listener, or none if there is no path for its socket."""
    if path is None:
        return []
    passed, listen = service.api, service.sockets.opener("")
    ownership = Ownership(mode=settings.mode, group=settings.group)
    apps, context = assembly.supervisor, assembly.context
    executor, admission = assembly.executor, assembly.admission
    return [
        ApiListener(
            path,
            ownership,
            apps,
            context,
            executor,
            admission=admission,
            passed=passed,
            listen=listen,
        )
    ]


@asynccontextmanager
async def _listening(*listeners: HttpListener | ApiListener) -> AsyncIterator[None]:
    """Start all listeners, or none if one fails, and stop them together after the block."""
    started: list[HttpListener | ApiListener] = []
    try:
        for listener in listeners:
            await listener.start()
            started.append(listener)
        yield
    finally:
        await asyncio.gather(*(listener.stop() for listener in started))


async def _handle_signals(assembly: Assembly, reloader: Reloader, reporter: Reporter) -> None:
    """Handle signals until TERM or INT; a second TERM or INT ends the process at once."""
    stop = asyncio.Event()

    def end(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(SIGNALLED + number)
        process.end_after(STOP_SECONDS)
        assembly.context.observer.observe(Stopping(number.name))
        stop.set()

    _on_signal(signal.SIGTERM, partial(end, signal.SIGTERM))
    _on_signal(signal.SIGINT, partial(end, signal.SIGINT))
    _on_signal(signal.SIGUSR1, assembly.supervisor.refresh_all)
    _on_signal(signal.SIGHUP, reloader.request, immediately=reporter.reload_begins)
    if os.getpid() == process.INIT:
        _on_signal(signal.SIGCHLD, process.reap_orphans)
        process.reap_orphans()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)
    async with asyncio.TaskGroup() as tasks:
        reloads = tasks.create_task(reloader.run())
        await stop.wait()
        reloads.cancel()


def _on_signal(
    number: signal.Signals, act: Callable[[], None], immediately: Callable[[], None] = lambda: None
) -> None:
    """Call `immediately` in the signal's handler, then `act` in the event loop while it is open.

    `loop.add_signal_handler` does not stand floods: Python complains on standard error when signals
    come faster than the loop reads them. And it removes its handlers when the loop is closed, so
    that a HUP during the stop would end the process.
    """
    loop = asyncio.get_running_loop()

    def handle(*_: object) -> None:
        immediately()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(act)

    signal.signal(number, handle)
