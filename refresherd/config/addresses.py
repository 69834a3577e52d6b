"""Network addresses: of DSM, of a proxy, and to listen on."""

import re
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple, Self

from refresherd.config.findings import quoted
from refresherd.config.scalars import Scalar

HOST = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
URL = re.compile(rf"https?://{HOST}(:(?P<port>[0-9]{{1,5}}))?/?")
LISTEN = re.compile(rf"{HOST}:(?P<port>[0-9]{{1,5}})")
LAST_PORT = 65535


class Address(NamedTuple):
    """A host, IPv6 without its brackets, and a port; 0 where none is given."""

    host: str
    port: int


class EndpointUrl(Scalar):
    """The address of a DSM; plain http is for loopback hosts, since it exposes the credential."""

    __slots__ = ("loopback", "url")
    loopback: bool
    """Whether the host is this machine."""
    url: str
    """In lower case, without a trailing slash."""
    noun = "URL of a DSM"
    expected = "https:// and the host"
    pattern = r"(https?://[^/?#@\s]+/?)?"

    def __new__(cls, text: str = "") -> Self:
        """Raise ValueError for anything but a scheme, a host and a port."""
        if text:
            _refuse_extras(text, "https://", "the host only: the client adds /sys/v1 by itself")
        self = super().__new__(cls, text)
        self.url = text.rstrip("/").lower()
        self.loopback = bool(text) and is_loopback(_url_host(text))
        if self.url.startswith("http://") and not self.loopback:
            raise ValueError(
                "http:// would show the credential to the network; write https:// "
                "(http:// is for loopback hosts, such as 127.0.0.1, only)"
            )
        return self


class ProxyUrl(Scalar):
    """The address of an HTTP proxy, without a password."""

    noun = "URL of an HTTP proxy"
    expected = "http://, the host and the port"
    pattern = r"(http://([^/?#@:\s]+@)?[^/?#@\s]+/?)?"

    def __new__(cls, text: str = "") -> Self:
        """Raise ValueError for another scheme, a password, or more than a host and a port."""
        user, at, _ = (text.partition("://")[2] or text).rpartition("@")
        if ":" in user:
            raise ValueError(
                "a password has no place in this file; leave proxy empty and set the environment "
                "variables HTTPS_PROXY and NO_PROXY of the service instead"
            )
        without_user = text.replace(user + at, "", 1)
        if text:
            _refuse_extras(without_user, "http://", "the proxy's host and port only")
        self = super().__new__(cls, text)
        if text:
            _url_host(without_user)
        return self


class Listen(Scalar):
    """An address to listen on; port 0 means any free port."""

    __slots__ = ("address",)
    address: Address
    noun = "address"
    expected = 'a host and a port; "[::1]:9749" for IPv6'
    stand_in = "127.0.0.1:9749"
    pattern = r"(\[[^\]\s]+\]|[^:\s]+):[0-9]{1,5}"

    def __new__(cls, text: str) -> Self:
        """Raise ValueError for anything but a host and a port."""
        if re.fullmatch(":[0-9]+", text):
            raise ValueError(
                f'{quoted(text)} names no host; write "0.0.0.0{text}" for all addresses, '
                f'"127.0.0.1{text}" for this host alone'
            )
        self = super().__new__(cls, text)
        self.address = _address(LISTEN.fullmatch(text))
        return self


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == "localhost"


def _refuse_extras(url: str, scheme: str, right: str) -> None:
    if "@" in url:
        raise ValueError("no user or password belongs in it: credentials have keys of their own")
    if "://" not in url:
        raise ValueError(f"{quoted(url)} has no scheme; write {scheme} in front of the host")
    if set(url.partition("://")[2].rstrip("/")) & set("/?#"):
        raise ValueError(f"a path or query after the host; write {right}")


def _url_host(url: str) -> str:
    match = URL.fullmatch(url)
    if match is not None and match["port"] is not None and int(match["port"]) == 0:
        raise ValueError("port 0 is none to connect to; write the port from 1 to 65535")
    return _address(match).host


def _address(match: re.Match[str] | None) -> Address:
    if match is None:
        raise ValueError
    port = int(match["port"] or 0)
    if port > LAST_PORT:
        raise ValueError(f"there is no port {port}; the last one is {LAST_PORT}")
    written = match["host"]
    bare = written.strip("[]")
    if bare == written and set(written) - set("0123456789."):
        return Address(written, port)
    try:
        return Address(str(ip_address(bare)), port)
    except ValueError:
        # The library's own text repeats the host and does not say what is right.
        raise ValueError from None
