"""How requests on the API socket were answered, by route."""

from refresherd.adapters.metrics.histogram import Histogram
from refresherd.domain.events import ApiAnswered, ApiRoute

DURATION_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0)
"""A token that is there takes a fraction of a millisecond, one that is waited for seconds."""

TOKEN_CODES = (200, 400, 403, 404, 405, 503)

CODES = {
    ApiRoute.APPS: (200, 400, 405),
    ApiRoute.APP: (200, 400, 404, 405),
    ApiRoute.TOKEN: TOKEN_CODES,
    ApiRoute.REFRESH: TOKEN_CODES,
    ApiRoute.UNKNOWN: (404,),
}
"""What a route may answer with: those series exist from the start."""


class Requests:
    """Counts answers, by route and status code, and how long they took, by route."""

    def __init__(self) -> None:
        self._counts = {(route, code): 0 for route, codes in CODES.items() for code in codes}
        self._durations = {route: Histogram(DURATION_BOUNDS) for route in ApiRoute}

    def observe(self, event: ApiAnswered) -> None:
        """Count an answer."""
        key = event.route, event.code
        self._counts[key] = self._counts.get(key, 0) + 1
        self._durations[event.route].observe(event.duration)

    def counts(self) -> dict[tuple[ApiRoute, int], int]:
        """Return the answers by route and code. Safe in any thread: copied in one step."""
        return self._counts.copy()

    def durations(self) -> dict[ApiRoute, Histogram]:
        """Return the histograms by route."""
        return self._durations
