"""Who is at the other end of a Unix socket: from the kernel, never from what they send.

Each fact costs more than the one before: the user, the groups, the unit. A process may end at any
time and its pid pass to another one, so what is found under a pid counts only while a pidfd shows
that the process is alive.
"""

import os
import re
import select
import socket
import struct
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOPROTOOPT, ERANGE
from functools import cache
from pathlib import Path

from refresherd.domain.access import Peer
from refresherd.host import control_groups
from refresherd.host.os_errors import NO_DESCRIPTOR
from refresherd.host.user_namespace import overflow

UCRED = struct.Struct("iII")
"""pid, uid and gid: struct ucred of unix(7)."""

ID_BYTES = 4

FEW_BYTES = 1024
"""The most that Python lets the kernel answer: 256 groups."""

TOO_MANY_FILES = "the daemon has too many open files"

CREDENTIAL_CLIENT = re.compile(rb"\0[A-Za-z0-9]+/unit/(?P<unit>[^/]+)/.+", re.DOTALL)
"""The address from which systemd connects for LoadCredential=: systemd.exec(5)."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Where the kernel's answers are found; Python has no names for the socket options."""

    pidfd_option: int = 77
    """SO_PEERPIDFD of asm-generic/socket.h, since Linux 6.5."""
    groups_option: int = 59
    """SO_PEERGROUPS of asm-generic/socket.h, since Linux 4.13."""
    proc: Path = Path("/proc")
    cgroup_roots: tuple[Path, ...] = control_groups.ROOTS


KERNEL = Kernel()


class Unknown(Exception):
    """The kernel does not tell a fact about a peer now; the text says why and what helps."""


class Process:
    """A pidfd of a peer's process, closed with the last reference: a thread may still use it."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __del__(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def alive(self) -> bool:
        """Return whether the process has not ended."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)  # a pidfd becomes readable when its process ends
        return not poll.poll(0)


def user(connection: socket.SocketType, _: object = None) -> int:
    """Return the uid of an accepted Unix socket's peer, at the least cost. Raises OSError."""
    ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    return UCRED.unpack(ucred)[1]  # type: ignore[no-any-return]  # the format says that it is an int


def credentials(connection: socket.SocketType, kernel: Kernel = KERNEL) -> Peer:
    """Return an accepted socket's peer as it was when it connected: SO_PEERCRED."""
    ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    pid, uid, gid = UCRED.unpack(ucred)
    return Peer(uid, gid, pid, known=uid != overflow(kernel.proc).uid)


@cache
def tells_processes(kernel: Kernel = KERNEL) -> bool:
    """Return whether the kernel knows the option for a peer's pidfd, so that nobody guesses."""
    ours, other = socket.socketpair()
    with ours, other:
        try:
            os.close(ours.getsockopt(socket.SOL_SOCKET, kernel.pidfd_option))
        except OSError as error:
            return error.errno != ENOPROTOOPT
    return True


def process_by_pid(peer: Peer) -> Process | None:
    """Return the process that has the peer's pid now, None if there is none.

    For kernels that do not tell which process connected. Call it as soon as the connection is
    accepted: it would not notice if the pid had passed to another process.
    """
    with suppress(OSError, AttributeError):  # or Python has no pidfds
        return Process(os.pidfd_open(peer.pid))
    return None


def process_of(connection: socket.SocketType, kernel: Kernel = KERNEL) -> Process | None:
    """Return the process that connected, None if it has ended or cannot be told.

    Raises Unknown if no descriptor is left.
    """
    try:
        return Process(connection.getsockopt(socket.SOL_SOCKET, kernel.pidfd_option))
    except OSError as error:
        # Up to Linux 6.15, EINVAL and ESRCH mean that the process has ended: another one may
        # have its pid by now.
        if error.errno in NO_DESCRIPTOR:
            raise Unknown(TOO_MANY_FILES) from None
        return None


def groups_of(connection: socket.SocketType, peer: Peer, kernel: Kernel = KERNEL) -> frozenset[int]:
    """Return all groups of the peer as it connected: SO_PEERGROUPS. Raises Unknown.

    A group that stands for all groups without a number here is left out.
    """
    try:
        gids = _supplementary(connection, kernel.groups_option)
    except OSError as error:
        raise Unknown(f"the kernel does not tell your groups ({error.strerror})") from None
    return frozenset((*gids, peer.gid)) - {overflow(kernel.proc).gid}


