"""The status page as HTML, rendered on the server; its script only fetches it again.

Jinja2 is imported for the first
page, so that a daemon that is only scraped does not pay for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from math import ceil
from typing import TYPE_CHECKING

from refresherd import __version__
from refresherd.adapters.web.recent import EndpointRecord
from refresherd.adapters.web.status import Snapshot
from refresherd.adapters.web.view import PAGE_SIZE, TROUBLED, Sort, View
from refresherd.domain import words
from refresherd.domain.app_row import AppRow
from refresherd.domain.durations import ago, in_seconds, span
from refresherd.domain.life import Life
from refresherd.domain.report import fields
from refresherd.domain.words import NONE, URGENCY

if TYPE_CHECKING:
    from jinja2 import Template

ASSETS = {
    "status.css": "text/css; charset=utf-8",
    "status.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The content types of the files that the page refers to."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A link to the apps of a state."""

    text: str
    state: str
    count: int
    link: str
    current: bool


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """How fast and how reliably an endpoint has answered."""

    url: str
    median: str
    p95: str
    slowest: str
    successes: int
    failures: int
    last_failure: str


class LifeBar:
    """A token's life as places on a scale from 0 to 100."""

    def __init__(self, bar: Life) -> None:
        self.left_from = _place(bar.now)
        self.left_width = _place(max(0.0, bar.budget - bar.now))
        self.budget_from = _place(max(bar.budget, bar.now))
        self.budget_width = _place(1.0 - max(bar.budget, bar.now))
        # The mark is 0.7 wide, and stays inside of the bar.
        self.refresh_at = None if bar.refresh is None else _place(min(bar.refresh, 0.993))


class Page:
    """What the template reads: one view of a snapshot."""

    def __init__(self, snapshot: Snapshot, view: View) -> None:
        chosen = view.choose(snapshot.apps)
        self._snapshot = snapshot
        self.pages = max(1, ceil(len(chosen) / PAGE_SIZE))
        page = min(max(view.page, 1), self.pages)
        self.view = View(view.q, view.state, view.sort, page)
        first = (page - 1) * PAGE_SIZE
        now, offset = snapshot.now, snapshot.offset
        shown = chosen[first : first + PAGE_SIZE]
        self.rows = [AppRow(fields(one, now, offset), now + offset) for one in shown]
        self.shown_text = _shown(first, len(self.rows), len(chosen), len(snapshot.apps))
        self.previous = self.view.link(page=page - 1) if page > 1 else ""
        self.next = self.view.link(page=page + 1) if page < self.pages else ""
        self.troubled = snapshot.troubled
        self.host = snapshot.host
        self.sorts = tuple(Sort)

    @property
    def title(self) -> str:
        """The title of the browser's tab, which says whether anything is wrong."""
        trouble = f"{self.troubled} in trouble" if self.troubled else "all well"
        return f"{trouble} · refresherd on {self.host}"

    @property
    def verdict(self) -> str:
        """The headline: how many apps are in trouble."""
        snapshot = self._snapshot
        return words.verdict(len(snapshot.apps), snapshot.troubled, snapshot.unready)

    @property
    def notices(self) -> Iterator[str]:
        """What is wrong with the daemon itself."""
        recent = self._snapshot.recent
        if recent.reload is not None and recent.reload.faults:
            yield "The last reload was refused; the configuration before it is in force."
        if recent.web_config_faults:
            yield "The web configuration was refused."

    @property
    def consequence(self) -> str:
        """What the trouble means for consumers."""
        snapshot = self._snapshot
        return words.consequence(snapshot.troubled, snapshot.lost, snapshot.unready)

    @staticmethod
    def life(row: AppRow) -> "LifeBar | None":
        """Return the bar of an app's token, None without a token."""
        bar = row.life
        return None if bar is None else LifeBar(bar)

    @property
    def chips(self) -> Iterator[Chip]:
        """Links to the apps of each state."""
        states, view = self._snapshot.states, self.view
        counts = {"": len(self._snapshot.apps), TROUBLED: self.troubled}
        counts |= {state: states[state] for state in URGENCY}
        texts = {"": "all", TROUBLED: "in trouble"}
        for state, count in counts.items():
            current = view.state == state
            if count or current or not state:
                link = view.link(state=state, page=1)
                yield Chip(texts.get(state, state), state, count, link, current)

    @property
    def endpoints(self) -> Iterator[EndpointRow]:
        """A row for each endpoint."""
        for url, record in self._snapshot.recent.endpoints.copy().items():
            yield self._endpoint(url, record)

    @property
    def facts(self) -> Iterator[tuple[str, str]]:
        """What is known about the daemon, as pairs of term and text."""
        snapshot, started = self._snapshot, self._snapshot.recent.started
        up = snapshot.now - snapshot.recent.started_at
        yield "Version", __version__
        yield "Running for", span(up)
        yield "Configuration", started.config or NONE
        yield "Last reload", self._reload
        if snapshot.recent.web_config_faults:
            yield "Web configuration", "refused: the one before it, if any, is still in force"
        yield "API socket", started.api or "none"
        yield "HTTP", started.http

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the last reload or the web configuration was refused."""
        recent = self._snapshot.recent
        return (*(recent.reload.faults if recent.reload else ()), *recent.web_config_faults)

    @property
    def now(self) -> str:
        """The moment of the snapshot, for programs."""
        return self._snapshot.date(self._snapshot.now)

    @property
    def now_text(self) -> str:
        """The moment of the snapshot, for people."""
        return f"{self.now[11:19]} UTC"

    @property
    def _reload(self) -> str:
        last = self._snapshot.recent.reload
        if last is None:
            return "none since the start"
        when = ago(self._snapshot.now - last.at)
        if last.faults:
            return f"refused {when}: the configuration before it is still in force"
        return f"{when}; {words.count(last.changed, 'app')} changed"

    def _endpoint(self, url: str, record: EndpointRecord) -> EndpointRow:
        quantiles, failure = record.quantiles(), record.last_failure
        median, p95, slowest = map(_duration, quantiles) if quantiles else (NONE,) * 3
        last = NONE
        if failure is not None:
            when = ago(self._snapshot.now - failure.at)
            last = f"{when}, {failure.app}: {failure.reason}"
        return EndpointRow(url, median, p95, slowest, record.successes, record.failures, last)


def render(snapshot: Snapshot, view: View) -> Iterator[bytes]:
    """Yield a page in pieces. Call it in a thread."""
    for piece in _template().generate(page=Page(snapshot, view), assets=asset_prefix()):
        # Bytes of a path that are not UTF-8 (PEP 383) must not fail the page.
        yield piece.encode(errors="replace")


@cache
def asset(name: str) -> bytes:
    """Return a file that the page refers to."""
    return (files("refresherd.adapters.web") / "static" / name).read_bytes()


@cache
def asset_prefix() -> str:
    """Return the path of the page's files, which changes with them: browsers may keep them."""
    content = b"".join(map(asset, ASSETS))
    return f"/assets/{sha256(content).hexdigest()[:12]}/"


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # see above

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(asset("status.html").decode())


def _shown(first: int, shown: int, chosen: int, apps: int) -> str:
    if chosen == apps and shown == apps:
        return words.count(apps, "app")
    of = "" if chosen == apps else f" that match, of {apps}"
    if shown == chosen:
        return f"{words.count(chosen, 'app')}{of}"
    return f"Apps {first + 1} to {first + shown} of {chosen}{of}"


def _place(share: float) -> str:
    return f"{share * 100:.4g}"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else in_seconds(seconds)
