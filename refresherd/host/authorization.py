"""Decides whether the client of a connection may have an app's token, at the least cost.

It knows no protocol: whatever serves tokens makes a `Client` of each accepted connection, and asks
before each answer. The facts about a client are looked up when a decision needs them.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from refresherd.domain.access import (
    Peer,
    Permitted,
    Verdict,
    decide,
    is_operator,
    why_unidentifiable,
)
from refresherd.domain.durations import in_seconds
from refresherd.domain.errors import Denied, Undecided
from refresherd.domain.events import AccessDenied, AccessUndecided
from refresherd.domain.model import Access, App, Instant
from refresherd.engine.ports import Observer
from refresherd.host import peers
from refresherd.host.access_lookup import (
    FRESH_SECONDS,
    LONG_AGO,
    PATIENCE_SECONDS,
    AccessLookup,
)
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.peers import KERNEL, Kernel, Process, Unknown
from refresherd.host.user_namespace import overflow

T = TypeVar("T")

RETRY_AFTER = 5
"""Seconds after which a client shall ask again when it cannot be told who it is."""

MAX_NOT_IN = 64
"""Sets of units that are remembered for a connection."""


class Client:
    """One connection's other end: what is known about it, and what it was granted."""

    __slots__ = ("connection", "granted", "listener", "not_in", "peer", "process")

    def __init__(
        self,
        connection: socket.SocketType,
        peer: Peer,
        listener: str,
        process: Process | None = None,
    ) -> None:
        self.connection = connection
        """An accepted Unix socket, which the kernel is asked about while it is open."""
        self.peer = peer
        """What has been found out so far."""
        self.listener = listener
        """The name of the listening socket in the log."""
        self.process = process
        """The peer's process, if only the moment of accepting could tell it."""
        self.granted: dict[str, Access] = {}
        """The `access` that permitted the peer, by app."""
        self.not_in: dict[frozenset[str], Instant] = {}
        """Units that the peer belongs to none of, and when that was looked up."""


