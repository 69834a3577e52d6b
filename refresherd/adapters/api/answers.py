"""What each route answers, once it is certain who asks and for what."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import TypeAlias, cast

from aiohttp import web

from refresherd.adapters.api.connection import Connection
from refresherd.adapters.api.parameters import TokenQuery
from refresherd.adapters.api.permission import Denied
from refresherd.adapters.api.rendering import OF_A_STATUS, OF_A_TOKEN, OF_A_WATCH, Renderings
from refresherd.adapters.api.statuses import Moment, status_fields
from refresherd.domain.errors import NoSuchApp
from refresherd.domain.model import App, Format, Instant
from refresherd.domain.readiness import AppStatus
from refresherd.engine.ports import Apps, Clock, Kept
from refresherd.engine.token_broker import Broker
from refresherd.host.keyed_executor import KeyedExecutor

LOOK_SECONDS = 0.02
LOOKS = 50
"""How often to look whether a file has the new token: usually it takes milliseconds."""

Demand: TypeAlias = Callable[[App], Awaitable[None]]
"""Raises Denied unless who asks may have the app's token, as the app is configured now."""


class Answers:
    """Makes responses. Raises NoSuchApp and NoToken."""

    def __init__(self, apps: Apps, clock: Clock, executor: KeyedExecutor) -> None:
        self._apps = apps
        self._broker = Broker(apps, clock)
        self._renderings = Renderings(clock)
        self._clock = clock
        self._executor = executor

    async def statuses(self) -> web.Response:
        """Return the status of every app."""
        # Ten thousand of them take a third of a second.
        return _json(await self._executor.call("api statuses", self._all))

    def status(self, kept: Kept) -> web.Response:
        """Return the status of an app."""
        return _json(json.dumps(status_fields(kept.app, kept.status(), self._moment())))

    async def token(self, name: str, query: TokenQuery, demand: Demand) -> web.Response:
        """Return a token."""
        access = self._kept(name).app.access
        token = await self._broker.token(name, query.min_ttl, query.wait)
        kept = self._kept(name)
        if query.wait or kept.app.access is not access:
            # The app may have been configured anew meanwhile, and permission takes its time too.
            await demand(kept.app)
            token = await self._broker.token(name, query.min_ttl)
        content = self._renderings.of(kept.app, token, query.form)
        return web.Response(body=content, headers=OF_A_TOKEN[query.form])

    async def refresh(self, kept: Kept, wait: float, *, operator: bool) -> web.Response:
        """Refresh an app, and return its status when its outputs have the token too."""
        name = kept.app.name
        await self._broker.refresh(name, wait, operator=operator)
        for _ in range(LOOKS):
            kept = self._kept(name)
            if _delivered(kept.status()):
                break
            await asyncio.sleep(LOOK_SECONDS)
        return self.status(kept)

    async def watch(
        self, name: str, request: web.BaseRequest, demand: Demand, begun: Callable[[], None]
    ) -> web.StreamResponse:
        """Send each token of an app as it comes, for as long as the client stays and may have it.

        `begun` is told when the client has its first bytes.
        """
        response = web.StreamResponse(headers=OF_A_WATCH)
        with suppress(ConnectionError, Denied, NoSuchApp):
            cast(Connection, request.protocol).expect_slowness()
            await response.prepare(request)
            begun()
            async with aclosing(self._broker.watch(name)) as tokens:
                async for token in tokens:
                    kept = self._kept(name)
                    await demand(kept.app)
                    await response.write(self._renderings.of(kept.app, token, Format.JSON))
                    # Otherwise aiohttp goes on for 64 KiB without asking whether anybody reads.
                    await request.writer.drain()
        return response

    def _kept(self, name: str) -> Kept:
        kept = self._apps.kept(name)
        if kept is None:
            raise NoSuchApp(f'there is no app named "{name}" any more')
        return kept

    def _all(self) -> str:
        moment = self._moment()
        kept = ((self._apps.kept(status.name), status) for status in self._apps.statuses())
        # An app may go while the others are told of.
        apps = [status_fields(one.app, status, moment) for one, status in kept if one is not None]
        return json.dumps({"apps": apps})

    def _moment(self) -> Moment:
        now = self._clock.now()
        return Moment(now, self._clock.wall(Instant(now)) - now)


def _delivered(status: AppStatus) -> bool:
    """Return whether there is nothing to wait for: an output that fails may do so for long."""
    token = status.session.token
    return all(output.holds == token or output.error for output in status.outputs)


def _json(text: str) -> web.Response:
    return web.Response(body=text.encode() + b"\n", headers=OF_A_STATUS)
