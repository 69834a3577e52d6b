"""Listening sockets that outlive the process in systemd's fd store, or that a socket unit lends.

sd_pid_notify_with_fds(3): FDSTORE=1 adds a descriptor under FDNAME=, FDSTOREREMOVE=1 removes all of
that name. Clients that connect while no daemon runs wait in the socket's queue for the next one.
systemd empties the store when the service stops, but not when it is restarted or crashes.
"""

import os
import re
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from refresherd.adapters.systemd.activation import listening_socket
from refresherd.domain.model import Ownership
from refresherd.host.accounts import UNCHANGED, NoSuchAccount, owner_ids
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.service_manager import Descriptor, Notifier
from refresherd.host.unix_sockets import BoundSocket, Listen, SocketFile, bind, lend

NAME = re.compile(r"k\.[0-9A-Za-z_-]{10}")

MAX_KEPT = 800
"""As many as LISTEN_FDNAMES has room for beside the stored sessions: see `fd_sessions`."""


class _Stored(NamedTuple):
    name: str
    socket: socket.socket


class KeptSockets:
    """Opens the sockets of the API and of the apps, and keeps those that it bound for the next run.

    A socket goes on only where nobody could tell the difference: for the same app, path, mode,
    owner and group, with its file still in place and with those rights. Otherwise clients that
    queued under other rights could get a token.
    """

    def __init__(
        self,
        notifier: Notifier,
        lent: Mapping[Path, socket.socket],
        stored: Iterable[Descriptor] = (),
        *,
        max_kept: int = MAX_KEPT,
    ) -> None:
        self._notifier = notifier
        self._lent = lent
        self._max_kept = max_kept
        self._stored: dict[str, list[_Stored]] = {}
        """What an earlier run stored, by path, until a socket is opened there."""
        self._names: set[str] = set()
        self._unwanted: list[str] = []
        """Names to be removed as soon as systemd takes messages."""
        self._lock = Lock()
        """Sockets are opened in several threads."""
        for one in stored:
            self._names.add(one.name)
            found = listening_socket(one.fd)
            if found is None:
                self._forget(one.name)
            else:
                path = found.getsockname()
                self._stored.setdefault(path, []).append(_Stored(one.name, found))

    def opener(self, app: str) -> Listen:
        """Return what opens the sockets of an app; "" is the API."""
        return partial(self._open, app)

    async def drop_unconfigured(self, paths: Iterable[Path], executor: KeyedExecutor) -> None:
        """Close and remove the stored sockets whose paths are not configured any more."""
        configured = set(map(str, paths))
        for path in [path for path in self._stored if path not in configured]:
            for one in self._stored.pop(path):
                drop = partial(self._drop, path, one)
                await executor.call(str(Path(path).parent), drop)

    def _open(self, app: str, path: Path, ownership: Ownership) -> BoundSocket:
        adopted = None
        for one in self._stored.pop(str(path), ()):
            file = _file(path)
            wanted = file and one.name == _name(app, path, ownership, file)
            if path not in self._lent and file and wanted and _has_rights(file, ownership):
                forget = partial(self._forget, one.name)
                adopted = BoundSocket(one.socket, path, file, forget=forget, queued=True)
            else:
                self._drop(str(path), one)
        if adopted is not None:
            return adopted
        if path in self._lent:
            return lend(self._lent[path], path)
        bound = bind(path, ownership)
        if bound.file is not None and self._notifier.enabled:
            name = _name(app, path, ownership, bound.file)
            if self._store(name, bound.socket):
                bound.forget = partial(self._forget, name)
        return bound

    def _store(self, name: str, listening: socket.socket) -> bool:
        with self._lock:
            if len(self._names) >= self._max_kept:
                return False
            message = ("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0")
            if self._notifier.send(*message, descriptors=[listening.fileno()]):
                self._names.add(name)
                return True
            return False

    def _forget(self, name: str) -> None:
        """Remove an entry, now or as soon as systemd takes messages."""
        with self._lock:
            self._unwanted.append(name)
            while self._unwanted:
                oldest = self._unwanted[0]
                if not self._notifier.send("FDSTOREREMOVE=1", f"FDNAME={oldest}"):
                    return
                del self._unwanted[0]
                self._names.discard(oldest)

    def _drop(self, path: str, one: _Stored) -> None:
        """Close a stored socket, and remove its file unless another has taken the path."""
        file = _file(Path(path))
        if file is not None and one.name.endswith(_short(repr(file[:2]))):
            with suppress(OSError):
                Path(path).unlink()
        one.socket.close()
        self._forget(one.name)


def is_kept(name: str) -> bool:
    """Return whether a descriptor of this name, passed on by systemd, is a kept socket."""
    return NAME.fullmatch(name) is not None


def _name(app: str, path: Path, ownership: Ownership, file: SocketFile) -> str:
    """Return the name of a socket's entry: short, since LISTEN_FDNAMES has to hold all of them."""
    return f"k.{_short(repr((app, str(path), ownership)))}{_short(repr(file[:2]))}"


def _short(text: str) -> str:
    digest = blake2b(text.encode(errors="surrogateescape"), digest_size=6).digest()
    return urlsafe_b64encode(digest).decode()[:5]


def _file(path: Path) -> SocketFile | None:
    with suppress(OSError):
        return SocketFile.of(path.lstat())
    return None


def _has_rights(file: SocketFile, ownership: Ownership) -> bool:
    """Return whether those may connect whom the configuration names, and nobody else could."""
    try:
        uid, gid = owner_ids(ownership)
    except NoSuchAccount:
        return False
    uid = os.geteuid() if uid == UNCHANGED else uid
    return (file.mode, file.uid) == (ownership.mode, uid) and gid in (UNCHANGED, file.gid)
