"""Who is at the other end of a Unix socket: from the kernel, never from what they send."""

import os
import re
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from refresherd.domain.access import OVERFLOW_ID, Peer
from refresherd.host import cgroups

UCRED = struct.Struct("iII")
"""pid, uid and gid: struct ucred of unix(7)."""

SO_PEERGROUPS = 59
SO_PEERPIDFD = 77
"""Of Linux 4.13 and 6.5, as in asm-generic/socket.h: Python does not name them."""

MOST_OPTION_BYTES = 1024
"""The most that Python lets the kernel answer: 256 groups."""

UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(?:service|scope|socket|mount|swap)")

CLAIM = re.compile(rb"\0[A-Za-z0-9]+/unit/(?P<unit>[^/]+)/.+", re.DOTALL)
"""Where systemd connects from for LoadCredential=: systemd.exec(5)."""


def credentials(connection: socket.socket) -> Peer:
    """Return an accepted socket's peer as it was when it connected: SO_PEERCRED."""
    message = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    pid, uid, gid = UCRED.unpack(message)
    return Peer(uid, gid, pid)


def process_of(connection: socket.socket, peer: Peer) -> int | None:
    """Return a descriptor of the peer's process, for the caller to close; None if it has ended.

    To be asked at once: before Linux 6.5 a pid that changes hands before that goes unnoticed.
    """
    try:
        return connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError:
        pass
    try:
        return os.pidfd_open(peer.pid)
    except (OSError, AttributeError):  # or there is no descriptor left, or Python has no pidfds
        return None


def identified(connection: socket.socket, peer: Peer, process: int | None) -> Peer:
    """Return the peer with its groups and its unit; without them where they are not certain.

    It may take some milliseconds. `process` is what `process_of` returned.
    """
    groups = _groups(connection, peer, process) - {OVERFLOW_ID}
    return replace(peer, groups=groups, unit=_unit(peer, process))


def claimed_unit(address: object) -> str:
    """Return the unit for which systemd asks, by the address it connected from; "" for none.

    Any process may bind such an address: only root is to be believed. It is not PID 1 that
    connects, but a child of it that becomes the unit's process.
    """
    claim = CLAIM.fullmatch(address) if isinstance(address, bytes) else None
    return "" if claim is None else claim["unit"].decode(errors="replace")


def unit_of(cgroups: str) -> str:
    """Return the system unit in the text of a /proc/PID/cgroup, "" for none.

    It is the first part of the path that is no slice, as systemd itself reads it: what lies
    below, such as the units of a user's own manager, whoever is delegated to may name at will.
    """
    paths = dict(_hierarchies(cgroups))
    # Version 2 first; where systemd still uses version 1, it names its own hierarchy.
    return next(filter(None, (_unit_in(paths.get(key, "")) for key in ("", "name=systemd"))), "")


def groups_of(status: str, uid: int) -> frozenset[int]:
    """Return the groups in the text of a /proc/PID/status, none if it is not that user's.

    A set-user-ID program started after the connection was made has other groups than who made it.
    """
    fields = dict(line.partition(":")[::2] for line in status.splitlines())
    if set(fields.get("Uid", "").split()) != {str(uid)}:
        return frozenset()
    return frozenset(map(int, fields.get("Groups", "").split()))


def _hierarchies(cgroups: str) -> list[tuple[str, str]]:
    fields = (line.split(":", 2) for line in cgroups.splitlines())
    return [(field[1], field[2]) for field in fields if len(field) == len(("id", "name", "path"))]


def _unit_in(path: str) -> str:
    for part in path.split("/")[1:]:
        # An underscore protects what would look like a file of the kernel's own.
        name = part.removeprefix("_")
        if not name.endswith(".slice"):
            return name if UNIT.fullmatch(name) else ""
    return ""


def _unit(peer: Peer, process: int | None) -> str:
    """Return the peer's unit by its /proc/PID/cgroup, or by the groups where it is hidden."""
    message = _certain(process, lambda: _read(peer, "cgroup"))
    if message:
        return unit_of(message)
    return _certain(process, lambda: _unit_in(cgroups.unit_path(peer.pid)))


def _groups(connection: socket.socket, peer: Peer, process: int | None) -> frozenset[int]:
    try:
        message = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MOST_OPTION_BYTES)
    except OSError:  # too many of them, or an older kernel
        status = _certain(process, lambda: _read(peer, "status"))
        return groups_of(status, peer.uid)
    return frozenset(struct.unpack(f"{len(message) // 4}I", message))


def _certain(process: int | None, message: Callable[[], str]) -> str:
    """Return what is told of a process by its pid, "" unless it is certainly of that one.

    A pid may come to belong to another process, but not while this one lives.
    """
    if process is None:
        return ""
    text = message()
    return "" if _ended(process) else text


def _read(peer: Peer, name: str) -> str:
    """Return a file in the /proc of the peer's pid, "" if there is none to be seen."""
    with suppress(OSError):
        return Path(f"/proc/{peer.pid}/{name}").read_text(errors="replace")
    return ""


def _ended(process: int) -> bool:
    """Return whether a process has ended: its pidfd becomes readable."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))
