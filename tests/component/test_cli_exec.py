"""Programs run with a token, by this kernel: started, restarted, signalled and reaped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import Signals
from typing import NoReturn

import pytest

from refresherd.cli import exec as command
from refresherd.cli import main
from refresherd.cli.child.processes import FORWARDED, IGNORED_BY_PYTHON, WAKE_UP, Caught, Processes
from refresherd.cli.errors import NotExecuted, NotPermitted
from refresherd.cli.parser import parse
from support.fake_daemon import ENDPOINT, FakeDaemon, fake_daemon

Capture = pytest.CaptureFixture[str]

ENVIRON = {"PATH": os.environ["PATH"]}

SERVER = """
echo $FORTANIX_ACCESS_TOKEN >> $LOG
case $FORTANIX_ACCESS_TOKEN in second) exit 5;; esac
trap 'echo hup >> $LOG; exit 6' HUP
trap 'echo usr1 >> $LOG; exit 7' USR1
while :; do sleep 0.02; done
"""
"""A shell's program that tells its token, and ends by itself once that is `second`."""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Give these tests' process back the signals it had."""
    numbers = (*IGNORED_BY_PYTHON, Signals.SIGCHLD, WAKE_UP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & FORWARDED


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """Serve a daemon that has a token for payments."""
    path = tmp_path / "api.sock"
    monkeypatch.setenv("REFRESHERD_SOCKET", str(path))
    with fake_daemon(path) as daemon:
        daemon.issue("payments", "first")
        yield daemon


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where programs tell what they see."""
    log = tmp_path / "log"
    monkeypatch.setenv("LOG", str(log))
    return log


def until(log: Path, content: str) -> None:
    """Return once that is what programs have told."""
    deadline = time.monotonic() + 10
    while not log.exists() or log.read_text() != content:
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "nothing"
        time.sleep(0.01)


def send(number: Signals) -> None:
    """Send a signal to this thread: another one of this process would not hold it back."""
    signal.pthread_kill(threading.get_ident(), number)


class Became(Exception):
    """This process would be another program now."""


def test_without_a_refresh_to_tell_of_the_program_takes_this_place(fake: FakeDaemon) -> None:
    """No process stands between a service manager and its service."""
    by_operator = parse("exec", ("payments", "--", "env", "-0"))

    def replace(program: str, argv: list[str], environ: Mapping[str, str]) -> NoReturn:
        raise Became(program, argv, environ)

    with pytest.raises(Became) as became:
        command.execute(by_operator, replace)
    program, argv, environ = became.value.args
    assert (program, argv) == ("env", ["env", "-0"])
    assert environ["FORTANIX_ACCESS_TOKEN"] == "first"
    assert environ["FORTANIX_API_ENDPOINT"] == ENDPOINT
    assert environ["PATH"] == os.environ["PATH"]
    assert signal.getsignal(Signals.SIGPIPE) is signal.SIG_DFL
    assert fake.requests == ["GET /v1/apps/payments/token?format=env&wait=60"]


def test_a_program_that_will_not_run_has_envs_exit_status(
    fake: FakeDaemon, tmp_path: Path, capsys: Capture
) -> None:
    """Shells and service managers know 126 and 127."""
    fake.issue("payments")
    assert main(["exec", "payments", "--", "no-such-program"]) == 127
    assert main(["exec", "payments", "--", str(tmp_path)]) == 126
    assert capsys.readouterr().err.splitlines() == [
        "refresherd exec: no-such-program: no such program",
        f"refresherd exec: {tmp_path}: Permission denied",
    ]


def test_no_program_runs_without_a_token(fake: FakeDaemon, log: Path, capsys: Capture) -> None:
    """It would fail later, and say less about why."""
    fake.tell("orders")
    assert main(["exec", "orders", "--timeout", "0.1", "--", "/bin/sh", "-c", "> $LOG"]) == 69
    assert "no valid token" in capsys.readouterr().err
    assert not log.exists()


