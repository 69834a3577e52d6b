"""The control API: JSON over HTTP below /control, for programs that steer the emulator."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from refresherd.emulator import faults as fault_fields
from refresherd.emulator.apps import App
from refresherd.emulator.dsm import JSON, Dsm
from refresherd.emulator.faults import Fault, Faults
from refresherd.emulator.fields import Field, Fields, parse, parse_query
from refresherd.emulator.server import RequestLog

if TYPE_CHECKING:
    from refresherd.emulator.tls import Authority

APP: Final = Field("string", "the app's name or UUID", "app-1")
ITS_APP: Final = Field("string", "the app's name or UUID", "app-1", required=True)

NEW_APP: Final[Fields] = {
    "name": Field("string", "its name; by default app-1, app-2, …", "billing"),
    "lifetime": Field("number", "seconds that its sessions live; by default the emulator's", 2.5),
    "api_key": Field("string", "its API key, base64 of UUID:SECRET; by default random", "…"),
    "certificate": Field(
        "true or false", "whether it logs in with a certificate, over TLS", example=True
    ),
    "ldap": Field("true or false", "whether it logs in by its name and a password", example=True),
    "password": Field("string", "an LDAP app's password; by default random", "sesame"),
}

REQUEST_FILTER: Final[Fields] = {
    "operation": Field("string", "only requests for this operation", "auth"),
    "app": APP,
    "since": Field("number", "only requests from then on, in seconds of the emulator's clock", 7),
}

Handle = Callable[[dict[str, Any]], object]
"""Takes the fields of a request and returns a JSON value. Raises ValueError."""


@dataclass(frozen=True, slots=True)
class Route:
    """A request of the control API."""

    method: str
    path: str
    handle: Handle
    does: str
    fields: Fields

    def description(self) -> dict[str, object]:
        """Return what the index says about the request."""
        place = "fields" if self.method == "POST" else "query"
        fields = {name: field.description() for name, field in self.fields.items()}
        return {
            "request": f"{self.method} {self.path}",
            "does": self.does,
            **({place: fields} if fields else {}),
        }


@dataclass(frozen=True, slots=True)
class Control:
    """Handles /control."""

    dsm: Dsm
    faults: Faults
    log: RequestLog
    authority: Authority | None
    """Issues client certificates; None on plain HTTP."""

    def routes(self) -> tuple[Route, ...]:
        """Return every request, as the index lists them."""
        number = Field("whole number", "the fault's number; by default all are removed", 1)
        token = Field("string", "the session's token", "…")
        return (
            Route("GET", "/control", self.index, "lists all requests with their fields", {}),
            Route("GET", "/control/apps", self.list_apps, "lists the apps", {}),
            Route("POST", "/control/apps", self.add_app, "adds an app and returns it", NEW_APP),
            Route(
                "POST",
                "/control/apps/reset-secret",
                self.reset_secret,
                "gives an app a new secret, and ends its sessions",
                {"app": ITS_APP},
            ),
            Route(
                "POST",
                "/control/sessions/end",
                self.end_sessions,
                "ends the session of a token, all sessions of an app, or all",
                {"token": token, "app": APP},
            ),
            Route("GET", "/control/faults", self.list_faults, "lists the active faults", {}),
            Route(
                "POST",
                "/control/faults",
                self.add_fault,
                "activates a fault and returns its number",
                fault_fields.FIELDS,
            ),
            Route(
                "DELETE", "/control/faults", self.remove_faults, "removes faults", {"id": number}
            ),
            Route("GET", "/control/statistics", self.statistics, "counts what each app did", {}),
            Route("GET", "/control/requests", self.list_requests, "lists requests", REQUEST_FILTER),
            Route("DELETE", "/control/requests", self.clear_requests, "forgets the requests", {}),
        )

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Route /control and the paths below it here."""
        by_path: defaultdict[str, list[Route]] = defaultdict(list)
        for route in self.routes():
            by_path[route.path].append(route)
        for path, routes in by_path.items():
            methods = [route.method for route in routes]
            for route in routes:
                router.add_route(route.method, path, _handler(route))
                if route.method == "GET":
                    methods.append("HEAD")
                    router.add_route("HEAD", path, _handler(route))
            router.add_route("*", path, _not_allowed(", ".join([*methods, "OPTIONS"])))
        router.add_route("*", "/control/{path:.*}", _not_found)

    def index(self, _fields: dict[str, Any]) -> object:
        """Return every request, with its fields."""
        return {"requests": [route.description() for route in self.routes()]}

    def list_apps(self, _fields: dict[str, Any]) -> object:
        """Return each app's id, name and credential, and the CA's file."""
        ca_file = self.authority.ca_file if self.authority else None
        return {"ca_file": ca_file, "apps": [self._app(app) for app in self.dsm.apps]}

    def add_app(self, fields: dict[str, Any]) -> object:
        """Add an app; for a certificate app, return the files of its certificate and key too."""
        if fields.get("certificate") and self.authority is None:
            raise ValueError("certificate apps need TLS; start the emulator with --tls")
        app = self.dsm.apps.add(**fields)
        if app.kind == "certificate" and self.authority:
            return self._app(app) | asdict(self.authority.issue_client(app.id))
        return self._app(app)

    def reset_secret(self, fields: dict[str, Any]) -> object:
        """Reset an app's secret and return its new API key."""
        app = self.dsm.apps.find(fields["app"])
        self.dsm.apps.reset_secret(app)
        return self._app(app)

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
            self.faults.remove(fields["id"])
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
            since=fields.get("since", 0.0),
        )
        return [asdict(entry) for entry in selected]

    def clear_requests(self, _fields: dict[str, Any]) -> object:
        """Forget the request log."""
        self.log.clear()
        return {}

    def _app(self, app: App) -> dict[str, Any]:
        shown = {
            "id": app.id,
            "name": app.name,
            "api_key": app.api_key,
            "certificate": app.kind == "certificate",
            "ldap": app.kind == "ldap",
            "lifetime": app.lifetime,
        }
        if app.kind == "ldap":
            shown |= {"acct_id": self.dsm.apps.account_id, "password": app.secret}
        return shown


def _handler(route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler of HTTP requests; it answers 400, with the reason, to invalid ones."""

    async def handler(request: web.Request) -> web.Response:
        try:
            if route.method == "POST":
                fields = parse((await request.read()).decode(), route.fields)
            else:
                fields = parse_query(request.query, route.fields)
            value = route.handle(fields)
        except (TypeError, ValueError) as error:
            hint = "GET /control lists each request's fields"
            return web.Response(status=400, text=f"{error}\n{hint}\n")
        # Paths, and the bytes that are the body of a fault added in Python, become strings.
        text = json.dumps(value, default=str, indent=1 if route.path == "/control" else None)
        return web.Response(text=text, content_type=JSON)

    return handler


def _not_allowed(allow: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        headers = {"Allow": allow}
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=headers)
        text = f"{request.path} takes {allow}; GET /control lists all requests\n"
        return web.Response(status=405, headers=headers, text=text)

    return handler


async def _not_found(request: web.Request) -> web.Response:
    text = f"there is no {request.path}; GET /control lists all requests\n"
    return web.Response(status=404, text=text)
