"""The recipe for TLS and passwords, as a reader carries it out, with a restart of the daemon."""

from pathlib import Path

import pytest

from support.documentation import CHECKOUT, Block, blocks, command_of
from support.documented_host import DocumentedHost
from support.lab import needs_tool
from support.programs import command, emulator, running
from support.shell_session import session

PAGE = CHECKOUT / "docs" / "monitoring.md"

pytestmark = pytest.mark.usefixtures("measured_programs")


def recipe() -> list[Block]:
    """Return the blocks of the section, in order."""
    text = PAGE.read_text()
    first = text.count("\n", 0, text.index("## TLS and passwords\n"))
    last = text.count("\n", 0, text.index("## Scraping\n"))
    return [block for block in blocks(PAGE) if first < block.line < last]


def test_the_recipe_works(tmp_path: Path) -> None:
    """From nothing to an answer over TLS with a password."""
    for tool in ("bash", "curl", "openssl"):
        needs_tool(tool)
    make, settings, ask, _ = recipe()
    with emulator() as dsm:
        host = DocumentedHost.at(tmp_path, dsm)
        config = host.etc / "config.toml"
        before, _, rest = config.read_text().partition("[http]\n")
        # IPv6 has no free port of its own here.
        listening = host.to_host(settings.text.replace(', "[::1]:9749"', ""))
        config.write_text(f"{before}{listening}{rest.partition(chr(10))[2]}")
        with session(("bash", "--noprofile", "--norc"), host.home, host.environ) as page:
            page.replacements = host.replacements
            page.run(command_of(make))
            checked = command("check", environ=host.environ)
            assert (checked.returncode, checked.stderr) == (0, "")
            with running("run", environ=host.environ, stderr=tmp_path / "daemon.log"):
                waited = command("wait", environ=host.environ)
                assert waited.returncode == 0, (tmp_path / "daemon.log").read_text()
                page.run(command_of(ask))
