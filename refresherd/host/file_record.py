"""What this process left at a path, and what others have done to it since. It blocks."""

import os
import stat
from contextlib import suppress
from hashlib import blake2b
from operator import attrgetter
from pathlib import Path
from struct import Struct

from refresherd.domain.model import Ownership
from refresherd.host.accounts import UNCHANGED, NoSuchAccount, owner_ids

STATUS = Struct("=QQQqqIII")
FIELDS = attrgetter(
    *("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_mode", "st_uid", "st_gid")
)
"""What of a file's status is kept, and how it is packed: there may be ten thousand of them."""

DIGEST_BYTES = 16

OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFREG: "a file",
}
"""What may be in a path's place; devices are the rest."""


class FileRecord:
    """A file as this process left it: its status, and a digest of its bytes."""

    __slots__ = ("_digest", "_status")

    def __init__(self, found: os.stat_result, digest: bytes) -> None:
        self._status = _packed(found)
        self._digest = digest

    @classmethod
    def of(cls, found: os.stat_result, content: bytes) -> "FileRecord":
        """Return the record of a file with this status and these bytes."""
        return cls(found, _digest(content))

    def has(self, content: bytes) -> bool:
        """Return whether these bytes were left there."""
        return _digest(content) == self._digest

    def is_of(self, found: os.stat_result) -> bool:
        """Return whether this is the same file, whatever its content and rights are now."""
        return STATUS.unpack(self._status)[:2] == (found.st_dev, found.st_ino)

    def now(self, path: str) -> "FileRecord | str":
        """Return the record of what is at the path if its bytes and rights are unchanged.

        Otherwise return what somebody has done to it, for the operator. The file is read only if
        its status has changed: a backup program may have linked it, for example.
        """
        try:
            found = os.lstat(path)
            if _packed(found) == self._status:
                return self
            if not stat.S_ISREG(found.st_mode):
                return f"somebody put {kind(found)} in its place"
            same_bytes, found = self._compared(path, found)
        except OSError as error:
            return absence(path, error)
        if same_bytes and rights(found) == self._rights():
            return FileRecord(found, self._digest)
        if not self.is_of(found):
            return f"somebody (uid {found.st_uid}) put another file in its place"
        content = "somebody overwrote it" if found.st_size else "somebody emptied it"
        return changed_rights(self._rights(), rights(found)) or content

    def _rights(self) -> tuple[int, int, int]:
        *_, mode, uid, gid = STATUS.unpack(self._status)
        return stat.S_IMODE(mode), uid, gid

    def _compared(self, path: str, found: os.stat_result) -> tuple[bool, os.stat_result]:
        """Return whether the bytes are those that were left, and the status of what was read."""
        size = STATUS.unpack(self._status)[2]
        if found.st_size != size:
            return False, found
        try:
            content, found = _read(path, size)
        except PermissionError:
            return False, found
        return self.has(content), found


def already(path: str, content: bytes, ownership: Ownership) -> FileRecord | None:
    """Return the record of the file at the path if it has exactly these bytes and rights.

    Return None if it has not, or if that cannot be told: then it has to be written.
    """
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size != len(content):
            return None
        present, found = _read(path, len(content))
        directory = Path(path).parent.stat()
        uid, gid = owner_ids(ownership)
    except (OSError, NoSuchAccount):
        return None
    uid = os.geteuid() if uid == UNCHANGED else uid
    if gid == UNCHANGED:
        # A directory with the set-group-ID bit passes its group on: see open(2).
        gid = directory.st_gid if directory.st_mode & stat.S_ISGID else os.getegid()
    if present != content or rights(found) != (ownership.mode, uid, gid):
        return None
    return FileRecord.of(found, content)


def rights(found: os.stat_result) -> tuple[int, int, int]:
    """Return the mode, without the type, and the ids of owner and group."""
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def kind(found: os.stat_result) -> str:
    """Return what kind of file it is, for a sentence."""
    return KINDS.get(stat.S_IFMT(found.st_mode), "a device")


def changed_rights(before: tuple[int, int, int], now: tuple[int, int, int]) -> str:
    """Return what somebody changed of a file's mode, owner and group, "" for nothing."""
    if before[0] != now[0]:
        return f"somebody changed its mode from {before[0]:04o} to {now[0]:04o}"
    if before != now:
        (_, *ids), (_, *other_ids) = before, now
        owners = [":".join(map(str, pair)) for pair in (ids, other_ids)]
        return "somebody changed its owner from {} to {}".format(*owners)
    return ""


def absence(path: str, error: OSError) -> str:
    """Return why a file that was left at the path cannot be looked at any more."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"it cannot be looked at: {error.strerror}"
    with suppress(OSError):  # the directory's own may hang or be out of reach
        if not Path(path).parent.is_dir():
            return "its directory is gone"
    return "somebody removed it"


def _read(path: str, size: int) -> tuple[bytes, os.stat_result]:
    """Return up to `size` + 1 bytes of a regular file and its status. Raises OSError."""
    fd = os.open(path, OPEN)
    try:
        found = os.fstat(fd)
        return os.read(fd, size + 1) if stat.S_ISREG(found.st_mode) else b"", found
    finally:
        os.close(fd)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=DIGEST_BYTES).digest()


def _packed(found: os.stat_result) -> bytes:
    return STATUS.pack(*FIELDS(found))
