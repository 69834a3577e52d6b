"""Starts and stops an emulator: puts its parts together and listens."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aiohttp import web

from refresherd.emulator.apps import App, Apps
from refresherd.emulator.control import add_control_routes
from refresherd.emulator.faults import Faults
from refresherd.emulator.logins import Logins
from refresherd.emulator.requests import RequestLog
from refresherd.emulator.server import Server
from refresherd.emulator.sessions import Expiry, Sessions
from refresherd.emulator.state import State

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from refresherd.emulator.delivery import Sleep
    from refresherd.emulator.tls import Authority, Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to set up an emulator.

    `apps` apps get made-up API keys, besides one for each of `api_keys`; `certificate_apps` more
    log in with TLS client certificates. `lifetime` of a session is in seconds, counted from its
    last use or its opening as `expiry` says. `listen` is `host:port`; without a host it is
    loopback, port 0 is any free one. `names` are hosts for which the server certificate holds
    besides the local ones. Certificates are kept in `directory`, else in a temporary one.
    `log_size` is how many requests are remembered. `now` is the clock, in seconds; `random_bytes`
    makes tokens, secrets and ids; `sleep` waits for the faults that are slow.
    """

    apps: int = 1
    api_keys: tuple[str, ...] = ()
    certificate_apps: int = 0
    lifetime: float = 600.0
    expiry: Expiry = "idle"
    fips: bool = True
    listen: str = "127.0.0.1:0"
    tls: bool = False
    names: tuple[str, ...] = ()
    directory: Path | None = None
    log_size: int = 100_000
    now: Callable[[], float] = time.monotonic
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    sleep: Sleep = asyncio.sleep


class Emulator:
    """A DSM on a listener of its own, from `async with` to its end.

    `stop()` and `start()` in between are an outage: connections are refused, everything else
    (address, apps, sessions, faults, certificates) stays.
    """

    def __init__(self, options: Options | None = None) -> None:
        self._options = options = options or Options()
        self._cleanup = contextlib.ExitStack()
        self._runner: web.AppRunner | None = None
        self._context: ssl.SSLContext | None = None
        host, _, port = options.listen.rpartition(":")
        # To asyncio an empty host is every interface, too open a default for a listener like this.
        self._host, self._port = host.strip("[]") or "127.0.0.1", int(port)
        self.state = _state(options)
        self.apps = self.state.apps
        self.sessions = self.state.sessions
        self.faults = self.state.faults
        self.log = self.state.log

    async def __aenter__(self) -> Self:
        if self._options.tls:
            directory = self._options.directory or _temporary_directory(self._cleanup)
            authority = self.state.authority = _authority(directory)
            self._context = authority.server_context([self._host, *self._options.names])
        try:
            await self.start()
        except OSError:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        self._cleanup.close()

    @property
    def url(self) -> str:
        """The endpoint to give to clients, without a trailing slash."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - compared, not bound
        scheme = "https" if self._options.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def ca_file(self) -> Path | None:
        """The PEM file of the CA that signed the server's certificate; None on plain HTTP."""
        return self.state.authority.ca_file if self.state.authority else None

    def client_certificate(self, app: App) -> Certificate:
        """Issue a client certificate with which a certificate app logs in; needs TLS."""
        if self.state.authority is None:
            raise ValueError("client certificates need TLS")
        return self.state.authority.issue_client(app.id)

    async def start(self) -> None:
        """Listen, after a `stop()` on the same port as before. Raises OSError if it is taken."""
        application = web.Application()
        add_control_routes(application.router, self.state)
        Server(self.state).add_routes(application.router)
        # Cancelling handlers whose client left keeps hanging faults from piling up.
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, self._host, self._port, ssl_context=self._context, backlog=1024
        )
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None


def _temporary_directory(cleanup: contextlib.ExitStack) -> Path:
    made = tempfile.TemporaryDirectory(prefix="refresherd-emulator-")
    return Path(cleanup.enter_context(made))


def _authority(directory: Path) -> Authority:
    # Its library takes long to import and is of no use on plain HTTP.
    from refresherd.emulator.tls import Authority  # noqa: PLC0415 - see above

    return Authority(directory)


def _state(options: Options) -> State:
    apps = Apps(lifetime=options.lifetime, random_bytes=options.random_bytes)
    for api_key in options.api_keys:
        apps.add(api_key=api_key)
    for _ in range(options.apps):
        apps.add()
    for _ in range(options.certificate_apps):
        apps.add(certificate=True)
    sessions = Sessions(expiry=options.expiry, now=options.now, random_bytes=options.random_bytes)
    return State(
        apps=apps,
        logins=Logins(apps, fips=options.fips),
        sessions=sessions,
        faults=Faults(),
        log=RequestLog(options.log_size),
        now=options.now,
        random_bytes=options.random_bytes,
        sleep=options.sleep,
    )
