"""The control API: JSON over HTTP below /control, for programs that steer the emulator."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from refresherd.emulator.apps import App
from refresherd.emulator.dsm import JSON, Dsm
from refresherd.emulator.faults import Fault, Faults
from refresherd.emulator.server import RequestLog

if TYPE_CHECKING:
    from refresherd.emulator.tls import Authority

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Control:
    """Handles /control; a request that it cannot understand gets 400 and the reason as text."""

    dsm: Dsm
    faults: Faults
    log: RequestLog
    authority: Authority | None
    """Issues client certificates; None on plain HTTP."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Route the paths below /control here."""
        for method, path, handler in (
            ("GET", "/control/apps", self.list_apps),
            ("POST", "/control/apps", self.add_app),
            ("POST", "/control/apps/reset-secret", self.reset_secret),
            ("POST", "/control/sessions/end", self.end_sessions),
            ("GET", "/control/faults", self.list_faults),
            ("POST", "/control/faults", self.add_fault),
            ("DELETE", "/control/faults", self.remove_faults),
            ("GET", "/control/statistics", self.statistics),
            ("GET", "/control/requests", self.list_requests),
            ("DELETE", "/control/requests", self.clear_requests),
        ):
            router.add_route(method, path, _explaining_errors(handler))

    async def list_apps(self, _request: web.Request) -> web.Response:
        """Return each app's id, name and API key, and the CA's file."""
        ca_file = str(self.authority.ca_file) if self.authority else None
        return web.json_response({"ca_file": ca_file, "apps": [_app(a) for a in self.dsm.apps]})

    async def add_app(self, request: web.Request) -> web.Response:
        """Add an app; for a certificate app, return the files of its certificate and key too."""
        options = await _body(request)
        if options.get("certificate") and self.authority is None:
            raise ValueError("certificate apps need TLS")
        app = self.dsm.apps.add(**options)
        answer = _app(app)
        if app.secret is None and self.authority:
            issued = self.authority.issue_client(app.id)
            answer |= {"cert_file": str(issued.cert_file), "key_file": str(issued.key_file)}
        return web.json_response(answer)

    async def reset_secret(self, request: web.Request) -> web.Response:
        """Reset an app's secret and return its new API key."""
        app = self.dsm.apps.find((await _body(request))["app"])
        self.dsm.apps.reset_secret(app)
        return web.json_response(_app(app))

    async def end_sessions(self, request: web.Request) -> web.Response:
        """End the session of a token, the sessions of an app, or all; return how many ended."""
        options = await _body(request)
        if "token" in options:
            return web.json_response({"ended": int(self.dsm.sessions.end(options["token"]))})
        app = self.dsm.apps.find(options["app"]) if "app" in options else None
        return web.json_response({"ended": self.dsm.sessions.end_all(app)})

    async def list_faults(self, _request: web.Request) -> web.Response:
        """Return the active faults."""
        faults = [{"id": number, **asdict(fault)} for number, fault in self.faults]
        # A fault added in Python may have a body of bytes.
        return web.Response(text=json.dumps(faults, default=repr), content_type=JSON)

    async def add_fault(self, request: web.Request) -> web.Response:
        """Activate a fault; the body's fields are those of `Fault`."""
        fault = Fault(**await _body(request))
        if fault.app != "*":
            self.dsm.apps.find(fault.app)
        return web.json_response({"id": self.faults.add(fault)})

    async def remove_faults(self, request: web.Request) -> web.Response:
        """Remove the fault of `?id=`, or all of them."""
        if "id" in request.query:
            self.faults.remove(int(request.query["id"]))
        else:
            self.faults.clear()
        return web.json_response({"left": len(self.faults)})

    async def statistics(self, _request: web.Request) -> web.Response:
        """Return the emulator's time and each app's counts, live sessions and tokens, in full."""
        now, apps = self.dsm.now(), []
        for app in self.dsm.apps:
            live = [session.token for session in self.dsm.sessions.live(app)]
            apps.append(
                {
                    "id": app.id,
                    "name": app.name,
                    **asdict(app.counts),
                    "failed_logins_24h": app.recent_failures(now),
                    "live_sessions": len(live),
                    "live_tokens": live,
                    "tokens": self.dsm.sessions.tokens(app),
                }
            )
        return web.json_response({"time": now, "apps": apps})

    async def list_requests(self, request: web.Request) -> web.Response:
        """Return the request log, filtered by `?operation=`, `?app=` and `?since=` seconds."""
        query = request.query
        app = query.get("app", "*")
        selected = self.log.select(
            operation=query.get("operation", "*"),
            app=app if app == "*" else self.dsm.apps.find(app).id,
            since=float(query.get("since", 0)),
        )
        return web.json_response([asdict(entry) for entry in selected])

    async def clear_requests(self, _request: web.Request) -> web.Response:
        """Forget the request log."""
        self.log.clear()
        return web.json_response({})


def _app(app: App) -> dict[str, Any]:
    return {
        "id": app.id,
        "name": app.name,
        "api_key": app.api_key,
        "certificate": app.secret is None,
        "lifetime": app.lifetime,
    }


async def _body(request: web.Request) -> dict[str, Any]:
    text = await request.text()
    value = json.loads(text) if text else {}
    if not isinstance(value, dict):
        raise TypeError("the body must be a JSON object")
    return value


def _explaining_errors(handler: Handler) -> Handler:
    async def explaining(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (KeyError, TypeError, ValueError) as error:
            return web.Response(status=400, text=f"{type(error).__name__}: {error}\n")

    return explaining
