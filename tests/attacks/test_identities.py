"""Local users who pretend to be somebody else: the installed daemon gives them no token."""

import errno
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import refused_option
from support.lab import needs, needs_tool
from support.other_users import AS_ROOT, Identity, reachable, unit_group
from support.programs import REFRESHERD, Workplace, emulator, eventually

pytestmark = AS_ROOT

UNIT = "refresherdtest-consumer.service"

USER, PERMITTED, PERMITTED_GROUP = "1234", "1235", "777"

NOBODY = "65534"
"""The kernel shows it for every user without a number in the daemon's user namespace."""

APP = f"""
[apps.payments.access]
users = ["{PERMITTED}", "{NOBODY}"]
groups = ["{PERMITTED_GROUP}"]
units = ["{UNIT}"]
[[apps.payments.files]]
path = "payments.token"
[[apps.payments.sockets]]
path = "payments.sock"
"""

TOKEN = "/v1/apps/payments/token"

REQUEST = (
    "GET /v1/apps/payments/token HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n{fields}\\r\\n"
)

ASK = f"""
def ask(connection, fields=""):
    connection.sendall(f"{REQUEST}".encode())
    while received := connection.recv(65536):
        sys.stdout.write(received.decode())
"""

DIRECTLY = ASK + "ask(dial())"

HANDED_OVER = ASK + (
    "import array\n"  # socket.send_fds needs it, when libraries may be out of reach
    "mine, yours = socket.socketpair()\n"
    "if not (child := os.fork()):\n"
    f"    os.setresuid({USER}, {USER}, {USER})\n"
    "    made = dial()\n"
    "    socket.send_fds(mine, [b'x'], [made.fileno()])\n"
    "    os._exit(0)\n"
    "mine.close()\n"
    "connection = socket.socket(fileno=socket.recv_fds(yours, 1, 1)[1][0])\n"
    "os.waitpid(child, 0)\n"
)
"""Has a user's process make a connection, hand it over, and end."""

WAIT_AND_ASK = HANDED_OVER + "print(child, flush=True)\nsys.stdin.readline()\nask(connection)\n"

SO_PEERPIDFD = 77


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon, and where it listens."""

    process: "subprocess.Popen[bytes]"
    directory: Path

    @property
    def api(self) -> Path:
        """The API socket."""
        return self.directory / "api.sock"


@contextmanager
def running(*wrapper: str) -> Iterator[Daemon]:
    """Run the daemon until the block ends; the wrapper is a command that starts it."""
    with ExitStack() as stack:
        directory = stack.enter_context(reachable())
        workplace = Workplace(directory, stack.enter_context(emulator()))
        workplace.app("payments", APP)
        config = workplace.write()
        process = subprocess.Popen([*wrapper, REFRESHERD, "run", "--config", str(config)])
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        eventually(directory / "payments.token")
        yield Daemon(process, directory)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Run one daemon for all tests here."""
    with running() as found:
        yield found


def heard(command: Sequence[str]) -> str:
    """Return what a process prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


def answered(text: str) -> str:
    """Return an answer's status; no answer but 200 has a token in it."""
    status = text.split()[1]
    assert ("access_token" in text) == (status == "200")
    return status


@pytest.mark.parametrize(
    ("who", "status"),
    [
        (Identity("0"), "200"),
        (Identity(PERMITTED), "200"),
        (Identity(USER, PERMITTED_GROUP), "200"),
        (Identity(USER, USER, f"5,{PERMITTED_GROUP}"), "200"),
        (Identity(USER), "403"),
        (Identity(USER, "0", "0,5"), "403"),
        (Identity(NOBODY), "200"),
    ],
)
def test_only_those_named_get_the_token(daemon: Daemon, who: Identity, status: str) -> None:
    """The attacks below fail for the attacker's sake, since the same request can succeed."""
    assert answered(heard(who.command(DIRECTLY, daemon.api))) == status


@pytest.mark.parametrize(
    "claim",
    [
        "Authorization: Bearer root",
        "Authorization: Basic cm9vdDpyb290",
        "Cookie: user=root; uid=0",
        "Forwarded: for=127.0.0.1;by=root",
        "From: root@localhost",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-User: root",
        "X-Original-URL: /v1/apps/payments",
        "X-Remote-User: root",
        "X-Uid: 0",
    ],
)
def test_a_request_says_nothing_about_who_sends_it(daemon: Daemon, claim: str) -> None:
    """Whatever a proxy would believe, here only the kernel is asked."""
    script = ASK + f'ask(dial(), "{claim}\\r\\n")'
    assert answered(heard(Identity(USER).command(script, daemon.api))) == "403"


