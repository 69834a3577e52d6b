"""Asks the daemon for its metrics, as Prometheus does."""

import socket
from http import HTTPStatus

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=5)


async def scrape(session: aiohttp.ClientSession, url: str) -> str | None:
    """Return the exposition, None while the daemon does not answer."""
    try:
        async with session.get(url, timeout=TIMEOUT) as answer:
            return await answer.text() if answer.status == HTTPStatus.OK else None
    except (aiohttp.ClientError, TimeoutError):
        return None


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
