"""Where secrets are revealed: a rule of the house, held by reading the house."""

import re
from pathlib import Path

import refresherd

PACKAGE = Path(refresherd.__file__).parent

REVEALERS = {"adapters/api", "adapters/dsm", "adapters/outputs", "adapters/state"}
"""These hand secrets to DSM, consumers and the next run; nothing else has a reason to see one."""


def test_secrets_are_revealed_at_the_rim_only() -> None:
    """A secret that is revealed in a second place is one that a log or an error can show."""
    places = {
        "/".join(path.relative_to(PACKAGE).parts[:2])
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\.reveal\(\)", path.read_text())
    }
    assert places == REVEALERS
