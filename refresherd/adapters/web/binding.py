"""Listening TCP sockets, and what is said when one cannot be had."""

import errno
import socket

from refresherd.domain.errors import RefresherdError

STUCK_MILLISECONDS = 30_000
"""A peer that takes in nothing for so long is cut off, or its answer would be kept for ever."""

_REASONS = {
    errno.EADDRINUSE: "the address is in use",
    errno.EACCES: "not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)",
    errno.EADDRNOTAVAIL: "this host has no such address",
}


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; a `port` of 0 is any free one, `::` is all IPv6 addresses only.

    Raises RefresherdError where the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise RefresherdError(f"cannot listen on {address_text(host, port)}: {reason}") from error
    # Accepted sockets inherit it; it counts a peer's closed window as well (tcp(7)).
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_MILLISECONDS)
    return listening


def address_text(host: str, port: int) -> str:
    """Return an address as it is written in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
