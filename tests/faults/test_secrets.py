"""Secrets are looked for wherever the installed daemon leaves a trace while all goes wrong."""

import asyncio
import sys
from pathlib import Path

import pytest

from faults.rig import leaks as giveaway
from faults.rig.canaries import leaks, secret_half
from support.lab import needs_root
from support.other_users import reachable
from support.programs import command

BUGGY = Path(__file__).parent / "rig" / "buggy.py"


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_is_told_by_anything_that_the_daemon_says(form: str) -> None:
    """Logs at debug, metrics, pages and statuses go to places where keys must not be."""
    needs_root()
    with reachable() as directory:
        trail = asyncio.run(giveaway.trail(directory, form))
    assert leaks(trail.places, trail.secrets) == []
    assert all(trail.places.values()), "a place was never looked at"
    for trouble in ("refresh failed", "hook failed", "output failed", "request answered"):
        assert trouble in trail.places["log"]
    assert trail.open_to_others == []
    hook = trail.places["hook"]
    assert "REFRESHERD_APP=hooked" in hook
    assert "CANARY_KEY" not in hook
    assert "socket:" not in hook, "a hook has got a descriptor of the daemon's"


@pytest.mark.parametrize("place", ["output", "daemon"])
def test_no_traceback_tells_a_secret(place: str, tmp_path: Path) -> None:
    """Whatever breaks has a token in its hands, and asyncio's debug mode tells more than usual."""
    program = (sys.executable, str(BUGGY), place)
    ends = place == "daemon"
    log, secrets = asyncio.run(giveaway.broken(tmp_path, program, ends=ends))
    assert leaks({"log": log}, secrets) == []
    assert "LookupError" in log
    assert "KeyError" in log
    assert "ValueError" in log


def test_no_fault_of_a_configuration_tells_a_secret(tmp_path: Path) -> None:
    """Whoever writes a key where a path belongs shows the complaint to a colleague."""
    key = giveaway.some_key()
    two_lines = tmp_path / "two.key"
    two_lines.touch(mode=0o600)
    two_lines.write_text(f"{key}\n{key}\n")
    config = tmp_path / "config.toml"
    config.write_text(giveaway.FAULTY.format(key=key, half=secret_half(key)))
    done = [command(name, "--config", str(config)) for name in ("check", "run", "once")]
    assert [one.returncode for one in done] == [78, 78, 78]
    places = {str(n): one.stdout + one.stderr for n, one in enumerate(done)}
    places["schema"] = command("schema").stdout
    assert leaks(places, [key, secret_half(key), "hunter-2222"]) == []
    assert "two.key" in places["0"]
