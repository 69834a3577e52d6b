"""Datagrams to the service manager: where they go, and what becomes of them in a flood."""

import os
import time
from pathlib import Path

import pytest

from refresherd.host.sd_notify import Notifier, reloading
from support.service_manager import ServiceManager, manager_at


@pytest.mark.parametrize("form", ["{}/notify", "@refresherd-test-{}"])
def test_both_kinds_of_addresses_are_reached(form: str, tmp_path: Path) -> None:
    """The user's manager has a path; managers in containers use the abstract namespace."""
    place = form.format(tmp_path if form.startswith("{") else os.getpid())
    manager, notifier = ServiceManager(place), Notifier(place)
    assert notifier.heard
    assert notifier.send("READY=1", "STATUS=all is wéll")
    assert [message.lines for message in manager.take()] == [("READY=1", "STATUS=all is wéll")]
    notifier.close()
    manager.close()


@pytest.mark.parametrize("address", ["", "vsock:2:1234"])
def test_without_a_manager_all_is_said(address: str) -> None:
    """A daemon that is started by hand has nobody to tell, and must not try for ever."""
    notifier = Notifier(address)
    assert not notifier.heard
    assert notifier.send("READY=1")
    notifier.close()


def test_a_flooded_manager_holds_up_nobody(tmp_path: Path) -> None:
    """A manager that does not read must not stop the refreshes; what it missed is said again."""
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
