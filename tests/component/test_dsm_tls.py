"""TLS with real servers, good and bad ones."""

import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from refresherd.adapters.dsm.client import Connections
from refresherd.domain.errors import DsmError, Reason, Retryable
from refresherd.domain.model import ApiKeyEnv, App, Certificate, Credential, Endpoint, Secret
from refresherd.engine.ports import SessionClient
from refresherd.host.keyed_executor import KeyedExecutor
from support.dsm_loopback import GRANT, Authority, Connection, answering, reply, serving
from support.fakes import API_KEY, ENTITY_ID, FakeClock

GRANTING = answering(reply(200, GRANT))

KEY = ApiKeyEnv("KEY")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return a CA."""
    return Authority(tmp_path)


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    """Yield connections that are closed after the test."""
    async with Connections(KeyedExecutor(), FakeClock()) as opened:
        yield opened


def client(
    connections: Connections, url: str, ca_file: Path | None, credential: Credential = KEY
) -> SessionClient:
    """Return the client of an app that trusts a CA."""
    return connections.client(App("payments", Endpoint(url, ca_file), credential))


async def login(session_client: SessionClient) -> str:
    """Log in; return the token."""
    return (await session_client.login(Secret(API_KEY), 5)).access_token.reveal()


async def fault(session_client: SessionClient) -> str:
    """Return why TLS fails."""
    with pytest.raises(Retryable) as caught:
        await session_client.login(Secret(API_KEY), 5)
    assert caught.value.reason is Reason.TLS
    assert caught.value.__context__ is None
    return caught.value.message


def failed(port: int, fault: str) -> str:
    """Return the message for a failed handshake."""
    return f"TLS with localhost:{port} failed: {fault}"


@contextmanager
def refusing(context: ssl.SSLContext) -> Iterator[int]:
    """Serve one failing handshake in a thread, because asyncio would not send the alert."""

    def serve(listener: socket.socket) -> None:
        with context.wrap_socket(
            listener.accept()[0], server_side=True, do_handshake_on_connect=False
        ) as connection:
            with suppress(ssl.SSLError):
                connection.do_handshake()
            # Closing with bytes of the client unread would destroy the alert on its way.
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


async def test_a_certificate_of_a_trusted_ca_is_accepted(
    connections: Connections, authority: Authority
) -> None:
    """DSMs on the operator's premises have CAs of their own."""
    async with serving(GRANTING, authority.server()) as peer:
        assert await login(client(connections, peer.https, authority.ca_file)) == "new-token"
        by_address = f"https://127.0.0.1:{peer.port}"
        assert await login(client(connections, by_address, authority.ca_file)) == "new-token"


@pytest.mark.parametrize("trusted", ["system", "other"])
async def test_an_unknown_ca_is_refused(
    connections: Connections, authority: Authority, tmp_path: Path, trusted: str
) -> None:
    """Otherwise anybody on the way could read the credential. A CA file replaces the system's."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "Other CA")
    ca_file = other.ca_file if trusted == "other" else None
    async with serving(GRANTING, authority.server()) as peer:
        assert await fault(client(connections, peer.https, ca_file)) == failed(
            peer.port,
            "no trusted CA has signed its certificate; if this is your DSM, set ca_file to its CA",
        )
        assert peer.requests == []


async def test_the_attempt_after_a_failure_uses_a_corrected_ca_file(
    connections: Connections, authority: Authority, tmp_path: Path
) -> None:
    """Files are not looked at for each request; the attempt that the change causes may be soon."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "Other CA")
    async with serving(GRANTING, authority.server()) as peer:
        session_client = client(connections, peer.https, other.ca_file)
        await fault(session_client)
        other.ca_file.write_bytes(authority.ca_file.read_bytes())
        assert await login(session_client) == "new-token"


async def test_another_hosts_certificate_is_refused(
    connections: Connections, authority: Authority
) -> None:
    """A CA signs certificates of many hosts, and only one of them is DSM."""
    async with serving(GRANTING, authority.server("other.example")) as peer:
        message = await fault(client(connections, peer.https, authority.ca_file))
        assert message.startswith(failed(peer.port, "Hostname mismatch"))


async def test_an_expired_certificate_is_refused(
    connections: Connections, authority: Authority
) -> None:
    """The server's operator must renew it, and the message says so."""
    async with serving(GRANTING, authority.server(days=-1)) as peer:
        message = await fault(client(connections, peer.https, authority.ca_file))
        assert message == failed(peer.port, "its certificate has expired; renew it on the server")


