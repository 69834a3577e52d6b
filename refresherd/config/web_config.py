"""Reads a web configuration: the format of Prometheus' exporter-toolkit, as far as it is supported.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

import re
from collections.abc import Mapping
from pathlib import Path

from refresherd.config.findings import Finding, Kind, listed, quoted
from refresherd.config.input_files import unusable
from refresherd.config.source import decoded
from refresherd.config.web_file import WebFile
from refresherd.config.web_tls import INLINE, KEYS, readable_by_others, server_tls
from refresherd.config.yaml_document import parse
from refresherd.config.yaml_values import Found, Table
from refresherd.domain.errors import ConfigError
from refresherd.domain.model import Secret
from refresherd.host.http.protection import Protection
from refresherd.host.source_files import read_source

LONGEST = 64 * 1024
"""Bytes; with a hundred users such a file has 10,000."""

SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users")

RATE_LIMIT = (
    "not supported: one client that asks too often would shut out all others; connections are "
    "limited by user, and answers shared; remove it"
)

HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""The header fields that may be set, and their values where those are few."""

FIELD_VALUE = re.compile(r"[\x20-\x7e]*")

BCRYPT = re.compile(r"\$2[abxy]?\$(?P<cost>0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")

SLOW_COST = 14
"""A bcrypt hash of this cost takes about a second."""


def read(path: Path) -> WebFile:
    """Return what a web configuration says, or what is wrong with it; it never raises."""
    try:
        content = read_source(path, LONGEST)
        if len(content) > LONGEST:
            message = f"longer than {LONGEST // 1024} KiB; this is no web configuration"
            return WebFile(path, (Finding((), message),))
        root = parse(path, decoded(path, content))
    except OSError as error:
        return WebFile(path, (unusable(path, error, ()),))
    except ConfigError as error:
        return WebFile(path, unreadable=error.faults)
    found = Found(path.parent)
    top = Table(found, (), root, SECTIONS, {"rate_limit": RATE_LIMIT})
    section = top.table("tls_server_config", KEYS, INLINE)
    tls = server_tls(section)
    fields = _fields(top.table("http_server_config", ("http2", "headers")))
    users = _users(top.table("basic_auth_users", None))
    if users and (readable := readable_by_others(path)):
        top.fault((), f"it holds the hashes of passwords, and {readable}", Kind.WARNING)
    if users and not section:
        message = "without tls_server_config, passwords cross the network unencrypted"
        top.fault(("basic_auth_users",), message, Kind.WARNING)
    if found.usable and not users and tls is None:
        message = "it sets neither TLS nor a password, so the pages are open to all who connect"
        top.fault((), message, Kind.WARNING)
    return WebFile(
        path,
        tuple(found.findings),
        lines=found.lines,
        inputs=found.inputs,
        protection=Protection(tls, users, fields) if found.usable else None,
    )


def _fields(table: Table) -> Mapping[str, str]:
    """Return the header fields of every answer."""
    # Without HTTP/2, clients use HTTP/1.1: there is nothing to switch.
    table.flag("http2", default=True)
    headers, fields = table.table("headers", HEADERS), {}
    for name, values in HEADERS.items():
        value = headers.text(name)
        if name in headers.keys and values and value not in values:
            headers.fault((name,), f"{quoted(value)} is not accepted; write {listed(values)}")
        elif FIELD_VALUE.fullmatch(value) is None:
            headers.fault((name,), "it holds characters that no header may have")
        elif value:
            fields[name] = value
    return fields


def _users(table: Table) -> Mapping[str, Secret]:
    """Return each user's hash."""
    users = {}
    for name in table.keys:
        hashed = table.text(name)
        matched = BCRYPT.fullmatch(hashed)
        if ":" in name:
            table.fault((name,), "no client can send a user name with a colon")
        elif matched is None:
            message = "this is not a bcrypt hash, which has 60 characters and begins with $2; make"
            table.fault((name,), f"{message} one of the password: htpasswd -nB {quoted(name)}")
        else:
            users[name] = Secret(hashed)
            if int(matched["cost"]) > SLOW_COST:
                message = f"a cost of {matched['cost']} makes each new client wait for seconds"
                table.fault((name,), f"{message}; 10 is usual", Kind.WARNING)
    return users
