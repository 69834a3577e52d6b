"""The reason and message for each of aiohttp's errors."""

import socket
import ssl
from errno import ECONNREFUSED, ECONNRESET, EPERM

import pytest
from aiohttp import (
    ClientConnectionResetError,
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientHttpProxyError,
    ClientOSError,
    ClientPayloadError,
    ClientProxyConnectionError,
    ClientResponseError,
    RequestInfo,
    ServerDisconnectedError,
)
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from refresherd.adapters.dsm.network_errors import UNKNOWN_CA, network_error
from refresherd.domain.errors import Reason

PEER = ConnectionKey("dsm.example", 443, True, True, None, None, None)  # noqa: FBT003  # aiohttp's own fields

SECRET = "c2VjcmV0LWtleQ=="

REQUEST = RequestInfo(
    URL("https://dsm.example/"),
    "POST",
    CIMultiDictProxy(CIMultiDict({"Authorization": f"Basic {SECRET}"})),
)


def certificate_error(code: int, message: str) -> ClientConnectorCertificateError:
    """Return the error of a handshake that failed at the peer's certificate."""
    inner = ssl.SSLCertVerificationError(1, f"verify failed: {message}")
    inner.verify_code, inner.verify_message = code, message
    return ClientConnectorCertificateError(PEER, inner)


def tls_error(reason: str) -> ssl.SSLError:
    """Return an error of OpenSSL."""
    inner = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1)")
    inner.reason = reason
    return inner


def late_alert(reason: str) -> ClientOSError:
    """Return aiohttp's error for an alert that arrives after the handshake."""
    error = ClientOSError(1, "[SSL] alert")
    error.__cause__ = tls_error(reason)
    return error


NOT_YET = "its certificate is not valid yet; is this host's clock right?"


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (
            certificate_error(9, "certificate is not yet valid"),
            Reason.TLS,
            f"TLS with dsm.example:443 failed: {NOT_YET}",
        ),
        (
            certificate_error(10, "certificate has expired"),
            Reason.TLS,
            "TLS with dsm.example:443 failed: its certificate has expired; renew it on the server",
        ),
        (
            certificate_error(7, "certificate signature failure"),
            Reason.TLS,
            f"TLS with dsm.example:443 failed: {UNKNOWN_CA}",
        ),
        (
            certificate_error(20, "unable to get local issuer certificate"),
            Reason.TLS,
            f"TLS with dsm.example:443 failed: {UNKNOWN_CA}",
        ),
        (
            certificate_error(62, "Hostname mismatch, not valid for 'dsm.example'."),
            Reason.TLS,
            "TLS with dsm.example:443 failed: Hostname mismatch, not valid for 'dsm.example'.",
        ),
        (
            ClientConnectorSSLError(PEER, tls_error("UNSUPPORTED_PROTOCOL")),
            Reason.TLS,
            "TLS with dsm.example:443 failed: it does not support TLS 1.2 or newer",
        ),
        (
            ClientConnectorSSLError(PEER, tls_error("NO_SHARED_CIPHER")),
            Reason.TLS,
            "TLS with dsm.example:443 failed: no shared cipher",
        ),
        (
            ClientConnectorSSLError(PEER, ssl.SSLError(1, "[SSL] PEM lib")),
            Reason.TLS,
            "TLS with dsm.example:443 failed: openssl names no reason",
        ),
        (
            late_alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            Reason.TLS,
            "TLS with DSM failed: it wants a client certificate, or a different one (cert_file)",
        ),
        (
            ClientConnectorDNSError(PEER, socket.gaierror(-2, "Name or service not known")),
            Reason.CONNECT,
            "dsm.example cannot be resolved: Name or service not known",
        ),
        (
            ClientConnectorError(PEER, OSError(ECONNREFUSED, "Connect call failed ('10.0.0.1',)")),
            Reason.CONNECT,
            "cannot connect to dsm.example:443: Connection refused",
        ),
        (
            ClientConnectorError(PEER, OSError("Multiple exceptions: [Errno 111] Connect call")),
            Reason.CONNECT,
            "cannot connect to dsm.example:443: Multiple exceptions: [Errno 111] Connect call",
        ),
        (
            ClientProxyConnectionError(PEER, OSError(ECONNREFUSED, "refused")),
            Reason.CONNECT,
            "cannot connect to the proxy at dsm.example:443: Connection refused",
        ),
        (
            ClientHttpProxyError(REQUEST, (), status=407, message=SECRET),
            Reason.CONNECT,
            "the proxy answered 407 to CONNECT",
        ),
        (
            ClientResponseError(REQUEST, (), status=400, message=f"Bad status line {SECRET!r}"),
            Reason.BAD_RESPONSE,
            "the answer is not HTTP",
        ),
        (
            ClientPayloadError(f"Response payload is not completed: {SECRET}"),
            Reason.BAD_RESPONSE,
            "the answer broke off or is badly encoded",
        ),
        (
            ServerDisconnectedError(),
            Reason.CONNECT,
            "the connection was closed before an answer came",
        ),
        (
            ClientOSError(ECONNRESET, "Connection reset by peer"),
            Reason.CONNECT,
            "the connection was lost: Connection reset by peer",
        ),
        (
            ClientConnectionResetError("Cannot write to closing transport"),
            Reason.CONNECT,
            "the connection was lost: Cannot write to closing transport",
        ),
        (
            PermissionError(EPERM, "Operation not permitted"),
            Reason.CONNECT,
            "the connection was lost: Operation not permitted",
        ),
        (OSError(), Reason.CONNECT, "the connection was lost: OSError"),
        (ClientError(SECRET), Reason.CONNECT, "no answer: ClientError"),
    ],
)
def test_each_error_has_a_reason_and_a_message(
    error: Exception, reason: Reason, message: str
) -> None:
    """Dashboards count the reason, and the operator acts on the message."""
    retryable = network_error(error)
    assert retryable.reason is reason
    assert retryable.message == message
    assert retryable.retry_after is None
