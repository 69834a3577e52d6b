"""The places of all connections: given out, freed, and taken back from clients that are slow.

One Admission serves all listeners of the process, so that its limits hold for them together.
"""

import asyncio
import os
import resource
import socket
from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from refresherd.domain.access import ROOT
from refresherd.domain.connection_quota import (
    ConnectionQuota,
    Quota,
    Rank,
    Refusal,
    User,
    quota_for,
)
from refresherd.domain.events import ConnectionRejected
from refresherd.engine.ports import Observer
from refresherd.host.stream import NewStream, Stream
from refresherd.host.user_namespace import PROC, overflow

SWEEP_SECONDS = 0.25
"""Seconds between two looks at the deadlines of all connections."""

REPORT_SECONDS = 1.0
"""Refusals of the same kind within this time are reported together."""

AWAKE_SECONDS = 0.00005
"""Seconds for which the loop stays awake after a request on a busy connection: about as long as it
takes to fall asleep and be woken."""


@dataclass(slots=True)
class _Burst:
    """Refusals of one kind at one listener."""

    user: User
    """Whose connection was refused last."""
    count: int
    """Those that are not yet reported."""
    reported_at: float


@dataclass(slots=True)
class _Held:
    """A user's open connections."""

    all: dict[Stream, None] = field(default_factory=dict)
    """The oldest first."""
    idle: OrderedDict[Stream, None] = field(default_factory=OrderedDict)
    """Those that wait for their client; the one that has waited longest first."""


class Admission:
    """Gives connections their places, and closes those whose deadlines have passed."""

    def __init__(
        self,
        observer: Observer,
        quota: Quota | None = None,
        *,
        own_uid: int | None = None,
        proc: Path = PROC,
    ) -> None:
        """Use this `quota`, or by default the one that fits the process."""
        self.observer = observer
        self._counts = ConnectionQuota(_own_quota() if quota is None else quota)
        own_uid = os.geteuid() if own_uid is None else own_uid
        self._ranks: dict[User, Rank] = {own_uid: Rank.OWN, ROOT: Rank.ROOT}
        if own_uid == overflow(proc).uid:
            # Other users look the same here, and must not take the daemon's places.
            del self._ranks[own_uid]
        self._held: dict[User, _Held] = {}
        self._bursts: dict[tuple[str, Refusal], _Burst] = {}
        self._too_fast: dict[tuple[str, User], _Burst] = {}
        """Users who connected too often in this turn of the loop, by listener, refused until
        the next one: in a flood, counting each arrival would cost more than all else."""
        self._sweep: asyncio.TimerHandle | None = None
        self._awake_until = -inf
        # Alone on a processor, the loop would keep the client from asking.
        self._may_stay_awake = len(os.sched_getaffinity(0)) > 1

    def rank(self, user: User) -> Rank:
        """Return whose places a user's connections take."""
        return self._ranks.get(user, Rank.OTHER)

    def arrive(self, user: User, listener: str) -> Refusal | None:
        """Count a new connection towards its user's rate; return why it has to be refused."""
        if (burst := self._too_fast.get((listener, user))) is not None:
            burst.count += 1
            return Refusal.USER_ARRIVALS
        if user in self._ranks:
            return None
        loop = asyncio.get_running_loop()
        refusal = self._counts.arrive(user, now := loop.time())
        if refusal is not None:
            if not self._too_fast:
                loop.call_soon(self._too_fast.clear)
            self._too_fast[listener, user] = self._refused(listener, refusal, user, now)
        return refusal

    def admit(
        self,
        connection: socket.SocketType,
        user: User,
        listener: str,
        make_stream: NewStream = Stream,
    ) -> Stream | Refusal:
        """Give a new connection a place, closing another one for it if all are taken.

        Return why it is refused, if it is; that is reported.
        """
        counts, rank = self._counts, self.rank(user)
        refusal = counts.enter(user, rank)
        if refusal is Refusal.ALL_CONNECTIONS and (displaced := self._displaced(user, rank)):
            displaced.close()
            refusal = counts.enter(user, rank)
        if refusal is not None:
            self._refused(listener, refusal, user, asyncio.get_running_loop().time())
            return refusal
        stream = make_stream(connection, user, rank, self)
        held = self._held.get(user)
        if held is None:
            held = self._held[user] = _Held()
        held.all[stream] = held.idle[stream] = None
        if self._sweep is None:
            self._sweep_later()
        return stream

    def busy(self, stream: Stream) -> None:
        """Prefer others when one has to be closed: this connection waits for the daemon."""
        self._held[stream.user].idle.pop(stream, None)

    def idle(self, stream: Stream) -> None:
        """Prefer the connection when one has to be closed: it waits for its client."""
        idle = self._held[stream.user].idle
        idle[stream] = None
        idle.move_to_end(stream)

    def leave(self, stream: Stream) -> None:
        """Free a connection's place."""
        held = self._held[stream.user]
        del held.all[stream]
        held.idle.pop(stream, None)
        if not held.all:
            del self._held[stream.user]
        self._counts.leave(stream.user, stream.rank)

    def awake(self, now: float) -> None:
        """Keep the event loop from sleeping for a moment."""
        asleep = self._awake_until < now
        self._awake_until = now + AWAKE_SECONDS
        if asleep and self._may_stay_awake:
            asyncio.get_running_loop().call_soon(self._stay_awake)

    def _stay_awake(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._awake_until:
            loop.call_soon(self._stay_awake)

    def _displaced(self, user: User, rank: Rank) -> Stream | None:
        """Return the connection that has to make room for a user's new one, None if none has to.

        Root and the daemon's user lose only connections of their own that are idle. Among all
        others, the user with the most loses one to a user with fewer: if possible, the one that
        has been idle longest.
        """
        held = self._held.get(user, _Held())
        if rank is not Rank.OTHER:
            return next(iter(held.idle), None)
        number = len(held.all)
        if number * len(self._held) >= self._counts.quota.rank_connections:
            return None  # at least the average: the cheap way out in a flood
        others = (its for one, its in self._held.items() if one not in self._ranks)
        most = max(others, key=lambda its: len(its.all))
        return next(iter(most.idle or most.all)) if len(most.all) > number else None

    def _refused(self, listener: str, refusal: Refusal, user: User, now: float) -> _Burst:
        """Report the first refusal of a kind at once, and those that follow once a second."""
        burst = self._bursts.get((listener, refusal))
        if burst is None:
            burst = self._bursts[listener, refusal] = _Burst(user, 0, now)
            self.observer.observe(ConnectionRejected(listener, refusal, str(user), 1))
        else:
            burst.user = user
            burst.count += 1
        if self._sweep is None:
            self._sweep_later()
        return burst

    def _sweep_later(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep_now)

    def _sweep_now(self) -> None:
        self._sweep = None
        if self._held or self._bursts:
            self._sweep_later()
        now = asyncio.get_running_loop().time()
        for stream in [stream for held in self._held.values() for stream in held.all]:
            if stream.deadline <= now:
                stream.expire()
        for (listener, refusal), burst in tuple(self._bursts.items()):
            if now < burst.reported_at + REPORT_SECONDS:
                continue
            if burst.count:
                user, count = str(burst.user), burst.count
                self.observer.observe(ConnectionRejected(listener, refusal, user, count))
                burst.count, burst.reported_at = 0, now
            else:
                del self._bursts[listener, refusal]


def _own_quota() -> Quota:
    """Return the quota that fits this process's limit on open files."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return quota_for(None if descriptors == resource.RLIM_INFINITY else descriptors)
