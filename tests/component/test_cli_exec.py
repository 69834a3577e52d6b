"""Programs run with a token by this kernel: started, restarted, signalled and reaped."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from signal import Signals
from typing import NoReturn

import pytest

from refresherd.cli import exec as command
from refresherd.cli.child.processes import (
    CAUGHT,
    IGNORED_BY_PYTHON,
    WAKE_UP,
    Caught,
    NotExecuted,
    Processes,
)
from refresherd.cli.command_line import main, parse
from refresherd.cli.errors import NotPermitted
from support.app_fields import ENDPOINT
from support.fake_daemon import FakeDaemon, fake_daemon
from support.programs_under_exec import ended, running, until

# Python 3.12 warns of threads that tests before these have left running.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
    pytest.mark.usefixtures("measured_programs"),
]

Capture = pytest.CaptureFixture[str]

ENVIRON = {"PATH": os.environ["PATH"]}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Restore the signal handlers after each test, and check the mask."""
    numbers = (*IGNORED_BY_PYTHON, WAKE_UP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & CAUGHT


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
    """Return the file to which programs log what they see."""
    log = tmp_path / "log"
    monkeypatch.setenv("LOG", str(log))
    return log


def send(number: Signals) -> None:
    """Send a signal to this thread: another thread of the tests would not hold it back."""
    signal.pthread_kill(threading.get_ident(), number)


class Became(Exception):
    """This process would now be the program."""


def test_without_on_refresh_the_program_replaces_the_command(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process stands between a service manager and its service."""
    arguments = parse("exec", ("payments", "--", "env", "-0"))

    def replace(program: str, argv: list[str], environ: Mapping[str, str]) -> NoReturn:
        raise Became(program, argv, environ)

    monkeypatch.setattr(os, "execvpe", replace)
    with pytest.raises(Became) as became:
        command.execute(arguments)
    program, argv, environ = became.value.args
    assert (program, argv) == ("env", ["env", "-0"])
    assert environ["FORTANIX_ACCESS_TOKEN"] == "first"
    assert environ["FORTANIX_API_ENDPOINT"] == ENDPOINT
    assert environ["PATH"] == os.environ["PATH"]
    assert signal.getsignal(Signals.SIGPIPE) is signal.SIG_DFL
    (request,) = fake.requests
    assert request.startswith("GET /v1/apps/payments/token?format=env&wait=59.")


def test_a_program_that_cannot_run_has_the_exit_status_of_env(
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


def test_without_a_token_the_program_does_not_run(
    fake: FakeDaemon, log: Path, capsys: Capture
) -> None:
    """It would fail later, and explain less."""
    fake.set_status("orders")
    assert main(["exec", "orders", "--timeout", "0.1", "--", "/bin/sh", "-c", "> $LOG"]) == 69
    assert "no valid token" in capsys.readouterr().err
    assert not log.exists()


def test_a_new_token_restarts_the_program(fake: FakeDaemon, log: Path) -> None:
    """The new process has it in its environment, and its end is the command's end."""
    with running("--on-refresh", "restart") as process:
        until(log, "first\n")
        fake.issue("payments", "second")
        assert ended(process) == (5, "")
    assert log.read_text() == "first\nsecond\n"


def test_a_new_token_can_be_a_signal_to_the_program(fake: FakeDaemon, log: Path) -> None:
    """It then fetches the token by itself."""
    with running("--on-refresh", "HUP") as process:
        until(log, "first\n")
        fake.issue("payments", "second")
        assert ended(process) == (6, "")
    assert log.read_text() == "first\nhup\n"


def test_a_restart_of_the_daemon_does_not_restart_the_program(fake: FakeDaemon, log: Path) -> None:
    """Only a different token does."""
    sent = "sent payments: first"
    with running("--on-refresh", "restart") as process:
        until(log, "first\n")
        fake.wait_for(sent)
        fake.requests.clear()
        fake.end_streams()
        fake.wait_for(sent)
        process.send_signal(Signals.SIGUSR1)
        status, err = ended(process)
    assert status == 7
    assert err == "refresherd exec: the daemon closed the connection; trying again\n"
    assert log.read_text() == "first\nusr1\n"


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 3", 3), ("kill -TERM $$", 143), ("kill -PIPE $$", 141), ("kill -KILL $$", 137)],
)
def test_the_programs_exit_status_is_passed_on(script: str, status: int, fake: FakeDaemon) -> None:
    """Like a shell's; the program's own signals are neither blocked nor ignored."""
    with running("--on-refresh", "HUP", script=script) as process:
        assert ended(process) == (status, "")
    assert fake.requests[0].startswith("GET /v1/apps/payments/token?format=env")


def test_the_program_keeps_running_if_tokens_are_refused() -> None:
    """A withdrawn permission is no reason to end it."""

    def refused() -> Iterator[Mapping[str, str]]:
        yield {"FORTANIX_ACCESS_TOKEN": "b"}
        yield {"FORTANIX_ACCESS_TOKEN": "c"}
        raise NotPermitted("not for you")

    offered: list[Mapping[str, str]] = []
    messages: list[str] = []
    command.offer_tokens(refused(), offered.append, messages.append)
    assert [environ["FORTANIX_ACCESS_TOKEN"] for environ in offered] == ["b", "c"]
    assert offered[0]["PATH"] == os.environ["PATH"]
    assert messages == ["not for you; the program keeps running with its current token"]


def test_waiting_for_a_signal_has_a_time_limit() -> None:
    """The runner must notice the end of the grace period."""
    with Processes() as processes:
        began = processes.now()
        assert processes.wait(0.02) is None
        assert processes.now() - began >= 0.02
        assert processes.wait(-1.0) is None


def test_a_sent_signal_differs_from_a_terminals() -> None:
    """A terminal signals the program itself; kill(1) signals only this process."""
    with Processes() as processes:
        send(Signals.SIGINT)
        assert processes.wait(None) == Caught(Signals.SIGINT, from_kernel=False)


def test_other_children_are_reaped_and_not_mistaken_for_the_program() -> None:
    """As process 1 of a container, exec inherits orphans, which must not pile up."""
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


def test_a_program_that_may_not_be_signalled_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo` becomes root, which this user may not signal."""

    def refuse(pid: int, number: int) -> None:
        raise PermissionError(pid, number)

    monkeypatch.setattr(os, "kill", refuse)
    Processes().kill(1, Signals.SIGTERM)


def test_late_signals_do_not_change_the_exit_status() -> None:
    """A new token or a TERM may arrive just as the program ends."""
    with Processes() as processes:
        processes.wake_up()
        send(Signals.SIGTERM)
    processes.wake_up()


def test_a_program_that_cannot_be_started_is_an_error() -> None:
    """The error says more than the exit status."""
    for program, status in (("/", 126), ("/no/such/program", 127)):
        with Processes() as processes, pytest.raises(NotExecuted) as error:
            processes.start([program], ENVIRON)
        assert error.value.status == status
