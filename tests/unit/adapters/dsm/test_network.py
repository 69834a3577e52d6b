"""aiohttp's errors in plain words."""

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

from refresherd.adapters.dsm.network import UNKNOWN_CA, failure
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
    """Return an error of OpenSSL's."""
    inner = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1)")
    inner.reason = reason
    return inner


def late_alert(reason: str) -> ClientOSError:
    """Return what aiohttp makes of an alert that arrives after the handshake."""
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
            "TLS with dsm.example:443 failed: its certificate has expired",
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
            "TLS with dsm.example:443 failed: it speaks no TLS 1.2 or newer",
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
            "TLS failed: it wants a client certificate, or another than ours",
        ),
        (
            ClientConnectorDNSError(PEER, socket.gaierror(-2, "Name or service not known")),
            Reason.CONNECT,
            "dsm.example cannot be resolved: Name or service not known",
        ),
        (
            ClientConnectorError(PEER, OSError(ECONNREFUSED, "Connect call failed ('10.0.0.1',)")),
            Reason.CONNECT,
            "no connection with dsm.example:443: Connection refused",
        ),
        (
            ClientConnectorError(PEER, OSError("Multiple exceptions: [Errno 111] Connect call")),
            Reason.CONNECT,
            "no connection with dsm.example:443: Multiple exceptions: [Errno 111] Connect call",
        ),
        (
            ClientProxyConnectionError(PEER, OSError(ECONNREFUSED, "refused")),
            Reason.CONNECT,
            "no connection to the proxy with dsm.example:443: Connection refused",
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
            "the answer broke off or is wrongly encoded",
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
def test_each_trouble_has_its_reason_and_plain_words(
    error: Exception, reason: Reason, message: str
) -> None:
    """The reason is what dashboards count, the words are what an operator acts on."""
    told = failure(error)
    assert told.reason is reason
    assert told.message == message
    assert told.retry_after is None
