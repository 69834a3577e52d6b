"""The documentation as the tests read it: pages, their fenced blocks, links and tables.

A block runs by its language. `sh` holds command lines, and a `text` block after it holds what they
print. A block whose first line is a comment that names a file is that file. A comment in the page's
source, right above a block, says where it runs instead:

    <!-- run in the machine -->             on a host with systemd, as root
    <!-- run in the machine by a user -->   there, as an ordinary user
    <!-- run in the machine until Ctrl-C -->    there, as an ordinary user, and then interrupted
    <!-- not run: REASON -->                nowhere; a test lists these
"""

import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

README = CHECKOUT / "README.md"

MACHINE, USER = "run in the machine", "run in the machine by a user"
UNTIL_CTRL_C = "run in the machine until Ctrl-C"
NOT_RUN = "not run: "

WHOLE = "…"
"""Stands for anything within a line of output, and alone for any number of lines."""

FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n+)?```(?P<language>[a-z]+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FILE = re.compile(r"(?:#|//) (?P<path>[\w~./@-]*[\w]\.(?:toml|py|sh|go|java|conf|service|yml))\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    """Where its fence stands."""
    language: str
    text: str
    mark: str
    """The comment right above it, "" without one."""
    output: str | None
    """The `text` block that follows it, None without one."""

    @property
    def place(self) -> str:
        """Its page and line, for the message of a failed test."""
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"

    @property
    def file(self) -> str:
        """The path of the file that the block holds, "" for other blocks."""
        named = FILE.match(self.text)
        return named["path"] if named else ""

    @property
    def runs(self) -> bool:
        """Whether a shell runs it."""
        return self.language == "sh" and not self.file


@dataclass(frozen=True, slots=True)
class Command:
    """What a reader enters at once: one line or several."""

    text: str
    output: str | None = None
    """What it prints; None if the page does not show that."""
    interrupted: bool = False
    """Whether it goes on until Ctrl-C, which the page shows as ^C."""


def pages() -> list[Path]:
    """Return every page of the documentation, the README first."""
    return [README, *sorted((CHECKOUT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks in order."""
    text = page.read_text()
    found = list(FENCE.finditer(text))
    return [
        Block(
            page,
            text.count("\n", 0, block.start("language")) + 1,
            block["language"],
            block["text"],
            block["mark"] or "",
            following["text"] if following and following["language"] == "text" else None,
        )
        for block, following in zip_longest(found, found[1:])
    ]


def command_of(block: Block) -> Command:
    """Return a block as a command, with the output that the page shows, which may end in ^C."""
    output = (block.output or "").strip("\n")
    shown = output.removesuffix("^C").rstrip("\n")
    return Command(block.text, shown or None, interrupted=output.endswith("^C"))


def pattern(output: str) -> re.Pattern[str]:
    """Return the pattern that a program's output must match, from the output that a page shows."""
    lines = []
    for line in output.splitlines():
        if line.strip() == WHOLE:
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            lines.append(".*".join(map(re.escape, line.rstrip().split(WHOLE))) + r"[ ]*\n")
    return re.compile("".join(lines))


def rows(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of all table rows under a heading, without the tables' heads."""
    sections = re.split(r"^#+ ", prose(page), flags=re.MULTILINE)
    text = next(section for section in sections if section.startswith(f"{heading}\n"))
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for table in tables
        for line in table.splitlines()[2:]
    ]


def prose(page: Path) -> str:
    """Return a page's text without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    made: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)).lower()
        anchor = base = plain.replace(" ", "-")
        number = 0
        while anchor in made:
            number += 1
            anchor = f"{base}-{number}"
        made.add(anchor)
    return made


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