class Authorizer:
    """Grants and denies access to tokens. One serves all listeners of the process.

    `names_units` tells whether the `access` of any app names units.
    """

    def __init__(  # noqa: PLR0913  # the last three have defaults
        self,
        lookup: AccessLookup,
        executor: KeyedExecutor,
        observer: Observer,
        names_units: Callable[[], bool],
        *,
        kernel: Kernel = KERNEL,
        patience: float = PATIENCE_SECONDS,
        own_uid: int | None = None,
    ) -> None:
        self._lookup = lookup
        self._executor = executor
        self._observer = observer
        self._names_units = names_units
        self._kernel = kernel
        self._patience = patience
        self._own_uid = os.geteuid() if own_uid is None else own_uid
        # Both are found out once, and now, while there are descriptors to do so.
        self._tells_processes = peers.tells_processes(kernel)
        overflow(kernel.proc)

    def client(self, connection: socket.SocketType, listener: str) -> Client:
        """Return the client of a Unix socket that was just accepted."""
        peer = peers.credentials(connection, self._kernel)
        by_pid = not self._tells_processes and not self.is_operator(peer) and self._names_units()
        return Client(connection, peer, listener, peers.process_by_pid(peer) if by_pid else None)

    def is_operator(self, peer: Peer) -> bool:
        """Return whether a peer is root or the daemon's user: those may do everything."""
        return is_operator(peer, self._own_uid)

    def granted(self, client: Client, app: App) -> bool:
        """Return whether a client may have the app's token, as far as that is known at once.

        If not, `demand` finds out. A permission holds for the connection until the app's `access`
        changes. A denial does not: a user that `access` names may be created later.
        """
        return client.granted.get(app.name) is app.access or (
            self._decide(client, self._lookup.known(app.access)) is Verdict.GRANTED
            and self._grant(client, app)
        )

    async def demand(self, client: Client, app: App) -> None:
        """Return if a client may have the app's token. Raises Denied or Undecided, and reports it.

        Undecided means that a look-up failed or takes too long, and that what is known without it
        does not suffice.
        """
        if self.granted(client, app):
            return
        reason, doubts = why_unidentifiable(client.peer), [""]
        if not reason:
            permitted, doubts[0] = await self._lookup.current(app.access)
            if await self._permits(client, permitted, doubts):
                self._grant(client, app)
                return
        peer = client.peer
        about = app.name, client.listener, peer.uid, peer.gid, peer.pid
        if doubt := next(filter(None, doubts), ""):
            self._observer.observe(AccessUndecided(*about, doubt))
            raise Undecided(app.name, doubt, retry_after=RETRY_AFTER)
        self._observer.observe(AccessDenied(*about, client.peer.unit or "", reason))
        raise Denied(app.name, reason)

    def _grant(self, client: Client, app: App) -> bool:
        client.granted[app.name] = app.access
        return True

    def _decide(self, client: Client, permitted: Permitted) -> Verdict:
        """Decide by what is known, and by the groups if the kernel tells them at once."""
        verdict = decide(client.peer, permitted, self._own_uid)
        if verdict is not Verdict.NEEDS_GROUPS:
            return verdict
        try:
            groups = peers.groups_of(client.connection, client.peer, self._kernel)
        except Unknown:
            return verdict
        client.peer = replace(client.peer, groups=groups)
        return decide(client.peer, permitted, self._own_uid)

    async def _permits(self, client: Client, permitted: Permitted, doubts: list[str]) -> bool:
        """Return whether a client is permitted, and add to `doubts` why this is uncertain."""
        verdict = self._decide(client, permitted)
        peer = client.peer
        if verdict is Verdict.NEEDS_GROUPS:
            peer = replace(peer, groups=await self._groups(client, doubts))
            verdict = decide(peer, permitted, self._own_uid)
        if verdict is Verdict.NEEDS_UNIT:
            peer = replace(peer, unit=await self._unit(client, permitted.units, doubts))
            verdict = decide(peer, permitted, self._own_uid)
        return verdict is Verdict.GRANTED

    async def _groups(self, client: Client, doubts: list[str]) -> frozenset[int]:
        """Return the groups that /proc shows, for kernels that tell them in no other way."""
        try:
            look_up = partial(peers.groups_by_pid, client.peer, self._process(client), self._kernel)
            groups = await self._call(client.peer, look_up)
        except Unknown as unknown:
            doubts.append(str(unknown))
            return frozenset()
        client.peer = replace(client.peer, groups=groups)
        return groups

    async def _unit(self, client: Client, units: frozenset[str], doubts: list[str]) -> str:
        """Return the client's unit if it is one of `units`, else "" or another one."""
        now = self._lookup.clock.now()
        if now < client.not_in.get(units, LONG_AGO) + FRESH_SECONDS:
            return client.peer.unit or ""
        try:
            process = self._process(client)
            look_up = partial(peers.unit_of, client.peer, process, units, self._kernel)
            unit = await self._call(client.peer, look_up)
        except Unknown as unknown:
            doubts.append(str(unknown))
            return ""
        if unit:  # "" may only mean that the unit is not one of these
            client.peer = replace(client.peer, unit=unit)
        if unit not in units:
            if len(client.not_in) >= MAX_NOT_IN:
                client.not_in.clear()
            client.not_in[units] = now
        return unit

    def _process(self, client: Client) -> Process | None:
        """Return the process that connected, None if it has ended. Raises Unknown."""
        if self._tells_processes:
            return peers.process_of(client.connection, self._kernel)
        if client.process is None:
            raise Unknown("your process was not known when you connected; connect again")
        return client.process

    async def _call(self, peer: Peer, look_up: Callable[[], T]) -> T:
        """Return what a look-up returns, after others for the same user. Raises Unknown."""
        try:
            async with asyncio.timeout(self._patience):
                # A user who connects again and again must delay nobody else.
                return await self._executor.call(("peers", peer.uid), look_up)
        except TimeoutError:
            seconds = in_seconds(self._patience)
            raise Unknown(f"finding out who you are takes over {seconds}") from None
