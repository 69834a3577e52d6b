"""What the installed daemon tells a service manager, and when; the test plays the manager."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.programs import Workplace, emulator, eventually, running
from support.service_manager import Message, ServiceManager, manager_at

pytestmark = pytest.mark.usefixtures("measured_programs")

HOOK = """
[[apps.payments.files]]
path = "payments.token"
[[apps.payments.hooks]]
command = ["sh", "-c", "env > {0}/env.new && mv {0}/env.new {0}/env"]
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    """Yield a listening service manager."""
    manager = manager_at(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    """Yield a workplace with one app whose hook writes down its environment."""
    with emulator("--lifetime", "60") as dsm:
        place = Workplace(tmp_path, dsm)
        place.app("payments", HOOK.format(tmp_path))
        yield place


def environ(manager: ServiceManager, **more: str) -> dict[str, str]:
    """Return the daemon's environment."""
    return {"NOTIFY_SOCKET": manager.address, **more}


def test_start_reload_and_stop_are_reported(place: Workplace, manager: ServiceManager) -> None:
    """A whole life of a unit, with one successful and one refused reload."""
    config = place.write()
    with running("run", "--config", str(config), environ=environ(manager)) as daemon:
        ready = manager.until(lambda message: message.value("READY"))
        assert (place.directory / "payments.token").exists()
        assert "1 of 1 fresh; next refresh at " in (ready.value("STATUS") or "")
        daemon.send_signal(signal.SIGHUP)
        assert manager.until(lambda message: message.value("RELOADING")).value("MONOTONIC_USEC")
        manager.until(lambda message: message.value("READY"))
        config.write_text(f"shutdwon = 'keep'\n{config.read_text()}")
        daemon.send_signal(signal.SIGHUP)
        manager.until(lambda message: message.value("RELOADING"))
        refused = manager.until(lambda message: message.value("READY")).value("STATUS") or ""
        assert refused.startswith("configuration refused: ")
        assert "config.toml:1: shutdwon" in refused
        daemon.send_signal(signal.SIGTERM)
        stopping = manager.until(lambda message: message.value("STOPPING"))
        assert stopping.value("STATUS") == "stopping: SIGTERM"
    assert all(_balanced(manager.heard))


def test_two_hups_in_a_row_end_in_ready(place: Workplace, manager: ServiceManager) -> None:
    """A service that stays in "reloading" for too long is ended by systemd."""
    with running("run", "--config", str(place.write()), environ=environ(manager)) as daemon:
        manager.until(lambda message: message.value("READY"))
        for _ in range(5):
            daemon.send_signal(signal.SIGHUP)
        manager.until(lambda message: message.value("READY"))
        daemon.send_signal(signal.SIGTERM)
        manager.until(lambda message: message.value("STOPPING"))
    assert all(_balanced(manager.heard))


def test_until_dsm_answers_the_start_is_kept_alive(
    place: Workplace, manager: ServiceManager
) -> None:
    """A host that boots before its network must not lose the daemon to TimeoutStartSec=."""
    config = place.write()
    config.write_text(config.read_text().replace(place.dsm.url, "http://127.0.0.1:9"))
    with running("run", "--config", str(config), environ=environ(manager)) as daemon:
        waiting = manager.until(lambda message: "connect" in (message.value("STATUS") or ""))
        assert waiting.value("EXTEND_TIMEOUT_USEC") == "60000000"
        assert (waiting.value("STATUS") or "").startswith(
            "starting: 0 of 1 fresh; waiting for payments: "
        )
        assert all(message.value("READY") is None for message in manager.heard)
        config.write_text(config.read_text().replace("http://127.0.0.1:9", place.dsm.url))
        daemon.send_signal(signal.SIGHUP)
        manager.until(lambda message: message.value("READY"))


def test_the_watchdog_is_fed_by_the_loop(place: Workplace, manager: ServiceManager) -> None:
    """An interval shorter than an attempt may take is warned about."""
    log = place.directory / "log"
    environment = environ(manager, WATCHDOG_USEC="900000")
    with running("run", "--config", str(place.write()), environ=environment, stderr=log):
        for _ in range(3):
            manager.until(lambda message: message.value("WATCHDOG") == "1")
    assert "WatchdogSec=0.9s is shorter than the longest step, 20 s for apps.payments" in (
        log.read_text()
    )


def test_a_watchdog_of_another_process_is_not_fed(
    place: Workplace, manager: ServiceManager
) -> None:
    """A child must not answer the watchdog for a wrapper that systemd watches."""
    environment = environ(manager, WATCHDOG_USEC="30000", WATCHDOG_PID="1")
    with running("run", "--config", str(place.write()), environ=environment):
        manager.until(lambda message: message.value("READY"))
    assert all(message.value("WATCHDOG") is None for message in manager.heard)


def test_hooks_cannot_speak_for_the_daemon(place: Workplace, manager: ServiceManager) -> None:
    """A hook with $NOTIFY_SOCKET could tell systemd anything in the daemon's name."""
    environment = environ(manager, WATCHDOG_USEC="30000000", LISTEN_FDS="0", LISTEN_PID="1")
    with running("run", "--config", str(place.write()), environ=environment):
        found = eventually(place.directory / "env")
    names = {line.partition("=")[0] for line in found.splitlines()}
    assert "REFRESHERD_APP" in names
    assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"}


def _balanced(messages: list[Message]) -> Iterator[bool]:
    """Yield whether each RELOADING is followed by a READY."""
    lines = [line for message in messages for line in message.lines]
    for index, line in enumerate(lines):
        if line == "RELOADING=1":
            yield "READY=1" in lines[index:]
