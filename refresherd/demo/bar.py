"""A token's life as a bar that shrinks towards the mark where it is to be replaced."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

NARROWEST = 8


@dataclass(frozen=True, slots=True)
class LifeBar:
    """Fills the width it is given. `left` and `mark` are shares of the token's lifetime.

    `mark` is what will be left at the next refresh, None if that is not known.
    """

    left: float
    mark: float | None
    style: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(NARROWEST, options.max_width), options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text(options.max_width)

    def text(self, width: int) -> Text:
        """Return the bar in that many cells."""
        halves = round(_within(self.left) * width * 2)
        full, half = divmod(halves, 2)
        bar = Text("━" * full + "╸" * half, style=self.style, no_wrap=True)
        bar.append("─" * (width - full - half), style="dim")
        if self.mark is None:
            return bar
        cell = min(width - 1, int(_within(self.mark) * width))
        mark = Text("┃", style="bold")
        return Text.assemble(bar[:cell], mark, bar[cell + 1 :], no_wrap=True)


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))
