"""The daemon is killed, hangs and is restarted under a real systemd, which keeps its sessions."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from refresherd.domain.login_budget import BURST
from support.nspawn import until
from support.systemd_host import HEAD, SERVICE, SOCKET, Host, journal, shown, token, wait_for

TOKEN = "/run/refresherd/payments.token"

# A consumer that reads as fast as it can, each time on a new connection.
CONSUME = """\
while test ! -e /run/enough; do
  curl -sS --fail-with-body --unix-socket /run/refresherd/api.sock -w '\\n' \
    'http://localhost/v1/apps/payments/token?format=raw' >>/run/consumed 2>&1
done
"""


@pytest.fixture
def logins(host: Host) -> int:
    """Start the daemon, and return how often its app has logged in."""
    host.app("payments")
    host.systemctl("start", SERVICE)
    return int(host.statistics("payments")["logins"])


@contextmanager
def consumer(host: Host) -> Iterator[None]:
    """Read tokens until the block ends, and check that nothing else was read."""
    host.machine.run("rm", "-f", "/run/enough", "/run/consumed")
    host.machine.run("systemd-run", "--unit=consumer", "--collect", "sh", "-c", CONSUME)
    lines = consumed(host)
    until(lambda: consumed(host) > lines)
    yield
    lines = consumed(host)
    until(lambda: consumed(host) > lines + 1)
    host.machine.run("touch", "/run/enough")
    wait_for(host, "ActiveState", "inactive", "consumer.service")
    read = set(host.machine.read("/run/consumed").splitlines())
    assert read <= set(host.statistics("payments")["tokens"])


def consumed(host: Host) -> int:
    """Return how often the consumer has read."""
    return len(host.machine.read("/run/consumed").splitlines())


def kill(host: Host, signal: str) -> None:
    """Send the daemon a signal."""
    host.systemctl("kill", "--kill-whom=main", f"--signal={signal}", SERVICE)


def test_restart_keeps_the_session(host: Host, logins: int) -> None:
    """An upgrade costs no login and no token; API consumers do not notice it."""
    before, inode = host.machine.read(TOKEN), host.machine.ask("stat", "--format=%i", TOKEN)
    with consumer(host):
        host.systemctl("restart", SERVICE)
    assert (host.machine.read(TOKEN), token(host)) == (before, before)
    assert host.machine.ask("stat", "--format=%i", TOKEN) == inode, "nothing to write"
    assert host.statistics("payments")["logins"] == logins


def test_file_is_there_all_the_time(host: Host, logins: int) -> None:
    """Consumers may read the file at any time."""
    inode = host.machine.ask("stat", "--format=%i", TOKEN)
    host.systemctl("stop", SERVICE)
    assert host.machine.ask("stat", "--format=%i", TOKEN) == inode
    host.systemctl("start", SERVICE)
    assert host.statistics("payments")["logins"] >= logins


def test_crashes_in_a_row_leave_the_socket_open(host: Host, logins: int) -> None:
    """Each is a start by a waiting client, and systemd closes a socket that starts too often."""
    before = token(host)
    for _ in range(12):
        kill(host, "KILL")
        assert token(host) == before
    assert shown(host, "Result", SOCKET) == "success"
    assert host.statistics("payments")["logins"] == logins


def test_killed_daemon_comes_back_with_the_session(host: Host, logins: int) -> None:
    """A crash costs no login, and requests in the meantime wait for their answer."""
    before = host.machine.read(TOKEN)
    pid = shown(host, "MainPID")
    kill(host, "KILL")
    assert token(host) == before
    assert shown(host, "MainPID") != pid
    assert host.machine.read(TOKEN) == before
    assert host.statistics("payments")["logins"] == logins


def test_session_goes_on_from_where_it_was(host: Host, logins: int) -> None:
    """A daemon that is restarted often still refreshes in time, from the session that it has."""
    url = "http://localhost/v1/apps/payments"
    ask = ("curl", "-sS", "--unix-socket", "/run/refresherd/api.sock", url)
    before = json.loads(host.machine.run(*ask).stdout)
    host.systemctl("restart", SERVICE)
    after = json.loads(host.machine.run(*ask).stdout)
    assert after["expires_at"] == before["expires_at"]
    host.machine.run("/opt/refresherd/bin/refresherd", "refresh", "payments")
    assert host.statistics("payments")["logins"] == logins


def test_stopped_process_is_replaced(host: Host) -> None:
    """A hanging daemon would let every token expire, so the watchdog replaces it."""
    host.app("payments")
    host.drop_in("[Service]\nWatchdogSec=1s\n")
    host.systemctl("start", SERVICE)
    before, pid = host.machine.read(TOKEN), shown(host, "MainPID")
    kill(host, "STOP")
    until(lambda: shown(host, "NRestarts") == "1", lambda: journal(host))
    wait_for(host, "ActiveState", "active")
    assert shown(host, "MainPID") != pid
    assert token(host) == before


def test_healthy_daemon_is_left_alone(host: Host) -> None:
    """A watchdog that ends a healthy daemon is worse than none."""
    host.app("payments")
    host.drop_in("[Service]\nWatchdogSec=2s\n")
    host.systemctl("start", SERVICE)
    began = float(shown(host, "ActiveEnterTimestampMonotonic"))
    until(lambda: float(host.machine.read("/proc/uptime").split()[0]) * 1e6 > began + 5e6)
    assert (shown(host, "ActiveState"), shown(host, "NRestarts")) == ("active", "0")


def test_session_of_another_endpoint_is_not_taken_up(host: Host, logins: int) -> None:
    """A token must never go to another server than the one that issued it."""
    text = host.machine.read("/etc/refresherd/config.toml")
    host.configure(text.replace("http://127.0.0.1:8080", "http://localhost:8080"))
    host.systemctl("restart", SERVICE)
    assert host.statistics("payments")["logins"] == logins + 1


def test_stop_is_quick(host: Host, logins: int) -> None:
    """A host that shuts down does not wait; the daemon promises five seconds."""
    assert logins
    host.systemctl("stop", SERVICE)
    assert shown(host, "Result") == "success"
    assert shown(host, "ExecMainStatus") == "0"


def test_restarts_burn_no_key(host: Host) -> None:
    """Each could be another login with a refused key, and DSM resets the secret after 100."""
    host.app("payments", head=f'ready = "started"\n{HEAD}')
    key = "/etc/refresherd/payments.key"
    right = host.machine.read(key)
    host.machine.write(key, f"{right[:-8]}AAAAAAA=", 0o600)
    host.drop_in("[Service]\nRestartSec=100ms\n")
    before = failed_logins(host)
    host.systemctl("start", SERVICE)
    for number in range(1, BURST + 3):
        until(lambda: "rejected" in status(host), lambda: journal(host))
        kill(host, "KILL")
        wait_for(host, "NRestarts", str(number))
        wait_for(host, "ActiveState", "active")
    assert failed_logins(host) - before == BURST
    host.machine.write(key, right, 0o600)
    host.systemctl("restart", SERVICE)
    assert token(host)


def failed_logins(host: Host) -> int:
    """Return how often the DSM has refused the app's key."""
    return int(host.statistics("payments")["failed_logins"])


def status(host: Host) -> str:
    """Return the app's status, as JSON."""
    url = "http://localhost/v1/apps/payments"
    return host.machine.ask("curl", "-sS", "--unix-socket", "/run/refresherd/api.sock", url)
