"""Ports of this host that are nobody else's, even while nobody listens on them."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager


def unused_port() -> int:
    """Return a port that nobody has for now."""
    with held_port() as port:
        return port


@contextmanager
def held_port() -> Iterator[int]:
    """Yield a port that only those can listen on who know of it, until the block ends.

    It is below those that connections are made from (ip_local_port_range, ip(7)). With
    SO_REUSEADDR, which asyncio sets, others may listen on it, and without a listener
    connections are refused.
    """
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311  # no secret
        with socket.socket() as holder:
            try:
                holder.bind(("", port))
            except OSError:
                continue
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            yield port
            return
