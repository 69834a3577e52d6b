"""The installed daemon overwrites no key, whatever leads there, and trusts no planted session."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.lab import needs_root
from support.programs import PATIENCE, Dsm, Workplace, command, emulator, eventually, running

HEAD = 'state_dir = "state"\nready = "started"\n[http]\nlisten = []\n'

BOOTSTRAP = "Zk3-x_9QbT" * 8


@pytest.fixture
def dsm() -> Iterator[Dsm]:
    """Yield a running DSM."""
    with emulator() as dsm:
        yield dsm


def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition to hold."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("leads_to", "complaint"), [("keys", "api_key_file"), ("state", "it is in state_dir now")]
)
def test_a_link_that_appears_later_costs_no_file(
    tmp_path: Path, dsm: Dsm, leads_to: str, complaint: str
) -> None:
    """The output waits until the link is gone, and then goes on by itself."""
    place = Workplace(tmp_path, dsm)
    place.app("a", '[[apps.a.files]]\npath = "out/a.key"\n')
    out, keys, token = tmp_path / "out", tmp_path / "keys", tmp_path / "out" / "a.key"
    out.mkdir()
    keys.mkdir()
    config = place.write(HEAD)
    key = (tmp_path / "a.key").rename(keys / "a.key").read_text()
    config.write_text(config.read_text().replace('"a.key"', '"keys/a.key"'))
    log = tmp_path / "log"
    with running("run", "--config", str(config), stderr=log) as daemon:
        first = eventually(token)
        out.rename(tmp_path / "away")
        out.symlink_to(leads_to)
        daemon.send_signal(signal.SIGUSR1)
        until(lambda: complaint in log.read_text())
        assert command("check", "--config", str(config)).returncode == 78
        assert not (tmp_path / "state" / "a.key").exists()
        out.unlink()
        (tmp_path / "away").rename(out)
        until(lambda: token.read_text() != first)
    assert (keys / "a.key").read_text() == key


def test_a_planted_session_is_handed_to_nobody(tmp_path: Path, dsm: Dsm) -> None:
    """Consumers would work under the identity of whoever planted it."""
    needs_root()
    place = Workplace(tmp_path, dsm)
    output = f'[[apps.a.files]]\npath = "{tmp_path}/a.token"\n'
    place.sections.append(f'[apps.a]\ntoken_file = "bootstrap.token"\n{output}')
    config = place.write(HEAD)
    (tmp_path / "bootstrap.token").touch(mode=0o600)
    (tmp_path / "bootstrap.token").write_text(BOOTSTRAP)
    session = tmp_path / "state" / "a.session"
    session.parent.mkdir(mode=0o700)
    planted = {"endpoint": dsm.url, "access_token": "planted" * 12, "bootstrap_sha256": ""}
    session.write_text(json.dumps(planted))
    os.chown(session, 1, 1)
    log = tmp_path / "log"
    with running("run", "--config", str(config), stderr=log):
        until(lambda: "it belongs to user daemon (uid 1)" in log.read_text())
        until(lambda: "rejected" in log.read_text())
    assert not (tmp_path / "a.token").exists()
    assert "planted" * 12 not in log.read_text()


def test_a_state_directory_that_others_may_write_to_stops_the_start(
    tmp_path: Path, dsm: Dsm
) -> None:
    """It is a fault of the configuration, with the remedy."""
    place = Workplace(tmp_path, dsm)
    place.app("a")
    config = place.write(HEAD)
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o1777)
    refused = command("run", "--config", str(config))
    assert refused.returncode == 78
    assert "every user (mode 1777) may write to" in refused.stderr
