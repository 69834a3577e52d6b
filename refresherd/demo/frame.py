"""The live part of the screen: a picture as something that rich can draw."""

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from refresherd.demo.bar import LifeBar
from refresherd.demo.changes import Failed, Refreshed
from refresherd.demo.picture import Picture, Reads
from refresherd.demo.snapshot import AppView
from refresherd.demo.wording import ago, method, plural, span

STATE_STYLES = {
    "starting": "cyan",
    "fresh": "green",
    "retrying": "yellow",
    "expired": "red",
    "rejected": "bold magenta",
}

AROUND_APPS = 7
"""Lines of a frame that are no app's: its edges, headings, gaps, and the consumer."""

LATEST_ANSWERS = 24
"""Of the consumer's answers so many are drawn."""


def frame(picture: Picture, rows: int) -> Panel:
    """Return the picture, with as many of the apps as `rows` lines have room for."""
    apps = picture.snapshot.apps
    room = max(1, rows - AROUND_APPS)
    # One line is needed to tell that there are more.
    shown = apps if len(apps) <= room else apps[: max(1, room - 1)]
    parts: list[RenderableType] = [_heading(picture), Text(), _table(picture, shown)]
    if len(shown) < len(apps):
        parts.append(Text(f" … and {len(apps) - len(shown)} more", style="dim"))
    ends = "" if picture.ends_in is None else f" · ends in {span(picture.ends_in)}"
    return Panel(
        Group(*parts, Text(), _consumer(picture.reads)),
        box=ROUNDED,
        border_style="blue",
        title=Text("refresherd demo", style="bold"),
        title_align="left",
        subtitle=Text(f"{span(picture.elapsed)}{ends} · Ctrl-C ends it", style="dim"),
        subtitle_align="right",
    )


def _heading(picture: Picture) -> Table:
    snapshot = picture.snapshot
    counts = Text.assemble(
        (plural(snapshot.refreshes, "refresh", "refreshes"), "bold green"),
        "   ",
        (plural(snapshot.failures, "failure"), "bold yellow" if snapshot.failures else "dim"),
    )
    heading = Table.grid(expand=True)
    heading.add_column(no_wrap=True, overflow="ellipsis")
    heading.add_column(no_wrap=True, justify="right")
    heading.add_row(Text.assemble((" DSM ", "dim"), picture.endpoint), counts)
    return heading


def _table(picture: Picture, apps: tuple[AppView, ...]) -> Table:
    now = picture.snapshot.now
    table = Table(box=None, expand=True, padding=(0, 1), collapse_padding=True, header_style="dim")
    # Every width but the bar's is fixed, so that nothing jumps about when a text changes.
    table.add_column("app", no_wrap=True, width=8)
    table.add_column("state", no_wrap=True, width=10)
    table.add_column("token's life", no_wrap=True, ratio=1)
    table.add_column("left", no_wrap=True, width=7, justify="right")
    table.add_column("next in", no_wrap=True, width=7, justify="right")
    table.add_column("token", no_wrap=True, width=5, justify="right")
    table.add_column("last result", no_wrap=True, width=17)
    for app in apps:
        style = STATE_STYLES.get(app.state, "")
        table.add_row(
            app.name,
            Text(f"● {app.state}", style=style),
            _bar(app, now, style),
            span(app.left(now)),
            span(app.next_in(now)),
            str(app.generation or "-"),
            _result(picture.results.get(app.name), now),
        )
    return table


def _bar(app: AppView, now: float, style: str) -> LifeBar:
    left, lifetime = app.left(now), app.lifetime
    if left is None or lifetime is None or app.expires_at is None:
        return LifeBar(0.0, None, style)
    if app.next_refresh_at is None:
        return LifeBar(left / lifetime, None, style)
    return LifeBar(left / lifetime, (app.expires_at - app.next_refresh_at) / lifetime, style)


def _result(result: Refreshed | Failed | None, now: float) -> Text:
    if result is None:
        return Text("-", style="dim")
    if isinstance(result, Refreshed):
        return Text(f"{method(result.method)} {ago(now - result.at)}")
    times = f" x{result.in_a_row}" if result.in_a_row > 1 else ""
    return Text(f"{result.reason}{times}", style="yellow")


def _consumer(reads: Reads) -> Text:
    text = Text.assemble((" consumer ", "dim"), no_wrap=True, overflow="ellipsis")
    recent = reads.recent[-LATEST_ANSWERS:]
    for accepted in recent:
        text.append("■", style="green" if accepted else "red")
    text.append("·" * (LATEST_ANSWERS - len(recent)), style="dim")
    text.append(f"  {plural(reads.total, 'read')}, ")
    text.append(f"{reads.refused} refused", style="bold red" if reads.refused else "")
    return text
