"""refresherd in the benchmark's own process, assembled as the daemon assembles it."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stderr
from pathlib import Path

from refresherd.adapters.metrics.observer import Metrics
from refresherd.config import Configuration
from refresherd.daemon.assembly import Assembly, logging_to_stderr, running
from refresherd.daemon.daemon import tune_garbage_collector
from refresherd.engine.context import Observers
from refresherd.engine.ports import Observer
from refresherd.host.clock import BootClock


@asynccontextmanager
async def kept(
    configuration: Configuration, clock: BootClock, *observers: Observer
) -> AsyncIterator[Assembly]:
    """Run a configuration's apps while the block runs; `observers` also receive the events."""
    with logging_to_stderr(configuration.log, clock) as logs:
        metrics = Metrics(clock.now(), configuration.apps)
        observer = Observers(metrics, logs, *observers)
        assembly = Assembly(configuration.apps, os.environ, clock, observer)
        tune_garbage_collector()
        async with running(assembly):
            yield assembly


@contextmanager
def silence() -> Iterator[None]:
    """Send the log, at level info and in JSON, to /dev/null."""
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        yield
