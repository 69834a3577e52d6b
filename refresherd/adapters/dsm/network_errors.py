"""aiohttp's errors as Retryable, with a message for the operator.

The reason is `connect` if no answer came, and `bad_response` if one began and is unusable, for
instance because it broke off.
"""

import os
import ssl
from collections.abc import Mapping
from types import MappingProxyType

import aiohttp

from refresherd.domain.errors import Reason, Retryable

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


def network_error(error: Exception) -> Retryable:
    """Return the error of an attempt that failed before a whole answer was read.

    Nothing of aiohttp's own text is used: it may quote the answer or the request's headers.
    """
    tls_fault = _tls_fault(error)
    peer = (
        f"{error.host}:{error.port}" if isinstance(error, aiohttp.ClientConnectorError) else "DSM"
    )
    reason = Reason.CONNECT
    if tls_fault is not None:
        reason, message = Reason.TLS, f"TLS with {peer} failed: {tls_fault}"
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        message = f"the proxy answered {error.status} to CONNECT"
    elif isinstance(error, aiohttp.ClientResponseError):
        reason, message = Reason.BAD_RESPONSE, "the answer is not HTTP"
    elif isinstance(error, aiohttp.ClientPayloadError):
        reason, message = Reason.BAD_RESPONSE, "the answer broke off or is badly encoded"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        message = f"{error.host} cannot be resolved: {_os_fault(error.os_error)}"
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        message = f"cannot connect to the proxy at {peer}: {_os_fault(error.os_error)}"
    elif isinstance(error, aiohttp.ClientConnectorError):
        message = f"cannot connect to {peer}: {_os_fault(error.os_error)}"
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        message = "the connection was closed before an answer came"
    elif isinstance(error, OSError):
        message = f"the connection was lost: {_os_fault(error)}"
    else:
        message = f"no answer: {type(error).__name__}"
    return Retryable(reason, message)


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


def _os_fault(error: OSError) -> str:
    # A resolver's error numbers are negative, and not the system's.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
