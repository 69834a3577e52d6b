"""Counts events."""

from typing import assert_never

from refresherd.adapters.metrics.counters import METHODS, AppCounters, Histogram, RequestCounters
from refresherd.domain import events
from refresherd.domain.errors import Reason
from refresherd.domain.events import Event, Jump
from refresherd.domain.model import App, Instant, Method

DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
DELAY_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """An Observer that counts; an Exposition reads the counters in another thread."""

    def __init__(self, loaded_at: Instant) -> None:
        self._apps: dict[str, AppCounters] = {}
        self.durations: dict[tuple[str, Method], Histogram] = {}
        """Of requests to DSM, by endpoint and method."""
        self.delays = Histogram(DELAY_BOUNDS)
        self.jumps = dict.fromkeys(Jump, 0)
        self.requests = RequestCounters()
        self.lag = 0.0
        self.loaded_at = loaded_at
        """When a configuration was last applied."""
        self.loaded = True
        """Whether the last reload succeeded."""

    def add_app(self, app: App) -> None:
        """Create an app's series, at 0; an app that has changed keeps its counts."""
        counters = self._apps.get(app.name, AppCounters(app.name))
        paths = (*(file.path for file in app.files), *(socket.path for socket in app.sockets))
        self._apps[app.name] = counters.with_outputs(map(str, paths))
        for method in METHODS:
            self._duration(app.endpoint.url, method)

    def remove_app(self, name: str) -> None:
        """End an app's series; later events about it are not counted."""
        self._apps.pop(name, None)

    def apps(self) -> tuple[AppCounters, ...]:
        """Return every app's counters. Safe in any thread: a copy made in one step."""
        return tuple(self._apps.values())

    def observe(self, event: Event) -> None:  # noqa: C901, PLR0912  # one branch per event
        """Count an event."""
        match event:
            # First, since it may come ten thousand times a second; all others are rare.
            case events.ApiAnswered():
                self.requests.observe(event)
            case events.AttemptBegan(app, method, delay):
                self._counters(app).attempt(method)
                self.delays.observe(delay)
            case events.Renewed(_, endpoint, method, duration):
                self._duration(endpoint, method).observe(duration)
            case events.SessionChecked(_, endpoint, duration):
                self._duration(endpoint, Method.KEEPALIVE).observe(duration)
            case events.AttemptFailed(app, endpoint, method, reason, _, duration):
                self._counters(app).fail(method, reason)
                # Without its credential, no request was sent that could have a duration.
                if reason is not Reason.CREDENTIAL:
                    self._duration(endpoint, method).observe(duration)
            case events.OutputWritten(app, output):
                self._counters(app).write(output, failed=False)
            case events.OutputFailed(app, output):
                self._counters(app).write(output, failed=True)
            case events.SessionEnded(app, result):
                self._counters(app).end(result)
            case events.HookRan(app, _, result):
                self._counters(app).hook(result)
            case events.ClockJumped(kind):
                self.jumps[kind] += 1
            case events.LoopLagged(lag):
                self.lag = lag
            case events.Reloaded(at):
                self.loaded, self.loaded_at = True, at
            case events.ReloadFailed():
                self.loaded = False
            case (
                events.LoginPostponed()
                | events.SessionResumed()
                | events.TokenExpired()
                | events.CredentialChanged()
                | events.EntityMismatch()
                | events.OutputRemoved()
                | events.AccessDenied()
                | events.ConnectionRejected()
                | events.AcceptFailed()
                | events.AppCrashed()
                | events.Started()
                | events.Warned()
                | events.Stopping()
            ):
                pass
            case _:
                assert_never(event)

    def _counters(self, app: str) -> AppCounters:
        return self._apps.get(app) or AppCounters(app)

    def _duration(self, endpoint: str, method: Method) -> Histogram:
        key = endpoint, method
        if key not in self.durations:
            self.durations[key] = Histogram(DURATION_BOUNDS)
        return self.durations[key]