def groups_by_pid(peer: Peer, process: Process | None, kernel: Kernel = KERNEL) -> frozenset[int]:
    """Return the peer's groups from /proc, for kernels that tell them in no other way.

    If its process has ended, only its own group is left. Raises Unknown where /proc hides it. It
    may block.
    """
    text = _text(kernel.proc / str(peer.pid) / "status")
    alive = process is not None and process.alive()
    if alive and not text:
        raise Unknown("the daemon cannot read your groups; let it see processes in /proc")
    gids = groups_in(text, peer.uid) if alive else ()
    return frozenset((*gids, peer.gid)) - {overflow(kernel.proc).gid}


def unit_of(
    peer: Peer, process: Process | None, units: Collection[str], kernel: Kernel = KERNEL
) -> str:
    """Return the unit of the peer's process, "" if it has none or has ended.

    Where /proc hides the process, "" also stands for any other unit than these `units`. Raises
    Unknown if that takes too long to find out, or no descriptor is left. It blocks for some
    milliseconds.
    """
    if process is None or not process.alive():
        return ""
    if cgroups := _text(kernel.proc / str(peer.pid) / "cgroup"):
        unit = control_groups.unit_of(cgroups)
    else:
        try:
            unit = control_groups.unit_among(units, peer.pid, kernel.cgroup_roots)
        except control_groups.SearchTooLong:
            reason = "the units that access names have too many control groups"
            raise Unknown(reason) from None
        except OSError:
            raise Unknown(TOO_MANY_FILES) from None
    return unit if process.alive() else ""


def claimed_unit(address: object) -> str:
    """Return the unit for which systemd asks, by the address it connected from; "" for none.

    Any process may bind such an address, so it counts for root alone. The peer is not PID 1, but a
    child of it that later becomes the unit's process.
    """
    claim = CREDENTIAL_CLIENT.fullmatch(address) if isinstance(address, bytes) else None
    return "" if claim is None else claim["unit"].decode(errors="replace")


def groups_in(status: str, uid: int) -> frozenset[int]:
    """Return the groups in the text of a /proc/PID/status; none if it is not that user's.

    A set-user-ID program that was started after connecting has other groups than the caller.
    """
    fields = dict(line.partition(":")[::2] for line in status.splitlines())
    if set(fields.get("Uid", "").split()) != {str(uid)}:
        return frozenset()
    return frozenset(map(int, fields.get("Groups", "").split()))


def _supplementary(connection: socket.SocketType, option: int) -> tuple[int, ...]:
    try:
        gids = connection.getsockopt(socket.SOL_SOCKET, option, FEW_BYTES)
    except OSError as error:
        if error.errno != ERANGE:
            raise
        gids = _large_option(connection, option)
    return struct.unpack(f"{len(gids) // ID_BYTES}I", gids)


def _large_option(connection: socket.SocketType, option: int) -> bytes:
    """Return a socket option of any size. Raises OSError.

    Asked with too small a buffer, the kernel answers ERANGE with the size that it takes.
    """
    # Where a host forbids executable memory, even importing ctypes may fail.
    try:
        import ctypes  # noqa: PLC0415  # as above

        library = ctypes.CDLL(None, use_errno=True)
    except (ImportError, MemoryError):
        raise OSError(ERANGE, os.strerror(ERANGE)) from None
    size = ctypes.c_uint(0)
    arguments = connection.fileno(), socket.SOL_SOCKET, option
    library.getsockopt(*arguments, None, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    if library.getsockopt(*arguments, buffer, ctypes.byref(size)) == 0:
        return buffer.raw[: size.value]
    error = ctypes.get_errno()
    raise OSError(error, os.strerror(error))


def _text(path: Path) -> str:
    """Return a file's text, "" if it is not there or not visible. Raises Unknown."""
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        if error.errno in NO_DESCRIPTOR:
            raise Unknown(TOO_MANY_FILES) from None
        return ""
