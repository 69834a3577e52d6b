"""Who is at the other end of a Unix socket: from the kernel, never from what they send.

A unit with ProtectProc=invisible sees no other processes in /proc. The control groups list their
members all the same, since anyone may read cgroup.procs: cgroups(7).
"""

import os
import re
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from refresherd.domain.access import OVERFLOW_ID, Peer

UCRED = struct.Struct("iII")
"""pid, uid and gid: struct ucred of unix(7)."""

MAX_OPTION_BYTES = 1024
"""The most that Python lets the kernel answer: 256 groups."""

UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(?:service|scope|socket|mount|swap)")

CREDENTIAL_CLIENT = re.compile(rb"\0[A-Za-z0-9]+/unit/(?P<unit>[^/]+)/.+", re.DOTALL)
"""The address from which systemd connects for LoadCredential=: systemd.exec(5)."""

MEMBERS = "cgroup.procs"


@dataclass(frozen=True, slots=True)
class Kernel:
    """Where the kernel's answers are found; Python does not name the socket options."""

    pidfd_option: int = 77
    """SO_PEERPIDFD of asm-generic/socket.h, since Linux 6.5."""
    groups_option: int = 59
    """SO_PEERGROUPS of asm-generic/socket.h, since Linux 4.13."""
    proc: Path = Path("/proc")
    cgroup_roots: tuple[Path, ...] = (
        Path("/sys/fs/cgroup"),
        Path("/sys/fs/cgroup/unified"),
        Path("/sys/fs/cgroup/systemd"),
    )
    """Where systemd mounts its tree: version 2 alone, beside version 1, version 1 alone."""


KERNEL = Kernel()


def credentials(connection: socket.socket) -> Peer:
    """Return an accepted socket's peer as it was when it connected: SO_PEERCRED."""
    ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    pid, uid, gid = UCRED.unpack(ucred)
    return Peer(uid, gid, pid)


def process_of(connection: socket.socket, peer: Peer, kernel: Kernel = KERNEL) -> int | None:
    """Return a pidfd of the peer's process, for the caller to close; None if it has ended.

    Call it as soon as the connection is accepted: before Linux 6.5 it would not notice if the pid
    had passed to another process.
    """
    with suppress(OSError):
        return connection.getsockopt(socket.SOL_SOCKET, kernel.pidfd_option)
    with suppress(OSError, AttributeError):  # or no descriptor is left, or Python has no pidfds
        return os.pidfd_open(peer.pid)
    return None


def identified(
    connection: socket.socket, peer: Peer, process: int | None, kernel: Kernel = KERNEL
) -> Peer:
    """Return the peer with its groups and unit; without them where they are uncertain.

    It may block for some milliseconds. `process` is what `process_of` returned.
    """
    proc = kernel.proc / str(peer.pid)
    try:
        gids = connection.getsockopt(socket.SOL_SOCKET, kernel.groups_option, MAX_OPTION_BYTES)
        groups = frozenset(struct.unpack(f"{len(gids) // 4}I", gids))
    except OSError:  # too many of them, or an older kernel
        groups = groups_of(_while_alive(process, lambda: _text(proc / "status")), peer.uid)
    if cgroup := _while_alive(process, lambda: _text(proc / "cgroup")):
        unit = unit_of(cgroup)
    else:  # /proc hides it
        unit = _while_alive(process, lambda: _unit_in(unit_path(peer.pid, kernel.cgroup_roots)))
    return replace(peer, groups=groups - {OVERFLOW_ID}, unit=unit)


def claimed_unit(address: object) -> str:
    """Return the unit for which systemd asks, by the address it connected from; "" for none.

    Any process may bind such an address, so it counts for root alone. The peer is not PID 1, but a
    child of it that later becomes the unit's process.
    """
    claim = CREDENTIAL_CLIENT.fullmatch(address) if isinstance(address, bytes) else None
    return "" if claim is None else claim["unit"].decode(errors="replace")


def unit_of(cgroups: str) -> str:
    """Return the system unit in the text of a /proc/PID/cgroup, "" for none.

    It is the first part of the path that is not a slice, as systemd itself reads it. Names below
    it, such as the units of a user's own manager, are chosen by the unit's own user.
    """
    fields = (line.split(":", 2) for line in cgroups.splitlines())
    paths = {field[1]: field[2] for field in fields if len(field) == len(("id", "name", "path"))}
    # Version 2 first; where systemd still uses version 1, it names its own hierarchy.
    return next(filter(None, (_unit_in(paths.get(key, "")) for key in ("", "name=systemd"))), "")


def groups_of(status: str, uid: int) -> frozenset[int]:
    """Return the groups in the text of a /proc/PID/status; none if it is not that user's.

    A set-user-ID program that was started after connecting has other groups than the caller.
    """
    fields = dict(line.partition(":")[::2] for line in status.splitlines())
    if set(fields.get("Uid", "").split()) != {str(uid)}:
        return frozenset()
    return frozenset(map(int, fields.get("Groups", "").split()))


def unit_path(pid: int, roots: tuple[Path, ...]) -> str:
    """Return the control group of the unit that a process belongs to, "" if none is found.

    It blocks for some milliseconds on a host with hundreds of units.
    """
    wanted = str(pid).encode()
    for root in roots:
        if os.access(root / MEMBERS, os.F_OK):
            units = (unit for unit in _units(root) if _contains(unit, wanted))
            return next((f"/{unit.relative_to(root)}" for unit in units), "")
    return ""


def _unit_in(path: str) -> str:
    for part in path.split("/")[1:]:
        # systemd prefixes an underscore to a name that could be one of the kernel's own files.
        name = part.removeprefix("_")
        if not name.endswith(".slice"):
            return name if UNIT.fullmatch(name) else ""
    return ""


def _while_alive(process: int | None, read: Callable[[], str]) -> str:
    """Return what `read` finds under a process' pid, "" unless the process is still alive then.

    A pid may pass to another process, but not while this one is alive.
    """
    if process is None:
        return ""
    text = read()
    poll = select.poll()
    poll.register(process, select.POLLIN)  # a pidfd becomes readable when its process ends
    return "" if poll.poll(0) else text


def _text(path: Path) -> str:
    """Return a file's text, "" if it is not there or not visible."""
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""


def _units(group: Path) -> Iterator[Path]:
    """Yield the control groups of units: those directly in slices that are not slices."""
    children: list[Path] = []
    with suppress(OSError), os.scandir(group) as entries:  # a unit may end at any time
        children += (Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False))
    for child in children:
        if child.name.endswith(".slice"):
            yield from _units(child)
        else:
            yield child


def _contains(unit: Path, pid: bytes) -> bool:
    """Return whether a process is in a unit's control group or in one below it."""
    for directory, _, _ in os.walk(unit):
        with suppress(OSError):  # as above; and threaded groups cannot list processes
            if pid in Path(directory, MEMBERS).read_bytes().split():
                return True
    return False
