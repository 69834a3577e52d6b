"""The section tls_server_config of a web configuration, and the SSL context that it describes."""

import ssl
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import time
from typing import NoReturn

from refresherd.config import credentials
from refresherd.config.findings import Kind, listed, quoted
from refresherd.config.input_files import check_file, is_read_only
from refresherd.config.yaml_values import Table
from refresherd.domain import certificates
from refresherd.domain.certificates import Validity
from refresherd.domain.formats import timestamp
from refresherd.host.source_files import read_source
from refresherd.host.tls_stream import ServerTls

KEYS = (
    *("cert_file", "key_file", "client_auth_type", "client_ca_file", "client_allowed_sans"),
    *("min_version", "max_version", "cipher_suites", "prefer_server_cipher_suites"),
    "curve_preferences",
)

INLINE = {
    inline: f"keys and certificates have files of their own here; write {file} instead"
    for inline, file in (
        ("cert", "cert_file"),
        ("key", "key_file"),
        ("client_ca", "client_ca_file"),
    )
}
"""Keys that hold the content of a file, and what to write instead."""

CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
REQUIRED = "RequireAndVerifyClientCert"
UNVERIFIED = ("RequestClientCert", "RequireClientCert", "RequireAnyClientCert")
"""Client certificates that nobody verifies: Python's ssl has no such mode."""

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
OLD_VERSIONS = ("TLS10", "TLS11")

SUITES_OF_TLS13 = (
    *("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
)
SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    **dict.fromkeys(SUITES_OF_TLS13, ""),
}
"""Go's secure cipher suites, by the names of exporter-toolkit, and OpenSSL's names of those that
can be chosen."""

CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
"""The curves' names in exporter-toolkit and in OpenSSL."""


def server_tls(table: Table) -> ServerTls | None:
    """Return what the section says; None if it is empty, or if something is wrong with it."""
    if not table:
        return None
    certificate, key = table.file("cert_file"), table.file("key_file")
    authorities, sans = table.file("client_ca_file"), table.texts("client_allowed_sans")
    verify = _client_auth(table, authorities, sans)
    lowest, highest = _versions(table)
    suites, curve = _suites(table, lowest), _curve(table)
    server_chooses = table.flag("prefer_server_cipher_suites", default=True)
    _check_files(table, certificate, key, authorities)
    if not table.found.usable or certificate is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = lowest, highest
    context.verify_mode = verify
    # As in Go, whatever client_ca_file holds is trusted, intermediate authorities included.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if server_chooses:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
        if authorities is not None:
            context.load_verify_locations(authorities)
        elif verify is not ssl.CERT_NONE:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    except (EOFError, OSError):  # they have changed since they were checked
        table.fault(("cert_file",), "it was replaced just now", Kind.TROUBLE)
        return None
    _set(table, context, suites, curve)
    return ServerTls(context, frozenset(sans))


def _client_auth(table: Table, authorities: Path | None, sans: tuple[str, ...]) -> ssl.VerifyMode:
    """Return whether clients need a certificate."""
    written = table.text("client_auth_type")
    if written in UNVERIFIED:
        table.fault(
            ("client_auth_type",),
            f"{quoted(written)} accepts certificates that nobody has verified, which refresherd "
            f"cannot do; write {quoted(REQUIRED)} and client_ca_file",
        )
        return ssl.CERT_NONE
    verify = table.choice("client_auth_type", CLIENT_AUTH, ssl.CERT_NONE)
    if verify is ssl.CERT_NONE and authorities is not None:
        message = f"it has no effect without client_auth_type; write {quoted(REQUIRED)} there"
        table.fault(("client_ca_file",), message)
    elif verify is not ssl.CERT_NONE and not table.has("client_ca_file"):
        message = "without client_ca_file, clients of every authority that this host trusts pass"
        table.fault(("client_auth_type",), message, Kind.WARNING)
    if sans and verify is not ssl.CERT_REQUIRED:
        table.fault(
            ("client_allowed_sans",),
            f"clients without a certificate would pass; write client_auth_type: {REQUIRED}",
        )
    return verify


def _versions(table: Table) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
    """Return the oldest and the newest version of TLS."""
    defaults = {"min_version": ssl.TLSVersion.TLSv1_2, "max_version": ssl.TLSVersion.TLSv1_3}
    found = {}
    for key, default in defaults.items():
        found[key] = default
        if (written := table.text(key)) in OLD_VERSIONS:
            message = f"{quoted(written)} is not secure any more, and not supported; write TLS12"
            table.fault((key,), f"{message} or TLS13")
        else:
            found[key] = table.choice(key, VERSIONS, default)
    lowest, highest = found.values()
    if lowest > highest:
        table.fault(("max_version",), "it is older than min_version; write TLS13, or nothing")
    return lowest, highest


