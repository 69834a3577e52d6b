"""Strings of the file that say where something is on the network: DSM, proxy, listeners."""

import re
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple, Self

from refresherd.config.scalars import Scalar
from refresherd.config.wording import quoted

HOST = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
URL = re.compile(rf"(?P<scheme>https?)://{HOST}(:(?P<port>[0-9]{{1,5}}))?/?")
LISTEN = re.compile(rf"{HOST}:(?P<port>[0-9]{{1,5}})")
LAST_PORT = 65535


class Address(NamedTuple):
    """A host, IPv6 without its brackets, and a port, 0 where none is written."""

    host: str
    port: int


class EndpointUrl(Scalar):
    """Where DSM is, or ""; `url` is without a trailing slash, `loopback` whether it is this host.

    Plain http shows the credential to the network, so only loopback hosts may have it.
    """

    __slots__ = ("loopback", "url")
    loopback: bool
    url: str
    noun = "URL of a DSM"
    expected = "https:// and the host"
    pattern = r"(https?://[^/?#@\s]+/?)?"

    def __new__(cls, text: str = "") -> Self:
        """Raise ValueError for what is no https URL of a host and nothing more."""
        if text:
            _refuse_extras(text, "https://", "the host only: the client adds /sys/v1 by itself")
        self = super().__new__(cls, text)
        self.url = text.rstrip("/").lower()
        self.loopback = False
        if text:
            self.loopback = is_loopback(_host_of(text))
            if self.url.startswith("http://") and not self.loopback:
                raise ValueError(
                    "http:// would show the credential to the network; write https:// "
                    "(http:// is for loopback hosts, such as 127.0.0.1, only)"
                )
        return self


class ProxyUrl(Scalar):
    """An HTTP proxy, or "". A password has no place in it."""

    __slots__ = ()
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
        plain = text.replace(user + at, "", 1)
        if text:
            _refuse_extras(plain, "http://", "the proxy's host and port only")
        self = super().__new__(cls, text)
        if text:
            _host_of(plain)
        return self


class Listen(Scalar):
    """Where to listen: `address` has port 0 for any free one."""

    __slots__ = ("address",)
    address: Address
    noun = "address"
    expected = 'a host and a port; "[::1]:9749" for IPv6'
    stand_in = "127.0.0.1:9749"
    pattern = r"(\[[^\]\s]+\]|[^:\s]+):[0-9]{1,5}"

    def __new__(cls, text: str) -> Self:
        """Raise ValueError for what is no host and port."""
        if re.fullmatch(":[0-9]+", text):
            raise ValueError(
                f'{quoted(text)} names no host; write "0.0.0.0{text}" for all addresses, '
                f'"127.0.0.1{text}" for this host alone'
            )
        self = super().__new__(cls, text)
        self.address = _address(LISTEN.fullmatch(text))
        return self


def is_loopback(host: str) -> bool:
    """Return whether a host is this one: `localhost`, 127.0.0.0/8 or ::1."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == "localhost"


def _refuse_extras(url: str, scheme: str, what: str) -> None:
    if "@" in url:
        raise ValueError("no user or password belongs in it: credentials have keys of their own")
    if "://" not in url:
        raise ValueError(f"{quoted(url)} has no scheme; write {scheme} in front of the host")
    if set(url.partition("://")[2].rstrip("/")) & set("/?#"):
        raise ValueError(f"a path or query after the host; write {what}")


def _host_of(url: str) -> str:
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
    return Address(_host(match["host"]), port)


def _host(written: str) -> str:
    bare = written.strip("[]")
    if bare == written and set(written) - set("0123456789."):
        return written
    try:
        return str(ip_address(bare))
    except ValueError:
        # The library's own text would name the host without saying what is right.
        raise ValueError from None