@contextmanager
def running(*options: str, script: str = SERVER) -> Iterator[subprocess.Popen[str]]:
    """Run a shell's program with what it takes to tell it of new tokens.

    In a process of its own: a thread of other tests would take signals that are held back here.
    """
    line = ["exec", "payments", *options, "--", "/bin/sh", "-c", script]
    process = subprocess.Popen(
        [sys.executable, "-m", "refresherd", *line], stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit status and what was written to standard error."""
    _, err = process.communicate(timeout=10)
    return process.returncode, err


def test_a_new_token_restarts_the_program(fake: FakeDaemon, log: Path) -> None:
    """The new process finds it in its environment; its own end is the end."""
    with running("--on-refresh", "restart") as process:
        until(log, "first\n")
        fake.issue("payments", "second")
        assert ended(process) == (5, "")
    assert log.read_text() == "first\nsecond\n"


def test_a_new_token_is_a_signal_to_the_program(fake: FakeDaemon, log: Path) -> None:
    """It can fetch the token by itself then."""
    with running("--on-refresh", "HUP") as process:
        until(log, "first\n")
        fake.issue("payments", "second")
        assert ended(process) == (6, "")
    assert log.read_text() == "first\nhup\n"


def test_the_same_token_from_a_daemon_started_anew_disturbs_nobody(
    fake: FakeDaemon, log: Path
) -> None:
    """Only a token that is another one is worth a restart."""
    message = "told payments: first"
    with running("--on-refresh", "restart") as process:
        until(log, "first\n")
        fake.heard(message)
        fake.requests.clear()
        fake.end_streams()
        fake.heard(message)
        process.send_signal(Signals.SIGUSR1)
        status, err = ended(process)
    assert status == 7
    assert err == "refresherd exec: the daemon closed the connection; trying again\n"
    assert log.read_text() == "first\nusr1\n"


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 3", 3), ("kill -TERM $$", 143), ("kill -PIPE $$", 141), ("kill -KILL $$", 137)],
)
def test_the_programs_end_is_told_as_shells_do(script: str, status: int, fake: FakeDaemon) -> None:
    """Signals are neither held back from it nor ignored in it."""
    with running("--on-refresh", "HUP", script=script) as process:
        assert ended(process) == (status, "")
    assert fake.requests[0].startswith("GET /v1/apps/payments/token?format=env")


def test_tokens_that_are_refused_leave_the_program_alone(capsys: Capture) -> None:
    """A withdrawn permission is no reason to end what runs."""

    def refused() -> Iterator[Mapping[str, str]]:
        yield {"FORTANIX_ACCESS_TOKEN": "b"}
        yield {"FORTANIX_ACCESS_TOKEN": "c"}
        raise NotPermitted("not for you")

    with Processes() as processes:
        mailbox = command.Mailbox(processes)
        mailbox.fill(refused())
        newest = mailbox.newest()
        assert newest is not None
        assert newest["FORTANIX_ACCESS_TOKEN"] == "c"
        assert mailbox.newest() is None
    expected = "refresherd exec: not for you; the program keeps running with its current token\n"
    assert capsys.readouterr().err == expected


def test_a_signal_is_awaited_no_longer_than_was_said() -> None:
    """The end of a grace is an event as well."""
    with Processes() as processes:
        began = processes.now()
        assert processes.wait(0.02) is None
        assert processes.now() - began >= 0.02
        assert processes.wait(-1.0) is None


def test_a_signal_that_somebody_sent_is_told_from_a_terminals() -> None:
    """A terminal's key reaches the program by itself; what kill(1) sends does not."""
    with Processes() as processes:
        send(Signals.SIGINT)
        assert processes.wait(None) == Caught(Signals.SIGINT, from_kernel=False)


def test_other_children_are_reaped_and_not_taken_for_the_program() -> None:
    """As process 1 of a container it inherits orphans, which must not pile up."""
    with Processes() as processes:
        orphan = processes.start(["false"], ENVIRON)
        os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
        pid = processes.start(["sleep", "60"], ENVIRON)
        assert processes.reap(pid) is None
        with pytest.raises(ProcessLookupError):
            os.kill(orphan, 0)
        processes.kill(pid, Signals.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert processes.reap(pid) == 137
        assert processes.reap(pid) is None


def test_a_program_of_another_user_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo` has become root, whom we may not signal; that ends nothing."""

    def refuse(pid: int, number: int) -> None:
        raise PermissionError(pid, number)

    monkeypatch.setattr(os, "kill", refuse)
    Processes().kill(1, Signals.SIGTERM)


def test_what_comes_too_late_does_not_change_the_exit_status() -> None:
    """A token may come, and a service manager lose patience, just as the program ends."""
    with Processes() as processes:
        processes.wake_up()
        send(Signals.SIGTERM)
    processes.wake_up()


def test_a_program_that_cannot_be_started_is_told() -> None:
    """The command's own line says more than an exit status."""
    for program, status in (("/", 126), ("/no/such/program", 127)):
        with Processes() as processes, pytest.raises(NotExecuted) as error:
            processes.start([program], ENVIRON)
        assert error.value.status == status
