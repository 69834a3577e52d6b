"""The content of the status page, as JSON for `/status.json`."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from refresherd import __version__
from refresherd.adapters.web.recent import EndpointRecord, Recent
from refresherd.domain import formats, readiness
from refresherd.domain import report as reports
from refresherd.domain.model import Instant
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import State
from refresherd.engine.ports import Clock, Roster


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All apps, and what is remembered of the daemon, at one moment."""

    apps: tuple[AppReport, ...]
    recent: Recent
    now: Instant
    offset: float
    """What turns an instant into unix seconds."""
    host: str
    states: Counter[str] = field(default_factory=Counter)
    """How many apps are in each state."""
    troubled: int = 0
    """How many apps are in trouble."""
    lost: int = 0
    """How many of those have consumers without a valid token."""
    unready: int = 0
    """How many apps are not ready."""

    def date(self, instant: Instant) -> str:
        """Return an instant as a date in JSON."""
        return formats.timestamp(instant + self.offset)


class Status:
    """Takes snapshots, in any thread."""

    def __init__(self, roster: Roster, recent: Recent, clock: Clock) -> None:
        self._roster = roster
        self._recent = recent
        self._clock = clock
        self._host = socket.gethostname()

    def snapshot(self) -> Snapshot:
        """Return the status at this moment."""
        now = self._clock.now()
        apps = tuple(self._roster.reports())
        return Snapshot(
            apps,
            self._recent,
            now,
            self._clock.wall(now) - now,
            self._host,
            states=Counter(one.status.session.state for one in apps),
            troubled=sum(map(reports.troubled, apps)),
            lost=sum(reports.lost(one, now) for one in apps),
            unready=sum(not readiness.ready(one.status, now) for one in apps),
        )


def rendered(snapshot: Snapshot) -> Iterator[bytes]:
    """Yield the snapshot as JSON, an app at a time."""
    head = json.dumps(_daemon(snapshot))
    yield f'{head[:-1]}, "apps": ['.encode()
    comma = ""
    for one in snapshot.apps:
        app = reports.fields(one, snapshot.now, snapshot.offset)
        yield f"{comma}\n{json.dumps(app)}".encode()
        comma = ","
    yield b"]}\n"


def _daemon(snapshot: Snapshot) -> dict[str, Any]:
    recent, started = snapshot.recent, snapshot.recent.started
    return {
        "version": __version__,
        "host": snapshot.host,
        "now": snapshot.date(snapshot.now),
        "started_at": snapshot.date(recent.started_at),
        "uptime_seconds": round(snapshot.now - recent.started_at, 3),
        "config": started.config,
        "api": started.api or None,
        "http": started.http.split(", "),
        "last_reload": _reload(snapshot),
        "web_config_faults": list(recent.web_config_faults),
        "ready": not snapshot.unready,
        "troubled": snapshot.troubled,
        "states": {state.value: snapshot.states[state] for state in State},
        "endpoints": [
            _endpoint(snapshot, url, record) for url, record in recent.endpoints.copy().items()
        ],
    }


def _reload(snapshot: Snapshot) -> dict[str, Any] | None:
    last = snapshot.recent.reload
    if last is None:
        return None
    return {
        "at": snapshot.date(last.at),
        "successful": not last.faults,
        "changed_apps": last.changed,
        "faults": list(last.faults),
    }


def _endpoint(snapshot: Snapshot, url: str, record: EndpointRecord) -> dict[str, Any]:
    failure, (median, p95, slowest) = record.last_failure, record.quantiles() or (None,) * 3
    return {
        "url": url,
        "median_seconds": _rounded(median),
        "p95_seconds": _rounded(p95),
        "slowest_seconds": _rounded(slowest),
        "successes": record.successes,
        "failures": record.failures,
        "last_failure": None
        if failure is None
        else {
            "app": failure.app,
            "error": f"{failure.reason}: {failure.message}",
            "at": snapshot.date(failure.at),
        },
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
