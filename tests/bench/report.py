"""The table that benchmarks print: a figure, what it is compared with, and the ratio."""

from collections.abc import Iterable


def heading(title: str, beside: str) -> None:
    """Print the heading of a table that compares with `beside`."""
    print(f"\n{title:<58}{'refresherd':>12}{beside:>16}{'ratio':>8}{'aim':>10}", flush=True)


def row(what: str, figure: float, beside: float | None = None, aim: str = "") -> None:
    """Print a figure, what it is compared with, the ratio and the aim."""
    other = "" if beside is None else f"{beside:.1f}"
    ratio = "" if beside is None else f"{figure / beside:.2f}"
    print(f"{what:<58}{figure:>12.1f}{other:>16}{ratio:>8}{aim:>10}", flush=True)


def wide_heading(title: str, columns: Iterable[str]) -> None:
    """Print the heading of a table with a column for each program."""
    print(f"\n{title:<42}" + "".join(f"{column:>15}" for column in columns), flush=True)


def wide_row(what: str, cells: Iterable[str]) -> None:
    """Print a line of such a table."""
    print(f"{what:<42}" + "".join(f"{cell:>15}" for cell in cells), flush=True)
