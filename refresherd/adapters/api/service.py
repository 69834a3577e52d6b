"""Answers requests, once it has checked that the client may have what it asks for."""

import asyncio
import json
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import cast

from aiohttp import web

from refresherd.adapters.api import rendering, requests
from refresherd.adapters.api.connections import Connection
from refresherd.adapters.api.rendering import Renderings, problem, status_fields
from refresherd.adapters.api.requests import BadParameter, TokenQuery
from refresherd.domain.errors import Denied, NoSuchApp, NoToken, Undecided
from refresherd.domain.events import ApiAnswered
from refresherd.domain.labels import ApiRoute
from refresherd.domain.model import App, Format, Instant
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.context import Context
from refresherd.engine.supervisor import Supervisor
from refresherd.engine.token_broker import Broker
from refresherd.host.authorization import Authorizer
from refresherd.host.keyed_executor import KeyedExecutor

POLL_SECONDS = 0.02
MAX_POLLS = 50
"""How often to check whether the outputs have the new token; usually it takes milliseconds."""


class Service:
    """aiohttp's handler for the API socket.

    Every client that can connect sees the names and statuses of all apps; `access` decides who may
    have a token or request a refresh.
    """

    def __init__(
        self,
        apps: Supervisor,
        context: Context,
        executor: KeyedExecutor,
        authorizer: Authorizer,
    ) -> None:
        self._apps = apps
        self._clock = context.clock
        self._observer = context.observer
        self._executor = executor
        self._authorizer = authorizer
        self._broker = Broker(apps, context.clock)
        self._renderings = Renderings(context.clock)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, and report the answer to the observer."""
        began = self._clock.now()
        route, name = requests.match(request.path)
        response: web.StreamResponse
        try:
            if route is ApiRoute.UNKNOWN:
                response = problem(404, "there is nothing at this path; the apps are at /v1/apps")
            elif request.method != (method := requests.METHODS[route]):
                response = problem(405, f"this path takes {method} only", {"Allow": method})
            else:
                response = await self._answer(route, name, request, began)
        except BadParameter as error:
            response = problem(400, str(error), parameter=error.parameter)
        except Denied as error:
            members = {"reason": error.reason} if error.reason else {}
            response = problem(403, str(error), None, **members)
        except NoSuchApp as error:
            response = problem(404, str(error))
        except (NoToken, Undecided) as error:
            response = problem(503, str(error), {"Retry-After": str(error.retry_after)})
        if not response.prepared:
            self._report(route, response.status, began)
        return response

    async def _answer(
        self, route: ApiRoute, name: str, request: web.BaseRequest, began: Instant
    ) -> web.StreamResponse:
        if route is ApiRoute.APPS:
            requests.no_query(request.query.items())
            # In a thread: ten thousand statuses take a third of a second.
            return _json(await self._executor.call("api statuses", self._all_statuses))
        running = self._broker.runner(name)
        if route is ApiRoute.APP:
            requests.no_query(request.query.items())
            return self._status(running)
        connection = cast(Connection, request.protocol)
        await self._authorizer.demand(connection.client, running.app)
        if route is ApiRoute.REFRESH:
            wait = requests.refresh_query(request.query.items())
            return await self._refresh(running, wait, connection)
        query = requests.token_query(request.query.items())
        if query.watch:
            return await self._watch(name, request, connection, began)
        return await self._token(running.app, query, connection)

    async def _token(self, app: App, query: TokenQuery, connection: Connection) -> web.Response:
        token = await self._broker.token(app.name, query.min_ttl, query.wait)
        running = self._broker.runner(app.name)
        if query.wait or running.app.access is not app.access:
            # A reload may have changed the access meanwhile, and checking it takes time as well.
            await self._authorizer.demand(connection.client, running.app)
            token = await self._broker.token(app.name, query.min_ttl)
        content = self._renderings.of(running.app, token, query.form)
        return web.Response(body=content, headers=rendering.TOKEN_HEADERS[query.form])

    async def _refresh(
        self, running: AppRunner, wait: float, connection: Connection
    ) -> web.Response:
        """Refresh an app, and return its status once its outputs have the token as well."""
        name = running.app.name
        operator = self._authorizer.is_operator(connection.client.peer)
        await self._broker.refresh(name, wait, operator=operator)
        for _ in range(MAX_POLLS):
            running = self._broker.runner(name)
            status = running.status()
            token = status.session.token
            # A failing output is not waited for: it may fail for a long time.
            if all(output.holds == token or output.error for output in status.outputs):
                break
            await asyncio.sleep(POLL_SECONDS)
        return self._status(running)

    async def _watch(
        self, name: str, request: web.BaseRequest, connection: Connection, began: Instant
    ) -> web.StreamResponse:
        """Send each token as it is issued, while the client stays and may have it."""
        response = web.StreamResponse(headers=rendering.WATCH_HEADERS)
        with suppress(ConnectionError, Denied, Undecided, NoSuchApp):
            connection.start_watch()
            await response.prepare(request)
            self._report(ApiRoute.TOKEN, HTTPStatus.OK, began)
            async with aclosing(self._broker.watch(name)) as tokens:
                async for token in tokens:
                    running = self._broker.runner(name)
                    await self._authorizer.demand(connection.client, running.app)
                    await response.write(self._renderings.of(running.app, token, Format.JSON))
                    # aiohttp would buffer 64 KiB before it waits for the client to read.
                    await request.writer.drain()
        return response

    def _status(self, running: AppRunner) -> web.Response:
        now, offset = self._now_and_offset()
        return _json(json.dumps(status_fields(running.app, running.status(), now, offset)))

    def _all_statuses(self) -> str:
        running = ((self._apps.runner(status.name), status) for status in self._apps.statuses())
        # An app may be removed meanwhile.
        now, offset = self._now_and_offset()
        fields = [status_fields(one.app, status, now, offset) for one, status in running if one]
        return json.dumps({"apps": fields})

    def _now_and_offset(self) -> tuple[Instant, float]:
        """Return the instant, and what turns an instant into unix seconds."""
        now = self._clock.now()
        return now, self._clock.wall(now) - now

    def _report(self, route: ApiRoute, code: int, began: Instant) -> None:
        self._observer.observe(ApiAnswered(route, code, self._clock.now() - began))


def _json(text: str) -> web.Response:
    return web.Response(body=text.encode() + b"\n", headers=rendering.STATUS_HEADERS)
