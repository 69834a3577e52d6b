"""The control API: JSON over HTTP below /control, for programs that steer the emulator."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from refresherd.emulator.dsm import JSON, Dsm
from refresherd.emulator.faults import Fault, Faults
from refresherd.emulator.server import RequestLog
from refresherd.emulator.state import App

if TYPE_CHECKING:
    from refresherd.emulator.tls import Authority


@dataclass(frozen=True, slots=True)
class Control:
    """Handles /control; each method takes the fields of a request and returns a JSON value."""

    dsm: Dsm
    faults: Faults
    log: RequestLog
    authority: Authority | None
    """Issues client certificates; None on plain HTTP."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Route the paths below /control here."""
        for method, path, handle in (
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
            router.add_route(method, path, _handler(handle))

    def list_apps(self, _fields: dict[str, Any]) -> object:
        """Return each app's id, name and API key, and the CA's file."""
        ca_file = self.authority.ca_file if self.authority else None
        return {"ca_file": ca_file, "apps": [_app(app) for app in self.dsm.apps]}

    def add_app(self, fields: dict[str, Any]) -> object:
        """Add an app; for a certificate app, return the files of its certificate and key too."""
        if fields.get("certificate") and self.authority is None:
            raise ValueError("certificate apps need TLS")
        app = self.dsm.apps.add(**fields)
        if app.secret is None and self.authority:
            return _app(app) | asdict(self.authority.issue_client(app.id))
        return _app(app)

    def reset_secret(self, fields: dict[str, Any]) -> object:
        """Reset an app's secret and return its new API key."""
        app = self.dsm.apps.find(fields["app"])
        self.dsm.apps.reset_secret(app)
        return _app(app)

    def end_sessions(self, fields: dict[str, Any]) -> object:
        """End the session of a token, the sessions of an app, or all; return how many ended."""
        if "token" in fields:
            return {"ended": int(self.dsm.sessions.end(fields["token"]))}
        app = self.dsm.apps.find(fields["app"]) if "app" in fields else None
        return {"ended": self.dsm.sessions.end_all(app)}

    def list_faults(self, _fields: dict[str, Any]) -> object:
        """Return the active faults."""
        return [{"id": number, **asdict(fault)} for number, fault in self.faults]

    def add_fault(self, fields: dict[str, Any]) -> object:
        """Activate a fault with these fields."""
        fault = Fault(**fields)
        if fault.app != "*":
            self.dsm.apps.find(fault.app)
        return {"id": self.faults.add(fault)}

    def remove_faults(self, fields: dict[str, Any]) -> object:
        """Remove the fault with this `id`, or all of them."""
        if "id" in fields:
            self.faults.remove(int(fields["id"]))
        else:
            self.faults.clear()
        return {"left": len(self.faults)}

    def statistics(self, _fields: dict[str, Any]) -> object:
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
        return {"time": now, "apps": apps}

    def list_requests(self, fields: dict[str, Any]) -> object:
        """Return the request log, filtered by `operation`, `app` and `since`, in seconds."""
        app = fields.get("app", "*")
        selected = self.log.select(
            operation=fields.get("operation", "*"),
            app=app if app == "*" else self.dsm.apps.find(app).id,
            since=float(fields.get("since", 0)),
        )
        return [asdict(entry) for entry in selected]

    def clear_requests(self, _fields: dict[str, Any]) -> object:
        """Forget the request log."""
        self.log.clear()
        return {}


def _app(app: App) -> dict[str, Any]:
    return {
        "id": app.id,
        "name": app.name,
        "api_key": app.api_key,
        "certificate": app.secret is None,
        "lifetime": app.lifetime,
    }


async def _fields(request: web.Request) -> dict[str, Any]:
    if request.method != "POST":
        return dict(request.query)
    fields = json.loads(await request.text() or "{}")
    if not isinstance(fields, dict):
        raise TypeError("the body must be a JSON object")
    return fields


def _handler(
    handle: Callable[[dict[str, Any]], object],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler of HTTP requests; it answers 400, with the reason, to invalid ones."""

    async def handler(request: web.Request) -> web.Response:
        try:
            # Paths, and the bytes that are the body of a fault added in Python, become strings.
            text = json.dumps(handle(await _fields(request)), default=str)
        except (KeyError, TypeError, ValueError) as error:
            return web.Response(status=400, text=f"{type(error).__name__}: {error}\n")
        return web.Response(text=text, content_type=JSON)

    return handler
