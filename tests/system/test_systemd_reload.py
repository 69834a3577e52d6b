"""`systemctl reload` on a real systemd."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.nspawn import PATIENCE, until
from support.systemd_host import APP, HEAD, SERVICE, Host, shown, wait_for

SECOND = '[[apps.payments.files]]\npath = "/run/refresherd/second.token"\n'


@pytest.fixture
def started(host: Host) -> Host:
    """Return a host whose daemon is ready."""
    host.app("payments")
    host.systemctl("start", SERVICE)
    return host


@contextmanager
def slow_disk(host: Host) -> Iterator[None]:
    """Make readers of the configuration wait until the block ends."""
    here = "cd /etc/refresherd && "
    host.machine.run("sh", "-c", here + "mv config.toml aside && mkfifo config.toml")
    yield
    # A second reader finds the original content.
    host.machine.run(
        "sh", "-c", here + "exec >config.toml && mv aside config.toml && cat config.toml"
    )


def reloading(host: Host) -> "subprocess.Popen[bytes]":
    """Begin a reload."""
    return subprocess.Popen(host.machine.command("systemctl", "reload", SERVICE))


def test_reload_applies_the_configuration(started: Host) -> None:
    """The operator's change applies, and the session stays the same."""
    token = started.machine.read("/run/refresherd/payments.token")
    logins = started.statistics("payments")["logins"]
    started.configure(HEAD + APP.format(name="payments") + SECOND)
    started.systemctl("reload", SERVICE)
    until(lambda: started.machine.read("/run/refresherd/second.token") == token)
    assert started.statistics("payments")["logins"] == logins
    assert shown(started, "ActiveState") == "active"


def test_reload_returns_when_it_is_done(started: Host) -> None:
    """A script that continues after `systemctl reload` relies on the new configuration."""
    with slow_disk(started):
        reload = reloading(started)
        wait_for(started, "SubState", "reload")
        # The commands of ExecReload= have ended: only the daemon's word is waited for.
        wait_for(started, "ControlPID", "0")
        assert (shown(started, "ActiveState"), reload.poll()) == ("reloading", None)
    assert reload.wait(PATIENCE) == 0
    assert shown(started, "ActiveState") == "active"


def test_reload_of_a_faulty_file_changes_nothing_and_says_why(started: Host) -> None:
    """A typo must not remove the tokens, and `systemctl status` is where people look."""
    before = started.machine.read("/run/refresherd/payments.token")
    started.configure(HEAD.replace("endpoint", "endpiont") + APP.format(name="payments"))
    started.systemctl("reload", SERVICE)
    wanted = "configuration refused: /etc/refresherd/config.toml:"
    until(lambda: shown(started, "StatusText").startswith(wanted))
    assert shown(started, "ActiveState") == "active"
    assert started.machine.read("/run/refresherd/payments.token") == before


def test_reloads_in_a_row_each_return(started: Host) -> None:
    """A signal during a reload must leave nobody waiting."""
    reloads = [reloading(started) for _ in range(5)]
    assert [reload.wait(PATIENCE) for reload in reloads] == [0] * 5
    assert shown(started, "ActiveState") == "active"
