"""The documentation's links have targets, and its tables agree with the program."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from refresherd.domain.errors import Reason
from refresherd.domain.model import Format
from refresherd.domain.session_state import State
from support.documentation import (
    CHECKOUT,
    MACHINE,
    NOT_RUN,
    README,
    UNTIL_CTRL_C,
    USER,
    anchors,
    blocks,
    links,
    pages,
    prose,
    rows,
)
from support.lab import needs_tool
from support.programs import command

DOCS = CHECKOUT / "docs"
PAGES = [pytest.param(page, id=str(page.relative_to(CHECKOUT))) for page in pages()]

LONGEST_README = 200
"""Lines. The README is an entrance; what does not fit belongs on another page."""

UNTESTED = {
    "README.md": ["it is what runs this test"],
    "docs/architecture.md": ["it is what runs this test", "these take minutes to hours"],
    "docs/consumers.md": ["it needs TLS, so tests/system/test_vendor_consumers.py runs it"],
    "docs/from-cron.md": ["this is what to replace, not what to do"],
    "docs/monitoring.md": [
        "it needs a restart, so tests/component/test_documentation_tls.py runs it",
        "it needs Grafana",
    ],
    "docs/what-happens-when.md": ["it takes minutes, and tests/run has it run on every change"],
}
"""The blocks that no test runs, by page, with the reason that the page's source gives."""

QUOTING = [
    ("troubleshooting.md", "The daemon does not start", 0),
    ("troubleshooting.md", "A consumer gets no token from refresherd", 0),
    ("monitoring.md", "Readiness", 0),
    ("what-happens-when.md", "Trouble with DSM", 2),
    ("what-happens-when.md", "Trouble on the host", 2),
    ("what-happens-when.md", "Trouble with clocks", 2),
]
"""Tables and their columns that quote the program's messages."""


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    """A reader in a hurry cannot search for the page that a broken link meant."""
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_two_clicks_away() -> None:
    """A newcomer starts at the README and follows links, and does not search directories."""
    first = reached(README)
    second = {target for page in first for target in reached(page)}
    assert set(pages()) - {README} <= first | second


def reached(page: Path) -> set[Path]:
    """Return the pages that a page links to."""
    targets = {(page.parent / link.partition("#")[0]).resolve() for link in links(page)}
    return targets & set(pages())


def test_the_readme_is_short() -> None:
    """A newcomer reads it to decide whether to go on."""
    assert len(README.read_text().splitlines()) <= LONGEST_README


def test_blocks_that_are_not_run_are_few_and_known() -> None:
    """Otherwise a command line that no longer works would go unnoticed."""
    found: dict[str, list[str]] = {}
    for page in pages():
        for block in blocks(page):
            if block.mark.startswith(NOT_RUN):
                name = str(page.relative_to(CHECKOUT))
                found.setdefault(name, []).append(block.mark.removeprefix(NOT_RUN))
            else:
                assert block.mark in ("", MACHINE, USER, UNTIL_CTRL_C), block.place
    assert found == UNTESTED


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_its_language(page: Path) -> None:
    """The language decides how a test checks a block, and how a browser colours it."""
    fences = re.findall(r"^ *```(.*)$", page.read_text(), re.MULTILINE)
    assert fences[1::2] == [""] * (len(fences) // 2)
    assert fences[0::2] == [block.language for block in blocks(page)]


@pytest.mark.parametrize("page", PAGES)
def test_output_follows_its_commands(page: Path) -> None:
    """A `text` block shows what the `sh` block right before it prints; no test reads another."""
    found = blocks(page)
    shown = [block for block in found if block.language == "text"]
    assert len(shown) == sum(block.output is not None and block.runs for block in found)


@pytest.mark.parametrize("page", PAGES)
def test_json_is_json(page: Path) -> None:
    """Readers copy samples into programs."""
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.text)


def test_states_are_explained() -> None:
    """An operator looks up the word that the program uses."""
    states = {f"`{state}`" for state in State}
    assert {row[0] for row in rows(DOCS / "sessions.md", "States")} == states
    assert {row[0] for row in rows(DOCS / "troubleshooting.md", "States")} == states


