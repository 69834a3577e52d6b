"""How an endpoint is reached: directly, or through a proxy."""

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.request import getproxies

from yarl import URL

from refresherd.adapters.dsm.tls import TlsFiles
from refresherd.domain import no_proxy
from refresherd.domain.errors import Reason, Retryable


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
        _, exempt = no_proxy.variable(os.environ)
        if _is_loopback(host) or no_proxy.is_exempt(host, endpoint.port or 0, exempt):
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
