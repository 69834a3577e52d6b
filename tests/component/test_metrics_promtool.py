"""Prometheus' own tool checks the exposition."""

import re
import subprocess

from support.lab import needs_tool
from support.scrapes import everything


def test_promtool_finds_no_fault() -> None:
    """It checks the naming rules and the help texts, and parses as strictly as Prometheus."""
    promtool, scrape = needs_tool("promtool"), everything()
    check = subprocess.run(
        [promtool, "check", "metrics"],
        input=scrape,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (check.returncode, check.stderr) == (0, "")
    # It judges no metric that has no series.
    for name in re.findall(r"^# TYPE (refresherd_\w+)", scrape, re.MULTILINE):
        assert re.search(rf"^{name}(_bucket|_sum|_count)?[{{ ]", scrape, re.MULTILINE), name
