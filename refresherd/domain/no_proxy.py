"""NO_PROXY: which hosts are reached directly, as curl understands it since 7.86."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

VARIABLES = ("no_proxy", "NO_PROXY")
"""The first one that is not empty counts."""

SEPARATOR = re.compile(r"[,\s]+")

ENTRY = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<bare>[^\[\]:]*))(?::(?P<port>[0-9]{1,5}))?")
"""A host and maybe a port."""

NAME = re.compile(r"(?!(?:[0-9]*\.)*[0-9]*$)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
"""A host or a domain. Digits and dots alone are an address, or a part of one."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Exemption(NamedTuple):
    """The hosts that an entry exempts, at one port or at any."""

    hosts: str | Network
    """A host, with everything in that domain, or a network; "*" is everything."""
    port: int | None


def variable(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and the value of the variable that counts, "" and "" if there is none."""
    return next(((name, environ[name]) for name in VARIABLES if environ.get(name)), ("", ""))


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Return whether a host is reached directly. Names are not resolved to compare addresses."""
    host = host.strip("[]").rstrip(".").lower()
    address: Address | None = None
    with suppress(ValueError):
        address = ip_address(host)
    return any(
        exemption.port in (None, port) and _covers(exemption.hosts, host, address)
        for exemption in map(_parse, _entries(no_proxy))
        if exemption is not None
    )


def not_understood(no_proxy: str) -> tuple[str, ...]:
    """Return the entries that are not understood, and so exempt nothing."""
    return tuple(entry for entry in _entries(no_proxy) if _parse(entry) is None)


def _entries(no_proxy: str) -> Iterable[str]:
    return filter(None, SEPARATOR.split(no_proxy))


def _covers(hosts: str | Network, host: str, address: Address | None) -> bool:
    if not isinstance(hosts, str):
        return address is not None and address in hosts
    return hosts in ("*", host) or (address is None and host.endswith(f".{hosts}"))


def _parse(entry: str) -> Exemption | None:
    """Return what an entry exempts, None if it is not understood."""
    if entry == "*":
        return Exemption(entry, None)
    with suppress(ValueError):
        # Only with a port does an IPv6 address need brackets.
        return Exemption(ip_network(entry, strict=False), None)
    parts = ENTRY.fullmatch(entry)
    if parts is None:
        return None
    port = None if parts["port"] is None else int(parts["port"])
    host = parts["bare"] if parts["ipv6"] is None else parts["ipv6"]
    # A network has no port.
    if "/" not in host:
        with suppress(ValueError):
            return Exemption(ip_network(host), port)
    name = host.lower().lstrip(".").rstrip(".")
    is_name = parts["ipv6"] is None and NAME.fullmatch(name)
    return Exemption(name, port) if is_name else None
