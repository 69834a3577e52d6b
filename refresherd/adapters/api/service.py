"""Answers requests, once there is such a route and app, and who asks may have its token."""

from functools import partial
from http import HTTPStatus
from typing import cast

from aiohttp import web

from refresherd.adapters.api.answers import Answers
from refresherd.adapters.api.connection import Connection
from refresherd.adapters.api.parameters import BadParameter, no_query, refresh_query, token_query
from refresherd.adapters.api.permission import Denied, Permission
from refresherd.adapters.api.problems import problem
from refresherd.adapters.api.routes import METHODS, match
from refresherd.domain.errors import NoSuchApp, NoToken
from refresherd.domain.events import ApiAnswered, ApiRoute
from refresherd.domain.model import Instant
from refresherd.engine.ports import Apps, Clock, Kept, Observer
from refresherd.host.keyed_executor import KeyedExecutor


class Service:
    """aiohttp's handler for the API socket.

    Whoever may connect is told of every app, by name and status; a token and a refresh are
    for whom the app's `access` names.
    """

    def __init__(
        self, apps: Apps, answers: Answers, permission: Permission, clock: Clock, observer: Observer
    ) -> None:
        self._apps = apps
        self._answers = answers
        self._permission = permission
        self._clock = clock
        self._observer = observer

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
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
            self._tell(route, response.status, began)
        return response

    async def _answer(
        self, route: ApiRoute, name: str, request: web.BaseRequest, began: Instant
    ) -> web.StreamResponse:
        if route is ApiRoute.UNKNOWN:
            return problem(404, "there is nothing at this path; the apps are at /v1/apps")
        method = METHODS[route]
        if request.method != method:
            return problem(405, f"this takes {method} only", {"Allow": method})
        if route is ApiRoute.APPS:
            no_query(request.query.items())
            return await self._answers.statuses()
        kept = self._apps.kept(name)
        if kept is None:
            raise NoSuchApp(f'there is no app named "{name}"')
        if route is ApiRoute.APP:
            no_query(request.query.items())
            return self._answers.status(kept)
        return await self._answer_permitted(route, kept, request, began)

    async def _answer_permitted(
        self, route: ApiRoute, kept: Kept, request: web.BaseRequest, began: Instant
    ) -> web.StreamResponse:
        connection = cast(Connection, request.protocol)
        demand = partial(self._permission.demand, connection)
        await demand(kept.app)
        if route is ApiRoute.REFRESH:
            wait = refresh_query(request.query.items())
            operator = self._permission.operator(connection)
            return await self._answers.refresh(kept, wait, operator=operator)
        query = token_query(request.query.items())
        if query.watch:
            begun = partial(self._tell, route, HTTPStatus.OK, began)
            return await self._answers.watch(kept.app.name, request, demand, begun)
        return await self._answers.token(kept.app.name, query, demand)

    def _tell(self, route: ApiRoute, code: int, began: Instant) -> None:
        self._observer.observe(ApiAnswered(route, code, self._clock.now() - began))


def service(
    apps: Apps, clock: Clock, observer: Observer, executor: KeyedExecutor, socket_name: str
) -> Service:
    """Return the service of these apps' tokens."""
    answers, permission = (
        Answers(apps, clock, executor),
        Permission(executor, observer, socket_name),
    )
    return Service(apps, answers, permission, clock, observer)
