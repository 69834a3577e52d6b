"""Secrets are revealed in few places, which this test finds in the sources."""

import re
from pathlib import Path

import refresherd

PACKAGE = Path(refresherd.__file__).parent

REVEALERS = {"adapters/dsm", "adapters/state", "adapters/web", "domain/formats.py"}
"""These write secrets for DSM, the next run and consumers, and compare passwords with their hashes;
nothing else needs to see one."""


def test_secrets_are_revealed_only_where_they_are_written() -> None:
    """A secret that is revealed elsewhere could get into a log or an error."""
    places = {
        "/".join(path.relative_to(PACKAGE).parts[:2])
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\.reveal\(\)", path.read_text())
    }
    assert places == REVEALERS
