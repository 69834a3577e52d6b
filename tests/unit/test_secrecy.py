"""Secrets are revealed in few places, which this test finds in the sources."""

import re
from pathlib import Path

import refresherd

PACKAGE = Path(refresherd.__file__).parent

REVEALERS = {"adapters/api", "adapters/dsm", "adapters/outputs", "adapters/state"}
"""These pass secrets to DSM, consumers and the next run; nothing else needs to see one."""


def test_secrets_are_revealed_by_few_adapters_only() -> None:
    """A secret that is revealed elsewhere could get into a log or an error."""
    places = {
        "/".join(path.relative_to(PACKAGE).parts[:2])
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\.reveal\(\)", path.read_text())
    }
    assert places == REVEALERS
