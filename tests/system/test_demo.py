"""The demo as a newcomer meets it: the installed command, its commands to copy, and its end."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.lab import needs_tool
from support.programs import PATIENCE, REFRESHERD, command

ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
"""Runs its arguments on a pseudo-terminal that is fed from standard input."""

CTRL_C = b"\x03"

SCREEN_VARIABLES = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
"""What a terminal shows depends on them, so a test must not inherit them."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory for temporary directories, in which the demo must leave nothing."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def processes_of(directory: Path) -> list[int]:
    """Return the processes that have the directory in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(directory) in entry.read_bytes():
                found.append(int(entry.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return found


@contextmanager
def demo(place: Path, *options: str, terminal: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Run the demo, and end it with the block."""
    launcher = [sys.executable, "-c", ON_A_TERMINAL] if terminal else []
    process = subprocess.Popen(
        [*launcher, REFRESHERD, "demo", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **{name: value for name, value in os.environ.items() if name not in SCREEN_VARIABLES},
            "TMPDIR": str(place),
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
        },
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()


def until(process: subprocess.Popen[bytes], pattern: bytes) -> bytes:
    """Return the output as soon as it matches the pattern."""
    assert process.stdout is not None
    output = b""
    deadline = time.monotonic() + PATIENCE
    while not re.search(pattern, output):
        assert time.monotonic() < deadline, output
        piece = os.read(process.stdout.fileno(), 65536)
        assert piece, output
        output += piece
    return output


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Return the exit status, and the rest of both outputs, once the demo has ended."""
    out, err = process.communicate(timeout=PATIENCE)
    # What was read before may have ended within a character.
    return process.returncode, out.decode(errors="replace"), err.decode()


def test_it_runs_without_a_terminal_and_ends_by_itself(place: Path) -> None:
    """In CI or through a pipe it must report the same events in lines, and succeed."""
    # Neither variable makes a pipe a terminal.
    environ = {"TMPDIR": str(place), "FORCE_COLOR": "1", "COLUMNS": "20"}
    done = command("demo", "--apps", "2", "--lifetime", "4", "--for", "8", environ=environ)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    for app in ("app-1", "app-2"):
        assert f"{app}: token 1 by login" in done.stdout
        assert f"{app}: token 3 by reauth" in done.stdout
    summary = done.stdout[done.stdout.index("summary after") :]
    assert re.search(r"apps +2\n +refreshes +([4-9]|1\d)\n +failures +0\n", summary)
    reads = re.search(r"reads +(\d+) by the built-in consumer, 0 refused", summary)
    assert reads is not None
    assert int(reads[1]) >= 16


def test_it_draws_on_a_terminal_until_ctrl_c(place: Path) -> None:
    """A viewer who has seen enough presses Ctrl-C, and gets the summary and a sane terminal."""
    with demo(place, "--apps", "2", "--lifetime", "4", terminal=True) as process:
        assert process.stdin is not None
        seen = until(process, rb"[1-9] refreshes")
        process.stdin.write(CTRL_C)
        process.stdin.flush()
        status, out, _ = ended(process)
    assert status == 0
    for text in (b"refresherd demo", b"app-2", b"All 2 apps are well", b"curl --cacert"):
        assert text in seen
    assert "Traceback" not in out
    assert re.search(r"reads +[1-9]\d* by the built-in consumer, 0 refused", out)
    assert out.rindex("\x1b[?25h") > out.rfind("\x1b[?25l")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(place: Path, number: signal.Signals) -> None:
    """A demo that a service manager or a closed window ends leaves nothing behind either."""
    with demo(place, "--apps", "1", "--lifetime", "4") as process:
        until(process, rb"token 1")
        process.send_signal(number)
        status, out, err = ended(process)
    assert (status, err) == (0, "")
    assert "summary after" in out


def test_the_death_of_the_daemon_is_reported(place: Path) -> None:
    """A demo must not go on as if its daemon were still there."""
    with demo(place, "--apps", "1", "--lifetime", "4") as process:
        until(process, rb"token 1")
        (daemon,) = processes_of(place)
        os.kill(daemon, signal.SIGKILL)
        status, _, err = ended(process)
    assert status == 69
    assert "the daemon ended with status -9" in err
    assert "token refreshed" in err
    assert "Traceback" not in err


def test_a_closed_pipe_ends_it(place: Path) -> None:
    """`refresherd demo | head` is a fine way to see how it begins."""
    with demo(place, "--apps", "1", "--lifetime", "2") as process:
        until(process, rb"token 1")
        assert process.stdout is not None
        process.stdout.close()
        process.wait(PATIENCE)
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_the_commands_to_copy_work(place: Path) -> None:
    """A newcomer's first experience is a command that was copied from here."""
    needs_tool("curl")
    with demo(place, "--apps", "1", "--lifetime", "8") as process:
        guide = until(process, rb"token 1").decode()
        lines = [line.strip() for line in guide.splitlines() if line.startswith("  ")]
        keys, client, watch, metrics, fault, end = lines[:6]
        (url,) = re.findall(r"status page: +(http://\S+)", guide)
        assert "The app is well" in shell(f"curl --silent {url}")
        assert shell(keys) == "[]"
        assert shell(client).strip() in ("", "[]")
        assert len(shell(watch.removeprefix("watch -n1 "))) == 86
        assert 'refresherd_app_state{app="app-1",state="fresh"} 1' in shell(metrics)
        shell(fault)
        until(process, rb"failed \(server_error\)(.|\n)*-> fresh")
        shell(end)
        until(process, rb"failed \(session_lost\)(.|\n)*by login")


def shell(line: str) -> str:
    """Return what a shell prints for the line; it finds this environment's programs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_screen_has_the_terminals_size_whatever_the_environment_says(place: Path) -> None:
    """A shell may export the size of another terminal, in which each row would wrap here."""
    terminal, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environ = {**os.environ, "TMPDIR": str(place), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(
        [REFRESHERD, "demo", "--lifetime", "4"],
        stdin=program,
        stdout=program,
        stderr=program,
        env=environ | {"COLUMNS": "200", "LINES": "60"},
        start_new_session=True,
    )
    os.close(program)
    output, deadline = b"", time.monotonic() + PATIENCE
    try:
        while "╰".encode() not in output or b"fresh" not in output:
            assert time.monotonic() < deadline, output
            output += os.read(terminal, 65536)
    finally:
        process.terminate()
        with suppress(OSError):  # EIO, once the demo has closed its side
            while os.read(terminal, 65536):
                pass
        os.close(terminal)
        process.wait(PATIENCE)
    edges = re.findall(
        "╭[^╮\r\n]*╮", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.decode(errors="replace"))
    )
    assert edges
    assert all(len(edge) <= 80 for edge in edges)
