"""What the checks ask this machine about files, directories, programs and accounts."""

import grp
import os
import pwd
import re
import shutil
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path

from refresherd.config.environment import Environ
from refresherd.config.wording import quoted

MOST_READ = 1 << 20
"""Far more than any key, certificate or bundle of authorities; in bytes."""

MOUNTINFO = Path("/proc/self/mountinfo")
MOUNT_POINT = 4
"""Where in its lines the mount point stands, counted from 0."""

OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")
OPEN_TO_OTHERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP
NUMBER = re.compile("[0-9]{1,10}")
LAST_ID = 2**32 - 2
"""The last number means "no such user" to the kernel: chown(2)."""


class Unusable(Exception):
    """A file cannot serve its purpose; the text says why, and what would help."""


class Host:
    """One look at the machine: what was asked once is not asked again."""

    def __init__(self, environ: Environ, mounts: frozenset[str] | None = None) -> None:
        search = environ.get("PATH", os.defpath)
        self.mounts = mount_points() if mounts is None else mounts
        self.has_user: Callable[[str], bool] = cache(_has_user)
        self.has_group: Callable[[str], bool] = cache(_has_group)
        self.has_program: Callable[[str], bool] = cache(lambda name: _has_program(name, search))
        self.directory_fault: Callable[[Path], str] = cache(directory_fault)


def mount_points(table: Path = MOUNTINFO) -> frozenset[str]:
    """Return every mount point, single files included; none where the kernel does not tell.

    Space, tab, newline and backslash stand there as octal escapes: proc_pid_mountinfo(5).
    """
    try:
        lines = table.read_text(errors="surrogateescape").split("\n")
    except OSError:
        return frozenset()
    fields = [line.split(" ") for line in lines]
    return frozenset(
        OCTAL_ESCAPE.sub(lambda found: chr(int(found[1], 8)), field[MOUNT_POINT])
        for field in fields
        if len(field) > MOUNT_POINT
    )


def read(path: Path) -> tuple[bytes, int]:
    """Return a regular file's content and its mode. Raises Unusable, with the reason.

    Opened without blocking: a named pipe would hold up the start for ever.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Unusable(f"{quoted(str(path))} does not exist; create it, or mend the path") from None
    except OSError as error:
        raise Unusable(f"{quoted(str(path))} cannot be read: {error.strerror}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise Unusable(f"{quoted(str(path))} is a directory; name a file in it")
        if not stat.S_ISREG(mode):
            raise Unusable(f"{quoted(str(path))} is no regular file; it is read time and again")
        return os.read(descriptor, MOST_READ), mode
    finally:
        os.close(descriptor)


def gone(path: Path) -> bool:
    """Return whether there is nothing at a path; False where that cannot be told."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def refuse_open(path: Path, mode: int) -> None:
    """Raise Unusable for a secret that others than its owner may change, or anyone may read."""
    if mode & OPEN_TO_OTHERS:
        name = quoted(str(path))
        raise Unusable(
            f"{name} is open to others (mode {stat.S_IMODE(mode):04o}); close it: chmod 0600 {name}"
        )


def directory_fault(directory: Path) -> str:
    """Return why files cannot be replaced in a directory, "" if they can.

    Root may write wherever modes forbid it, so a read-only file system is asked for too.
    """
    name = quoted(str(directory))
    try:
        mode = directory.stat().st_mode
        if not stat.S_ISDIR(mode):
            return f"{name} is no directory; name one"
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            return f"{name} is on a read-only file system; mount it writable (ReadWritePaths=)"
    except FileNotFoundError:
        return (
            f"the directory {name} does not exist; create it with mkdir -p, or have systemd "
            "create it (RuntimeDirectory=, StateDirectory=)"
        )
    except OSError as error:
        return f"{name} cannot be reached: {error.strerror}"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{name} is not writable for this user (uid {os.getuid()}); chown or chmod it"
    return ""


def no_program(name: str) -> str:
    """Return what is wrong with a program that was not found."""
    return (
        f"there is no program {quoted(name)}; write an absolute path, or a name that is on PATH, "
        "and each argument as a string of its own"
    )


def _has_user(name: str) -> bool:
    if NUMBER.fullmatch(name):
        return int(name) <= LAST_ID
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _has_group(name: str) -> bool:
    if NUMBER.fullmatch(name):
        return int(name) <= LAST_ID
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _has_program(name: str, search: str) -> bool:
    # A relative path would depend on where the daemon was started.
    if "/" in name and not name.startswith("/"):
        return False
    return shutil.which(name, path=search) is not None
