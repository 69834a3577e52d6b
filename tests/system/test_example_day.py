"""The example day on the page about logs is one that the installed daemon lived through."""

import subprocess

import pytest

from support.example_day import COLUMNS, SCENES, UNSHARE, comparable, on_page, scenes
from support.lab import needs_root, needs_tool


def test_the_page_shows_what_the_daemon_does() -> None:
    """An operator compares the page with the screen, line by line."""
    needs_root()
    needs_tool(UNSHARE[0])
    if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this host allows no namespaces")
    shown, written = scenes(), on_page()
    for name, scene, block in zip(SCENES, shown, written, strict=True):
        hint = f"{name}: to write the page anew, run `python -m support.example_day` in tests"
        assert comparable(scene) == comparable(block), hint
        assert max(map(len, scene.splitlines())) <= COLUMNS
