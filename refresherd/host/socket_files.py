"""The files of Unix sockets: what is at a path, whose it is, and who may connect. It blocks."""

import os
import socket
import stat
from contextlib import suppress
from errno import EADDRINUSE, ENOSYS, EPERM, EPROTOTYPE
from functools import partial
from pathlib import Path
from typing import NamedTuple

from refresherd.host import file_record
from refresherd.host.accounts import belongs
from refresherd.host.directories import opened_directory
from refresherd.host.trust import other_owner

NO_ACCESS = 0
"""The mode until owner and group are right."""

AT_EMPTY_PATH = 0x1000
FCHMODAT2 = 452
"""The call's number on all architectures that Python is commonly built for."""

WITHOUT_PROC = (
    "its mode cannot be set, since /proc is not mounted and this kernel has no fchmodat2; mount "
    "/proc for the daemon"
)


class SocketFile(NamedTuple):
    """The identity of a socket's file, and its mode and owner, which decide who may connect.

    No other file has this identity while the socket is open, since that keeps the inode.
    """

    device: int
    inode: int
    mode: int
    uid: int
    gid: int

    @classmethod
    def of(cls, found: os.stat_result) -> "SocketFile | None":
        """Return the identity and the rights of a file with this status, None for no socket."""
        if not stat.S_ISSOCK(found.st_mode):
            return None
        return cls(found.st_dev, found.st_ino, *file_record.rights(found))

    @classmethod
    def at(cls, path: Path) -> "SocketFile | None":
        """Return the same for what is at a path; a link there does not count as a socket."""
        with suppress(OSError):
            return cls.of(path.lstat())
        return None

    @classmethod
    def made(cls, path: Path) -> "SocketFile":
        """Return the same for a socket that this process has just bound with NO_ACCESS.

        Raises OSError, even if only another file has been put in its place meanwhile.
        """
        file = cls.of(path.lstat())
        if file is None or (file.mode, file.uid) != (NO_ACCESS, os.geteuid()):
            raise _displaced()
        return file

    def same(self, other: "SocketFile | None") -> bool:
        """Return whether it is the same file, whatever its rights are."""
        return other is not None and self[:2] == other[:2]


def make_way(path: Path, uid: int) -> str:
    """Remove a stale socket; return what else is in the way, "" for nothing. Raises OSError.

    A socket is stale if nobody answers there, and an earlier run may have left it: it is root's,
    this process's user's, or that of the user `uid`.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""
    file = SocketFile.of(found)
    if file is None:
        return f"{file_record.kind(found)} is there; move it away, or name another path"
    if file.uid != uid and (owner := other_owner(found)):
        return f"a socket of {owner} is there; stop its program or remove it, or name another path"
    if _answers(path):
        return "another process answers there; stop it, or name another path"
    remove(path, file)
    return ""


def hand_over(path: Path, file: SocketFile, uid: int, gid: int, mode: int) -> SocketFile:
    """Give the socket's file its owner, group and mode, and return it with them.

    If another file has taken its place, that file is left alone. Raises OSError, for this as well.
    """
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(place)
        if not file.same(SocketFile.of(found)):
            raise _displaced()
        owned = belongs(found, uid, gid)
        # fchmod(2) refuses an O_PATH descriptor, but its link in /proc leads to the same file.
        opened = Path(f"/proc/self/fd/{place}")
        if opened.is_symlink():
            if not owned:
                os.chown(opened, uid, gid)
            opened.chmod(mode)
        else:
            if not owned:
                _call_by_descriptor("fchownat", place, uid, gid)
            _call_by_descriptor("fchmodat2", place, mode)
        return SocketFile(*file[:2], *file_record.rights(os.fstat(place)))
    finally:
        os.close(place)


def remove(path: Path, file: SocketFile) -> None:
    """Remove the socket's file, unless another has taken its place. Raises OSError.

    Its directory stays open meanwhile: a link on the path cannot lead elsewhere after the check.
    """
    with suppress(FileNotFoundError), opened_directory(str(path.parent), os.O_PATH) as directory:
        found = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
        if file.same(SocketFile.of(found)):
            os.unlink(path.name, dir_fd=directory)


def _answers(path: Path) -> bool:
    """Return whether a process serves a socket of any type at a path. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            pass  # its queue is full
        except OSError as error:
            if error.errno != EPROTOTYPE:  # it is a system logger's, for example
                raise
    return True


def _displaced() -> OSError:
    return OSError(EADDRINUSE, os.strerror(EADDRINUSE))


def _call_by_descriptor(name: str, place: int, *arguments: int) -> None:
    """Make a system call for an O_PATH descriptor, for hosts that hide /proc. Raises OSError.

    Linux has fchmodat2(2) since 6.6, and the C library only later. Python has neither call.
    """
    # Where a host forbids executable memory, even importing ctypes may fail.
    try:
        import ctypes  # noqa: PLC0415  # as above

        library = ctypes.CDLL(None, use_errno=True)
    except (ImportError, MemoryError, OSError):
        raise OSError(ENOSYS, WITHOUT_PROC) from None
    call = library.fchownat if name == "fchownat" else partial(library.syscall, FCHMODAT2)
    if call(place, b"", *arguments, AT_EMPTY_PATH) == 0:
        return
    error = ctypes.get_errno()
    if name == "fchmodat2" and error in (ENOSYS, EPERM):  # EPERM: by an older container's filter
        raise OSError(ENOSYS, WITHOUT_PROC)
    raise OSError(error, os.strerror(error))
