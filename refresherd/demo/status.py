"""The apps as the daemon's API socket shows them, and what happened between two looks at it."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import ceil
from typing import Any

REMEMBERED = 24
"""How many results of the consumer are remembered for display."""

TENTHS_BELOW = 100.0
"""Shorter times, in seconds, are shown with tenths."""


def span(seconds: float | None) -> str:
    """Return a time as `9.3 s`, `9m 58s` or `2h 05m`, a dash for None."""
    if seconds is None:
        return "-"
    if seconds < TENTHS_BELOW:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {rest:02d}s"


def whole_span(seconds: float | None) -> str:
    """Return a time that the API gave as `10 s` or as `span` does: it has no tenths."""
    if seconds is None or seconds >= TENTHS_BELOW:
        return span(seconds)
    return f"{ceil(seconds)} s"


def plural(count: int, noun: str, ending: str = "s") -> str:
    """Return `1 app` or `2 apps`; `ending` makes the noun's plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{ending}"


@dataclass(slots=True)
class Reads:
    """How often DSM accepted or refused a token that the built-in consumer read from a file."""

    total: int = 0
    refused: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """Whether it accepted the newest tokens, oldest first."""


@dataclass(frozen=True, slots=True)
class AppStatus:
    """An app's status. Times are unix seconds, rounded down by the API; None if there is none."""

    name: str
    state: str = "starting"
    generation: int = 0
    issued_at: float | None = None
    expires_at: float | None = None
    next_refresh_at: float | None = None
    failures: int = 0
    """Failed attempts since the last successful one."""
    reason: str = ""
    """Why the last attempt failed, "" if it did not."""
    method: str = ""
    """How the app got its token, `login` or `reauth`."""
    logins: int = 0
    """How many logins DSM had granted the app when its token was first seen."""
    all_failures: int = 0
    """Failed attempts since the demo began."""

    def left(self, now: float) -> float | None:
        """Return how many seconds the token is still valid, None without a valid one."""
        if self.expires_at is None or self.expires_at <= now:
            return None
        return self.expires_at - now

    def next_in(self, now: float) -> float | None:
        """Return how many seconds it is to the next attempt, None if none is planned."""
        return None if self.next_refresh_at is None else max(0.0, self.next_refresh_at - now)

    def followed_by(
        self, app: Mapping[str, Any], logins: int, now: float
    ) -> tuple["AppStatus", list[str]]:
        """Return the newer status in an app's object of `GET /v1/apps`, and a line for each event.

        `logins` is how many logins DSM has granted the app so far.
        """
        failures, renewed = app["consecutive_failures"], app["generation"] > self.generation
        logged_in = renewed and logins > self.logins
        # The daemon renews a valid token by reauth, unless DSM has ended the session.
        lost = logged_in and self.state == "fresh" and self.left(now) is not None
        new_failures = failures if renewed else max(0, failures - self.failures)
        after = AppStatus(
            name=self.name,
            state=app["state"],
            generation=app["generation"],
            issued_at=_unix(app["issued_at"]),
            expires_at=_unix(app["expires_at"]),
            next_refresh_at=_unix(app["next_refresh_at"]),
            failures=failures,
            reason=(app["last_error"] or "").partition(":")[0],
            method="login" if logged_in else "reauth" if renewed else self.method,
            logins=logins if renewed else self.logins,
            all_failures=self.all_failures + new_failures + lost,
        )
        left, next_in = whole_span(after.left(now)), whole_span(after.next_in(now))
        validity = "no valid token" if left == "-" else f"token still good for {left}"
        token = f"token {after.generation} by {after.method}, good for {left}"
        events = (
            (lost, "failed (session_lost), no valid token; next attempt at once"),
            (renewed, f"{token}; next refresh in {next_in}"),
            (new_failures, f"failed ({after.reason}), {validity}; next attempt in {next_in}"),
            (after.state != self.state, f"{self.state} -> {after.state}"),
        )
        return after, [f"{self.name}: {line}" for happened, line in events if happened]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is shown at one moment."""

    endpoint: str
    apps: tuple[AppStatus, ...]
    now: float
    """In unix seconds."""
    reads: Reads = field(default_factory=Reads)
    elapsed: float = 0.0
    """Seconds since the demo began."""
    ends_in: float | None = None
    """Seconds until the demo ends, None if only a user ends it."""

    @property
    def refreshes(self) -> int:
        """How many tokens were replaced; an app's first token replaces none."""
        return sum(max(0, app.generation - 1) for app in self.apps)

    @property
    def failures(self) -> int:
        """How many attempts failed."""
        return sum(app.all_failures for app in self.apps)

    @property
    def without_token(self) -> tuple[str, ...]:
        """The names of the apps that never got a token."""
        return tuple(app.name for app in self.apps if app.generation == 0)

    def followed_by(
        self, apps: Iterable[Mapping[str, Any]], logins: Mapping[str, int], now: float
    ) -> tuple["Picture", list[str]]:
        """Return the picture with apps of `GET /v1/apps`, and a line for each event.

        Apps without news are shown as they were last seen.
        """
        statuses, lines = {app.name: app for app in self.apps}, []
        for app in apps:
            name = app["name"]
            before = statuses.get(name, AppStatus(name))
            statuses[name], events = before.followed_by(app, logins.get(name, 0), now)
            lines += events
        return replace(self, apps=tuple(statuses.values()), now=now), lines


def summary(picture: Picture) -> str:
    """Return the results of the whole demo."""
    reads = picture.reads
    lines = [
        f"summary after {span(picture.elapsed)}",
        f"  apps       {len(picture.apps)}",
        f"  refreshes  {picture.refreshes}",
        f"  failures   {picture.failures}",
        f"  reads      {reads.total} by the built-in consumer, {reads.refused} refused by DSM",
    ]
    if picture.without_token:
        lines.append(f"  no token   {', '.join(picture.without_token)}")
    return "\n".join(lines)


def _unix(instant: str | None) -> float | None:
    return None if instant is None else datetime.fromisoformat(instant).timestamp()
