"""The emulator as a whole: its options, its parts and its listener."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aiohttp import web

from refresherd.emulator.apps import App, Apps
from refresherd.emulator.control import Control
from refresherd.emulator.dsm import Dsm
from refresherd.emulator.faults import Faults
from refresherd.emulator.server import RequestLog, Server, Sleep
from refresherd.emulator.sessions import Expiry, Sessions

if TYPE_CHECKING:
    from refresherd.emulator.tls import Authority, CertificateFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to set up an emulator."""

    apps: int = 1
    """How many apps get a random API key."""
    api_keys: tuple[str, ...] = ()
    """API keys of apps that come before those."""
    certificate_apps: int = 0
    """How many apps that log in with a TLS client certificate come after those."""
    ldap_apps: int = 0
    """How many apps that log in by their name and a password come after those."""
    lifetime: float = 600.0
    """Seconds that a session lives."""
    expiry: Expiry = "idle"
    fips: bool = True
    """Whether the hundredth failed login in 24 hours resets an app's secret."""
    listen: str = "127.0.0.1:0"
    """`host:port`; an empty host means loopback, port 0 any free port."""
    tls: bool = False
    names: tuple[str, ...] = ()
    """Further hosts for which the server's certificate is valid."""
    directory: Path | None = None
    """Where the CA and the certificates are kept; by default a temporary directory, removed at the
    end."""
    log_size: int = 100_000
    """How many requests are remembered."""
    now: Callable[[], float] = time.monotonic
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    """Makes tokens, secrets and ids."""
    sleep: Sleep = asyncio.sleep
    """Waits for slow faults."""


class Emulator:
    """An emulated DSM with a listener of its own, which is open within `async with`.

    `stop()` and `start()` in between make an outage: connections are refused, and everything else
    (address, apps, sessions, faults, certificates) stays.
    """

    def __init__(self, options: Options | None = None) -> None:
        self._options = options = options or Options()
        self._cleanup = contextlib.ExitStack()
        self._runner: web.AppRunner | None = None
        self._authority: Authority | None = None
        self._context: ssl.SSLContext | None = None
        host, _, port = options.listen.rpartition(":")
        # asyncio takes an empty host for every interface: too open for a listener like this.
        self._host, self._port = host.strip("[]") or "127.0.0.1", int(port)
        random_bytes = options.random_bytes
        self.apps = Apps(lifetime=options.lifetime, random_bytes=random_bytes, fips=options.fips)
        self.sessions = Sessions(expiry=options.expiry, now=options.now, random_bytes=random_bytes)
        self.faults = Faults()
        self.log = RequestLog(maxlen=options.log_size)
        for api_key in options.api_keys:
            self.apps.add(api_key=api_key)
        self.apps.fill(
            api_key=len(options.api_keys) + options.apps,
            certificate=options.certificate_apps,
            ldap=options.ldap_apps,
        )

    async def __aenter__(self) -> Self:
        if self._options.tls:
            # cryptography takes long to import and plain HTTP does not need it.
            from refresherd.emulator.tls import Authority  # noqa: PLC0415 - see above

            directory = self._options.directory
            if directory is None:
                temporary = tempfile.TemporaryDirectory(prefix="refresherd-emulator-")
                directory = Path(self._cleanup.enter_context(temporary))
            self._authority = Authority(directory)
            self._context = self._authority.server_context([self._host, *self._options.names])
        try:
            await self.start()
        except OSError:
            self._cleanup.close()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()
        self._cleanup.close()

    @property
    def url(self) -> str:
        """The endpoint for clients, without a trailing slash."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - compared, not bound
        scheme = "https" if self._options.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def ca_file(self) -> Path | None:
        """The PEM file of the CA that signed the server's certificate; None on plain HTTP."""
        return self._authority.ca_file if self._authority else None

    def client_certificate(self, app: App) -> CertificateFiles:
        """Issue a certificate with which a certificate app logs in; ValueError on plain HTTP."""
        if self._authority is None:
            raise ValueError("client certificates need TLS")
        return self._authority.issue_client(app.id)

    async def start(self) -> None:
        """Listen, after a `stop()` on the same port as before. Raises OSError if it is taken."""
        options, application = self._options, web.Application()
        dsm = Dsm(self.apps, self.sessions, options.now)
        Control(dsm, self.faults, self.log, self._authority).add_routes(application.router)
        server = Server(dsm, self.faults, self.log, options.random_bytes, options.sleep)
        application.router.add_route("*", "/{path:.*}", server.handle)
        # Cancelling the handlers of clients that have left keeps hanging requests from piling up.
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
