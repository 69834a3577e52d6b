"""Draws the picture of the demo for the documentation.

    python tests/support/demo_picture.py docs/demo.svg

It runs the real demo, makes the emulated DSM fail one app, waits for a moment at which the screen
shows refreshes, a retry and the consumer's reads, and writes that moment to the file as an SVG.
"""

import argparse
import asyncio
import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from refresherd.demo.play import play
from refresherd.demo.screen import Show, frame
from refresherd.demo.status import AppStatus, Picture
from refresherd.demo.workspace import Workspace

WIDTH = 94
"""Columns of the picture."""

CELL = 12.2
"""Width of a column in the SVG, as rich draws it."""

APPS = 4
FAILING_APP = "app-3"

THEME = TerminalTheme(
    (22, 24, 33),
    (210, 214, 228),
    [
        (42, 46, 60),
        (240, 113, 120),
        (134, 211, 136),
        (240, 200, 110),
        (110, 160, 240),
        (200, 146, 234),
        (110, 205, 225),
        (210, 214, 228),
    ],
    [
        (92, 99, 122),
        (255, 139, 146),
        (160, 228, 160),
        (255, 216, 138),
        (140, 184, 255),
        (220, 176, 250),
        (144, 222, 240),
        (240, 242, 250),
    ],
)
"""Colours of a dark terminal, in which dim text stays readable."""


class Photographer:
    """Views the demo and keeps its first good moment."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.picture: Picture | None = None
        self._breaking: asyncio.Task[None] | None = None

    @contextmanager
    def view(self, workspace: Workspace) -> Iterator[Show]:
        """Yield what looks at each picture and makes DSM fail one app once it has a token."""

        def show(picture: Picture, _events: Iterable[str]) -> None:
            apps = {app.name: app for app in picture.apps}
            if self._breaking is None and apps[FAILING_APP].generation == 2:
                self._breaking = asyncio.create_task(break_app(workspace))
            if is_good(apps) and not self.done.is_set():
                # A fixed endpoint, and no end, as for a user who did not ask for one.
                self.picture = replace(picture, endpoint="https://127.0.0.1:8443", ends_in=None)
                self.done.set()

        yield show
        if self._breaking is not None and self._breaking.done():
            self._breaking.result()


def is_good(apps: dict[str, AppStatus]) -> bool:
    """Return whether one app is being retried, and the others were refreshed at different times."""
    others = [app for name, app in apps.items() if name != FAILING_APP]
    ages = {app.fields["issued_at"] for app in others if app.fields}
    failing = apps[FAILING_APP].fields
    retried = failing is not None and failing["consecutive_failures"] >= 2
    return retried and len(ages) > 1 and {app.method for app in others} == {"reauth"}


async def break_app(workspace: Workspace) -> None:
    """Make DSM answer 503 to the next attempts of the app."""
    context = ssl.create_default_context(cafile=workspace.directory / "ca.pem")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        for operation in ("auth", "reauth"):
            fault = {"app": FAILING_APP, "operation": operation, "status": 503, "times": 3}
            url = f"{workspace.endpoint}/control/faults"
            async with session.post(url, json=fault, raise_for_status=True):
                pass


async def take() -> Picture:
    """Return a good moment of the demo."""
    photographer = Photographer()
    await play(photographer.view, photographer.done, APPS, lifetime=20.0, duration=90.0)
    if photographer.picture is None:
        raise SystemExit("no good moment came; try again")
    return photographer.picture


def without_leading_spaces(text: re.Match[str]) -> str:
    """Return a text element that begins where its first visible character is.

    Some renderers drop the spaces at the beginning of an element instead of drawing them.
    """
    x, y, length, rest, spaces = text.groups()
    blank = CELL * spaces.count(";")
    return f'x="{float(x) + blank:g}" y="{y}" textLength="{float(length) - blank:g}"{rest}'


def svg(picture: Picture) -> str:
    """Return the picture as an SVG that loads nothing from elsewhere."""
    console = Console(
        file=StringIO(),
        record=True,
        width=WIDTH,
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
        _environ={},
    )
    command = f"refresherd demo --apps {APPS}"
    console.print(Text.assemble(("$ ", "bold green"), command, "\n"))
    console.print(frame(picture, WIDTH, height=40))
    drawn = console.export_svg(title="refresherd demo", theme=THEME, unique_id="demo")
    drawn = re.sub(
        r'x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"([^>]*>)((?:&#160;)+)(?!<)',
        without_leading_spaces,
        drawn,
    )
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL).replace(
        "Fira Code", "'Fira Code', 'DejaVu Sans Mono', Menlo, Consolas"
    )


def main() -> None:
    """Write the SVG to the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    file: Path = parser.parse_args().file
    file.write_text(svg(asyncio.run(take())))


if __name__ == "__main__":
    main()
