"""Which proxy stands between here and an endpoint.

aiohttp could read the environment itself, but then it also reads `.netrc`, and a
password of that file would go out in place of our Authorization header.
"""

from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from refresherd.domain.errors import Reason, Retryable


def proxy_for(endpoint: URL, configured: str) -> URL | None:
    """Return the proxy to go through, None for none. Raises Retryable for one of no use.

    Without a configured one the usual environment variables say (HTTPS_PROXY, NO_PROXY, …),
    except for a loopback host, which no proxy could reach.
    """
    if configured:
        return _url(configured)
    host = endpoint.host or ""
    if _is_loopback(host) or proxy_bypass(f"{host}:{endpoint.port}"):
        return None
    found = getproxies().get(endpoint.scheme)
    return _url(found) if found else None


def _url(text: str) -> URL:
    """Read what people write for a proxy: curl takes it without a scheme, too."""
    try:
        proxy = URL(text if "://" in text else f"http://{text}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or not proxy.host:
        # Its text is not repeated: it may hold a password.
        raise Retryable(Reason.CONNECT, "the proxy is not an http:// or https:// URL")
    return proxy


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
