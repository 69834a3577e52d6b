"""Real parts that some tests need: without one a test is skipped, or fails on CI."""

import os
import shutil

import pytest


def needs(available: object, what: str) -> None:
    """Skip a test if a part that it needs is missing; fail it on CI."""
    if not available and os.environ.get("CI") == "true":
        pytest.fail(f"CI lacks {what}")
    if not available:
        pytest.skip(f"needs {what}")


def needs_root() -> None:
    """Skip a test that needs root."""
    needs(os.geteuid() == 0, "to run as root")


def needs_tool(name: str) -> str:
    """Return a program's path; skip the test if it is not installed."""
    found = shutil.which(name)
    needs(found, f"the program {name}")
    return str(found)
