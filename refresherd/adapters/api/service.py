"""Routes requests, and checks that the client may have what it asks for."""

import os
from functools import partial
from http import HTTPStatus
from typing import cast

from aiohttp import web

from refresherd.adapters.api.answers import Answers, Denied
from refresherd.adapters.api.connection import Connection
from refresherd.adapters.api.parameters import BadParameter, no_query, refresh_query, token_query
from refresherd.adapters.api.rendering import problem
from refresherd.domain.access import is_operator, may_read
from refresherd.domain.errors import NoSuchApp, NoToken
from refresherd.domain.events import AccessDenied, ApiAnswered, ApiRoute
from refresherd.domain.model import App, Instant
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.ports import Clock, Observer
from refresherd.engine.supervisor import Supervisor
from refresherd.host.accounts import Accounts
from refresherd.host.keyed_executor import KeyedExecutor

METHODS = {
    ApiRoute.APPS: "GET",
    ApiRoute.APP: "GET",
    ApiRoute.TOKEN: "GET",
    ApiRoute.REFRESH: "POST",
}

ROOT = "/v1/apps"

APP_ROUTES = {"": ApiRoute.APP, "token": ApiRoute.TOKEN, "refresh": ApiRoute.REFRESH}
"""By what follows the app's name in the path."""


def match(path: str) -> tuple[ApiRoute, str]:
    """Return the route of a decoded path and the name of the app in it, "" if there is none."""
    if path == ROOT:
        return ApiRoute.APPS, ""
    if not path.startswith(f"{ROOT}/"):
        return ApiRoute.UNKNOWN, ""
    app, slash, rest = path[len(ROOT) + 1 :].partition("/")
    # A trailing slash makes another path, which is not a route.
    if not app or (slash and not rest):
        return ApiRoute.UNKNOWN, ""
    return APP_ROUTES.get(rest, ApiRoute.UNKNOWN), app


class Permission:
    """Decides by an app's `access` who may have its token.

    `socket` is the socket's name in the log.
    """

    def __init__(self, executor: KeyedExecutor, observer: Observer, socket: str) -> None:
        self._accounts = Accounts(executor)
        self._observer = observer
        self._socket = socket
        self._own_uid = os.geteuid()

    def operator(self, connection: Connection) -> bool:
        """Return whether the client is root or the daemon's own user."""
        return is_operator(connection.peer, self._own_uid)

    async def demand(self, connection: Connection, app: App) -> None:
        """Raise Denied unless the client may have the app's token.

        A permission holds for the connection until the app's `access` changes. A denial does not:
        a user that `access` names may be created later.
        """
        if connection.granted.get(app.name) is app.access:
            return
        peer = connection.peer
        if self.operator(connection) or may_read(
            peer, await self._accounts.permitted(app.access), self._own_uid
        ):
            connection.granted[app.name] = app.access
            return
        self._observer.observe(
            AccessDenied(app.name, self._socket, peer.uid, peer.gid, peer.pid, peer.unit)
        )
        raise Denied(f'the token of "{app.name}" is not for you')


class Service:
    """aiohttp's handler for the API socket.

    Every client that can connect sees the names and statuses of all apps; `access` decides who may
    have a token or request a refresh. `socket_name` is the socket's name in the log.
    """

    def __init__(
        self,
        apps: Supervisor,
        clock: Clock,
        observer: Observer,
        executor: KeyedExecutor,
        socket_name: str,
    ) -> None:
        self._answers = Answers(apps, clock, executor)
        self._permission = Permission(executor, observer, socket_name)
        self._clock = clock
        self._observer = observer

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, and report the answer to the observer."""
        began = self._clock.now()
        route, name = match(request.path)
        response: web.StreamResponse
        try:
            response = await self._answer(route, name, request, began)
        except BadParameter as error:
            response = problem(400, str(error), parameter=error.parameter)
        except Denied as error:
            response = problem(403, str(error))
        except NoSuchApp as error:
            response = problem(404, str(error))
        except NoToken as error:
            response = problem(503, str(error), {"Retry-After": str(error.retry_after)})
        if not response.prepared:
            self._report(route, response.status, began)
        return response

    async def _answer(
        self, route: ApiRoute, name: str, request: web.BaseRequest, began: Instant
    ) -> web.StreamResponse:
        if route is ApiRoute.UNKNOWN:
            return problem(404, "there is nothing at this path; the apps are at /v1/apps")
        method = METHODS[route]
        if request.method != method:
            return problem(405, f"this path takes {method} only", {"Allow": method})
        if route is ApiRoute.APPS:
            no_query(request.query.items())
            return await self._answers.statuses()
        running = self._answers.app(name)
        if route is ApiRoute.APP:
            no_query(request.query.items())
            return self._answers.status(running)
        return await self._answer_permitted(route, running, request, began)

    async def _answer_permitted(
        self, route: ApiRoute, running: AppRunner, request: web.BaseRequest, began: Instant
    ) -> web.StreamResponse:
        connection = cast(Connection, request.protocol)
        demand = partial(self._permission.demand, connection)
        await demand(running.app)
        if route is ApiRoute.REFRESH:
            wait = refresh_query(request.query.items())
            operator = self._permission.operator(connection)
            return await self._answers.refresh(running, wait, operator=operator)
        query = token_query(request.query.items())
        if query.watch:
            begun = partial(self._report, route, HTTPStatus.OK, began)
            return await self._answers.watch(running.app.name, request, demand, begun)
        return await self._answers.token(running.app.name, query, demand)

    def _report(self, route: ApiRoute, code: int, began: Instant) -> None:
        self._observer.observe(ApiAnswered(route, code, self._clock.now() - began))
