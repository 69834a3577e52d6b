"""What a service manager says in the environment, and the datagrams that it is sent."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.host.service_manager import (
    OWN,
    Descriptor,
    Manager,
    Notifier,
    reloading,
    without_own,
)
from support.service_manager import ServiceManager, manager_at

PID = 4711


def test_without_a_service_manager_there_is_nothing() -> None:
    """A daemon started by hand must not mistake its standard streams or a pipe for sockets."""
    assert Manager.of({}, PID) == Manager()


def test_everything_that_a_manager_passes_is_found() -> None:
    """All that sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3) describe."""
    environ = {
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_PID": str(PID),
        "WATCHDOG_USEC": "30000000",
        "LISTEN_PID": str(PID),
        "LISTEN_FDS": "2",
        "LISTEN_FDNAMES": "api:raw",
    }
    passed = (Descriptor(3, "api"), Descriptor(4, "raw"))
    assert Manager.of(environ, PID) == Manager("/run/systemd/notify", 30.0, passed)


def test_variables_for_another_process_are_ignored() -> None:
    """A shell that systemd started passes its variables on, and their descriptors are not ours."""
    environ = {"WATCHDOG_PID": "1", "WATCHDOG_USEC": "1", "LISTEN_PID": "1", "LISTEN_FDS": "3"}
    assert Manager.of(environ, PID) == Manager()


def test_a_descriptor_without_a_name_has_none() -> None:
    """Old managers name nothing, and an empty name must not shift the others'."""
    environ = {"LISTEN_PID": str(PID), "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:"}
    assert [one.name for one in Manager.of(environ, PID).passed] == ["a", "", ""]


@given(st.dictionaries(st.sampled_from(sorted(OWN)), st.text()))
def test_no_nonsense_keeps_the_daemon_from_starting(environ: dict[str, str]) -> None:
    """Others write the environment: no value in it may cause a traceback."""
    found = Manager.of({**environ, "LISTEN_PID": str(PID)}, PID)
    assert all(one.fd >= 3 for one in found.passed)
    assert found.watchdog is None or found.watchdog > 0


def test_children_get_no_variables_to_speak_for_the_daemon() -> None:
    """A hook that runs systemd-notify would otherwise report a state of the daemon."""
    environ = dict.fromkeys(OWN, "1") | {"PATH": "/bin"}
    assert without_own(environ) == {"PATH": "/bin"}


@pytest.mark.parametrize("form", ["{}/notify", "@refresherd-test-{}"])
def test_both_kinds_of_addresses_are_reached(form: str, tmp_path: Path) -> None:
    """Usually it is a path; managers in containers use the abstract namespace."""
    place = form.format(tmp_path if form.startswith("{") else os.getpid())
    manager, notifier = ServiceManager(place), Notifier(place)
    assert notifier.enabled
    assert notifier.send("READY=1", "STATUS=all is wéll")
    assert [message.lines for message in manager.take()] == [("READY=1", "STATUS=all is wéll")]
    notifier.close()
    manager.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1234"])
def test_without_a_manager_every_message_counts_as_sent(address: str) -> None:
    """A daemon that is started by hand has nobody to notify, and must not try for ever."""
    notifier = Notifier(address)
    assert not notifier.enabled
    assert notifier.send("READY=1")
    notifier.close()


def test_a_manager_that_does_not_read_blocks_nothing(tmp_path: Path) -> None:
    """It must not stop the refreshes; what it missed is sent again."""
    manager = manager_at(tmp_path)
    notifier = Notifier(manager.address)
    manager.flood()
    assert not notifier.send("READY=1")
    manager.take()
    assert notifier.send("READY=1")
    assert manager.take()[0].lines == ("READY=1",)
    notifier.close()
    manager.close()


def test_a_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """Systemd itself may be replaced while services run."""
    notifier = Notifier(str(tmp_path / "notify"))
    assert not notifier.send("READY=1")
    notifier.close()


def test_descriptors_go_with_the_message(tmp_path: Path) -> None:
    """The manager keeps them under the name in the same datagram, or not at all."""
    manager = manager_at(tmp_path)
    notifier = Notifier(manager.address)
    fd = os.memfd_create("test")
    os.write(fd, b"content")
    assert notifier.send("FDSTORE=1", "FDNAME=a", descriptors=[fd])
    os.close(fd)
    manager.take()
    (received,) = manager.stored["a"]
    assert os.pread(received, 100, 0) == b"content"
    notifier.close()
    manager.close()


def test_a_reload_is_dated_by_the_clock_that_systemd_reads() -> None:
    """Systemd 253 ignores a RELOADING=1 that is older than its request: CLOCK_MONOTONIC, in µs."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    kind, stamp = reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    name, _, value = stamp.partition("=")
    assert (kind, name) == ("RELOADING=1", "MONOTONIC_USEC")
    assert before <= int(value) <= after
