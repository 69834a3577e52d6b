"""Wrong keys, whatever happens and however DSM words it: DSM never reaches its limit."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refresherd.domain.login_budget import MAX_REFUSALS
from support.programs import PATIENCE, Dsm, Workplace, command, emulator, eventually, running

HEAD = """\
state_dir = "state"
[http]
listen = []
[refresh]
retry_min = "100ms"
rejected_retry = "1s"
"""

KILLS = 25

FLOOD = 4
"""Signals to each run: in all twice as many as logins may fail."""


def failed_logins(dsm: Dsm) -> int:
    """Return how many logins the emulator has refused."""
    url = f"{dsm.url}/control/statistics"
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310  # the emulator's
        return sum(app["failed_logins"] for app in json.load(answer)["apps"])


def control(dsm: Dsm, path: str, body: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  # JSON
    """Read from the emulator's control endpoint or, with a body, post to it."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{dsm.url}/control/{path}", data, timeout=PATIENCE) as answer:  # noqa: S310  # as above
        return json.load(answer)


def appeared(path: Path) -> None:
    """Return once a path exists."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_kill_loop_with_a_wrong_key_burns_nothing(tmp_path: Path) -> None:
    """Neither kills nor floods of requests exceed the limit, and a repaired key ends the wait."""
    with emulator() as dsm:
        place = Workplace(tmp_path, dsm)
        token = tmp_path / "payments.token"
        place.app("payments", f'[[apps.payments.files]]\npath = "{token}"\n')
        config = str(place.write(HEAD))
        key = tmp_path / "payments.key"
        right = key.read_text()
        key.write_text(right[:-8] + "AAAAAAA=")
        for _ in range(KILLS):
            with running("run", "--config", config) as process:
                appeared(tmp_path / "api.sock")
                for _ in range(FLOOD):
                    os.kill(process.pid, signal.SIGUSR1)
                    time.sleep(0.15)
                process.kill()
                process.wait(PATIENCE)
            (tmp_path / "api.sock").unlink()
        assert 10 <= failed_logins(dsm) <= MAX_REFUSALS
        with running("run", "--config", config):
            key.write_text(right)
            assert eventually(token)


def test_a_login_that_dsm_answers_with_any_4xx_burns_nothing(tmp_path: Path) -> None:
    """DSM may count it: scheduled logins stop at once, an operator's requests at the limit."""
    with emulator() as dsm:
        control(dsm, "faults", {"operation": "auth", "status": 423})
        place = Workplace(tmp_path, dsm)
        place.app("payments")
        config = str(place.write(HEAD.replace("1s", "30m")))
        socket = f"--socket={tmp_path / 'api.sock'}"
        with running("run", "--config", config) as process:
            appeared(tmp_path / "api.sock")
            time.sleep(1.0)
            (app,) = json.loads(command("status", "--json", socket).stdout)["apps"]
            assert app["state"] == "rejected"
            assert len(control(dsm, "requests?operation=auth")) == 1
            for _ in range(2 * MAX_REFUSALS):
                os.kill(process.pid, signal.SIGUSR1)
                time.sleep(0.12)
            assert 10 < len(control(dsm, "requests?operation=auth")) <= MAX_REFUSALS
