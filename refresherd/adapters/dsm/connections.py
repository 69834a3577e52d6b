"""The connections of all apps: shared where they may be."""

from types import TracebackType
from typing import Self

from yarl import URL

from refresherd.adapters.dsm.client import Client
from refresherd.adapters.dsm.link import Link, Route
from refresherd.adapters.dsm.operations import Operation
from refresherd.adapters.dsm.resolver import Resolver
from refresherd.adapters.dsm.trust import Context, Trust
from refresherd.domain.model import App, Certificate, TokenFile
from refresherd.engine.ports import Clock, SessionClient
from refresherd.host.keyed_executor import KeyedExecutor


class Connections:
    """Hands each app its client. Opens nothing before it is needed; close it at the end."""

    def __init__(self, executor: KeyedExecutor, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        self._resolver = Resolver(executor)
        self._contexts: dict[Trust, Context] = {}
        self._links: dict[Route, Link] = {}
        self._clients: dict[tuple[Route, Operation], Client] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def client(self, app: App) -> SessionClient:
        """Return the client of an app: apps of one route and kind of credential share theirs."""
        route = _route(app)
        by_token = isinstance(app.credential, TokenFile)
        login = Operation.LOGIN_BY_TOKEN if by_token else Operation.LOGIN
        if (route, login) not in self._clients:
            link = self._link(route)
            self._clients[route, login] = Client(route.endpoint, login, link, self._clock)
        return self._clients[route, login]

    async def aclose(self) -> None:
        """Close all connections. Requests still under way fail."""
        for link in self._links.values():
            await link.aclose()

    def _link(self, route: Route) -> Link:
        if route not in self._links:
            context = self._context(route.trust) if route.endpoint.scheme == "https" else None
            self._links[route] = Link(route, context, self._resolver, self._clock)
        return self._links[route]

    def _context(self, trust: Trust) -> Context:
        if trust not in self._contexts:
            self._contexts[trust] = Context(trust, self._executor, self._clock)
        return self._contexts[trust]


def _route(app: App) -> Route:
    endpoint = app.endpoint
    trust = Trust(endpoint.ca_file)
    if isinstance(app.credential, Certificate):
        trust = Trust(endpoint.ca_file, app.credential.cert_file, app.credential.key_file)
    return Route(URL(endpoint.url), endpoint.proxy, endpoint.max_in_flight, trust)
