"""A shell that gets a page's blocks as a reader pastes them: whole, and without a pause."""

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from support.documentation import Command, pattern

PATIENCE = 60.0
"""Seconds that a healthy command never needs, however slow the host."""

END = re.compile(r"<<end of a command: (\d+)>>\n")
PREPARE = "failed=0; trap 'failed=$?' ERR\n"
REPORT = "printf '<<end of a command: %d>>\\n' $failed; failed=0\n"
"""Reports the status of the last line that failed: a reader cannot go on after a failed line."""

ASKS = re.compile(r"\bread -")
"""A command that reads a line from the terminal."""


@dataclass(slots=True)
class Session:
    """A running shell. What it prints is compared with what the page shows."""

    shell: subprocess.Popen[str]
    replacements: Mapping[str, str] = field(default_factory=dict)
    """Names and paths that a page shows, and those of the test. Output is compared in the page's
    terms."""
    typed: str = ""
    """The line that the reader types when a command asks for one."""

    def run(self, command: Command) -> None:
        """Run a command that succeeds and prints what the page shows.

        The shell gets all its lines in one piece, as after a paste into a terminal. A line that
        reads standard input therefore swallows the next ones, and a line that needs a program in
        the background to be ready must wait for it.
        """
        typed = self.typed if ASKS.search(command.text) else ""
        self._send(self.to_test(command.text).rstrip("\n") + "\n" + typed + REPORT)
        output, status = self._read(command)
        if command.interrupted:
            return
        assert status == "0", f"{command.text}\n…failed with status {status}:\n{output}"
        if command.output is not None:
            printed = self.to_page(output).strip("\n")
            lines = f"{printed}\n" if printed else ""
            assert pattern(command.output).fullmatch(lines), f"{command.text}\n…printed:\n{printed}"

    def save(self, path: str, text: str) -> None:
        """Save a file that the page shows, below the directory that the shell is in."""
        self.run(Command(f"cat >{path} <<'end of the file'\n{text}end of the file"))

    def to_test(self, text: str) -> str:
        """Return a page's text with the names and paths of the test."""
        for shown, actual in self.replacements.items():
            text = text.replace(shown, actual)
        return text

    def to_page(self, text: str) -> str:
        """Return a program's output with the names and paths that the page shows."""
        for shown, actual in self.replacements.items():
            text = text.replace(actual, shown)
        return text

    def _send(self, text: str) -> None:
        assert self.shell.stdin is not None
        self.shell.stdin.write(text)
        self.shell.stdin.flush()

    def _read(self, command: Command) -> tuple[str, str]:
        """Return what a command prints, and its status; interrupt it where the page does."""
        assert self.shell.stdout is not None
        descriptor = self.shell.stdout.fileno()
        output, interrupt = "", command.interrupted
        deadline = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while (end := END.search(output)) is None:
                left = deadline - time.monotonic()
                assert left > 0, f"{command.text}\n…takes too long:\n{output}"
                if not selector.select(left):
                    continue
                piece = os.read(descriptor, 65536)
                assert piece, f"{command.text}\n…ended the shell:\n{output}"
                output += piece.decode(errors="replace")
                shown = self.to_page(output)
                if interrupt and pattern(command.output or "").match(shown):
                    os.kill(_in_foreground(self.shell.pid), signal.SIGINT)
                    interrupt = False
        assert not interrupt, f"{command.text}\n…ended by itself:\n{output}"
        return output[: end.start()], end[1]


@contextmanager
def session(argv: Sequence[str], directory: Path, environ: Mapping[str, str]) -> Iterator[Session]:
    """Start a shell in a directory. At the end, stop it with everything that it started."""
    shell = subprocess.Popen(
        argv,
        cwd=directory,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert shell.stdin is not None
        shell.stdin.write(PREPARE)
        yield Session(shell)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
        try:
            shell.communicate(timeout=PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()


def _in_foreground(pid: int) -> int:
    """Return the process that the shell started last; `pid` may be the shell's parent."""
    child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[-1])
    is_shell = Path(f"/proc/{pid}/comm").read_text().strip() == "bash"
    return child if is_shell else _in_foreground(child)