async def test_a_server_without_tls_1_2_is_refused(
    connections: Connections, authority: Authority
) -> None:
    """TLS 1.1 is insecure, and a middlebox may offer nothing newer."""
    context = authority.server()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with refusing(context) as port:
        url = f"https://localhost:{port}"
        message = await fault(client(connections, url, authority.ca_file))
        assert message == failed(port, "it does not support TLS 1.2 or newer")


async def test_the_message_for_a_server_without_tls_says_so(
    connections: Connections, authority: Authority
) -> None:
    """The endpoint may have the wrong port."""

    async def complain(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send(reply(400))
        await connection.reader.read()

    async with serving(complain) as peer:
        message = await fault(client(connections, peer.https, authority.ca_file))
        assert message == failed(peer.port, "it does not speak TLS; check the endpoint's port")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_app_presents_its_certificate(
    connections: Connections, authority: Authority, version: ssl.TLSVersion
) -> None:
    """The certificate is what such an app is authenticated by."""
    context = authority.server(wants_certificate=True)
    context.minimum_version = context.maximum_version = version
    credential = Certificate(ENTITY_ID, *authority.issue("app"))
    async with serving(GRANTING, context) as peer:
        app = client(connections, peer.https, authority.ca_file, credential)
        assert await login(app) == "new-token"
        (certificate,) = peer.certificates
        assert isinstance(certificate, dict)
        assert certificate["subject"] == ((("commonName", "app"),),)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            ssl.TLSVersion.TLSv1_2,
            "it refused the handshake; it may want a client certificate (cert_file)",
        ),
        (ssl.TLSVersion.TLSv1_3, "it wants a client certificate, or a different one (cert_file)"),
    ],
)
async def test_the_message_for_a_missing_client_certificate_says_so(
    connections: Connections, authority: Authority, version: ssl.TLSVersion, message: str
) -> None:
    """With TLS 1.3 the refusal comes after the handshake."""
    context = authority.server(wants_certificate=True)
    context.minimum_version = context.maximum_version = version
    with refusing(context) as port:
        url = f"https://localhost:{port}"
        text = await fault(client(connections, url, authority.ca_file))
        assert text.endswith(f" failed: {message}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_that_has_expired_is_named(
    connections: Connections, authority: Authority, version: ssl.TLSVersion
) -> None:
    """The operator has to renew a file on this host, not something on the server."""
    context = authority.server(wants_certificate=True)
    context.minimum_version = context.maximum_version = version
    credential = Certificate(ENTITY_ID, *authority.issue("app", days=-1))
    with refusing(context) as port:
        url = f"https://localhost:{port}"
        text = await fault(client(connections, url, authority.ca_file, credential))
    message = "it says that our client certificate has expired; renew it (cert_file)"
    assert text.endswith(f" failed: {message}")


async def test_an_expired_client_certificate_is_named_whatever_dsm_answers(
    authority: Authority,
) -> None:
    """Some servers close the connection without a word, others answer 400 or 401."""
    credential = Certificate(ENTITY_ID, *authority.issue("app", days=-1))
    refusing_it = serving(GRANTING, authority.server(wants_certificate=True))
    answering_400 = serving(answering(reply(400, b"No")), authority.server())
    clock = FakeClock(offset=time.time())
    async with Connections(KeyedExecutor(), clock) as opened, refusing_it as a, answering_400 as b:
        for peer in (a, b):
            app = client(opened, peer.https, authority.ca_file, credential)
            with pytest.raises(DsmError) as caught:
                await app.login(Secret(API_KEY), 5)
            assert "; the client certificate expired at " in caught.value.message
            assert str(caught.value) == caught.value.message


async def test_apps_with_different_certificates_share_no_connection(
    connections: Connections, authority: Authority
) -> None:
    """A shared connection would authenticate one app as the other."""
    async with serving(GRANTING, authority.server(wants_certificate=True)) as peer:
        for name in ("one", "two"):
            credential = Certificate(ENTITY_ID, *authority.issue(name))
            await login(client(connections, peer.https, authority.ca_file, credential))
        names = [dict(c)["subject"] for c in peer.certificates if isinstance(c, dict)]
        assert names == [((("commonName", "one"),),), ((("commonName", "two"),),)]


async def test_an_answer_of_many_tls_records_arrives_whole(
    authority: Authority, connections: Connections
) -> None:
    """Each connection has small buffers, because a process has many connections."""
    padded = GRANT[:-1] + b', "padding": "' + 300_000 * b"x" + b'"}'
    async with serving(answering(reply(200, padded)), tls=authority.server()) as peer:
        assert await login(client(connections, peer.https, authority.ca_file)) == "new-token"
