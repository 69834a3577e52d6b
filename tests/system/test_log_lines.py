"""The first and the last line of the installed daemon's log, and what `once` says beside it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from support.programs import PATIENCE, Workplace, command, emulator, eventually, running

HEAD = '[http]\nlisten = ["127.0.0.1:0", "[::1]:0"]\n'


def lines(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a log."""
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("api", [True, False])
def test_the_first_line_names_every_place_and_the_last_one_the_end(
    tmp_path: Path, *, api: bool
) -> None:
    """An operator sees which file and which addresses a daemon uses, and that it stopped whole.

    A warning about the configuration comes after it.
    """
    log = tmp_path / "log"
    with emulator() as dsm:
        workplace = Workplace(tmp_path, dsm)
        workplace.app("payments", 'at = 0.9\n[[apps.payments.files]]\npath = "token"\n')
        config = workplace.write(HEAD if api else f'{HEAD}[api]\npath = ""\n')
        with running("run", "--config", config.name, stderr=log, directory=tmp_path):
            eventually(tmp_path / "token")
    first, *_, last = lines(log)
    expected: dict[str, Any] = {"event": "started", "apps": 1, "config": str(config)}
    if api:
        expected["api"] = str(tmp_path / "api.sock")
    addresses = first.pop("http").split(", ")
    assert [address.rpartition(":")[0] for address in addresses] == ["127.0.0.1", "[::1]"]
    assert all(int(address.rpartition(":")[2]) for address in addresses)
    del first["ts"], first["level"], first["version"]
    assert first == expected
    assert last["event"] == "stopped"


def test_once_warns_of_a_daemon_that_writes_the_same_files(tmp_path: Path) -> None:
    """The two replace each other's tokens; nobody notices until both have been renewed."""
    with emulator("--apps", "2") as dsm:
        workplace = Workplace(tmp_path, dsm)
        workplace.app("payments", '[[apps.payments.files]]\npath = "payments.token"\n')
        workplace.app("orders", '[[apps.orders.files]]\npath = "orders.token"\n', key=1)
        config = str(workplace.write())
        with running("run", "--config", config):
            eventually(tmp_path / "payments.token")
            wait_for(tmp_path / "api.sock")
            beside = command("once", "--config", config, "--app", "payments")
        alone = command("once", "--config", config, "--app", "payments")
    assert beside.returncode == alone.returncode == 0
    warning, *_ = beside.stderr.splitlines()
    assert warning.startswith(
        f"refresherd once: warning: the daemon on {tmp_path}/api.sock writes "
        f"{tmp_path}/payments.token as well"
    )
    assert "warning" not in alone.stderr


def wait_for(path: Path) -> None:
    """Return as soon as there is something at a path."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