@pytest.mark.parametrize(
    "options",
    [
        ("--user", "--map-root-user"),
        ("--user", f"--map-user={PERMITTED}"),
        ("--user", "--map-root-user", f"--map-group={PERMITTED_GROUP}"),
        ("--user", "--map-root-user", "--pid", "--fork", "--mount-proc"),
        ("--user", "--map-root-user", "--net", "--ipc", "--uts", "--cgroup"),
    ],
)
def test_another_name_in_a_namespace_counts_for_nothing(
    daemon: Daemon, options: Sequence[str]
) -> None:
    """Every user may be root, or anybody else, in a namespace of their own."""
    unshare = (needs_tool("unshare"), *options)
    user = (needs_tool("setpriv"), f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
    needs(subprocess.run([*user, *unshare, "true"], check=False).returncode == 0, "namespaces")
    curl = (needs_tool("curl"), "--silent", "--include", "--unix-socket", str(daemon.api))
    assert answered(heard([*user, *unshare, *curl, f"http://x{TOKEN}"])) == "403"


def test_in_a_user_namespace_strangers_are_nobody() -> None:
    """There the kernel shows all of them as one user, who may be named and is still nobody."""
    unshare = (needs_tool("unshare"), "--user", "--map-root-user")
    needs(subprocess.run([*unshare, "true"], check=False).returncode == 0, "namespaces")
    with running(*unshare) as daemon:
        assert answered(heard(Identity("0").command(DIRECTLY, daemon.api))) == "200"
        for who in (Identity(NOBODY), Identity(PERMITTED), Identity(USER, PERMITTED_GROUP)):
            text = heard(who.command(DIRECTLY, daemon.api))
            assert answered(text) == "403"
            assert "in its user namespace stands for every user" in text


@pytest.mark.parametrize("taker", ["0", PERMITTED])
def test_a_connection_belongs_to_who_made_it(daemon: Daemon, taker: str) -> None:
    """A program with more rights may be made to use a connection that it did not open."""
    script = HANDED_OVER + f"os.setresuid({taker}, {taker}, {taker})\nask(connection)\n"
    assert answered(heard(Identity().command(script, daemon.api))) == "403"


@pytest.mark.parametrize(
    ("owner", "group", "mode"),
    [
        (0, 0, 0o4755),
        (int(PERMITTED), 0, 0o4755),
        (0, int(PERMITTED_GROUP), 0o2755),
    ],
)
def test_a_set_id_program_that_inherits_a_connection_lends_it_nothing(
    daemon: Daemon, owner: int, group: int, mode: int
) -> None:
    """sudo, mount and others write to descriptors that their callers chose."""
    shell = daemon.directory / "shell"
    shutil.copy(needs_tool("dash"), shell)
    os.chown(shell, owner, group)
    shell.chmod(mode)
    talk = f"id -u; id -g; printf '{REQUEST.format(fields='')}' >&3; exec cat <&3"
    script = (
        "connection = dial()\n"
        "os.dup2(connection.fileno(), 3)\n"
        "os.set_inheritable(3, True)\n"
        f"os.execv({str(shell)!r}, ['shell', '-p', '-c', {talk!r}])\n"
    )
    uid, gid, answer = heard(Identity(USER).command(script, daemon.api)).split("\n", 2)
    assert (int(uid) == owner and mode & 0o4000) or (int(gid) == group and mode & 0o2000)
    assert answered(answer) == "403"


@pytest.mark.parametrize(
    ("groups", "later", "status"), [("", PERMITTED_GROUP, "403"), (PERMITTED_GROUP, "", "200")]
)
def test_groups_are_those_of_the_moment_of_connecting(
    daemon: Daemon, groups: str, later: str, status: str
) -> None:
    """A process may gain a group as it goes on, or lose one: neither changes what it opened."""
    script = ASK + (
        f"os.setgroups([{groups}])\n"
        f"os.setegid({USER})\n"
        f"os.seteuid({USER})\n"
        "connection = dial()\n"
        "os.seteuid(0)\n"
        f"os.setgroups([{later}])\n"
        f"os.setresuid({USER}, {USER}, {USER})\n"
        "ask(connection)\n"
    )
    assert answered(heard(Identity().command(script, daemon.api))) == status


@pytest.mark.parametrize("unit", [UNIT, "refresherd.service"])
def test_an_address_is_no_proof_of_a_unit(daemon: Daemon, unit: str) -> None:
    """Any process may connect from where systemd does for LoadCredential=."""
    script = ASK + (
        "connection = socket.socket(socket.AF_UNIX)\n"
        f"connection.bind(b'\\0' + os.urandom(8).hex().encode() + b'/unit/{unit}/token')\n"
        "connection.connect(path)\n"
        "ask(connection)\n"
    )
    assert answered(heard(Identity(USER).command(script, daemon.api))) == "403"


def test_a_socket_of_an_apps_own_admits_by_its_mode(daemon: Daemon) -> None:
    """The kernel itself keeps others out, whatever address they claim."""
    script = (
        "connection = socket.socket(socket.AF_UNIX)\n"
        f"connection.bind(b'\\0abc/unit/{UNIT}/token')\n"
        "try:\n"
        "    connection.connect(path)\n"
        "except PermissionError:\n"
        "    print('refused')\n"
    )
    path = daemon.directory / "payments.sock"
    for user in (USER, PERMITTED):
        assert heard(Identity(user).command(script, path)) == "refused\n"


def test_a_user_cannot_name_a_unit(daemon: Daemon) -> None:
    """The manager of a user's session names the groups below its own as the user likes."""
    with unit_group(f"user@{USER}.service") as manager:
        below = manager / "app.slice" / UNIT
        below.mkdir(parents=True)
        try:
            text = heard(Identity(USER, unit=str(below)).command(DIRECTLY, daemon.api))
        finally:
            below.rmdir()
            below.parent.rmdir()
        assert answered(text) == "403"


def test_a_unit_is_proof(daemon: Daemon) -> None:
    """Without this, the attacks on units would prove nothing."""
    with unit_group(UNIT) as unit:
        text = heard(Identity(USER, unit=str(unit)).command(DIRECTLY, daemon.api))
        assert answered(text) == "200"


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ESRCH, errno.ENOPROTOOPT])
def test_a_pid_that_passed_to_another_process_is_no_proof(error: int) -> None:
    """The kernel is asked as long as it can answer for the process that connected.

    Linux 6.5 to 6.15 answer EINVAL or ESRCH about a process that has ended: then nobody knows.
    Older ones do not know the option, so the daemon has to look as soon as it accepts.
    """
    needs(platform.machine() in refused_option.GETSOCKOPT, "a known machine")
    wrapper = (sys.executable, refused_option.__file__, str(SO_PEERPIDFD), str(error))
    with ExitStack() as stack:
        unit = stack.enter_context(unit_group(UNIT))
        daemon = stack.enter_context(running(*wrapper))
        accepted_at_once = error == errno.ENOPROTOOPT
        if not accepted_at_once:
            daemon.process.send_signal(signal.SIGSTOP)
            stack.callback(daemon.process.send_signal, signal.SIGCONT)
        attacker = stack.enter_context(
            subprocess.Popen(
                Identity().command(WAIT_AND_ASK, daemon.api),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert attacker.stdout is not None
        pid = int(attacker.stdout.readline())
        if accepted_at_once:
            time.sleep(0.5)
        with successor(pid) as process:
            (unit / "cgroup.procs").write_text(str(process.pid))
            daemon.process.send_signal(signal.SIGCONT)
            text, _ = attacker.communicate("ask\n", timeout=30)
        # On a busy host, the process may have ended before the connection was accepted. Then an
        # older kernel has nothing to say about it, and the client is told to connect again.
        assert answered(text) in ({"403", "503"} if accepted_at_once else {"403"})


@contextmanager
def successor(pid: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process that has this pid, which was another's."""
    for _ in range(50):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        with subprocess.Popen(["sleep", "60"]) as process:  # noqa: S607  # wherever it is
            try:
                if process.pid == pid:
                    yield process
                    return
            finally:
                process.kill()
    pytest.skip("other processes took the pid")
