"""Whether who asks may have an app's token, and telling of who may not."""

import os

from refresherd.adapters.api.connection import Connection
from refresherd.domain.access import may_read, operates
from refresherd.domain.errors import RefresherdError
from refresherd.domain.events import AccessDenied
from refresherd.domain.model import App
from refresherd.engine.ports import Observer
from refresherd.host.accounts import Accounts
from refresherd.host.keyed_executor import KeyedExecutor


class Denied(RefresherdError):
    """Who asks may not have what they ask for."""


class Permission:
    """Judges peers by an app's `access`. `socket` is what the log calls the socket."""

    def __init__(self, executor: KeyedExecutor, observer: Observer, socket: str) -> None:
        self._accounts = Accounts(executor)
        self._observer = observer
        self._socket = socket
        self._own_uid = os.geteuid()

    def operator(self, connection: Connection) -> bool:
        """Return whether root or the daemon's own user asks."""
        return operates(connection.peer, self._own_uid)

    async def demand(self, connection: Connection, app: App) -> None:
        """Raise Denied unless a connection's peer may have the app's token.

        A yes holds for the connection until the app is configured anew. A no does not: the
        user that it takes may be created meanwhile.
        """
        if connection.granted.get(app.name) is app.access:
            return
        peer = connection.peer
        if self.operator(connection) or may_read(
            peer, await self._accounts.permitted(app.access), self._own_uid
        ):
            connection.granted[app.name] = app.access
            return
        self._observer.observe(
            AccessDenied(app.name, self._socket, peer.uid, peer.gid, peer.pid, peer.unit)
        )
        raise Denied(f'the token of "{app.name}" is not for you')
