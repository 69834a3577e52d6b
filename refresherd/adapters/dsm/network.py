"""What went wrong on the way, in plain words: aiohttp's errors become Retryable.

`connect` means that no answer came, `bad_response` that one began and is of no use:
so a broken or truncated answer is a `bad_response`, whoever cut it off.
"""

import os
import ssl
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientHttpProxyError,
    ClientPayloadError,
    ClientProxyConnectionError,
    ClientResponseError,
    ServerDisconnectedError,
)

from refresherd.domain.errors import Reason, Retryable

UNKNOWN_CA = "its certificate is signed by no CA that is trusted here (ca_file)"

CERTIFICATE_FAULTS: Mapping[int, str] = MappingProxyType(
    {
        7: UNKNOWN_CA,  # a CA of the same name is trusted, but has another key: one was replaced
        9: "its certificate is not valid yet; is this host's clock right?",
        10: "its certificate has expired",
        18: "its certificate is self-signed and not trusted here (ca_file)",
        19: UNKNOWN_CA,
        20: UNKNOWN_CA,
        21: UNKNOWN_CA,
    }
)
"""By OpenSSL's X509_V_ERR_… code; its own words serve for the others."""

NO_CERTIFICATE = "it wants a client certificate, or another than ours"

NO_VERSION = "it speaks no TLS 1.2 or newer"

TLS_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED": NO_CERTIFICATE,
        "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refused the handshake; does it want a certificate?",
        "SSLV3_ALERT_BAD_CERTIFICATE": NO_CERTIFICATE,
        "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the CA of our certificate",
        "TLSV1_ALERT_PROTOCOL_VERSION": NO_VERSION,
        "UNSUPPORTED_PROTOCOL": NO_VERSION,
        "WRONG_VERSION_NUMBER": "it does not speak TLS",
    }
)
"""By OpenSSL's reason; its own words serve for the others."""


def failure(error: Exception) -> Retryable:
    """Return the error of an attempt that brought no answer, or half of one.

    Nothing of aiohttp's own text is used: it may quote the answer or the request's headers.
    """
    tls = _tls_error(error)
    if tls is not None:
        return Retryable(Reason.TLS, f"TLS{_with(error)} failed: {_tls_fault(tls)}")
    if isinstance(error, ClientHttpProxyError):
        return Retryable(Reason.CONNECT, f"the proxy answered {error.status} to CONNECT")
    if isinstance(error, ClientResponseError):
        return Retryable(Reason.BAD_RESPONSE, "the answer is not HTTP")
    if isinstance(error, ClientPayloadError):
        return Retryable(Reason.BAD_RESPONSE, "the answer broke off or is wrongly encoded")
    return Retryable(Reason.CONNECT, _connect_fault(error))


def _tls_error(error: Exception) -> ssl.SSLError | None:
    """Find the TLS error: with TLS 1.3 a refusal arrives later than the handshake, as a cause."""
    if isinstance(error, ClientConnectorCertificateError):
        inner: BaseException | None = error.certificate_error
    elif isinstance(error, ClientConnectorError):
        inner = error.os_error
    else:
        inner = error.__cause__
    return inner if isinstance(inner, ssl.SSLError) else None


def _tls_fault(error: ssl.SSLError) -> str:
    """Put OpenSSL's error into words; one that Python raised by itself lacks its attributes."""
    code = getattr(error, "verify_code", None)
    if code is not None:
        return CERTIFICATE_FAULTS.get(code, getattr(error, "verify_message", ""))
    reason = getattr(error, "reason", None) or "OpenSSL names no reason"
    return TLS_FAULTS.get(reason, reason.replace("_", " ").lower())


def _connect_fault(error: Exception) -> str:
    if isinstance(error, ClientConnectorDNSError):
        return f"{error.host} cannot be resolved: {_os_fault(error.os_error)}"
    if isinstance(error, ClientProxyConnectionError):
        return f"no connection to the proxy{_with(error)}: {_os_fault(error.os_error)}"
    if isinstance(error, ClientConnectorError):
        return f"no connection{_with(error)}: {_os_fault(error.os_error)}"
    if isinstance(error, ServerDisconnectedError):
        return "the connection was closed before an answer came"
    if isinstance(error, OSError):
        return f"the connection was lost: {_os_fault(error)}"
    return f"no answer: {type(error).__name__}"


def _with(error: Exception) -> str:
    return f" with {error.host}:{error.port}" if isinstance(error, ClientConnectorError) else ""


def _os_fault(error: OSError) -> str:
    """Return the system's words; a resolver's error numbers are not the system's, and negative."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
