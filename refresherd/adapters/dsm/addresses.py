"""The addresses of DSM, or of a proxy, and the order in which they are tried."""

import asyncio
import socket
from functools import partial
from itertools import chain, zip_longest
from math import inf

from aiohttp.abc import ResolveResult

from refresherd.domain.model import Instant
from refresherd.engine.ports import Clock
from refresherd.host.keyed_executor import KeyedExecutor

RESOLVED_SECONDS = 1.0
"""How long resolved addresses are reused: long enough for a burst of connections. Any longer could
stick to a dead address for as long as a short outage budget lasts."""

SUSPECT_SECONDS = 600.0
"""How long an address is suspect after it failed."""

MOST_ADDRESSES = 8
"""How many of a name's addresses are used, which bounds the connections of one attempt."""


class Addresses:
    """A host's addresses, from the system's resolver with /etc/hosts and nsswitch.

    All apps that connect to this host and port share them. An address that failed is suspect: it
    is tried after the others until it answers again, or until SUSPECT_SECONDS have passed.
    """

    __slots__ = (
        "_clock",
        "_executor",
        "_host",
        "_known",
        "_look_up",
        "_port",
        "_resolved_at",
        "_suspects",
    )

    def __init__(self, host: str, port: int, executor: KeyedExecutor, clock: Clock) -> None:
        self._host = host
        self._port = port
        self._executor = executor
        self._clock = clock
        self._known: tuple[ResolveResult, ...] = ()
        self._resolved_at = Instant(-inf)
        self._look_up: asyncio.Task[None] | None = None
        self._suspects: dict[str, Instant] = {}
        """When each suspect address failed last."""

    @property
    def lacks_thread(self) -> bool:
        """Whether the host is not resolved because the process may have no more threads."""
        return self._executor.lacks_thread(("resolve", self._host))

    @property
    def has_alternatives(self) -> bool:
        """Whether there is more than one; there is not where the host is an IP address."""
        return len(self._known) > 1

    async def resolve(self) -> list[ResolveResult]:
        """Return the addresses in the order in which to try them. Raises OSError if none is known.

        1. IPv6 and IPv4 take turns, since one of them may not work at all (RFC 8305, 4).
        2. Suspect addresses come last; among them, the one that failed longest ago is first.
        """
        if self._clock.now() - self._resolved_at >= RESOLVED_SECONDS:
            if self._look_up is None:
                self._look_up = asyncio.create_task(self._resolve())
                self._look_up.add_done_callback(self._looked_up)
            # Several attempts may wait for it, so it goes on if one of them is cancelled.
            await asyncio.shield(self._look_up)
        families: dict[socket.AddressFamily, list[ResolveResult]] = {}
        for address in self._known:
            families.setdefault(socket.AddressFamily(address["family"]), []).append(address)
        mixed = chain.from_iterable(zip_longest(*families.values()))
        self._expire_suspects()
        return sorted(filter(None, mixed), key=lambda it: self._suspects.get(it["host"], -inf))

    def healthy_others(self, address: str) -> int:
        """Return how many addresses other than this one are not suspect."""
        self._expire_suspects()
        bad = {address, *self._suspects}
        return sum(known["host"] not in bad for known in self._known)

    def is_suspect(self, address: str) -> bool:
        """Return whether an address has failed lately."""
        return address in self._suspects

    def failed(self, address: str) -> None:
        """Try an address after all others from now on, also after those that DNS returns later."""
        self._suspects[address] = self._clock.now()

    def answered(self, address: str) -> None:
        """Note that an address answers, so that it is not suspect any more."""
        self._suspects.pop(address, None)

    def _expire_suspects(self) -> None:
        if self._suspects:
            since = self._clock.now() - SUSPECT_SECONDS
            self._suspects = {name: at for name, at in self._suspects.items() if at > since}

    def _looked_up(self, look_up: "asyncio.Task[None]") -> None:
        self._look_up = None
        if not look_up.cancelled():
            look_up.exception()  # nobody may be waiting for it any more

    async def _resolve(self) -> None:
        # Each name has a thread of its own. The event loop's resolver shares a few threads, so a
        # handful of names whose servers do not answer would hold up every other endpoint.
        stream, flags = socket.SOCK_STREAM, socket.AI_ADDRCONFIG
        look_up = partial(socket.getaddrinfo, self._host, self._port, 0, stream, flags=flags)
        try:
            found = await self._executor.call(("resolve", self._host), look_up)
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "it is not a valid host name") from None
        results = {
            str(address[0]): ResolveResult(
                hostname=self._host,
                host=str(address[0]),
                port=self._port,
                family=family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, proto, _, address in found
        }
        self._known = tuple(results.values())[:MOST_ADDRESSES]
        self._resolved_at = self._clock.now()
