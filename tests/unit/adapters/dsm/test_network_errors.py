"""The reason and message for each of aiohttp's errors."""

import socket
import ssl
from errno import ECONNREFUSED, ECONNRESET, ENETUNREACH, EPERM

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
    InvalidURL,
    RequestInfo,
    ServerDisconnectedError,
)
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from refresherd.adapters.dsm.network_errors import UNKNOWN_CA, combined, failure
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
            "cannot connect to dsm.example:443: cause unknown",
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
            "the connection was lost: Connection reset by peer",
        ),
        (
            PermissionError(EPERM, "Operation not permitted"),
            Reason.CONNECT,
            "the connection was lost: Operation not permitted",
        ),
        (
            ClientConnectorError(PEER, ConnectionAbortedError("SSL handshake is taking longer")),
            Reason.CONNECT,
            "cannot connect to dsm.example:443: the TLS handshake took too long",
        ),
        (
            ClientConnectorError(PEER._replace(host="fd00::1"), OSError(ENETUNREACH, "x")),
            Reason.CONNECT,
            "cannot connect to [fd00::1]:443: Network is unreachable",
        ),
        (InvalidURL("http://127.1"), Reason.CONNECT, "the endpoint's host is not a valid address"),
        (TimeoutError(), Reason.TIMEOUT, "no answer within 5.7 s"),
        (OSError(), Reason.CONNECT, "the connection was lost: cause unknown"),
        (ClientError(SECRET), Reason.CONNECT, "the connection was closed"),
    ],
)
def test_each_error_has_a_reason_and_a_message(
    error: Exception, reason: Reason, message: str
) -> None:
    """Dashboards count the reason, and the operator acts on the message in the words of the field.

    Texts of Python and aiohttp tell an operator nothing, and may quote a secret.
    """
    retryable = combined([failure(error, 5.70555, "")])
    assert retryable.reason is reason
    assert retryable.message == message
    assert retryable.retry_after is None


def refused(number: int = ECONNREFUSED) -> ClientConnectorError:
    """Return the error of a connection that did not come about."""
    return ClientConnectorError(PEER, OSError(number, "Connect call failed ('10.0.0.1',)"))


def test_addresses_that_fail_alike_are_not_listed() -> None:
    """A host that is down is down at all of its addresses, and one cause is enough to read."""
    error = combined([failure(refused(), 5, "10.0.0.1"), failure(refused(), 5, "fd00::1")])
    assert error.message == "cannot connect to dsm.example:443: Connection refused"


def test_addresses_that_fail_differently_are_each_listed_with_their_cause() -> None:
    """One cause alone would send the operator to the wrong address.

    The reason is that of the address which got furthest: an expired certificate is what must be
    mended, and not a listener that only one address family has.
    """
    expired = certificate_error(10, "certificate has expired")
    failures = [
        failure(refused(ENETUNREACH), 5, "fd00::1"),
        failure(expired, 5, "10.0.0.1"),
        failure(TimeoutError(), 2, "10.0.0.2"),
        failure(refused(ENETUNREACH), 5, "fd00::2"),
    ]
    error = combined(failures)
    assert error.reason is Reason.TLS
    assert error.message == (
        "cannot connect to dsm.example:443: fd00::1, fd00::2: Network is unreachable; 10.0.0.1: "
        "TLS failed: its certificate has expired; renew it on the server; 10.0.0.2: no answer "
        "within 2 s"
    )
