"""The page on logs lists every line and every field that the daemon writes, and no other."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

from refresherd.adapters.logs.console import HIDDEN, RENAMED, UNNAMED, WIDTH
from refresherd.adapters.logs.observer import REPEAT_SECONDS
from refresherd.adapters.logs.pipeline import configure
from refresherd.domain import events
from support.documentation import CHECKOUT, prose, rows
from support.fakes import FakeClock
from support.logged_events import ENDING_TROUBLE, FAILED, HOOK_FAILED, LOGGED, OUTPUT_FAILED

PAGE = CHECKOUT / "docs" / "logs.md"

EVERYWHERE = {"ts", "level", "event"}

SOMETIMES = {"suppressed", "recovered_after", "dropped"}
"""Fields of any line whose event is repeated, ends trouble, or follows lines that were dropped."""


def written() -> Iterator[dict[str, Any]]:
    """Yield lines of every kind, with every field."""
    stream, clock = io.StringIO(), FakeClock()
    logs = configure("debug", "json", stream, clock)
    for event, *_ in LOGGED:
        logs.observe(event)
    for event in ENDING_TROUBLE:
        for trouble in (FAILED, OUTPUT_FAILED, HOOK_FAILED):
            logs.observe(trouble)
        logs.observe(event)
    for _ in range(2):
        logs.observe(FAILED)
    clock.advance(REPEAT_SECONDS)
    logs.observe(FAILED)
    logs.bug("a task failed", ValueError("x"))
    record = logging.LogRecord("aiohttp", logging.WARNING, "", 0, "a library's text", (), None)
    logs.library(record)
    for _ in range(10_000):
        logs.observe(events.Stopped())
    clock.advance(1.0)
    logs.observe(events.Stopped())
    logs.close()
    return map(json.loads, stream.getvalue().splitlines())


LINES = list(written())
OF_LIBRARIES = [line for line in LINES if "logger" in line]


def quoted(cell: str) -> list[str]:
    """Return what a cell quotes."""
    return re.findall("`([^`]+)`", cell)


def test_every_line_is_listed_with_its_levels_and_fields() -> None:
    """An operator looks up the line, and the author of an alert its fields."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for line in LINES:
        if line not in OF_LIBRARIES:
            levels, fields = found.setdefault(line["event"], (set(), set()))
            levels.add(line["level"])
            fields.update(line.keys() - EVERYWHERE - SOMETIMES)
    documented = {
        quoted(name)[0]: (set(levels.split(", ")), set(quoted(fields)))
        for name, levels, fields, _ in rows(PAGE, "Lines")
    }
    assert documented == found


def test_every_field_is_explained() -> None:
    """Whoever reads JSON does not know the code."""
    explained = [quoted(name)[0] for name, _ in rows(PAGE, "Fields")]
    assert len(explained) == len(set(explained))
    assert set(explained) == {name for line in LINES for name in line}
    assert OF_LIBRARIES[0]["event"] == "a library's text"


def test_the_sample_is_a_line_that_the_daemon_writes() -> None:
    """Readers copy its fields into a parser."""
    (sample,) = re.findall(r"^```json\n(.*)\n```$", PAGE.read_text(), re.MULTILINE)
    refreshed = next(line for line in LINES if line["event"] == "token refreshed")
    assert list(json.loads(sample)) == list(refreshed)


def test_what_the_console_leaves_out_is_listed() -> None:
    """An operator who misses a field learns where it is."""
    text = " ".join(prose(PAGE).split())
    assert f"one line of at most {WIDTH} columns" in text
    (unnamed,) = re.findall("- shows ([^;]*) without their names;", text)
    (hidden,) = re.findall("- leaves (.*?) to JSON", text)
    assert tuple(quoted(unnamed)) == UNNAMED
    assert tuple(quoted(hidden)) == HIDDEN
    for name, shown in RENAMED.items():
        assert f"`{name}` as `{shown}`" in text
