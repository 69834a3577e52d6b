"""Listening sockets that outlive the process in systemd's fd store, or that a socket unit provides.

Clients that connect while no daemon runs wait in the socket's queue for the next one.
"""

import asyncio
import os
import re
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from refresherd.adapters.systemd.activation import listening_socket
from refresherd.domain.model import Ownership
from refresherd.host.accounts import UNCHANGED, NoSuchAccount, owner_ids
from refresherd.host.fd_store import MAX_SOCKETS, FdStore
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.service_manager import Descriptor, Notifier
from refresherd.host.socket_files import SocketFile, remove
from refresherd.host.unix_sockets import BoundSocket, Listen, bind, from_socket_unit

NAME = re.compile(r"k\.[0-9A-Za-z_-]{10}")
"""Names are this short so that `MAX_SOCKETS` of them fit in LISTEN_FDNAMES."""


class _Stored(NamedTuple):
    name: str
    socket: socket.socket


class FdSockets:
    """Opens the sockets of the API and the apps, and stores those that it binds for the next run.

    A stored socket is used again only for the same app, path, mode, owner and group, with its file
    still in place and with those rights. Otherwise clients that queued under other rights could
    get a token.
    """

    def __init__(
        self,
        notifier: Notifier,
        from_units: Mapping[Path, socket.socket],
        stored: Iterable[Descriptor] = (),
        *,
        max_entries: int = MAX_SOCKETS,
    ) -> None:
        self._entries = FdStore(notifier, max_entries)
        self._from_units = from_units
        self._stores = notifier.enabled
        self._stored: dict[str, list[_Stored]] = {}
        """What an earlier run stored, by path, until a socket is opened there."""
        for one in stored:
            self._entries.adopt(one.name)
            found = listening_socket(one.fd)
            if found is None:
                self._entries.remove((one.name,))
            else:
                path = found.getsockname()
                self._stored.setdefault(path, []).append(_Stored(one.name, found))

    def opener(self, app: str) -> Listen:
        """Return what opens the sockets of an app; "" is the API."""
        return partial(self._open, app)

    async def drop_unconfigured(self, paths: Iterable[Path], executor: KeyedExecutor) -> None:
        """Close and remove the stored sockets whose paths are not configured any more.

        Each directory has a thread of its own, so one that hangs holds up no other.
        """
        unwanted = self._stored.keys() - set(map(str, paths))
        await asyncio.gather(
            *(
                executor.call(str(Path(path).parent), partial(self._drop, path, one))
                for path in unwanted
                for one in self._stored.pop(path)
            )
        )

    def _open(self, app: str, path: Path, ownership: Ownership) -> BoundSocket:
        adopted = None
        for one in self._stored.pop(str(path), ()):
            file = SocketFile.at(path)
            wanted = file and one.name == _name(app, path, ownership, file)
            if path not in self._from_units and file and wanted and _has_rights(file, ownership):
                forget = partial(self._entries.remove, (one.name,))
                adopted = BoundSocket(one.socket, path, file, forget=forget, queued=True)
            else:
                self._drop(str(path), one)
        if adopted is not None:
            return adopted
        if path in self._from_units:
            return from_socket_unit(self._from_units[path], path)
        bound = bind(path, ownership)
        if bound.file is not None and self._stores:
            name = _name(app, path, ownership, bound.file)
            if self._entries.add(name, bound.socket.fileno()):
                bound.forget = partial(self._entries.remove, (name,))
        return bound

    def _drop(self, path: str, one: _Stored) -> None:
        """Close a stored socket, and remove its file unless another has taken the path."""
        file = SocketFile.at(Path(path))
        if file is not None and one.name.endswith(_short(repr(file[:2]))):
            with suppress(OSError):
                remove(Path(path), file)
        one.socket.close()
        self._entries.remove((one.name,))


def is_socket(name: str) -> bool:
    """Return whether a descriptor of this name, passed on by systemd, is a stored socket."""
    return NAME.fullmatch(name) is not None


def _name(app: str, path: Path, ownership: Ownership, file: SocketFile) -> str:
    """Return the name of a socket's entry: short, since LISTEN_FDNAMES has to hold all of them."""
    return f"k.{_short(repr((app, str(path), ownership)))}{_short(repr(file[:2]))}"


def _short(text: str) -> str:
    digest = blake2b(text.encode(errors="surrogateescape"), digest_size=6).digest()
    return urlsafe_b64encode(digest).decode()[:5]


def _has_rights(file: SocketFile, ownership: Ownership) -> bool:
    """Return whether the file has the owner, group and mode that the configuration names."""
    try:
        uid, gid = owner_ids(ownership)
    except NoSuchAccount:
        return False
    uid = os.geteuid() if uid == UNCHANGED else uid
    return (file.mode, file.uid) == (ownership.mode, uid) and gid in (UNCHANGED, file.gid)
