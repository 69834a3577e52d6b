"""What a request asks for: the route and app in its path, and the parameters in its query."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

from refresherd.domain.labels import ApiRoute
from refresherd.domain.model import Format

READ = ("GET", "HEAD")

METHODS: Mapping[ApiRoute, tuple[str, ...]] = {
    ApiRoute.APPS: READ,
    ApiRoute.APP: READ,
    ApiRoute.TOKEN: READ,
    ApiRoute.REFRESH: ("POST",),
}

PATH = re.compile(r"/v1/apps(?:/(?P<app>[^/]+)(?:/(?P<action>token|refresh))?)?")

APP_ROUTES = {None: ApiRoute.APP, "token": ApiRoute.TOKEN, "refresh": ApiRoute.REFRESH}
"""By what follows the app's name in the path."""

Pairs = Iterable[tuple[str, str]]

SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")

MAX_REMEMBERED = 1024
"""Requests whose meaning is remembered: most clients ask the same again and again."""

MAX_WAIT = 300.0
"""Seconds; a client that asks for more is answered after this time."""

TOKEN_WAIT = 10.0
"""Seconds that a request with `min_ttl` waits by default."""

REFRESH_WAIT = 60.0
"""Seconds that a refresh waits by default for the end of its attempt."""


class BadParameter(Exception):
    """A query is wrong; the text names the parameter, the fault and the cure."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.message = message


@dataclass(frozen=True, slots=True)
class TokenQuery:
    """What a request for a token asks for. Times in seconds."""

    form: Format = Format.JSON
    min_ttl: float = 0.0
    """How long the token must live at least."""
    wait: float = 0.0
    """How long the client is ready to wait."""
    watch: bool = False


DEFAULT_QUERY = TokenQuery()


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """What a request asks for."""

    route: ApiRoute
    app: str = ""
    """The app's name in the path, "" if there is none."""
    query: TokenQuery = DEFAULT_QUERY
    """Of a request for a token; of one for a refresh, `wait` alone."""
    fault: tuple[str, str] | None = None
    """What BadParameter says about the parameters. The exception itself must not be remembered: it
    would keep every frame that it was ever raised in."""


@lru_cache(MAX_REMEMBERED)
def parse(path: str, query: str) -> ParsedRequest:
    """Return what a decoded path and a query ask for."""
    route, app = match(path)
    pairs = parse_qsl(query, keep_blank_values=True)
    try:
        if route is ApiRoute.TOKEN:
            return ParsedRequest(route, app, token_query(pairs))
        if route is ApiRoute.REFRESH:
            return ParsedRequest(route, app, TokenQuery(wait=refresh_query(pairs)))
        if route is not ApiRoute.UNKNOWN:
            no_query(pairs)
    except BadParameter as error:
        return ParsedRequest(route, app, fault=(error.parameter, error.message))
    return ParsedRequest(route, app)


def match(path: str) -> tuple[ApiRoute, str]:
    """Return the route of a decoded path and the name of the app in it, "" if there is none."""
    found = PATH.fullmatch(path)
    if found is None:
        return ApiRoute.UNKNOWN, ""
    app, action = found["app"], found["action"]
    return (ApiRoute.APPS, "") if app is None else (APP_ROUTES[action], app)


def token_query(pairs: Pairs) -> TokenQuery:
    """Return the query of a request for a token. Raises BadParameter."""
    given = _given(pairs, ("format", "min_ttl", "wait", "watch"))
    if not given:
        return DEFAULT_QUERY
    try:
        form = Format(given.get("format", Format.JSON))
    except ValueError:
        raise BadParameter("format", f"format: unknown; use {', '.join(Format)}") from None
    min_ttl = _seconds("min_ttl", given.get("min_ttl", "0"))
    wait = _wait(given, TOKEN_WAIT if "min_ttl" in given else 0.0)
    watch = given.get("watch", "0")
    if watch not in ("0", "1"):
        raise BadParameter("watch", "watch: must be 0 or 1")
    query = TokenQuery(form, min_ttl, wait, watch=watch == "1")
    if query.watch and query.form is not Format.JSON:
        raise BadParameter("format", "format: a watch answers in JSON only; leave this out")
    for name in ("min_ttl", "wait"):
        if query.watch and name in given:
            raise BadParameter(name, f"{name}: a watch reports every token; leave this out")
    return query


def refresh_query(pairs: Pairs) -> float:
    """Return how many seconds to wait for the end of a refresh. Raises BadParameter."""
    return _wait(_given(pairs, ("wait",)), REFRESH_WAIT)


def no_query(pairs: Pairs) -> None:
    """Raise BadParameter for any parameter."""
    _given(pairs, ())


def _given(pairs: Pairs, allowed: tuple[str, ...]) -> Mapping[str, str]:
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            cure = f"use {', '.join(allowed)}" if allowed else "leave it out; this path takes none"
            raise BadParameter(name, f"{name}: unknown parameter; {cure}")
        if name in given:
            raise BadParameter(name, f"{name}: given more than once; give it once")
        given[name] = value
    return given


def _wait(given: Mapping[str, str], default: float) -> float:
    if "wait" not in given:
        return default
    return min(_seconds("wait", given["wait"]), MAX_WAIT)


def _seconds(name: str, value: str) -> float:
    if SECONDS.fullmatch(value) is None:
        raise BadParameter(name, f"{name}: not a number of seconds; write a number such as 30")
    return float(value)
