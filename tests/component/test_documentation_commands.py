"""Commands and recipes in the documentation run as they are, and print what the page shows."""

import re
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.documentation import CHECKOUT, Block, blocks, command_of, pages
from support.documented_host import DocumentedHost
from support.lab import needs_tool
from support.programs import Dsm, command, emulator, running
from support.shell_session import Session, session

pytestmark = pytest.mark.usefixtures("measured_programs")

COMPILERS = ("go", "java")
"""Tools that may be missing where the tests run; their recipes have tests of their own."""


@pytest.fixture(scope="module")
def dsm() -> Iterator[Dsm]:
    """Run the DSM that all pages call."""
    with emulator() as running_dsm:
        yield running_dsm


@pytest.fixture
def host(tmp_path: Path, dsm: Dsm) -> DocumentedHost:
    """Return the host that the pages describe."""
    return DocumentedHost.at(tmp_path, dsm)


@contextmanager
def page_session(host: DocumentedHost, *, daemon: bool) -> Iterator[Session]:
    """Start a shell in the home directory, beside a running daemon or without one."""
    with session(("bash", "--noprofile", "--norc"), host.home, host.environ) as page:
        page.replacements, page.typed = host.replacements, f"{host.dsm.api_keys[0]}\n"
        if not daemon:
            yield page
            return
        with running("run", environ=host.environ, stderr=host.directory / "daemon.log"):
            done = command("wait", environ=host.environ)
            assert done.returncode == 0, done.stderr
            yield page


def shown(page: Path) -> list[Block]:
    """Return the blocks that a reader of a page carries out on their own host."""
    return [block for block in blocks(page) if not block.mark and (block.runs or block.file)]


def compiler(block: Block) -> str:
    """Return the compiler that a block needs, "" if it needs none."""
    needed = re.match(r"\w+", block.text)
    return needed[0] if needed and needed[0] in COMPILERS else ""


def carry_out(page: Session, chosen: list[Block]) -> None:
    """Run the blocks in order, and save those that are files."""
    for block in chosen:
        try:
            if block.file:
                page.save(block.file, block.text)
            else:
                page.run(command_of(block))
        except AssertionError as error:
            raise AssertionError(f"{block.place}: {error}") from None


LOCAL = [page for page in pages() if page.name != "systemd.md" and any(b.runs for b in shown(page))]


@pytest.mark.parametrize("page", LOCAL, ids=lambda page: page.name)
def test_command_lines_work(page: Path, host: DocumentedHost) -> None:
    """A reader who pastes one block after the other gets what the page shows."""
    for tool in ("bash", "curl"):
        needs_tool(tool)
    chosen = [block for block in shown(page) if not compiler(block)]
    starts_its_own = any("refresherd run" in block.text for block in chosen)
    with page_session(host, daemon=not starts_its_own) as running_page:
        carry_out(running_page, chosen)


@pytest.mark.parametrize("tool", COMPILERS)
def test_recipes_for_compilers_work(tool: str, host: DocumentedHost) -> None:
    """A recipe that does not compile helps nobody."""
    needs_tool(tool)
    found = shown(CHECKOUT / "docs" / "consumers.md")
    recipe = [block for block in found if compiler(block) == tool or block.language == tool]
    assert len(recipe) == 2
    with page_session(host, daemon=True) as running_page:
        carry_out(running_page, recipe)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_python_is_python(page: Path) -> None:
    """An excerpt cannot run on its own, but must be valid Python."""
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, block.place, "exec", flags=PyCF_ALLOW_TOP_LEVEL_AWAIT)
