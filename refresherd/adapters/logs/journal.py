"""Log lines for systemd's journal: with their level, and natively with fields to search by.

The native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL) is spoken here, for its few lines are
less than a library: systemd-python needs a compiler and headers, and `<N>` before a line on
standard error carries a level but no field.
"""

import os
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from refresherd.adapters.logs.rendering import Console, Fields, JsonLines, Logger

SOCKET = Path("/run/systemd/journal/socket")

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""Of syslog(3), by the level's name."""

NOT_A_FIELD = ("ts", "level", "exception")
"""The journal has its own time; the level is the priority; a traceback is part of the message."""


def connected(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether what is written to a stream gets into the journal: systemd.exec(5).

    $JOURNAL_STREAM names the device and inode that standard error had when the service was
    started; whoever has put something else in its place wants the lines there.
    """
    try:
        found = os.fstat(stream.fileno())
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM", "") == f"{found.st_dev}:{found.st_ino}"


class Prefixed:
    """Puts the level before each line of a text, as sd-daemon(3) has it: `<6>`."""

    def __init__(self, render: Console | JsonLines) -> None:
        self._render = render

    def __call__(self, logger: Logger, level: str, fields: Fields) -> bytes:
        """Return the lines."""
        prefix = b"<%d>" % PRIORITIES[level]
        lines = self._render(logger, level, fields).splitlines(keepends=True)
        return b"".join(prefix + line for line in lines)


class NativeEntries:
    """Renders a datagram of fields: `APP=`, and `REFRESHERD_…=` for what else is known."""

    def __init__(self) -> None:
        self._console = Console(colors=False)

    def __call__(self, logger: Logger, level: str, fields: Fields) -> bytes:
        """Return the datagram. No name in `fields` has another letter than of an identifier."""
        told = {name: value for name, value in fields.items() if name not in ("ts", "level")}
        message = self._console(logger, level, told).decode().rstrip("\n")
        entry = {
            "MESSAGE": message,
            "PRIORITY": PRIORITIES[level],
            "SYSLOG_IDENTIFIER": "refresherd",
        }
        for name, value in fields.items():
            if name not in NOT_A_FIELD:
                entry["APP" if name == "app" else f"REFRESHERD_{name.upper()}"] = value
        return b"".join(_assigned(name, str(value)) for name, value in entry.items())


class Datagrams:
    """Sends entries to the journal, from a thread that may wait for it.

    An entry is bounded and far smaller than a datagram may be (net.core.wmem_default), so none
    has to go by a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __call__(self, entries: Sequence[bytes]) -> None:
        """Send the entries. Raises OSError."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            for entry in filter(None, entries):
                journal.sendto(entry, self._path)


def _assigned(name: str, value: str) -> bytes:
    """Return a field; one of several lines says how long it is, for none may forge another."""
    encoded = value.encode()
    if b"\n" not in encoded:
        return b"%s=%s\n" % (name.encode(), encoded)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(encoded)), encoded)
