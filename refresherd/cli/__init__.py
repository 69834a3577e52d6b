"""The `refresherd` command: one module for each of its commands."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, sys.argv by default, and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    if "run" in words[:1]:
        _hold_back_requests()
    # Imported with the signals held back: this takes longer than Python's own start.
    from refresherd.cli import command_line

    return command_line.main(argv)


def _hold_back_requests() -> None:
    """Keep HUP and USR1 waiting until the daemon handles them: by default they end a process."""
    import signal  # slow to import, and no other command needs it here

    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP, signal.SIGUSR1))
