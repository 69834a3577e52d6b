"""An app's own socket under a real systemd: it outlives restarts and crashes.

The readers connect anew each time, and count what is not one whole token.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.nspawn import until
from support.systemd_host import HEAD, PYTHON, PYTHON_NAME, SERVICE, Host, journal, shown, wait_for

SOCKET = "/run/refresherd/payments.sock"
OUTPUT = f'[[apps.payments.sockets]]\npath = "{SOCKET}"\nmode = "0666"\n'

READER = """\
import json, os, socket, sys, time
read, failed = {}, []
while not os.path.exists("/run/enough"):
    time.sleep(float(sys.argv[2]))
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(sys.argv[1])
            token = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    except OSError as error:
        failed.append(str(error))
        continue
    read[token] = read.get(token, 0) + 1
    if sum(read.values()) % 100 == 1:
        open("/run/progress", "w").write(str(sum(read.values())))
print(json.dumps([read, failed]))
"""

USER = """\
[Service]
Type=oneshot
LoadCredential=token:{}
ExecStart=sh -c 'test -s $CREDENTIALS_DIRECTORY/token'
"""


@contextmanager
def reader(host: Host, pause: float) -> Iterator[None]:
    """Read until the block ends, and check that every read returned a token of this app."""
    host.machine.run("rm", "-f", "/run/enough", "/run/progress", "/run/read")
    host.machine.write("/run/reader.py", READER)
    command = f"{PYTHON}/bin/{PYTHON_NAME} /run/reader.py {SOCKET} {pause} >/run/read"
    library = f"--setenv=LD_LIBRARY_PATH={PYTHON}/lib"
    host.machine.run("systemd-run", "--unit=reader", "--collect", library, "sh", "-c", command)
    progress = "test -s /run/progress && echo yes"
    until(lambda: host.machine.ask("sh", "-c", progress), lambda: journal(host, "reader"))
    yield
    host.machine.run("touch", "/run/enough")
    wait_for(host, "ActiveState", "inactive", "reader.service")
    read, failed = json.loads(host.machine.read("/run/read"))
    assert failed == []
    assert set(read) <= set(host.statistics("payments")["tokens"])
    assert sum(read.values()) > 20


def kill(host: Host) -> None:
    """Kill the daemon, and return when its successor is ready."""
    pid = shown(host, "MainPID")
    host.systemctl("kill", "--kill-whom=main", "--signal=KILL", SERVICE)
    until(lambda: shown(host, "MainPID") not in {pid, "0"}, lambda: journal(host))
    wait_for(host, "ActiveState", "active")


def listening(host: Host) -> str:
    """Return the inode of the socket's file."""
    return host.machine.ask("stat", "--format=%i", SOCKET)


def test_no_read_fails_over_restarts(host: Host) -> None:
    """An upgrade of the daemon must not fail the start of a unit that needs a token."""
    host.app("payments", OUTPUT)
    host.systemctl("start", SERVICE)
    host.unit("user.service", USER.format(SOCKET))
    inode = listening(host)
    with reader(host, pause=0.0):
        for _ in range(4):
            host.systemctl("restart", "--no-block", SERVICE)
            for _ in range(5):
                host.systemctl("start", "user.service")
            wait_for(host, "ActiveState", "active")
    assert listening(host) == inode


def test_no_read_fails_over_crashes(host: Host) -> None:
    """Neither does a crash, unless it comes between a connection and its answer.

    These are microseconds, and the reader pauses for longer.
    """
    host.app("payments", OUTPUT)
    host.systemctl("start", SERVICE)
    host.unit("user.service", USER.format(SOCKET))
    inode = listening(host)
    with reader(host, pause=0.01):
        for _ in range(2):
            kill(host)
            host.systemctl("start", "user.service")
    assert listening(host) == inode


def test_stop_refuses_clients_at_once(host: Host) -> None:
    """Nobody waits for a service that was stopped; the next start listens there again."""
    host.app("payments", OUTPUT)
    host.systemctl("start", SERVICE)
    host.systemctl("stop", SERVICE, "refresherd-api.socket")
    script = f"import socket; socket.socket(socket.AF_UNIX).connect('{SOCKET}')"
    python = ("env", f"LD_LIBRARY_PATH={PYTHON}/lib", f"{PYTHON}/bin/{PYTHON_NAME}", "-c", script)
    began = time.monotonic()
    refused = host.machine.run(*python, check=False)
    assert "ConnectionRefusedError" in refused.stderr
    assert time.monotonic() - began < 5
    host.systemctl("start", SERVICE)
    host.machine.run(*python)


def test_other_rights_need_a_new_socket(host: Host) -> None:
    """Clients that queued under the old rights must not get a token under the new ones."""
    host.app("payments", OUTPUT)
    host.systemctl("start", SERVICE)
    before = listening(host)
    stored = shown(host, "NFileDescriptorStore")
    host.app("payments", OUTPUT.replace("0666", "0660"))
    host.systemctl("restart", SERVICE)
    assert listening(host) != before
    assert host.machine.ask("stat", "--format=%a", SOCKET) == "660"
    until(lambda: shown(host, "NFileDescriptorStore") == stored)


def test_a_socket_that_is_not_configured_any_more_is_gone(host: Host) -> None:
    """Whether the daemon learns of it by a reload or by a restart."""
    host.app("payments")
    host.systemctl("start", SERVICE)
    plain = shown(host, "NFileDescriptorStore")
    for verb in ("reload", "restart"):
        host.app("payments", OUTPUT)
        host.systemctl("restart", SERVICE)
        assert listening(host)
        host.app("payments")
        host.systemctl(verb, SERVICE)
        until(lambda: shown(host, "NFileDescriptorStore") == plain, lambda: journal(host))
        assert host.machine.run("test", "-e", SOCKET, check=False).returncode == 1


def test_api_that_is_switched_off_turns_its_clients_away(host: Host) -> None:
    """The socket unit still listens: without an answer its clients would wait for ever."""
    host.app("payments", head='[api]\npath = ""\n' + HEAD)
    host.systemctl("start", SERVICE)
    command = ("curl", "-sS", "--max-time", "10", "--unix-socket", "/run/refresherd/api.sock")
    done = host.machine.run(*command, "http://localhost/v1/apps", check=False)
    # Closed before curl had looked, before its request, or after it; 28 would be a timeout.
    assert done.returncode in {7, 52, 56}, done.stderr
    said = "so clients of /run/refresherd/api.sock are turned away; disable refresherd-api.socket"
    until(lambda: said in journal(host), lambda: journal(host))


ADDED = '[[apps.payments.files]]\npath = "/run/refresherd/{}.token"\n'


def test_reload_returns_when_a_new_file_holds_its_token(host: Host) -> None:
    """A script that adds an output and reloads goes on to use it, each time."""
    host.app("payments")
    host.systemctl("start", SERVICE)
    for number in range(12):
        path = Path(f"/run/refresherd/{number}.token")
        host.app("payments", ADDED.format(number))
        host.systemctl("reload", SERVICE)
        assert host.machine.read(str(path))
