"""Counts what happens."""

from typing import assert_never

from refresherd.adapters.metrics.histogram import Histogram
from refresherd.adapters.metrics.requests import Requests
from refresherd.adapters.metrics.tally import METHODS, Tally
from refresherd.domain.errors import Reason
from refresherd.domain.events import (
    AcceptFailed,
    AccessDenied,
    ApiAnswered,
    AppCrashed,
    AttemptBegan,
    AttemptFailed,
    ClockJumped,
    ConnectionRejected,
    CredentialChanged,
    EntityMismatch,
    Event,
    HookRan,
    Jump,
    LoginPostponed,
    LoopLagged,
    OutputFailed,
    OutputRemoved,
    OutputWritten,
    Reloaded,
    ReloadFailed,
    Renewed,
    SessionChecked,
    SessionEnded,
    SessionResumed,
    Started,
    Stopping,
    TokenExpired,
    Warned,
)
from refresherd.domain.model import App, Instant, Method

DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
DELAY_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """An Observer that counts; what it counts is read by an Exposition in another thread.

    `loaded_at` is when the configuration was last taken over, `loaded` whether it was
    the last time that somebody asked.
    """

    def __init__(self, loaded_at: Instant) -> None:
        self._tallies: dict[str, Tally] = {}
        self.durations: dict[tuple[str, Method], Histogram] = {}
        self.delays = Histogram(DELAY_BOUNDS)
        self.jumps = dict.fromkeys(Jump, 0)
        self.requests = Requests()
        self.lag = 0.0
        self.loaded_at = loaded_at
        self.loaded = True

    def add_app(self, app: App) -> None:
        """Have an app's series exist, at 0; an app that was changed keeps its counts."""
        tally = self._tallies.get(app.name, Tally(app.name))
        paths = (*(file.path for file in app.files), *(socket.path for socket in app.sockets))
        self._tallies[app.name] = tally.with_outputs(map(str, paths))
        for method in METHODS:
            self._duration(app.endpoint.url, method)

    def remove_app(self, name: str) -> None:
        """Have an app's series end; what is still told of it is not counted."""
        self._tallies.pop(name, None)

    def tallies(self) -> tuple[Tally, ...]:
        """Return every app's counters. Safe in any thread: the copy is made in one step."""
        return tuple(self._tallies.values())

    def observe(self, event: Event) -> None:  # noqa: C901, PLR0912  # one branch an event
        """Count an event."""
        match event:
            # First, as it comes ten thousand times a second where all others are rare.
            case ApiAnswered():
                self.requests.observe(event)
            case AttemptBegan(app, method, delay):
                self._tally(app).attempt(method)
                self.delays.observe(delay)
            case Renewed(_, endpoint, method, duration):
                self._duration(endpoint, method).observe(duration)
            case SessionChecked(_, endpoint, duration):
                self._duration(endpoint, Method.KEEPALIVE).observe(duration)
            case AttemptFailed():
                self._fail(event)
            case OutputWritten(app, output):
                self._tally(app).write(output, failed=False)
            case OutputFailed(app, output):
                self._tally(app).write(output, failed=True)
            case SessionEnded(app, result):
                self._tally(app).end(result)
            case HookRan(app, _, result):
                self._tally(app).hook(result)
            case ClockJumped(kind):
                self.jumps[kind] += 1
            case LoopLagged(lag):
                self.lag = lag
            case Reloaded(at):
                self.loaded, self.loaded_at = True, at
            case ReloadFailed():
                self.loaded = False
            case TokenExpired() | OutputRemoved() | CredentialChanged() | EntityMismatch():
                pass
            case (
                AppCrashed()
                | AccessDenied()
                | ConnectionRejected()
                | AcceptFailed()
                | LoginPostponed()
            ):
                pass
            case Warned() | Started() | Stopping() | SessionResumed():
                pass
            case _:
                assert_never(event)

    def _fail(self, event: AttemptFailed) -> None:
        self._tally(event.app).fail(event.method, event.reason)
        # Where a credential could not be read, no request was sent whose duration could be told.
        if event.reason is not Reason.CREDENTIAL:
            self._duration(event.endpoint, event.method).observe(event.duration)

    def _tally(self, app: str) -> Tally:
        return self._tallies.get(app) or Tally(app)

    def _duration(self, endpoint: str, method: Method) -> Histogram:
        key = endpoint, method
        if key not in self.durations:
            self.durations[key] = Histogram(DURATION_BOUNDS)
        return self.durations[key]
