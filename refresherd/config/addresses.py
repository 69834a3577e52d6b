"""Network addresses: of DSM, of a proxy, and to listen on."""

import re
from contextlib import suppress
from ipaddress import ip_address
from typing import Self

from refresherd.config.findings import quoted
from refresherd.config.scalars import Scalar

LABEL = r"[A-Za-z0-9_-]{1,63}"
HOST = rf"(?P<host>\[[0-9A-Fa-f:.]+\]|{LABEL}(\.{LABEL})*\.?)"
URL = re.compile(rf"https?://{HOST}(:(?P<port>[0-9]{{1,5}}))?/?", re.IGNORECASE)
LISTEN = re.compile(rf"{HOST}:(?P<port>[0-9]{{1,5}})")
LAST_PORT = 65535
IPV6 = 6
USUAL_PORT = 9749

USUAL_PORTS = ("80", "443", "3128", "8080", "8443", str(USUAL_PORT))
"""What ends "::1:443" is one of these rather than a part of the IPv6 address."""

SCHEME = re.compile(r"(https?(?=[:/\\])|[A-Z][A-Z0-9+.-]*(?=:[/\\])):?[/\\]*|[/\\]+", re.IGNORECASE)
"""A scheme, even a misspelt one, and the colon and slashes after it."""

HTTP = "[Hh][Tt][Tt][Pp]"


class EndpointUrl(Scalar):
    """The address of a DSM; plain http is for loopback hosts, since it exposes the credential."""

    __slots__ = ("loopback", "url")
    loopback: bool
    """Whether the host is this machine."""
    url: str
    """In lower case, without a trailing slash."""
    noun = "DSM URL"
    expected = "https:// and the host, without a path"
    pattern = rf"({HTTP}[Ss]?://[^/?#@\s]+/?)?"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the URL with the right scheme, and with nothing after the port."""
        return f"https://{_bare(text)}"

    def __new__(cls, text: str = "") -> Self:
        """Raise ValueError for anything but a scheme, a host and a port."""
        right = "the host only, since /sys/v1 is added to it"
        host = _url_host(text, ("https://", "http://"), right) if text else ""
        self = super().__new__(cls, text)
        self.url = text.rstrip("/").lower()
        self.loopback = is_loopback(host)
        if self.url.startswith("http://") and not self.loopback:
            raise ValueError(
                "http:// would send the credential unencrypted; write https:// "
                "(http:// is accepted only for loopback hosts, such as 127.0.0.1)"
            )
        return self


class ProxyUrl(Scalar):
    """The address of an HTTP proxy, without a password."""

    noun = "HTTP proxy URL"
    expected = "http://, the host and the port"
    pattern = rf"({HTTP}://([^/?#@:\s]+@)?[^/?#@\s]+/?)?"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the URL with the right scheme, and with nothing after the port."""
        socks = text.strip().lower().startswith("socks")
        return "" if socks else f"http://{_bare(text)}"

    def __new__(cls, text: str = "") -> Self:
        """Raise ValueError for another scheme, a password, or more than a host and a port."""
        user, at, _ = (text.partition("://")[2] or text).rpartition("@")
        if ":" in user:
            raise ValueError(
                "a password must not be in this file; leave proxy empty and set HTTPS_PROXY and "
                "NO_PROXY in the environment of the service instead"
            )
        if text:
            without_user = text.replace(user + at, "", 1)
            _url_host(without_user, ("http://",), "the host and port of the proxy only")
        return super().__new__(cls, text)


class Listen(Scalar):
    """An address to listen on; port 0 means any free port."""

    __slots__ = ("address",)
    address: tuple[str, int]
    """A host, IPv6 without its brackets, and a port."""
    noun = "address"
    from_number = True
    expected = f'a host and the number of a port ("[::1]:{USUAL_PORT}" for IPv6)'
    stand_in = f"127.0.0.1:{USUAL_PORT}"
    pattern = r"(\[[^\]\s]+\]|[^:\s]+):[0-9]{1,5}"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return host and port, with an IPv6 address in brackets."""
        text = text.strip()
        if text.startswith(("/", "unix:")):
            return ""  # a socket's path has no host
        head, _, port = text.rpartition(":")
        if _is_ipv6(head) and port.isdecimal():
            return f"[{head}]:{port}"  # "::1:9749" as a whole is an IPv6 address too
        if text.isascii() and text.isdecimal():
            return f"127.0.0.1:{text}"
        bare = _bare(text)
        return bare if LISTEN.fullmatch(bare) else f"{bare}:{USUAL_PORT}"

    def __new__(cls, text: str) -> Self:
        """Raise ValueError for anything but a host and a port."""
        if every := re.fullmatch(r"[*]?(:[0-9]+)", text):
            raise ValueError(
                f'{quoted(text)} has no host; write "127.0.0.1{every[1]}" for this host only, '
                f'or "0.0.0.0{every[1]}" (IPv6: "[::]{every[1]}") for all addresses'
            )
        _refuse_zone(text)
        self = super().__new__(cls, text)
        self.address = _address(LISTEN.fullmatch(text))
        return self


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == "localhost"


def _url_host(url: str, schemes: tuple[str, ...], right: str) -> str:
    """Return the host of a URL. Raises ValueError for anything but a scheme, a host and a port."""
    _refuse_zone(url)
    if "@" in url:
        raise ValueError(
            "a user or password is not accepted here; remove it: credentials have their own keys"
        )
    if set(url.partition("://")[2].rstrip("/")) & set("/?#"):
        raise ValueError(f"a path or query is not accepted here; write {right}")
    match = URL.fullmatch(url) if url.lower().startswith(schemes) else None
    if match and match["port"] and int(match["port"]) == 0:
        raise ValueError(f"port 0 cannot be connected to; write a port from 1 to {LAST_PORT}")
    return _address(match)[0]


def _refuse_zone(text: str) -> None:
    if "%" in text:
        raise ValueError("a zone (%) is not accepted here; write an address that needs none")


def _address(match: re.Match[str] | None) -> tuple[str, int]:
    """Return a host, IPv6 without its brackets, and a port; 0 where none is given."""
    if match is None:
        raise ValueError
    port = int(match["port"] or 0)
    if port > LAST_PORT:
        raise ValueError(f"port {port} is out of range; write a port up to {LAST_PORT}")
    written = match["host"]
    bare = written.strip("[]")
    if bare == written and set(written) - set("0123456789."):
        return written, port
    try:
        return str(ip_address(bare)), port
    except ValueError:
        # The library's own text repeats the host and does not say what is right.
        raise ValueError from None


def _bare(text: str) -> str:
    """Return the host, in ASCII, and the port of a URL or another address, "" if it has neither.

    IPv6 addresses get brackets.
    """
    text = text.strip()
    scheme = SCHEME.match(text)
    rest = re.split(r"[/?#\\]", text[scheme.end() :] if scheme else text)[0]
    rest = rest.rpartition("@")[2].rstrip(":")
    if _is_ipv6(rest):
        head, _, port = rest.rpartition(":")
        has_port = _is_ipv6(head) and port in USUAL_PORTS
        return f"[{head}]:{port}" if has_port else f"[{rest}]"
    try:
        return rest if rest.isascii() else rest.encode("idna").decode()
    except UnicodeError:
        return ""


def _is_ipv6(text: str) -> bool:
    with suppress(ValueError):
        return ip_address(text).version == IPV6 and "%" not in text
    return False
