"""Counters in little memory: with prometheus_client's own, each app would take 15 KiB."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, product

from refresherd.domain.errors import Reason
from refresherd.domain.events import ApiAnswered, ApiRoute, Ending, HookResult
from refresherd.domain.model import Method

METHODS = tuple(Method)
ENDINGS = tuple(Ending)
RESULTS = tuple(HookResult)
FAILURES = (
    *product(METHODS, (reason for reason in Reason if reason is not Reason.CREDENTIAL)),
    # Only a login needs the credential.
    (Method.AUTH, Reason.CREDENTIAL),
)

_ATTEMPT = {method: index for index, method in enumerate(METHODS)}
_FAILURE = {failure: index for index, failure in enumerate(FAILURES, len(METHODS))}
_ENDINGS = len(METHODS) + len(FAILURES)
_ENDING = {ending: index for index, ending in enumerate(ENDINGS, _ENDINGS)}
_HOOKS = _ENDINGS + len(ENDINGS)
_RESULT = {result: index for index, result in enumerate(RESULTS, _HOOKS)}
_OUTPUTS = _HOOKS + len(RESULTS)
"""From here on, each output has two counters: writes and failures."""

ATTEMPTS_SLICE = slice(0, len(METHODS))
FAILURES_SLICE = slice(len(METHODS), _ENDINGS)
ENDINGS_SLICE = slice(_ENDINGS, _HOOKS)
HOOKS_SLICE = slice(_HOOKS, _OUTPUTS)

REQUEST_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0)
"""Seconds. A token that is there takes a fraction of a millisecond; waiting for one takes seconds.
"""

_TOKEN_CODES = (200, 400, 403, 404, 405, 503)

REQUEST_CODES = {
    ApiRoute.APPS: (200, 400, 405),
    ApiRoute.APP: (200, 400, 404, 405),
    ApiRoute.TOKEN: _TOKEN_CODES,
    ApiRoute.REFRESH: _TOKEN_CODES,
    ApiRoute.UNKNOWN: (404,),
}
"""The codes that each route may answer with; their series exist from the start."""


class Histogram:
    """Counts observations by upper bound; those above all bounds count towards +Inf alone."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = array("Q", bytes(8 * (len(bounds) + 1)))
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count an observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bound, +Inf last, with the number of observations up to it."""
        names = (*(str(bound) for bound in self._bounds), "+Inf")
        return list(zip(names, accumulate(self._counts.tolist()), strict=True))


class RequestCounters:
    """Counts requests on the API socket by route and code, and their durations by route."""

    def __init__(self) -> None:
        self._counts = {
            (route, code): 0 for route, codes in REQUEST_CODES.items() for code in codes
        }
        self.durations = {route: Histogram(REQUEST_BOUNDS) for route in ApiRoute}

    def observe(self, event: ApiAnswered) -> None:
        """Count an answer."""
        key = event.route, event.code
        self._counts[key] = self._counts.get(key, 0) + 1
        self.durations[event.route].observe(event.duration)

    def counts(self) -> dict[tuple[ApiRoute, int], int]:
        """Return the answers by route and code. Safe in any thread: a copy made in one step."""
        return self._counts.copy()


class AppCounters:
    """One app's counters since it was added.

    In `counts`, ATTEMPTS_SLICE is ordered by METHODS, FAILURES_SLICE by FAILURES, ENDINGS_SLICE by
    ENDINGS, and HOOKS_SLICE by RESULTS.
    """

    __slots__ = ("counts", "name", "outputs")

    def __init__(self, name: str, outputs: Iterable[str] = ()) -> None:
        self.name = name
        self.outputs = tuple(outputs)
        # 32 bits each last for 136 years at one attempt per second.
        self.counts = array("I", [0] * (_OUTPUTS + 2 * len(self.outputs)))

    def attempt(self, method: Method) -> None:
        """Count an attempt."""
        self.counts[_ATTEMPT[method]] += 1

    def fail(self, method: Method, reason: Reason) -> None:
        """Count a failed attempt."""
        self.counts[_FAILURE[Method.AUTH if reason is Reason.CREDENTIAL else method, reason]] += 1

    def end(self, ending: Ending) -> None:
        """Count the termination of a replaced session."""
        self.counts[_ENDING[ending]] += 1

    def hook(self, result: HookResult) -> None:
        """Count a run of a hook."""
        self.counts[_RESULT[result]] += 1

    def write(self, output: str, *, failed: bool) -> None:
        """Count a write to one of the app's outputs, or a failure; ignore unknown outputs."""
        if output in self.outputs:
            self.counts[_OUTPUTS + 2 * self.outputs.index(output) + failed] += 1

    def writes(self, *, failed: bool) -> Sequence[int]:
        """Return the number of writes, or of failures, of each of `outputs`."""
        return self.counts[_OUTPUTS + failed :: 2]

    def with_outputs(self, outputs: Iterable[str]) -> "AppCounters":
        """Return the same counts for an app whose outputs have changed."""
        changed = AppCounters(self.name, outputs)
        changed.counts[:_OUTPUTS] = self.counts[:_OUTPUTS]
        for index, output in enumerate(self.outputs):
            if output in changed.outputs:
                changed.counts[_pair(changed.outputs.index(output))] = self.counts[_pair(index)]
        return changed


def _pair(output: int) -> slice:
    return slice(_OUTPUTS + 2 * output, _OUTPUTS + 2 * output + 2)