def test_reasons_are_explained() -> None:
    """An operator looks up the reason that the log shows."""
    found = rows(DOCS / "troubleshooting.md", "Reasons for a failed refresh")
    assert {row[0] for row in found} == {f"`{reason}`" for reason in Reason}


@pytest.mark.parametrize(("page", "heading", "column"), QUOTING)
def test_quoted_messages_exist(page: str, heading: str, column: int) -> None:
    """A reader searches the page for the words on the screen."""
    sources = (path.read_text() for path in (CHECKOUT / "refresherd").rglob("*.py"))
    source = re.sub(r'"\n\s*f?"', "", "\n".join(sources))
    cells = [row[column] for row in rows(DOCS / page, heading)]
    quotes = [quote for cell in cells for quote in re.findall("`([^`]+)`", cell) if " " in quote]
    parts = [part.strip(': "') for quote in quotes for part in quote.split("…")]
    assert parts
    for part in parts:
        assert part in source or part.startswith("FILE:LINE"), part


def test_formats_are_explained() -> None:
    """The author of a consumer chooses from a complete list."""
    found = {row[0] for row in rows(DOCS / "consumers.md", "Formats")}
    assert found >= {f"`{form}`" for form in Format}


def test_commands_are_listed() -> None:
    """People who have not installed anything yet cannot run `--help`."""
    listed = {row[0].split()[1].strip("`") for row in rows(DOCS / "commands.md", "Commands")}
    help_text = command("--help", environ={"COLUMNS": "120"}).stdout
    section = help_text.partition("commands:\n")[2].partition("\n\n")[0]
    assert listed == set(re.findall(r"^ +([a-z]+) ", section, re.MULTILINE))


def test_commands_in_sentences_exist() -> None:
    """Readers also type the commands that sentences name."""
    texts = [re.sub(r"\s+", " ", prose(page)) for page in pages()]
    found = {code for text in texts for code in re.findall(r"`refresherd ([a-z]+[^`]*)`", text)}
    assert found
    for name, *words in map(str.split, found):
        done = command(name, "--help", environ={"COLUMNS": "120"})
        assert done.returncode == 0, name
        for option in (word for word in words if word.startswith("--") and word != "--"):
            assert option in done.stdout, f"{name} {option}"


def test_metrics_in_sentences_exist() -> None:
    """A metric that a sentence or a query names is in the table, which is compared elsewhere."""
    listed = {row[0].strip("`") for row in rows(DOCS / "monitoring.md", "Metrics")}
    for page in pages():
        for name in re.findall(r"\brefresherd_[a-z_]+\b", page.read_text()):
            assert name.removesuffix("_bucket") in listed, f"{page.name}: {name}"


def test_the_map_shows_what_is_there() -> None:
    """A contributor follows the map into files that exist, and misses no folder of the package."""
    text = (DOCS / "architecture.md").read_text()
    for path in re.findall(r"`((?:refresherd|tests)/[\w/.-]*)`", text):
        assert (CHECKOUT / path).exists() or (CHECKOUT / f"{path}.py").exists(), path
    for place in ("refresherd", "refresherd/adapters", "tests"):
        for folder in (CHECKOUT / place).iterdir():
            if any(folder.rglob("*.py")) and not folder.name.startswith((".", "__")):
                assert f"`{place}/{folder.name}/`" in text, folder


def test_drop_ins_are_listed() -> None:
    """An administrator learns from the page which drop-ins there are."""
    text = (DOCS / "systemd.md").read_text()
    for drop_in in (CHECKOUT / "systemd" / "drop-ins").iterdir():
        assert f"](../systemd/drop-ins/{drop_in.name})" in text


def test_prometheus_understands_the_queries(tmp_path: Path) -> None:
    """Readers paste them, and a typing error would show only then."""
    promtool = needs_tool("promtool")
    rules = [
        {"record": f"query:{number}", "expr": row[1].strip("`").replace("\\|", "|")}
        for number, row in enumerate(rows(DOCS / "monitoring.md", "Questions and queries"))
    ]
    assert rules
    groups = {"groups": [{"name": "queries", "rules": rules}]}
    (tmp_path / "queries.yml").write_text(json.dumps(groups))
    check = [promtool, "check", "rules", str(tmp_path / "queries.yml")]
    done = subprocess.run(check, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
