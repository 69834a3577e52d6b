"""What each route answers, once the request is valid and permitted."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import TypeAlias, cast

from aiohttp import web

from refresherd.adapters.api.connection import Connection
from refresherd.adapters.api.parameters import TokenQuery
from refresherd.adapters.api.rendering import (
    STATUS_HEADERS,
    TOKEN_HEADERS,
    WATCH_HEADERS,
    Renderings,
    status_fields,
)
from refresherd.domain.errors import NoSuchApp, RefresherdError
from refresherd.domain.model import App, Format
from refresherd.domain.readiness import AppStatus
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.ports import Clock
from refresherd.engine.supervisor import Supervisor
from refresherd.engine.token_broker import Broker
from refresherd.host.keyed_executor import KeyedExecutor

POLL_SECONDS = 0.02
MAX_POLLS = 50
"""How often to check whether the outputs have the new token; usually it takes milliseconds."""


class Denied(RefresherdError):
    """The client may not have the app's token."""


Demand: TypeAlias = Callable[[App], Awaitable[None]]
"""Raises Denied unless the client may have the app's token under its present configuration."""


class Answers:
    """Makes responses. Raises NoSuchApp and NoToken."""

    def __init__(self, apps: Supervisor, clock: Clock, executor: KeyedExecutor) -> None:
        self._apps = apps
        self._broker = Broker(apps, clock)
        self._renderings = Renderings(clock)
        self._clock = clock
        self._executor = executor

    def app(self, name: str) -> AppRunner:
        """Return a running app. Raises NoSuchApp."""
        running = self._apps.runner(name)
        if running is None:
            raise NoSuchApp(f'there is no app named "{name}"')
        return running

    async def statuses(self) -> web.Response:
        """Return the status of every app."""
        # In a thread: ten thousand statuses take a third of a second.
        return _json(await self._executor.call("api statuses", self._all_statuses))

    def status(self, running: AppRunner) -> web.Response:
        """Return the status of an app."""
        return _json(json.dumps(status_fields(running.app, running.status(), self._clock)))

    async def token(self, name: str, query: TokenQuery, demand: Demand) -> web.Response:
        """Return a token."""
        access = self.app(name).app.access
        token = await self._broker.token(name, query.min_ttl, query.wait)
        running = self.app(name)
        if query.wait or running.app.access is not access:
            # A reload may have changed the access meanwhile, and checking it takes time as well.
            await demand(running.app)
            token = await self._broker.token(name, query.min_ttl)
        content = self._renderings.of(running.app, token, query.form)
        return web.Response(body=content, headers=TOKEN_HEADERS[query.form])

    async def refresh(self, running: AppRunner, wait: float, *, operator: bool) -> web.Response:
        """Refresh an app, and return its status once its outputs have the token as well."""
        name = running.app.name
        await self._broker.refresh(name, wait, operator=operator)
        for _ in range(MAX_POLLS):
            running = self.app(name)
            if _delivered(running.status()):
                break
            await asyncio.sleep(POLL_SECONDS)
        return self.status(running)

    async def watch(
        self, name: str, request: web.BaseRequest, demand: Demand, begun: Callable[[], None]
    ) -> web.StreamResponse:
        """Send each token as it is issued, while the client stays and may have it.

        Calls `begun` once the response has begun.
        """
        response = web.StreamResponse(headers=WATCH_HEADERS)
        with suppress(ConnectionError, Denied, NoSuchApp):
            cast(Connection, request.protocol).start_watch()
            await response.prepare(request)
            begun()
            async with aclosing(self._broker.watch(name)) as tokens:
                async for token in tokens:
                    running = self.app(name)
                    await demand(running.app)
                    await response.write(self._renderings.of(running.app, token, Format.JSON))
                    # aiohttp would buffer 64 KiB before it waits for the client to read.
                    await request.writer.drain()
        return response

    def _all_statuses(self) -> str:
        running = ((self._apps.runner(status.name), status) for status in self._apps.statuses())
        # An app may be removed meanwhile.
        fields = [status_fields(one.app, status, self._clock) for one, status in running if one]
        return json.dumps({"apps": fields})


def _delivered(status: AppStatus) -> bool:
    """Return whether no output will hold the token soon: a failing one may do so for long."""
    token = status.session.token
    return all(output.holds == token or output.error for output in status.outputs)


def _json(text: str) -> web.Response:
    return web.Response(body=text.encode() + b"\n", headers=STATUS_HEADERS)
