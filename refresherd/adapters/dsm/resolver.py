"""Host names to addresses, each name in a lane of its own.

aiohttp's resolver shares the loop's handful of threads: a few names whose servers
do not answer would keep every other endpoint from being resolved.
"""

import socket
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult

from refresherd.host.keyed_executor import KeyedExecutor


class Resolver(AbstractResolver):
    """The system's resolver: /etc/hosts, nsswitch and all."""

    def __init__(self, executor: KeyedExecutor) -> None:
        self._executor = executor

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises OSError if there are none."""
        look_up = partial(
            socket.getaddrinfo,
            host,
            port,
            family=family,
            type=socket.SOCK_STREAM,
            flags=socket.AI_ADDRCONFIG,
        )
        try:
            found = await self._executor.call(("resolve", host), look_up)
        except UnicodeError:
            raise OSError("no host can have this name") from None
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Leave the lanes: they are not ours."""