def _suites(table: Table, lowest: ssl.TLSVersion) -> tuple[str, ...]:
    """Return the names of the chosen cipher suites; () for the usual ones."""
    written = table.texts("cipher_suites")
    for index, name in enumerate(written):
        if name not in SUITES:
            message = f"{quoted(name)} is not one of the suites that Go considers secure"
            table.fault(("cipher_suites", index), f"{message}, such as {next(iter(SUITES))}")
    if any(name in SUITES_OF_TLS13 for name in written):
        table.fault(
            ("cipher_suites",),
            "suites of TLS 1.3 cannot be chosen, as in Prometheus: all three are always offered",
            Kind.WARNING,
        )
    chosen = tuple(name for name in written if SUITES.get(name))
    only_newer = set(written) <= set(SUITES_OF_TLS13)
    if written and only_newer and lowest is ssl.TLSVersion.TLSv1_2:
        table.fault(("cipher_suites",), "none of them is for TLS 1.2; write min_version: TLS13")
    return chosen


def _curve(table: Table) -> str:
    """Return the name of the only curve, "" for the usual ones."""
    written = table.texts("curve_preferences")
    for index, name in enumerate(written):
        if name not in CURVES:
            message = f"{quoted(name)} is not one of the choices; write {listed(CURVES)}"
            table.fault(("curve_preferences", index), message)
    if len(written) > 1:
        message = "Python's ssl takes one curve or its usual ones; write one, or remove the key"
        table.fault(("curve_preferences",), message)
    return written[0] if written else ""


def _check_files(
    table: Table, certificate: Path | None, key: Path | None, authorities: Path | None
) -> None:
    """Find what is wrong with the files themselves."""
    for name, path in ("cert_file", certificate), ("key_file", key):
        if path is None and not table.has(name) and not table.has(name.removesuffix("_file")):
            table.fault((name,), "missing: TLS needs a certificate and its private key")
    found = table.found.findings
    if certificate is not None:
        place = (*table.path, "cert_file")
        if unusable := [*check_file(certificate, credentials.certificate_fault, place)]:
            found += unusable
            certificate = None
        elif notice := _expiry(certificate):
            table.fault(("cert_file",), notice, Kind.WARNING)
    if key is not None:
        judge = partial(credentials.private_key_fault, path=key, certificate=certificate)
        found += check_file(key, judge, (*table.path, "key_file"))
        if readable := readable_by_others(key):
            table.fault(("key_file",), readable, Kind.WARNING)
    if authorities is not None:
        place = (*table.path, "client_ca_file")
        found += check_file(
            authorities, lambda _: credentials.authorities_fault(authorities), place
        )


def readable_by_others(path: Path) -> str:
    """Return that every user of this host may read a file, "" if that is not so."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return ""
    if not mode & stat.S_IROTH:
        return ""
    name = quoted(str(path))
    cure = 'mount it with another mode ("defaultMode: 0440")'
    cure = cure if is_read_only(path) else f"run chmod o-r {name}"
    return f"{name} is readable by every user of this host (mode {mode:04o}); {cure}"


def _expiry(certificate: Path) -> str:
    """Return that a certificate expires soon, or has expired; "" if neither, or if it has no dates.

    Clients decide what that means, so it is served all the same.
    """
    with suppress(OSError, ValueError):
        dates = certificates.dates(read_source(certificate, certificates.LONGEST))
        now, name = time(), quoted(str(certificate))
        if certificates.validity(dates, now) is not Validity.VALID:
            verb = "expires" if now < dates.expires_at else "expired"
            return f"{name} {verb} at {timestamp(dates.expires_at)}; renew it"
    return ""


def _no_passphrase() -> NoReturn:
    """Keep OpenSSL from asking for one on the terminal."""
    raise EOFError


def _set(table: Table, context: ssl.SSLContext, suites: tuple[str, ...], curve: str) -> None:
    """Set cipher suites and a curve, and find which of them this host lacks."""
    names = [SUITES[suite] for suite in suites]
    try:
        if names:
            context.set_ciphers(":".join(("@SECLEVEL=2", *names)))
        if curve:
            context.set_ecdh_curve(CURVES[curve])
    except (ssl.SSLError, ValueError):
        names = []
        message = f"{ssl.OPENSSL_VERSION} on this host has none of the suites, or not this curve"
        table.fault((), message)
    offered = {cipher["name"] for cipher in context.get_ciphers()}
    for suite, name in zip(suites, names, strict=False):
        if name not in offered:
            message = f"{suite} is not offered by {ssl.OPENSSL_VERSION} on this host; remove it"
            table.fault(("cipher_suites",), message)
