"""aiohttp's errors as Retryable, with a message for the operator.

The reason is `connect` if no answer came, and `bad_response` if one began and is unusable, for
instance because it broke off.
"""

import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from errno import ECONNRESET
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

import aiohttp
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from refresherd.domain.durations import in_seconds
from refresherd.domain.errors import Reason, Retryable

LONGEST_FIELD = 32 * 1024
"""In bytes, of an answer's head. Gateways add cookies and policies that exceed aiohttp's 8 KiB."""

MOST_FIELDS = 512
"""In an answer's head."""

UNKNOWN_CA = "no trusted CA has signed its certificate; if this is your DSM, set ca_file to its CA"

CERTIFICATE_FAULTS: Mapping[int, str] = MappingProxyType(
    {
        7: UNKNOWN_CA,  # a trusted CA has the same name, but another key: it was replaced
        9: "its certificate is not valid yet; is this host's clock right?",
        10: "its certificate has expired; renew it on the server",
        18: "its certificate is self-signed; if this is your DSM, set ca_file to that certificate",
        19: UNKNOWN_CA,
        20: UNKNOWN_CA,
        21: UNKNOWN_CA,
    }
)
"""By OpenSSL's X509_V_ERR_… code. For all others OpenSSL's own text is used."""

NO_CERTIFICATE = "it wants a client certificate, or a different one (cert_file)"

NO_VERSION = "it does not support TLS 1.2 or newer"

TLS_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED": NO_CERTIFICATE,
        "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refused the handshake; "
        "it may want a client certificate (cert_file)",
        "SSLV3_ALERT_BAD_CERTIFICATE": NO_CERTIFICATE,
        "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our client certificate has expired; "
        "renew it (cert_file)",
        "SSLV3_ALERT_CERTIFICATE_REVOKED": "it says that our client certificate was revoked; "
        "replace it (cert_file)",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN": NO_CERTIFICATE,
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": NO_CERTIFICATE,
        "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the CA of our client certificate (cert_file)",
        "TLSV1_ALERT_PROTOCOL_VERSION": NO_VERSION,
        "UNSUPPORTED_PROTOCOL": NO_VERSION,
        "WRONG_VERSION_NUMBER": "it does not speak TLS; check the endpoint's port",
    }
)
"""By OpenSSL's reason. For all others OpenSSL's own text is used."""


class Failure(NamedTuple):
    """Why an attempt failed at one address, before a whole answer was read."""

    reason: Reason
    message: str
    cause: str
    """The message for a list of addresses; it does not repeat the host."""
    address: str = ""
    peer: str = ""
    """The host and port to which no connection could be made, "" if one was made."""
    is_final: bool = False
    """Whether no other address would help."""


def failure(error: Exception, seconds: float, address: str) -> Failure:
    """Return what failed at an address within these seconds; `address` may be "".

    Nothing of aiohttp's own text is used: it may quote the answer or the request's headers.
    """
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        message = f"{error.host} cannot be resolved: {_os_fault(error.os_error)}"
        return Failure(Reason.CONNECT, message, message, address, is_final=True)
    peer = _peer(error)
    tls_fault = _tls_fault(error)
    if tls_fault is not None:
        message = f"TLS with {peer or 'DSM'} failed: {tls_fault}"
        return Failure(Reason.TLS, message, f"TLS failed: {tls_fault}", address, peer)
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = _os_fault(error.os_error)
        return Failure(Reason.CONNECT, f"cannot connect to {peer}: {cause}", cause, address, peer)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        message = f"the proxy answered {error.status} to CONNECT"
        # What a proxy forbids at one address it forbids at the others.
        is_final = error.status < HTTPStatus.INTERNAL_SERVER_ERROR
        return Failure(Reason.CONNECT, message, message, address, is_final=is_final)
    reason, message = _broken_connection(error, seconds)
    return Failure(reason, message, message, address, is_final=isinstance(error, ValueError))


