"""Which route a request's path is, and for which app."""

from refresherd.domain.events import ApiRoute

METHODS = {
    ApiRoute.APPS: "GET",
    ApiRoute.APP: "GET",
    ApiRoute.TOKEN: "GET",
    ApiRoute.REFRESH: "POST",
}

ROOT = "/v1/apps"

OF_AN_APP = {"": ApiRoute.APP, "token": ApiRoute.TOKEN, "refresh": ApiRoute.REFRESH}


def match(path: str) -> tuple[ApiRoute, str]:
    """Return the route of a decoded path and the name of the app in it, "" for none."""
    if path == ROOT:
        return ApiRoute.APPS, ""
    if not path.startswith(f"{ROOT}/"):
        return ApiRoute.UNKNOWN, ""
    app, slash, rest = path[len(ROOT) + 1 :].partition("/")
    # A slash at the end is another path: neither an app without a name nor a route without one.
    if not app or (slash and not rest):
        return ApiRoute.UNKNOWN, ""
    return OF_AN_APP.get(rest, ApiRoute.UNKNOWN), app
