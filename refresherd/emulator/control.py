"""The control endpoint: JSON over HTTP below /control, for tests in other processes."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from refresherd.emulator.answers import JSON
from refresherd.emulator.apps import App
from refresherd.emulator.faults import Fault
from refresherd.emulator.state import State

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_control_routes(router: web.UrlDispatcher, state: State) -> None:
    """Route /control; what can't be understood is answered 400 with the reason as plain text."""
    apps, faults, watch = AppControl(state), FaultControl(state), WatchControl(state)
    for method, path, handler in (
        ("GET", "/control/apps", apps.list),
        ("POST", "/control/apps", apps.add),
        ("POST", "/control/apps/reset-secret", apps.reset_secret),
        ("POST", "/control/sessions/end", apps.end_sessions),
        ("GET", "/control/faults", faults.list),
        ("POST", "/control/faults", faults.add),
        ("DELETE", "/control/faults", faults.remove),
        ("GET", "/control/statistics", watch.statistics),
        ("GET", "/control/requests", watch.requests),
        ("DELETE", "/control/requests", watch.clear_requests),
    ):
        router.add_route(method, path, _explaining(handler))


class AppControl:
    """Apps, their secrets and their sessions."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def list(self, _request: web.Request) -> web.Response:
        """Return each app's id, name and API key, and the CA's file."""
        authority = self._state.authority
        return web.json_response(
            {
                "ca_file": str(authority.ca_file) if authority else None,
                "apps": [_app(app) for app in self._state.apps],
            }
        )

    async def add(self, request: web.Request) -> web.Response:
        """Add an app; a certificate app's answer names the files of its certificate and key."""
        wanted = await _body(request)
        if wanted.get("certificate") and self._state.authority is None:
            raise ValueError("certificate apps need TLS")
        app = self._state.apps.add(**wanted)
        answer = _app(app)
        if app.secret is None and self._state.authority:
            issued = self._state.authority.issue_client(app.id)
            answer |= {"cert_file": str(issued.cert_file), "key_file": str(issued.key_file)}
        return web.json_response(answer)

    async def reset_secret(self, request: web.Request) -> web.Response:
        """Reset an app's secret and return its new API key."""
        app = self._state.apps.find((await _body(request))["app"])
        self._state.apps.reset_secret(app)
        return web.json_response(_app(app))

    async def end_sessions(self, request: web.Request) -> web.Response:
        """End the session of a token, the sessions of an app, or all; return how many ended."""
        wanted = await _body(request)
        if "token" in wanted:
            return web.json_response({"ended": int(self._state.sessions.end(wanted["token"]))})
        app = self._state.apps.find(wanted["app"]) if "app" in wanted else None
        return web.json_response({"ended": self._state.sessions.end_all(app)})


class FaultControl:
    """Faults, ordered and lifted."""

    def __init__(self, state: State) -> None:
        self._apps = state.apps
        self._faults = state.faults

    async def list(self, _request: web.Request) -> web.Response:
        """Return the faults in force."""
        faults = [{"id": number, **asdict(fault)} for number, fault in self._faults]
        # A fault ordered in Python may have a body of bytes.
        return web.Response(text=json.dumps(faults, default=repr), content_type=JSON)

    async def add(self, request: web.Request) -> web.Response:
        """Put a fault in force; the body's fields are those of `Fault`."""
        fault = Fault(**await _body(request))
        if fault.app != "*":
            self._apps.find(fault.app)
        return web.json_response({"id": self._faults.add(fault)})

    async def remove(self, request: web.Request) -> web.Response:
        """Lift the fault of `?id=`, or all of them."""
        if "id" in request.query:
            self._faults.remove(int(request.query["id"]))
        else:
            self._faults.clear()
        return web.json_response({"left": len(self._faults)})


class WatchControl:
    """What happened: counts, tokens and the request log."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def statistics(self, _request: web.Request) -> web.Response:
        """Return the emulator's time and each app's counts, live sessions and tokens, in full."""
        apps = [self._statistics(app) for app in self._state.apps]
        return web.json_response({"time": self._state.now(), "apps": apps})

    async def requests(self, request: web.Request) -> web.Response:
        """Return the request log, narrowed by `?operation=`, `?app=` and `?since=` seconds."""
        query = request.query
        app = query.get("app", "*")
        chosen = self._state.log.select(
            operation=query.get("operation", "*"),
            app=app if app == "*" else self._state.apps.find(app).id,
            since=float(query.get("since", 0)),
        )
        return web.json_response([asdict(entry) for entry in chosen])

    async def clear_requests(self, _request: web.Request) -> web.Response:
        """Forget the request log."""
        self._state.log.clear()
        return web.json_response({})

    def _statistics(self, app: App) -> dict[str, Any]:
        sessions = self._state.sessions
        return {
            "id": app.id,
            "name": app.name,
            **asdict(app.counts),
            "failed_logins_24h": app.recent_failures(self._state.now()),
            "live_sessions": len(sessions.live(app)),
            "live_tokens": [session.token for session in sessions.live(app)],
            "tokens": sessions.tokens(app),
        }


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
        raise TypeError("the body is a JSON object")
    return value


def _explaining(handler: Handler) -> Handler:
    """Answer a request that the handler can't understand with the reason."""

    async def explained(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (KeyError, TypeError, ValueError) as error:
            return web.Response(status=400, text=f"{type(error).__name__}: {error}\n")

    return explained
