"""Listening Unix sockets: bound without ever having too many rights, watched, and removed again.

`bind` and `from_socket_unit` return them; an `acceptor.Acceptor` accepts their connections.
"""

import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from refresherd.domain.model import Ownership
from refresherd.host import file_record
from refresherd.host.acceptor import BACKLOG
from refresherd.host.accounts import NoSuchAccount, owner_ids
from refresherd.host.os_errors import cannot_listen
from refresherd.host.socket_files import NO_ACCESS, SocketFile, hand_over, make_way, remove

LONGEST_PATH = 107
"""In bytes: sockaddr_un of unix(7) holds 108, with a NUL at the end."""


@dataclass(slots=True, eq=False)
class BoundSocket:
    """A listening socket with a path.

    This process bound it, in this run or an earlier one; or a socket unit provides it, and systemd
    looks after its file.
    """

    socket: socket.socket
    path: Path
    file: SocketFile | None
    """Its file when it began to listen here, None if a socket unit's had none."""
    from_unit: bool = False
    forget: Callable[[], None] | None = None
    """Called when it is closed for good; None unless it is stored for the next run."""
    queued: bool = False
    """Whether clients may have connected before this run."""

    def in_place(self) -> bool:
        """Return whether clients that connect to the path still reach this socket."""
        found = self._found()
        return found is None or (isinstance(found, SocketFile) and found.same(self.file))

    def alteration(self) -> str:
        """Return what somebody did to its file since it began to listen, "" for nothing."""
        found = self._found()
        if found is None or found == self.file:
            return ""
        if isinstance(found, str):
            return found
        if not found.same(self.file):
            return f"somebody (uid {found.uid}) put another socket in its place"
        if self.file is None or self.from_unit:  # the socket unit decides on its rights
            return ""
        return file_record.changed_rights(self.file[2:], found[2:])

    def restore(self, unit: str) -> bool:
        """Give its file the owner, group and mode back that it had.

        Return False if clients do not reach the socket any more: then it has to be bound again.
        Raises RefresherdError, also if clients do not reach the socket of a socket unit: then only
        restarting that `unit` helps.
        """
        if not self.in_place():
            if self.from_unit:
                cure = f"restart {unit}, and then refresherd"
                raise cannot_listen(self.path, f"{self.alteration()}; {cure}")
            return False
        if self.file is not None and not self.from_unit and self._found() != self.file:
            _, _, mode, uid, gid = self.file
            try:
                hand_over(self.path, self.file, uid, gid, mode)
            except OSError as error:
                raise cannot_listen(self.path, error) from error
        return True

    @property
    def persists(self) -> bool:
        """Whether the socket outlives this process, so that the next run goes on with it."""
        return self.from_unit or self.forget is not None

    def leave(self) -> None:
        """Stop listening; the next run goes on with the socket if it persists."""
        if self.forget is None:
            self.close()
        else:
            self.socket.close()

    def close(self) -> None:
        """Stop listening for good, and remove the path unless another file has taken it.

        A socket unit's socket stays open: clients wait in its queue for the next run.
        """
        if self.from_unit:
            return
        if self.file is not None:
            with suppress(OSError):
                remove(self.path, self.file)
        if self.forget is not None:
            self.forget()
        self.socket.close()

    def _found(self) -> SocketFile | str | None:
        """Return what is at the path, or why no socket is; None if that does not matter.

        The path of a socket unit does not matter if the daemon cannot see it.
        """
        try:
            found = self.path.lstat()
        except OSError as error:
            return self.file and file_record.absence(str(self.path), error)
        if not stat.S_ISSOCK(found.st_mode):
            return f"somebody put {file_record.kind(found)} in its place"
        return self.file and SocketFile.of(found)


Listen: TypeAlias = Callable[[Path, Ownership], BoundSocket]
"""Returns a socket that listens at a path. Raises RefresherdError. It may block."""


def from_socket_unit(listening: socket.socket, path: Path) -> BoundSocket:
    """Return a socket that a socket unit provides. It may block."""
    return BoundSocket(listening, path, SocketFile.at(path), from_unit=True, queued=True)


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
        if obstacle := make_way(path, uid):
            raise cannot_listen(path, obstacle)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # The file's mode is the socket's less the umask. A umask is shared by all threads, so
            # one set here would apply to files that others create meanwhile.
            os.fchmod(bound.fileno(), NO_ACCESS)
            bound.bind(os.fspath(path))
            made = SocketFile.made(path)
            try:
                file = hand_over(path, made, uid, gid, ownership.mode)
                bound.listen(BACKLOG)
            except BaseException:
                BoundSocket(bound, path, made).close()
                raise
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise cannot_listen(path, error) from error
    return BoundSocket(bound, path, file)


def held(path: Path) -> bool:
    """Return whether a socket of this process listens at `path`, bound by it or passed to it.

    It is False where /proc, which lists open descriptors, is hidden.
    """
    place = os.path.realpath(path)
    with suppress(FileNotFoundError):
        return any(_listens_at(int(link.name), place) for link in Path("/proc/self/fd").iterdir())
    return False


def _listens_at(fd: int, place: str) -> bool:
    with suppress(OSError):  # it was closed in the meantime
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=os.dup(fd)) as copy:
                if copy.family == socket.AF_UNIX:
                    listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                    return bool(listens) and os.path.realpath(copy.getsockname()) == place
    return False
