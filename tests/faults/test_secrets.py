"""Secrets are searched for in every trace that the daemon leaves while everything goes wrong."""

import asyncio
import sys
from pathlib import Path

import pytest

from faults.rig import leak_trial
from faults.rig.canaries import leaks, secret_half
from support.lab import needs_root
from support.other_users import reachable
from support.programs import command

BUGGY = Path(__file__).parent / "rig" / "buggy.py"


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_output_of_the_daemon_shows_a_secret(form: str) -> None:
    """Debug logs, metrics, pages and statuses are read by people who may not have the keys."""
    needs_root()
    with reachable() as directory:
        trail = asyncio.run(leak_trial.trail(directory, form))
    assert leaks(trail.places, trail.secrets) == []
    assert all(trail.places.values()), "one of the places was never read"
    for trouble in ("refresh failed", "hook failed", "output failed", "request answered"):
        assert trouble in trail.places["log"]
    assert trail.open_to_others == []
    hook = trail.places["hook"]
    assert "REFRESHERD_APP=hooked" in hook
    assert "CANARY_KEY" not in hook
    assert "socket:" not in hook, "a hook inherited a descriptor of the daemon"


@pytest.mark.parametrize("place", ["output", "daemon"])
def test_no_traceback_shows_a_secret(place: str, tmp_path: Path) -> None:
    """The failing code holds a token, and asyncio's debug mode prints more than usual."""
    program = (sys.executable, str(BUGGY), place)
    ends = place == "daemon"
    log, secrets = asyncio.run(leak_trial.broken(tmp_path, program, ends=ends))
    assert leaks({"log": log}, secrets) == []
    assert "LookupError" in log
    assert "KeyError" in log
    assert "ValueError" in log


def test_no_complaint_about_a_configuration_shows_a_secret(tmp_path: Path) -> None:
    """An operator who wrote a key where a path belongs may show the complaint to a colleague."""
    key = leak_trial.some_key()
    two_lines = tmp_path / "two.key"
    two_lines.touch(mode=0o600)
    two_lines.write_text(f"{key}\n{key}\n")
    config = tmp_path / "config.toml"
    config.write_text(leak_trial.FAULTY.format(key=key, half=secret_half(key)))
    done = [command(name, "--config", str(config)) for name in ("check", "run", "once")]
    assert [one.returncode for one in done] == [78, 78, 78]
    places = {str(n): one.stdout + one.stderr for n, one in enumerate(done)}
    places["schema"] = command("schema").stdout
    assert leaks(places, [key, secret_half(key), "hunter-2222"]) == []
    assert "two.key" in places["0"]
