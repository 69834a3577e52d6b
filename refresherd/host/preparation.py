"""What is done about a file once, before its first token. All of it blocks."""

import os
from contextlib import suppress
from errno import EBUSY, EISDIR
from pathlib import Path
from stat import S_ISDIR

from refresherd.domain.model import Instant
from refresherd.host.atomic_file import Target, discard, opened, write_temporary
from refresherd.host.os_errors import failure
from refresherd.host.stale_temp_files import Leftovers

LOOK_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

PROBE = bytes(512)
"""About a token in its longest format: on a full disk an empty file still fits."""


def prepare(target: Target, nonce: str, leftovers: Leftovers, now: Instant) -> None:
    """Remove what killed runs left of this target, and check that a token could be written.

    A temporary file that another process is just writing goes as well: its write fails, and
    is tried again. Raises OutputError if no token could be written, before one is asked for.
    """
    try:
        with opened(target.directory) as directory:
            for name in leftovers.take(directory, target, now):
                discard(directory, name)
            _refuse_unreplaceable(directory, target)
            discard(directory, write_temporary(directory, target, PROBE, nonce, durable=False))
    except OSError as error:
        raise failure(target.path, "write it", error) from error


def _refuse_unreplaceable(directory: int, target: Target) -> None:
    """Raise the OSError that rename(2) would, if a mount or a directory is in the target's place.

    A container's file that is mounted by itself is one: neither can it be replaced from
    inside, nor would it follow a replacement outside.
    """
    try:
        place = os.open(target.name, LOOK_ONLY, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        if _mount(place) != _mount(directory):
            raise OSError(EBUSY, "")
        if S_ISDIR(os.fstat(place).st_mode):
            raise OSError(EISDIR, "")
    finally:
        os.close(place)


def _mount(fd: int) -> str:
    """Return which mount an open file is in; os.path.ismount misses a file bound from beside it.

    From proc_pid_fdinfo(5); "" where there is no /proc, and then rename(2) is the judge.
    """
    with suppress(OSError):
        for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
            if line.startswith("mnt_id:"):
                return line
    return ""
