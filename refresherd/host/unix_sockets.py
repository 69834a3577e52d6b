"""Listening Unix sockets: bound without ever having too many rights, accepted, and removed again.

`bind` and `lending` yield listening sockets; an `Acceptor` hands on the connections of one.
"""

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from errno import EADDRINUSE, ENOSYS, EPERM
from functools import partial
from pathlib import Path
from typing import TypeAlias

from refresherd.domain.model import Ownership
from refresherd.host.accounts import NoSuchAccount, belongs, owner_ids
from refresherd.host.os_errors import cannot_listen

BACKLOG = 4096
"""A client that finds the queue full fails at once; the kernel caps it at net.core.somaxconn."""

NO_ACCESS = 0
"""The mode until owner and group are right."""

LONGEST_PATH = 107
"""In bytes: sockaddr_un of unix(7) holds 108, with a NUL at the end."""

BATCH = 64
"""Connections accepted before the event loop gets its turn."""

PAUSE_SECONDS = 1.0
"""How long callers are left waiting when the process or the host is out of descriptors."""

AT_EMPTY_PATH = 0x1000
FCHMODAT2 = 452
"""The call's number on all architectures that Python is commonly built for."""

WITHOUT_PROC = (
    "its mode cannot be set, since /proc is not mounted and this kernel has no fchmodat2; mount "
    "/proc for the daemon"
)

Accepted: TypeAlias = Callable[[socket.socket, object], None]
"""Gets a non-blocking connection, to keep or to close, and its peer's address."""

Failed: TypeAlias = Callable[[OSError], None]
"""Gets the reason why no connection can be accepted for now."""


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A listening socket that this process bound, or that the service manager lent to it."""

    socket: socket.socket
    path: Path
    inode: tuple[int, int] | None
    """Device and number of its file, None if it is lent: then its owner sees to the file."""

    def in_place(self) -> bool:
        """Return whether clients that connect to the path still reach this socket."""
        if self.inode is None:
            return True
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return stat.S_ISSOCK(found.st_mode) and _inode(found) == self.inode

    def close(self) -> None:
        """Stop listening, and remove the path unless another file has taken it.

        A lent socket stays open: clients wait in its queue until somebody accepts them again.
        """
        if self.inode is None:
            return
        if self.in_place():
            with suppress(OSError):
                self.path.unlink()
        self.socket.close()


Listen: TypeAlias = Callable[[Path, Ownership], BoundSocket]
"""Returns a socket that listens at a path. Raises RefresherdError. It may block."""


def lending(lent: Mapping[Path, socket.socket]) -> Listen:
    """Return a `Listen` that uses the lent socket of a path, and binds one where there is none."""

    def listen(path: Path, ownership: Ownership) -> BoundSocket:
        found = lent.get(path)
        return bind(path, ownership) if found is None else BoundSocket(found, path, None)

    return listen


def bind(path: Path, ownership: Ownership) -> BoundSocket:
    """Return a non-blocking socket that listens at `path`; a stale socket there is replaced.

    It listens only once owner, group and mode are right, so that nobody else ever connects,
    whatever the umask. Raises RefresherdError, which says what is in the way. It may block.
    """
    try:
        uid, gid = owner_ids(ownership)
    except NoSuchAccount as error:
        raise cannot_listen(path, str(error)) from None
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise cannot_listen(path, f"the path is too long; it may have at most {LONGEST_PATH} bytes")
    try:
        if obstacle := _obstacle(path):
            raise cannot_listen(path, obstacle)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # The file's mode is the socket's less the umask. A umask is shared by all threads, so
            # one set here would apply to files that others create meanwhile.
            os.fchmod(bound.fileno(), NO_ACCESS)
            bound.bind(os.fspath(path))
            inode = _inode(path.lstat())
            try:
                _hand_over(path, inode, uid, gid, ownership.mode)
                bound.listen(BACKLOG)
            except BaseException:
                BoundSocket(bound, path, inode).close()
                raise
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise cannot_listen(path, error) from error
    return BoundSocket(bound, path, inode)


def held(path: Path) -> bool:
    """Return whether a socket of this process listens at `path`, bound here or passed on to it.

    False where /proc, which lists what is open, is hidden.
    """
    place = os.path.realpath(path)
    with suppress(FileNotFoundError):
        return any(_listens_at(int(link.name), place) for link in Path("/proc/self/fd").iterdir())
    return False


class Acceptor:
    """Accepts the connections of a listening, non-blocking socket, which its owner closes."""

    def __init__(
        self,
        listening: socket.socket,
        accepted: Accepted,
        failed: Failed,
        *,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._listening = listening
        self._accepted = accepted
        self._failed = failed
        self._pause = pause
        self._resume: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._resume = None
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def stop(self) -> None:
        """Accept no more; queued clients are refused when the socket is closed."""
        if self._resume is not None:
            self._resume.cancel()
        asyncio.get_running_loop().remove_reader(self._listening)

    def _accept(self) -> None:
        for _ in range(BATCH):
            try:
                connection, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._failed(error)
                loop = asyncio.get_running_loop()
                # Callers stay in the queue, so the loop would come back here at once.
                loop.remove_reader(self._listening)
                self._resume = loop.call_later(self._pause, self.start)
                return
            connection.settimeout(0)
            self._accepted(connection, address)


def _obstacle(path: Path) -> str:
    """Remove a socket on which nobody answers; return what else is in the way, "" for nothing.

    Raises OSError.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    if not stat.S_ISSOCK(mode):
        return "a file that is not a socket is there; move it away"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return ""
        except BlockingIOError:
            pass  # its queue is full, so a process listens
    return "another process answers there; stop it, or name another path"


def _hand_over(path: Path, inode: tuple[int, int], uid: int, gid: int, mode: int) -> None:
    """Give the socket's file its owner, group and mode, but no file that took its place."""
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(place)
        if _inode(found) != inode or not stat.S_ISSOCK(found.st_mode):
            raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))
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
    finally:
        os.close(place)


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


def _listens_at(fd: int, place: str) -> bool:
    with suppress(OSError):  # it was closed in the meantime
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=os.dup(fd)) as copy:
                if copy.family == socket.AF_UNIX:
                    listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                    return bool(listens) and os.path.realpath(copy.getsockname()) == place
    return False


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
