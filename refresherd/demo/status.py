"""The apps as the daemon's API socket shows them, and what happened between two looks at it."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

from refresherd.domain.app_row import AppRow, Fields
from refresherd.domain.durations import span

REMEMBERED = 24
"""How many results of the consumer are remembered for display."""


@dataclass(slots=True)
class Reads:
    """How often DSM accepted or refused a token that the built-in consumer read from a file."""

    total: int = 0
    refused: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """Whether it accepted the newest tokens, oldest first."""


@dataclass(frozen=True, slots=True)
class AppStatus:
    """What the daemon's API says of an app, and what the demo has seen of it."""

    name: str
    fields: Fields | None = None
    """Its object of `GET /v1/apps`, None before the daemon has answered."""
    method: str = ""
    """How the app got its token, `login` or `reauth`."""
    logins: int = 0
    """How many logins DSM had granted the app when its token was first seen."""
    all_failures: int = 0
    """Failed attempts since the demo began."""

    @property
    def generation(self) -> int:
        """How many tokens there have been."""
        return 0 if self.fields is None else self.fields["generation"]

    def row(self, now: float) -> AppRow | None:
        """Return the app as people see it, None before the daemon has answered."""
        return None if self.fields is None else AppRow(self.fields, now)

    def followed_by(self, fields: Fields, logins: int, now: float) -> tuple["AppStatus", list[str]]:
        """Return the newer status, and a line for each event.

        `fields` are the app's object of `GET /v1/apps`.
        `logins` is how many logins DSM has granted the app so far.
        """
        before, row = self.row(now), AppRow(fields, now)
        state, failures = ("starting", 0) if before is None else (before.state, before.failures)
        renewed = row.generation > self.generation
        logged_in = renewed and logins > self.logins
        # The daemon renews a valid token by reauth, unless DSM has ended the session.
        lost = logged_in and state == "fresh" and before is not None and before.valid
        new_failures = row.failures if renewed else max(0, row.failures - failures)
        after = AppStatus(
            self.name,
            fields,
            method="login" if logged_in else "reauth" if renewed else self.method,
            logins=logins if renewed else self.logins,
            all_failures=self.all_failures + new_failures + lost,
        )
        reason, due = row.error.partition(":")[0], row.next_attempt or "not planned"
        validity = f"token still good for {row.expires_in}" if row.valid else "no valid token"
        token = f"token {row.generation} by {after.method}, good for {row.expires_in}"
        events = (
            (lost, "failed (session_lost), no valid token; next attempt at once"),
            (renewed, f"{token}; next refresh {due}"),
            (new_failures, f"failed ({reason}), {validity}; next attempt {due}"),
            (row.state != state, f"{state} -> {row.state}"),
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

    @property
    def rows(self) -> list[AppRow]:
        """The apps of which the daemon has told, those in trouble first."""
        rows = [row for app in self.apps if (row := app.row(self.now)) is not None]
        return sorted(rows, key=attrgetter("urgency"))

    def followed_by(
        self, apps: Iterable[Fields], logins: Mapping[str, int], now: float
    ) -> tuple["Picture", list[str]]:
        """Return the picture with apps of `GET /v1/apps`, and a line for each event.

        Apps without news are shown as they were last seen.
        """
        statuses, lines = {app.name: app for app in self.apps}, []
        for fields in apps:
            name = fields["name"]
            before = statuses.get(name, AppStatus(name))
            statuses[name], events = before.followed_by(fields, logins.get(name, 0), now)
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
