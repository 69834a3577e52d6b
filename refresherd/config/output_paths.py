"""Paths that the daemon writes: they can be written and replaced."""

import os
import re
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from refresherd.config.findings import Finding, Kind, quoted
from refresherd.config.input_files import is_missing, is_read_only
from refresherd.config.parse import Settings
from refresherd.config.scalars import OutputPath
from refresherd.host.file_record import kind
from refresherd.host.unix_sockets import LONGEST_PATH, held

MADE_BY_SYSTEMD = ("RUNTIME_DIRECTORY", "LISTEN_FDS")
"""Variables of a unit whose directory or socket systemd creates: systemd.exec(5)."""

MOUNTINFO = Path("/proc/self/mountinfo")
MOUNT_POINT = re.compile(r"^(?:[^ \n]+ ){4}([^ \n]+)", re.MULTILINE)
"""The fifth field of its lines: proc_pid_mountinfo(5)."""

OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")


def check_output_paths(
    settings: Settings, mounts: frozenset[str] | None = None
) -> Iterator[Finding]:
    """Yield the directories, files and sockets that could not be written.

    `mounts` are the mount points of this machine, read from the kernel unless they are given.
    """
    mounts = mount_points() if mounts is None else mounts
    directory_fault = cache(_directory_fault)
    state = settings.state_dir
    # The daemon creates its state directory, but not the one around it.
    if state and (fault := directory_fault(state.parent if is_missing(state) else state)):
        yield Finding(("state_dir",), fault, Kind.TROUBLE)
    yield from _check_default_directory(settings)
    for key, location in settings.written(OutputPath):
        path, is_file = location.path, "files" in key[2:]
        fault = directory_fault(path.parent)
        if fault and not is_file and held(path):
            continue  # systemd has created this socket and passed it on
        length = len(os.fsencode(path))
        if not is_file and length > LONGEST_PATH:
            yield Finding(
                key,
                f"the path has {length} bytes, and a socket's may have at most {LONGEST_PATH}; "
                "shorten it",
            )
        elif fault := fault or _replacement_fault(path, mounts, is_file=is_file):
            yield Finding(key, fault, Kind.TROUBLE)


def _check_default_directory(settings: Settings) -> Iterator[Finding]:
    """Yield that there is no directory for the API socket that nobody has given a path.

    systemd creates it for a unit, which has one of these variables, and a daemon of root makes it.
    """
    path = settings.root.api.path
    is_default = not any(key == ("api", "path") for key, _ in settings.values)
    made = os.geteuid() == 0 or not settings.environ.keys().isdisjoint(MADE_BY_SYSTEMD)
    valid = settings.valid(("api",), ("api", "path"))
    if is_default and valid and not made and is_missing(path.path.parent):
        yield Finding(
            ("api", "path"),
            f"there is no directory {quoted(str(path.path.parent))} for the API socket, and only "
            "root or systemd (RuntimeDirectory=) can create it; write another path, or "
            '"" for no API socket',
            Kind.TROUBLE,
        )


def mount_points(table: Path = MOUNTINFO) -> frozenset[str]:
    """Return every mount point, single files included; none if the table cannot be read.

    Space, tab, newline and backslash are octal escapes there: proc_pid_mountinfo(5).
    """
    try:
        text = table.read_text(errors="surrogateescape")
    except OSError:
        return frozenset()
    return frozenset(
        OCTAL_ESCAPE.sub(lambda found: chr(int(found[1], 8)), point)
        for point in MOUNT_POINT.findall(text)
    )


def _directory_fault(directory: Path) -> str:
    """Return why files cannot be replaced in a directory, "" if they can."""
    name = quoted(str(directory))
    try:
        mode = directory.stat().st_mode
        if not stat.S_ISDIR(mode):
            return f"{name} is not a directory; name a directory"
        # Modes do not stop root, but a read-only file system does.
        if is_read_only(directory):
            return f"{name} is on a read-only file system; mount it writable (ReadWritePaths=)"
    except FileNotFoundError:
        return (
            f"the directory {name} does not exist; create it with mkdir -p, or have systemd "
            "create it (RuntimeDirectory=, StateDirectory=)"
        )
    except OSError as error:
        return f"{name} cannot be accessed: {error.strerror}"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{name} is not writable for this user (uid {os.getuid()}); change its owner or mode"
    return ""


def _replacement_fault(path: Path, mounts: frozenset[str], *, is_file: bool) -> str:
    """Return why a path cannot be replaced by a file or a socket, "" if it can."""
    name = quoted(str(path))
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{name} cannot be accessed: {error.strerror}"
    replaceable = (stat.S_IFREG, stat.S_IFLNK) if is_file else (stat.S_IFSOCK,)
    if stat.S_IFMT(found.st_mode) not in replaceable:
        cure = "name another path" if is_file else "move it away, or name another path"
        if is_file and stat.S_ISDIR(found.st_mode):
            cure = "name a file in it"
        return f"{name} is {kind(found)}; {cure}"
    if str(path.parent.resolve() / path.name) in mounts:
        return (
            f"{name} is a mount point, which cannot be replaced; mount its directory instead of "
            "the file"
        )
    return ""
