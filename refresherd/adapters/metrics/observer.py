"""Counts events in little memory: with prometheus_client's own counters, an app takes 15 KiB."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import assert_never

from refresherd.adapters.metrics.series import SERIES, methods
from refresherd.domain import events
from refresherd.domain.connection_quota import Refusal
from refresherd.domain.errors import Reason
from refresherd.domain.events import Event
from refresherd.domain.labels import ApiRoute, Jump
from refresherd.domain.model import App, Certificate, Instant, Method

DURATION_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0),
)
"""Seconds. An attempt takes its `timeout` at most: 20 s by default, a minute where DSM is slow."""

DELAY_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)
REQUEST_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0)
"""Seconds. Fetching a token takes a fraction of a millisecond; waiting for one takes seconds."""

REQUEST_CODES = {
    ApiRoute.APPS: (200, 400, 405),
    ApiRoute.APP: (200, 400, 404, 405),
    ApiRoute.TOKEN: (200, 400, 403, 404, 405, 503),
    ApiRoute.REFRESH: (200, 400, 403, 404, 405, 429, 503),
    ApiRoute.UNKNOWN: (404,),
}
"""The codes that each route may answer with; their series exist from the start."""

REFUSALS = tuple(Refusal)

SUCCESS, FAILURE = "success", "failure"
"""The `result` label of durations."""

_KEYS = [(metric, *labels) for metric, series in SERIES.items() for labels in series]
_INDEX = {key: index for index, key in enumerate(_KEYS)}


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


@dataclass(slots=True)
class Answers:
    """Answers of a route with the same code: found by one look-up, since they are so many."""

    durations: Histogram
    """Of all answers of the route."""
    count: int = 0


class AppCounters:
    """One app's counters since it was added."""

    __slots__ = ("_counts", "app", "certificate_expires_at", "outputs")

    def __init__(self, app: App) -> None:
        self.app = app
        """The app as it is configured now."""
        # 32 bits each last for 136 years at one attempt per second.
        self._counts = array("I", bytes(4 * len(_KEYS)))
        self.outputs: Mapping[str, array[int]] = {}
        """Writes and failures by output. The mapping is replaced, not changed: threads read it."""
        self.certificate_expires_at: float | None = None
        """In unix seconds; 0 until the certificate was read, None for an app without one."""

    def count(self, metric: str, *labels: str) -> None:
        """Count an event towards a metric's series."""
        self._counts[_INDEX[metric, *labels]] += 1

    def counts(self, metric: str) -> Sequence[int]:
        """Return the counts of a metric's series, in the order of SERIES."""
        start = _INDEX[metric, *SERIES[metric][0]]
        return self._counts[start : start + len(SERIES[metric])]

    def write(self, output: str, *, failed: bool) -> None:
        """Count a write to one of the app's outputs, or a failure; ignore unknown outputs."""
        if output in self.outputs:
            self.outputs[output][failed] += 1


