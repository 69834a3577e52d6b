"""A shell that a page's commands are typed into, one after the other, as a reader would."""

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
"""Seconds within which a healthy command has ended, however slow the host."""

END = re.compile(r"<<end of a command: (\d+)>>\n")
PROMPT = "printf '<<end of a command: %d>>\\n' $?"


@dataclass(slots=True)
class Session:
    """A running shell. What it prints is compared with what the page shows."""

    shell: subprocess.Popen[str]
    directory: Path
    """Where the commands are put that the shell reads."""
    prefix: str = ""
    """The same directory as the shell sees it, if that is in another mount namespace."""
    reworded: Mapping[str, str] = field(default_factory=dict)
    """What a page says, such as a host's name, and what is true in the test. Output is compared
    after the replacement is undone."""
    typed: str = ""
    """What a command finds on standard input."""

    def run(self, command: Command) -> None:
        """Run a command to its end. It must succeed, and print what is shown."""
        text = self.to_test(command.text)
        (self.directory / ".typed").write_text(self.typed)
        (self.directory / ".command").write_text(text + "\n")
        where = self.prefix or str(self.directory)
        self._send(f". '{where}/.command' <'{where}/.typed'; {PROMPT}")
        output = self._read(command)
        if command.interrupted:
            return
        found = END.search(output)
        assert found is not None, f"{text}\n…did not end:\n{output}"
        output = output[: found.start()]
        assert found[1] == "0", f"{text}\n…ended with status {found[1]}:\n{output}"
        if command.output is not None:
            told = self.to_page(output)
            told += "" if told.endswith("\n") or not told else "\n"
            assert pattern(command.output).fullmatch(told), f"{text}\n…printed:\n{told}"
        if text.rstrip().endswith("&"):
            self._await_greeting(text)

    def save(self, path: str, text: str) -> None:
        """Save a file that the page shows, below the directory that the shell is in."""
        self.run(Command(f"cat >{path} <<'end of the file'\n{text}end of the file"))

    def to_test(self, text: str) -> str:
        """Return a page's text as it is true in the test."""
        for said, true in self.reworded.items():
            text = text.replace(said, true)
        return text

    def to_page(self, text: str) -> str:
        """Return what was printed in the page's terms."""
        for said, true in self.reworded.items():
            text = text.replace(true, said)
        return text

    def _send(self, line: str) -> None:
        assert self.shell.stdin is not None
        self.shell.stdin.write(line + "\n")
        self.shell.stdin.flush()

    def _read(self, command: Command) -> str:
        """Return what comes up to the command's end; one that does not end is interrupted."""
        assert self.shell.stdout is not None
        descriptor = self.shell.stdout.fileno()
        output, interrupt = "", command.interrupted
        deadline = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while END.search(output) is None:
                left = deadline - time.monotonic()
                assert left > 0, f"{command.text}\n…goes on for too long:\n{output}"
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
        return output

    def _await_greeting(self, text: str) -> None:
        """Return once a program in the background has printed something into its file.

        A reader takes longer than that to type the next line.
        """
        named = re.search(r"2?>(\S+) &$", text.rstrip())
        if named is not None:
            self.run(Command(f"until [ -s {named[1]} ]; do sleep 0.02; done"))


@contextmanager
def session(argv: Sequence[str], directory: Path, environ: Mapping[str, str]) -> Iterator[Session]:
    """Start a shell in a directory, and end it with all that was started in it."""
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
        yield Session(shell, directory)
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
    """Return what the shell has started last; the shell may be the child of what entered there."""
    child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[-1])
    is_shell = Path(f"/proc/{pid}/comm").read_text().strip() == "bash"
    return child if is_shell else _in_foreground(child)
