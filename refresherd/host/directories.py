"""Directories in which files are replaced: what the first write to one has to know about it.

All of it blocks.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EBUSY, EEXIST, EISDIR
from functools import cache
from hashlib import sha256
from math import inf
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG

from refresherd.domain.model import Instant

TEMPORARY = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)
"""The name of a temporary file, with the eight random bytes that make each one new."""

ADDED_BYTES = len("..0123456789abcdef.tmp")
"""How much longer a temporary file's name is than the name in it."""

LONGEST_NAME = 255
"""In bytes: NAME_MAX of Linux and its usual file systems."""

LISTING_SECONDS = 1.0
"""How long the listing of a directory is used: all outputs of a start share one."""


def temporary_name(target: str, nonce: str) -> str:
    """Return the name of a temporary file for the file `target`, with 16 random hex digits.

    A fingerprint stands for a name that would leave no room for the rest.
    """
    return f".{_short(target)}.{nonce}.tmp"


def _short(target: str) -> str:
    name = os.fsencode(target)
    fits = len(name) + ADDED_BYTES <= LONGEST_NAME
    return target if fits else sha256(name).hexdigest()[:32]


class StaleTempFiles:
    """The temporary files of killed runs, by directory. Use each directory in one thread at a time.

    A directory with ten thousand tokens takes milliseconds to list: to do so for each of its ten
    thousand outputs would take half a minute.
    """

    def __init__(self) -> None:
        self._listings: dict[str, tuple[Instant, dict[str, list[str]]]] = {}
        """When each directory was listed, and the stale files there by their targets."""

    def take(self, directory: int, path: str, target: str, now: Instant) -> list[str]:
        """Return the names of a target's stale files, each name once. Raises OSError.

        `directory` is the open directory at `path`, `target` the file's name in it.
        """
        listed_at, names = self._listings.get(path, (Instant(-inf), {}))
        if now - listed_at >= LISTING_SECONDS:
            names = defaultdict(list)
            for name in os.listdir(directory):
                # The cheap question first: nearly all files are tokens.
                if name.endswith(".tmp") and (match := TEMPORARY.fullmatch(name)):
                    names[match["target"]].append(name)
            self._listings[path] = now, names
        return names.pop(_short(target), [])


@contextmanager
def opened_directory(directory: str, access: int = os.O_RDONLY) -> Iterator[int]:
    """Open a directory, so that all calls refer to the same one, whatever happens to its path.

    With O_PATH as `access`, this process need not be allowed to list it. Raises OSError.
    """
    fd = os.open(directory, access | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@cache
def in_memory(directory: str, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Return whether a directory is in memory; False where that cannot be told.

    All directories on its path have to be in memory as well, or in the root file system: where
    that hangs, so does every program. Each directory is looked at once, since ten thousand outputs
    may share it.
    """
    try:
        if os.path.realpath(directory) != directory:
            return False
        places = (Path(directory), *Path(directory).parents)
        here, *above = (place.stat().st_dev for place in places)
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return False
    memory = set()
    for line in lines:  # as proc_pid_mountinfo(5) describes them
        mount, _, file_system = line.partition(" - ")
        if file_system.partition(" ")[0] in ("tmpfs", "ramfs", "devtmpfs"):
            major, _, minor = mount.split(" ")[2].partition(":")
            memory.add(os.makedev(int(major), int(minor)))
    return here in memory and memory.issuperset(device for device in above if device != above[-1])


def refuse_unreplaceable(directory: int, target: str) -> None:
    """Raise OSError if what is in the target's place cannot be replaced, or must not be.

    For a mount or a directory it is the error of rename(2): a single file that is mounted into a
    container can neither be replaced from inside, nor would it follow a replacement outside. A
    device or a named pipe is somebody else's: root could replace /dev/null.
    """
    try:
        place = os.open(target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        if _mount(place) != _mount(directory):
            raise OSError(EBUSY, os.strerror(EBUSY))
        mode = os.fstat(place).st_mode
        if S_ISDIR(mode):
            raise OSError(EISDIR, os.strerror(EISDIR))
        if not S_ISREG(mode) and not S_ISLNK(mode):
            raise OSError(EEXIST, os.strerror(EEXIST))
    finally:
        os.close(place)


def _mount(fd: int) -> str:
    """Return which mount an open file is in, as proc_pid_fdinfo(5) has it.

    os.path.ismount misses a file that is mounted from the same directory. Without /proc it is "",
    and then rename(2) decides.
    """
    with suppress(OSError):
        for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
            if line.startswith("mnt_id:"):
                return line
    return ""