class Metrics:
    """An Observer that counts; an Exposition reads the counters in another thread."""

    def __init__(
        self, loaded_at: Instant, apps: Iterable[App] = (), *, ends_sessions: bool = False
    ) -> None:
        self._apps: dict[str, AppCounters] = {}
        self.ends_sessions = ends_sessions
        """Whether the sessions of apps that stop are ended, as the configuration says now."""
        self.durations: dict[tuple[str, Method, str], Histogram] = {}
        """Of requests to DSM, by endpoint, method and result."""
        self.delays = Histogram(DELAY_BOUNDS)
        self.request_durations: dict[ApiRoute, Histogram] = {}
        self.answers: dict[tuple[ApiRoute, int], Answers] = {}
        """Answers on the API socket, by route and code."""
        self.refusals: dict[str, array[int]] = {}
        """Connections that a listener refused, in the order of REFUSALS."""
        self.jumps = dict.fromkeys(Jump, 0)
        self.lag = 0.0
        self.loaded_at = loaded_at
        """When a configuration was last applied."""
        self.loaded = True
        """Whether the last reload succeeded."""
        self.web_config_read = True
        """Whether the web configuration could be read the last time."""
        for app in apps:
            self.add_app(app)

    def add_app(self, app: App) -> None:
        """Create an app's series, at 0; an app that has changed keeps its counts."""
        counters = self._apps.setdefault(app.name, AppCounters(app))
        counters.app = app
        paths = (*(file.path for file in app.files), *(socket.path for socket in app.sockets))
        counters.outputs = {
            path: counters.outputs.get(path) or array("I", (0, 0)) for path in map(str, paths)
        }
        for socket in app.sockets:
            self.add_listener(str(socket.path))
        expires_at = counters.certificate_expires_at or 0.0
        has_certificate = isinstance(app.credential, Certificate)
        counters.certificate_expires_at = expires_at if has_certificate else None
        for method in methods(app):
            for result in (SUCCESS, FAILURE):
                self._duration(app.endpoint.url, method, result)

    def remove_app(self, name: str) -> None:
        """End an app's series; later events about it are not counted."""
        self._apps.pop(name, None)

    def add_api(self, socket: str) -> None:
        """Create the series of the API's socket and of its routes, at 0."""
        self.add_listener(socket)
        for route, codes in REQUEST_CODES.items():
            for code in codes:
                self._answers(route, code)

    def add_listener(self, name: str) -> None:
        """Create a listener's series, at 0; one that has them keeps its counts."""
        self.refusals.setdefault(name, array("Q", bytes(8 * len(REFUSALS))))

    def apps(self) -> tuple[AppCounters, ...]:
        """Return every app's counters. Safe in any thread: a copy made in one step."""
        return tuple(self._apps.values())

    def observe(self, event: Event) -> None:  # noqa: C901, PLR0912  # one branch per event
        """Count an event."""
        if isinstance(event, events.ApiAnswered):
            # It comes up to thirty thousand times a second, and a match takes three times as long.
            answers = self.answers.get((event.route, event.code))
            if answers is None:
                answers = self._answers(event.route, event.code)
            answers.count += 1
            answers.durations.observe(event.duration)
            return
        match event:
            case events.AttemptBegan(app, method, delay):
                self._count(app, "refresh_attempts", method)
                self.delays.observe(delay)
            case events.Renewed(_, endpoint, method, duration):
                self._duration(endpoint, method, SUCCESS).observe(duration)
            case events.SessionChecked(_, endpoint, duration):
                self._duration(endpoint, Method.KEEPALIVE, SUCCESS).observe(duration)
            case events.AttemptFailed(app, _, _, Reason.CREDENTIAL):
                # Without its credential, no request was sent that could have a duration.
                self._count(app, "refresh_failures", Method.AUTH, Reason.CREDENTIAL)
            case events.AttemptFailed(app, endpoint, method, reason, _, duration):
                self._count(app, "refresh_failures", method, reason)
                self._duration(endpoint, method, FAILURE).observe(duration)
            case events.OutputWritten(app, output):
                self._write(app, output, failed=False)
            case events.OutputFailed(app, output) | events.OutputAltered(app, output):
                self._write(app, output, failed=True)
            case events.SessionEnded(app, result):
                self._count(app, "sessions_terminated", result)
            case events.HookRan(app, _, result):
                self._count(app, "hook_runs", result)
            case events.CertificateRead(app, _, not_after):
                if app in self._apps:
                    self._apps[app].certificate_expires_at = not_after
            case events.ConnectionRejected(listener, refusal, _, count):
                if listener in self.refusals:
                    self.refusals[listener][REFUSALS.index(refusal)] += count
            case events.ClockJumped(kind):
                self.jumps[kind] += 1
            case events.LoopLagged(lag):
                self.lag = lag
            case events.Reloaded(at):
                self.loaded, self.loaded_at = True, at
            case events.ReloadFailed():
                self.loaded = False
            case events.WebConfigRead():
                self.web_config_read = True
            case events.WebConfigRefused():
                self.web_config_read = False
            case (
                events.LoginPostponed()
                | events.SessionResumed()
                | events.TokenExpired()
                | events.CredentialChanged()
                | events.EntityMismatch()
                | events.CertificateExpires()
                | events.OutputUnchanged()
                | events.OutputRemoved()
                | events.AccessDenied()
                | events.AccessUndecided()
                | events.AcceptFailed()
                | events.AppCrashed()
                | events.Started()
                | events.Warned()
                | events.HandshakeFailed()
                | events.Stopping()
                | events.Stopped()
            ):
                pass
            case _:
                assert_never(event)

    def _count(self, app: str, metric: str, *labels: str) -> None:
        if app in self._apps:
            self._apps[app].count(metric, *labels)

    def _write(self, app: str, output: str, *, failed: bool) -> None:
        if app in self._apps:
            self._apps[app].write(output, failed=failed)

    def _answers(self, route: ApiRoute, code: int) -> Answers:
        durations = self.request_durations.setdefault(route, Histogram(REQUEST_BOUNDS))
        return self.answers.setdefault((route, code), Answers(durations))

    def _duration(self, endpoint: str, method: Method, result: str) -> Histogram:
        key = endpoint, method, result
        if key not in self.durations:
            self.durations[key] = Histogram(DURATION_BOUNDS)
        return self.durations[key]
