"""The real parts that some tests need: where one is missing a test is skipped, and on CI fails."""

import os
import shutil

import pytest


def needs(available: object, what: str) -> None:
    """Skip a test where a part of it is missing; on CI that is a failure."""
    if not available and os.environ.get("CI") == "true":
        pytest.fail(f"CI lacks {what}")
    if not available:
        pytest.skip(f"needs {what}")


def needs_root() -> None:
    """Skip a test that only root may do."""
    needs(os.geteuid() == 0, "to run as root")


def needs_tool(name: str) -> str:
    """Return where a program is; skip a test for want of it."""
    found = shutil.which(name)
    needs(found, f"the program {name}")
    return str(found)
