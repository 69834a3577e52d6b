"""Listening Unix sockets: bound without a moment of too many rights, and cleared away again."""

import os
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from errno import EACCES, EADDRINUSE, EMFILE, ENOENT, EPERM, EROFS
from pathlib import Path
from typing import TypeAlias

from refresherd.domain.errors import RefresherdError
from refresherd.domain.model import Ownership
from refresherd.host.accounts import group_id, user_id

BACKLOG = 4096
"""A client that finds no room here fails at once; the kernel caps it at net.core.somaxconn."""

NOBODY = 0
"""The mode until owner and group are right."""

LOOK_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

LONGEST_PATH = 107
"""In bytes: sockaddr_un of unix(7) holds 108, with a NUL at the end."""


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A listening socket at a path. `inode` is its file's device and number."""

    socket: socket.socket
    path: Path
    inode: tuple[int, int]

    def in_place(self) -> bool:
        """Return whether whoever connects to the path still reaches this socket."""
        try:
            return _inode(self.path.lstat()) == self.inode
        except OSError:
            return False

    def close(self) -> None:
        """Stop listening, and remove the path unless it has come to be another's."""
        if self.in_place():
            with suppress(OSError):
                self.path.unlink()
        self.socket.close()


@dataclass(frozen=True, slots=True)
class LentSocket:
    """A listening socket that belongs to who started the daemon, who keeps it in its place."""

    socket: socket.socket

    def in_place(self) -> bool:
        """Return whether clients find it: that is its owner's care."""
        return True

    def close(self) -> None:
        """Leave it as it is: clients wait in its queue until somebody accepts them again."""


Listening: TypeAlias = BoundSocket | LentSocket

Listen: TypeAlias = Callable[[Path, Ownership], Listening]
"""Returns a socket that listens at a path. Raises RefresherdError. It may block."""


def lending(lent: Mapping[Path, socket.socket]) -> Listen:
    """Return what listens on the sockets that were lent, and binds one elsewhere."""

    def listen(path: Path, ownership: Ownership) -> Listening:
        found = lent.get(path)
        return bind(path, ownership) if found is None else LentSocket(found)

    return listen


def bind(path: Path, ownership: Ownership) -> BoundSocket:
    """Return a socket that listens at `path`, non-blocking; a stale socket there is replaced.

    It listens only once owner, group and mode are right, so nobody else ever connects,
    whatever the umask. Raises RefresherdError, which says what is in the way. It may block.
    """
    owner = _number(path, "user", ownership.owner)
    group = _number(path, "group", ownership.group)
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise _failure(path, f"the path is too long; {LONGEST_PATH} bytes are the most")
    try:
        _clear(path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise _failure(path, _reason(path, error)) from error
    try:
        inode = _bind(bound, path)
        try:
            _hand_over(path, inode, owner, group, ownership.mode)
            bound.listen(BACKLOG)
        except BaseException:
            BoundSocket(bound, path, inode).close()
            raise
    except OSError as error:
        bound.close()
        raise _failure(path, _reason(path, error)) from error
    return BoundSocket(bound, path, inode)


def held(path: Path) -> bool:
    """Return whether a socket of this process listens at `path`: bound, or passed on to it."""
    place = os.path.realpath(path)
    return any(_listens_at(int(link.name), place) for link in Path("/proc/self/fd").iterdir())


def _listens_at(fd: int, place: str) -> bool:
    with suppress(OSError):  # it was closed in the meantime
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=os.dup(fd)) as copy:
                if copy.family == socket.AF_UNIX:
                    listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                    return bool(listens) and os.path.realpath(copy.getsockname()) == place
    return False


def _bind(bound: socket.socket, path: Path) -> tuple[int, int]:
    # The path's mode is the socket's less the umask. A umask belongs to all threads: setting
    # one here would have others create files by it.
    os.fchmod(bound.fileno(), NOBODY)
    bound.bind(os.fspath(path))
    return _inode(path.lstat())


def _hand_over(path: Path, inode: tuple[int, int], owner: int, group: int, mode: int) -> None:
    """Give the socket's file to whom it belongs, and nothing that took its place meanwhile."""
    place = os.open(path, LOOK_ONLY)
    try:
        if _inode(os.fstat(place)) != inode:
            raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))
        # The descriptor allows no fchmod(2); the link in /proc leads to the file that it means.
        opened = Path(f"/proc/self/fd/{place}")
        # A hardened unit may not even ask for what changes nothing.
        if (owner, group) != (-1, -1):
            os.chown(opened, owner, group)
        opened.chmod(mode)
    finally:
        os.close(place)


def _clear(path: Path) -> None:
    """Remove a socket on which nobody answers; refuse to remove anything else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failure(path, _reason(path, error)) from error
    if not stat.S_ISSOCK(mode):
        raise _failure(path, "there is something that is no socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            _remove(path)
            return
        except BlockingIOError:
            pass  # its queue is full, so somebody listens
        except OSError as error:
            raise _failure(path, _reason(path, error)) from error
    raise _failure(path, "another process answers there; stop it, or name another path")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _failure(path, _reason(path, error)) from error


def _number(path: Path, kind: str, name: str) -> int:
    """Return what chown(2) takes for a user's or a group's name: -1 leaves it as it is."""
    if not name:
        return -1
    number = user_id(name) if kind == "user" else group_id(name)
    if number is None:
        raise _failure(path, f"this host has no {kind} {name!r}; create it or name another")
    return number


def _reason(path: Path, error: OSError) -> str:
    advice = {
        EACCES: f"{error.strerror}; let the daemon's user do that",
        EPERM: f"{error.strerror}; let the daemon's user do that; owners and groups take "
        "hand-over.conf in a unit",
        ENOENT: f"there is no directory {path.parent}; create it, or have systemd do so "
        "(RuntimeDirectory=)",
        EADDRINUSE: "another process came first",
        EMFILE: f"{error.strerror}; raise the limit on open files (in a unit: LimitNOFILE=)",
        EROFS: "its filesystem is read-only; mount it writable (in a unit: ReadWritePaths=)",
    }
    return advice.get(error.errno or 0, error.strerror or str(error))


def _failure(path: Path, reason: str) -> RefresherdError:
    return RefresherdError(f"cannot listen on {path}: {reason}")


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
