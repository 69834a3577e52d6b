"""Answers requests, once it has checked that the client may have what it asks for."""

import asyncio
import json
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any

from refresherd.adapters.api import rendering, requests
from refresherd.adapters.api.rendering import Renderings
from refresherd.adapters.api.requests import BadParameter, ParsedRequest, TokenQuery
from refresherd.domain import report
from refresherd.domain.errors import Denied, NoSuchApp, NoToken, TooSoon, Undecided
from refresherd.domain.events import ApiAnswered
from refresherd.domain.labels import ApiRoute
from refresherd.domain.model import App, Format, Instant, Token
from refresherd.engine import token_broker
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.context import Context
from refresherd.engine.supervisor import Supervisor
from refresherd.engine.token_broker import Broker
from refresherd.host.authorization import Authorizer, Client
from refresherd.host.http.answers import Answer, head, problem
from refresherd.host.http.connection import HttpConnection
from refresherd.host.http.long_answers import LongAnswer
from refresherd.host.http.requests import Request
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.shared_rendering import CompressedText, SharedRendering

POLL_SECONDS = 0.02
MAX_POLLS = 50
"""How often to check whether the outputs have the new token; usually it takes milliseconds."""


class Service:
    """Answers the requests on the API socket.

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
        self._consumers = context.consumers
        self._observer = context.observer
        self._statuses = SharedRendering(
            "api statuses", self._all_statuses, executor, context.clock
        )
        """In a thread: ten thousand statuses take a third of a second."""
        self._authorizer = authorizer
        self._broker = Broker(apps, context.clock)
        self._renderings = Renderings(context.clock)

    def handle(
        self, connection: HttpConnection[Client], request: Request
    ) -> Answer | Coroutine[Any, Any, Answer | None]:
        """Answer a request, at once if nothing has to be waited for, and report the answer."""
        began = self._clock.now()
        parsed = requests.parse(request.path, request.query)
        if parsed.route is ApiRoute.TOKEN and request.method in requests.READ:
            # The most frequent by far.
            answer = self._token_now(connection.client, parsed, began)
            if answer is not None:
                self._report(parsed.route, answer.status, began)
                return answer
        answer = self._misguided(parsed, request.method)
        if answer is not None:
            self._report(parsed.route, answer.status, began)
            return answer
        return self._answer(connection, request, parsed, began)

    def _token_now(self, client: Client, parsed: ParsedRequest, now: Instant) -> Answer | None:
        """Return a token that the client may have without waiting, None if there is none."""
        runner = self._apps.runner(parsed.app)
        if runner is None or parsed.fault is not None or parsed.query.watch:
            return None
        app = runner.app
        if not self._authorizer.granted(client, app):
            return None
        token = token_broker.lasting_token(runner, parsed.query.min_ttl, now)
        if token is None:
            return None
        return self._rendered(app, token, parsed.query.form, client, now)

    def _misguided(self, parsed: ParsedRequest, method: str) -> Answer | None:
        """Return the answer to an unknown path or a wrong method, None if neither is the case."""
        if parsed.route is ApiRoute.UNKNOWN:
            return problem(404, "there is nothing at this path; the apps are at /v1/apps")
        allowed = requests.METHODS[parsed.route]
        if method in allowed:
            return None
        names = " and ".join(allowed)
        return problem(405, f"this path takes {names} only", {"Allow": ", ".join(allowed)})

    async def _answer(
        self,
        connection: HttpConnection[Client],
        request: Request,
        parsed: ParsedRequest,
        began: Instant,
    ) -> Answer | None:
        try:
            answer = await self._answer_route(connection, request, parsed, began)
        except BadParameter as error:
            answer = problem(400, str(error), members={"parameter": error.parameter})
        except Denied as error:
            members = {"reason": error.reason} if error.reason else {}
            answer = problem(403, str(error), members=members)
        except NoSuchApp as error:
            answer = problem(404, str(error))
        except TooSoon as error:
            answer = problem(429, str(error), {"Retry-After": str(error.retry_after)})
        except (NoToken, Undecided) as error:
            answer = problem(503, str(error), {"Retry-After": str(error.retry_after)})
        if answer is not None:
            self._report(parsed.route, answer.status, began)
        return answer

    async def _answer_route(
        self,
        connection: HttpConnection[Client],
        request: Request,
        parsed: ParsedRequest,
        began: Instant,
    ) -> Answer | None:
        query, client = parsed.query, connection.client
        if parsed.route is ApiRoute.APPS:
            self._check(parsed)
            return LongAnswer(request, HTTPStatus.OK, await self._statuses.get(), rendering.JSON)
        running = self._broker.runner(parsed.app)
        if parsed.route is ApiRoute.APP:
            self._check(parsed)
            return self._status(running)
        await self._authorizer.demand(client, running.app)
        self._check(parsed)
        if parsed.route is ApiRoute.REFRESH:
            return await self._refresh(running, query.wait, client)
        if query.watch:
            return await self._watch(connection, request, parsed.app, began)
        return await self._token(running.app, query, client)

    @staticmethod
    def _check(parsed: ParsedRequest) -> None:
        """Raise BadParameter for a wrong query."""
        if parsed.fault is not None:
            raise BadParameter(*parsed.fault)

    async def _token(self, app: App, query: TokenQuery, client: Client) -> Answer:
        operator = self._authorizer.is_operator(client.peer)
        token = await self._broker.token(app.name, query.min_ttl, query.wait, operator=operator)
        running = self._broker.runner(app.name)
        if query.wait or running.app.access is not app.access:
            # A reload may have changed the access meanwhile, and checking it takes time as well.
            await self._authorizer.demand(client, running.app)
            token = await self._broker.token(app.name, query.min_ttl, operator=operator)
        return self._rendered(running.app, token, query.form, client, self._clock.now())

    async def _refresh(self, running: AppRunner, wait: float, client: Client) -> Answer:
        """Refresh an app, and return its status once its outputs have the token as well."""
        name = running.app.name
        operator = self._authorizer.is_operator(client.peer)
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
        self, connection: HttpConnection[Client], request: Request, name: str, began: Instant
    ) -> Answer | None:
        """Send each token as it is issued, while the client stays and may have it."""
        self._report(ApiRoute.TOKEN, HTTPStatus.OK, began)
        start = head(HTTPStatus.OK, {"Content-Type": rendering.WATCH})
        with suppress(ConnectionError, Denied, Undecided, NoSuchApp):
            connection.stream.buffer_little()
            await connection.begin(start, request)
            if request.method == "HEAD":
                return None
            async with aclosing(self._broker.watch(name)) as tokens:
                async for token in tokens:
                    running = self._broker.runner(name)
                    await self._authorizer.demand(connection.client, running.app)
                    now, client = self._clock.now(), connection.client
                    line = self._rendered(running.app, token, Format.JSON, client, now)
                    await connection.send(line.body, request)
        return None

    def _rendered(
        self, app: App, token: Token, form: Format, client: Client, now: Instant
    ) -> Answer:
        """Return a token as an answer, and record who gets it."""
        self._consumers.record(app.name, client.peer.uid, client.peer.unit or "", now)
        return self._renderings.of(app, token, form, now)

    def _status(self, running: AppRunner) -> Answer:
        now, offset = self._now_and_offset()
        return _json(json.dumps(report.fields(running.report(), now, offset)))

    def _all_statuses(self) -> CompressedText:
        now, offset = self._now_and_offset()
        fields = [report.fields(one, now, offset) for one in self._apps.reports()]
        return CompressedText((json.dumps({"apps": fields}).encode() + b"\n",))

    def _now_and_offset(self) -> tuple[Instant, float]:
        """Return the time as an instant, and the offset that turns instants into unix seconds."""
        now = self._clock.now()
        return now, self._clock.wall(now) - now

    def _report(self, route: ApiRoute, code: int, began: Instant) -> None:
        self._observer.observe(ApiAnswered(route, code, self._clock.now() - began))


def _json(text: str) -> Answer:
    return Answer(HTTPStatus.OK, text.encode() + b"\n", rendering.JSON)
