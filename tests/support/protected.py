"""The HTTP listener behind a web configuration, with a page that says who it is."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientSession, TCPConnector

from refresherd.adapters.web.gate import PATIENCE_SECONDS, Gate
from refresherd.adapters.web.listener import HttpListener, address_text
from refresherd.adapters.web.pages import Pages
from refresherd.adapters.web.protection_watch import ProtectionWatch
from refresherd.adapters.web.recent import Recent
from refresherd.config import read_web_config
from refresherd.host.admission import Admission
from refresherd.host.clock import BootClock
from refresherd.host.http.server import DEFAULT_TIMES, Times
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import RecordingObserver
from support.web_pages import Metrics, NoApps


@dataclass(frozen=True, slots=True)
class Protected:
    """A listener that runs."""

    listener: HttpListener
    watch: ProtectionWatch
    observer: RecordingObserver

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self.listener.addresses[0]

    def client(self, context: ssl.SSLContext | None = None) -> ClientSession:
        """Return a client of its first address, with TLS if there is a context."""
        scheme = "http" if context is None else "https"
        connector = TCPConnector(ssl=True if context is None else context)
        url = f"{scheme}://{address_text(*self.address)}"
        return ClientSession(url, connector=connector)


@asynccontextmanager
async def protected(
    web_config: Path,
    *addresses: tuple[str, int],
    times: Times = DEFAULT_TIMES,
    patience: float = PATIENCE_SECONDS,
    every: float = 0.05,
    metrics: Metrics | None = None,
) -> AsyncIterator[Protected]:
    """Serve pages as a web configuration says, and look often whether it has changed."""
    clock, observer, executor = BootClock(), RecordingObserver(), KeyedExecutor(idle_timeout=0.1)
    recent = Recent(clock)
    pages = Pages(metrics or Metrics(), NoApps(), recent, executor, clock, fault=str)
    watch = ProtectionWatch(web_config, read_web_config, executor, observer, every=every)
    gate = Gate(pages.handle, watch, executor, clock, observer, patience=patience)
    listener = HttpListener(
        addresses or (("127.0.0.1", 0),),
        pages,
        clock,
        Admission(observer),
        gate=gate,
        times=times,
    )
    await listener.start()
    try:
        yield Protected(listener, watch, observer)
    finally:
        await listener.stop()
