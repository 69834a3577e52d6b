"""DSM as the apps see it: implements SessionClient."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from aiohttp import hdrs
from yarl import URL

from refresherd.adapters.dsm.addresses import Addresses
from refresherd.adapters.dsm.answers import Exchange, Operation, acknowledged, granted
from refresherd.adapters.dsm.attempt import Attempt
from refresherd.adapters.dsm.pool import ConnectionPool
from refresherd.adapters.dsm.routes import Route
from refresherd.adapters.dsm.tls import TlsContext, TlsFiles
from refresherd.domain.errors import DsmError, Reason, Retryable
from refresherd.domain.model import App, Certificate, Grant, LdapApp, Secret, TokenFile
from refresherd.engine.ports import Clock, SessionClient
from refresherd.host.keyed_executor import KeyedExecutor

T = TypeVar("T")


class Connections(AbstractAsyncContextManager["Connections"]):
    """The clients of all apps. Connections are opened when needed, and shared between apps.

    At the end of the block all connections are closed, and requests under way fail.
    """

    def __init__(self, executor: KeyedExecutor, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        self._addresses: dict[tuple[str, int], Addresses] = {}
        self._contexts: dict[TlsFiles, TlsContext] = {}
        self._pools: dict[Route, ConnectionPool] = {}
        self._clients: dict[tuple[Route, Operation, str], Client] = {}

    async def __aexit__(self, *_: object) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    def client(self, app: App) -> SessionClient:
        """Return an app's client. Apps with the same route and kind of login share one."""
        credential, endpoint = app.credential, URL(app.endpoint.url)
        files = TlsFiles(app.endpoint.ca_file)
        if isinstance(credential, Certificate):
            files = TlsFiles(files.ca_file, credential.cert_file, credential.key_file)
        route = Route(endpoint, app.endpoint.proxy, app.endpoint.max_in_flight, files)
        if route not in self._pools:
            context = None
            if endpoint.scheme == "https":
                context = self._contexts.setdefault(
                    files, TlsContext(files, self._executor, self._clock)
                )
            self._pools[route] = ConnectionPool(route, context, self._addresses_of, self._clock)
        login = Operation.LOGIN
        if isinstance(credential, TokenFile):
            login = Operation.LOGIN_BY_TOKEN
        elif isinstance(credential, LdapApp):
            login = Operation.LOGIN_BY_NAME
        key = route, login, app.bind_to
        if key not in self._clients:
            pool, clock = self._pools[route], self._clock
            self._clients[key] = Client(endpoint, login, pool, clock, bind_to=app.bind_to)
        return self._clients[key]

    def _addresses_of(self, host: str, port: int) -> Addresses:
        """Return the addresses of DSM or a proxy: what one route learns helps the others."""
        if (host, port) not in self._addresses:
            self._addresses[host, port] = Addresses(host, port, self._executor, self._clock)
        return self._addresses[host, port]


class Client:
    """Sends requests to one endpoint. `login` is the operation by which its apps log in.

    DSM checks the use of their sessions against the credential of the app `bind_to`, a UUID, if
    there is one.
    """

    def __init__(
        self,
        endpoint: URL,
        login: Operation,
        pool: ConnectionPool,
        clock: Clock,
        *,
        bind_to: str = "",
    ) -> None:
        base = str(endpoint).rstrip("/")
        self._urls = {operation: URL(base + operation.path) for operation in Operation}
        self._login = login
        self._binding = {"bind_to": {"app": bind_to}} if bind_to else {}
        self._pool = pool
        self._clock = clock

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Return a new session from the credential. Raises Retryable and Rejected."""
        fields: dict[str, object] = {}
        if self._login is Operation.LOGIN_BY_NAME:
            fields = json.loads(credential.reveal())
            # The body is sent; what an answer may echo is the password.
            credential = Secret(str(fields["password"]))
        body = json.dumps(fields | self._binding).encode() if fields or self._binding else None
        return await self._exchange(self._login, credential, timeout, granted, body)

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Return a new session from a live one. Raises Retryable, SessionLost and Rejected."""
        return await self._exchange(Operation.REAUTH, token, timeout, granted)

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Keep a session alive; return DSM's request id. Raises Retryable and SessionLost."""
        return await self._exchange(Operation.KEEP_ALIVE, token, timeout, acknowledged)

    async def terminate(self, token: Secret, timeout: float) -> None:
        """End a session. Raises Retryable and SessionLost."""
        await self._exchange(Operation.TERMINATE, token, timeout, acknowledged)

    async def _exchange(
        self,
        operation: Operation,
        secret: Secret,
        timeout: float,
        read: Callable[[Exchange], T],
        body: bytes | None = None,
    ) -> T:
        """Send a request; return what `read` makes of the answer."""
        attempt = Attempt(asyncio.get_running_loop().time() + timeout)
        headers: dict[str, str] = {}
        if operation.scheme:
            headers[hdrs.AUTHORIZATION] = f"{operation.scheme} {secret.reveal()}"
        try:
            answer = await self._pool.post(attempt, self._urls[operation], headers, body)
            now = self._clock.wall(self._clock.now())
            result = read(Exchange(operation, secret, *answer, now))
        except DsmError as error:
            if isinstance(error, Retryable):
                # DSM as a whole is overloaded; any other trouble may be that of one address.
                if error.reason is not Reason.THROTTLED:
                    attempt.answered_badly(error)
                if error.reason is Reason.TLS:
                    self._pool.expire_files()
            if cause := self._pool.cause_of_failures():
                error.explain(cause)
            raise
        attempt.succeeded()
        return result
