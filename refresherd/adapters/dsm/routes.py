"""How an endpoint is reached: its addresses, and the proxy in between."""

import socket
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from refresherd.adapters.dsm.tls import TlsFiles
from refresherd.domain.errors import Reason, Retryable
from refresherd.host.keyed_executor import KeyedExecutor


@dataclass(frozen=True, slots=True)
class Route:
    """What apps must have in common to share connections."""

    endpoint: URL
    proxy: str = field(repr=False)
    """As configured. It may hold a password."""
    max_in_flight: int
    tls_files: TlsFiles


def proxy_for(endpoint: URL, configured: str) -> URL | None:
    """Return the proxy for an endpoint, None to connect directly.

    A configured proxy wins. Otherwise the usual environment variables (HTTPS_PROXY, NO_PROXY,
    …) decide, except for loopback hosts, which no proxy can reach. They are read here because
    aiohttp, if it is to read them, also reads `.netrc`, and sends a password from there in
    place of our Authorization header. Raises Retryable if the proxy's URL is unusable.
    """
    text = configured
    if not text:
        host = endpoint.host or ""
        if _is_loopback(host) or proxy_bypass(f"{host}:{endpoint.port}"):
            return None
        text = getproxies().get(endpoint.scheme, "")
        if not text:
            return None
    try:
        # Without a scheme it is http://, as in curl.
        proxy = URL(text if "://" in text else f"http://{text}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or not proxy.host:
        # The text is not quoted: it may hold a password.
        message = "the proxy (proxy, or HTTPS_PROXY) is not an http:// or https:// URL"
        raise Retryable(Reason.CONNECT, message)
    return proxy


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Resolver(AbstractResolver):
    """The system's resolver, with /etc/hosts and nsswitch. Each name has a thread of its own.

    aiohttp's resolver shares the event loop's few threads, so a handful of names whose servers
    do not answer would keep every other endpoint from being resolved.
    """

    def __init__(self, executor: KeyedExecutor) -> None:
        self._executor = executor

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises OSError if it has none."""
        stream, flags = socket.SOCK_STREAM, socket.AI_ADDRCONFIG
        look_up = partial(socket.getaddrinfo, host, port, family, stream, flags=flags)
        try:
            addresses = await self._executor.call(("resolve", host), look_up)
        except UnicodeError:
            raise OSError("it is not a valid host name") from None
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=address_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address_family, _, proto, _, address in addresses
        ]

    async def close(self) -> None:
        """Do nothing: the executor belongs to the caller."""
