"""Ports of this host that stay free while nobody listens on them."""

import random
import socket
from contextlib import suppress


def unused_port() -> int:
    """Return a port below those that connections are made from (ip_local_port_range, ip(7))."""
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311  # no secret
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