def combined(failures: Sequence[Failure]) -> Retryable:
    """Return the error of an attempt that failed at one address after the other.

    The reason is that of the failure that got furthest: a wrong certificate tells more than an
    address at which nobody listens.
    """
    *_, last = failures
    addresses: dict[str, list[str]] = {}
    for one in failures:
        addresses.setdefault(one.cause, []).append(one.address)
    if len(addresses) == 1:
        return Retryable(last.reason, last.message)
    reason = max((one.reason for one in failures), key=PROGRESS.index)
    causes = "; ".join(f"{', '.join(where)}: {cause}" for cause, where in addresses.items())
    peer = next((one.peer for one in failures if one.peer), "")
    return Retryable(reason, f"cannot connect to {peer}: {causes}" if peer else causes)


PROGRESS = (Reason.CONNECT, Reason.TIMEOUT, Reason.TLS, Reason.BAD_RESPONSE)
"""The reasons of failures, by how far the attempt got."""


def _peer(error: Exception) -> str:
    if not isinstance(error, aiohttp.ClientConnectorError):
        return ""
    host = f"[{error.host}]" if ":" in error.host else error.host
    is_proxy = isinstance(error, aiohttp.ClientProxyConnectionError)
    return f"{'the proxy at ' if is_proxy else ''}{host}:{error.port}"


def _broken_connection(error: Exception, seconds: float) -> tuple[Reason, str]:
    """Return why there is no answer, or no whole one, on a connection."""
    for kind, reason, message in BROKEN_CONNECTIONS:
        if isinstance(error, kind):
            return reason, message
    if isinstance(error, aiohttp.ClientResponseError):
        return Reason.BAD_RESPONSE, _unreadable_head(error)
    if isinstance(error, TimeoutError):
        return Reason.TIMEOUT, f"no answer within {in_seconds(seconds)}"
    if isinstance(error, OSError):
        return Reason.CONNECT, f"the connection was lost: {_os_fault(error)}"
    return Reason.CONNECT, "the connection was closed"


BROKEN_CONNECTIONS = (
    (
        aiohttp.ClientPayloadError,
        Reason.BAD_RESPONSE,
        "the answer broke off or is badly encoded",
    ),
    (
        aiohttp.ServerDisconnectedError,
        Reason.CONNECT,
        "the connection was closed before an answer came",
    ),
    (aiohttp.InvalidURL, Reason.CONNECT, "the endpoint's host is not a valid address"),
)


def _tls_fault(error: Exception) -> str | None:
    """Return what went wrong in TLS, None if nothing did."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner: BaseException | None = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
    else:
        # With TLS 1.3 a refusal comes after the handshake.
        inner = error.__cause__
    if not isinstance(inner, ssl.SSLError):
        return None
    # An SSLError that Python itself raised lacks these attributes.
    code = getattr(inner, "verify_code", None)
    if code is not None:
        return CERTIFICATE_FAULTS.get(code, getattr(inner, "verify_message", ""))
    reason = getattr(inner, "reason", None) or "OpenSSL names no reason"
    return TLS_FAULTS.get(reason, reason.replace("_", " ").lower())


def _unreadable_head(error: aiohttp.ClientResponseError) -> str:
    """Return what is wrong with an answer that aiohttp could not parse."""
    cause: BaseException | None = error
    while cause is not None:
        too_many = isinstance(cause, BadHttpMessage) and cause.message.startswith("Too many")
        if too_many or isinstance(cause, LineTooLong):
            return (
                f"the answer's head has more than {MOST_FIELDS} fields, or one of more than "
                f"{LONGEST_FIELD} bytes; a proxy may have added them"
            )
        cause = cause.__cause__
    return "the answer is not HTTP"


def _os_fault(error: OSError) -> str:
    # A resolver's error numbers are negative, and not the system's.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, socket.gaierror) and error.strerror:
        return error.strerror
    if isinstance(error, ConnectionAbortedError):
        return "the TLS handshake took too long"  # asyncio's limit is 60 s
    # asyncio raises it without a number if the connection ends during the handshake.
    return os.strerror(ECONNRESET) if isinstance(error, ConnectionResetError) else "cause unknown"
