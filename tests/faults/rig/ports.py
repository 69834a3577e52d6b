"""Ports that nobody else takes, even while nobody listens on them."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager


def unused_port() -> int:
    """Return a port that is free at the moment."""
    with held_port() as port:
        return port


@contextmanager
def held_port() -> Iterator[int]:
    """Reserve a port until the block ends, and yield it.

    It is below the range that outgoing connections use (ip_local_port_range, ip(7)). A socket
    with SO_REUSEADDR, which asyncio sets, can listen on it; until then connections are refused.
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
