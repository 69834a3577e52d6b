"""TLS on the HTTP listener: what clients of all kinds can and cannot do to it."""

import asyncio
import gc
import os
import socket
import ssl
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientOSError, ServerDisconnectedError
from cryptography import x509

from refresherd.domain.events import HandshakeFailed
from refresherd.host import tls_stream
from refresherd.host.http.server import Times
from support.http_wire import read_all
from support.protected import Protected, protected
from support.web_pages import MEGABYTES, Metrics
from support.web_tls import Authority

REFUSED = (ClientConnectorError, ClientOSError, ServerDisconnectedError, ssl.SSLError)

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

HELLO_BEGINS = bytes.fromhex("16030102000100")
"""A record of 512 bytes that begins a handshake."""


class Place:
    """A directory with an authority, a server's certificate and a web configuration."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = Authority(directory)
        self.ca.issue("server", "localhost", "127.0.0.1", "::1")
        self.file = directory / "web.yml"
        self.write()

    def write(self, *more: str) -> Path:
        """Write a web configuration with TLS."""
        lines = ["tls_server_config:", "  cert_file: server.pem", "  key_file: server.key"]
        self.file.write_text("\n".join([*lines, *(f"  {line}" for line in more), ""]))
        return self.file

    def with_clients(self, *more: str) -> Path:
        """Write one that wants clients with certificates."""
        required = "client_auth_type: RequireAndVerifyClientCert"
        return self.write(required, "client_ca_file: ca.pem", *more)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return the directory."""
    return Place(tmp_path)


async def live(served: Protected, context: ssl.SSLContext) -> str:
    """Return what a client reads."""
    async with served.client(context) as client, client.get("/livez") as got:
        return await got.text()


def connected(served: Protected, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a client's connection after its handshake; an end without a goodbye is an error."""
    connection = socket.create_connection(served.address, timeout=20)
    return context.wrap_socket(connection, server_hostname="localhost", suppress_ragged_eofs=False)


def tell(served: Protected, data: bytes, *, ends: bool = False) -> bytes:
    """Send some bytes as they are, and return all that comes back."""
    with socket.create_connection(served.address, timeout=20) as client:
        with suppress(ConnectionError):
            client.sendall(data)
            if ends:
                client.shutdown(socket.SHUT_WR)
        return read_all(client)


async def test_every_address_speaks_tls(place: Place) -> None:
    """A name, IPv4 and IPv6 alike; the certificate has them all."""
    addresses = ("127.0.0.1", 0), ("::1", 0), ("localhost", 0)
    async with protected(place.file, *addresses) as served:
        assert len(served.listener.addresses) == 3
        for address in served.listener.addresses:
            reader, writer = await asyncio.open_connection(
                *address, ssl=place.ca.client_context(), server_hostname=address[0]
            )
            writer.write(GET)
            assert await reader.readuntil(b"ok\n")
            writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_serve_many_requests_and_say_goodbye(
    place: Place, version: ssl.TLSVersion
) -> None:
    """Without a goodbye, a client could not tell a whole answer from one that was cut off."""
    context = place.ca.client_context()
    context.minimum_version = context.maximum_version = version

    def ask() -> tuple[str | None, bytes]:
        with connected(served, context) as client:
            client.sendall(GET * 3 + GET.replace(b"x\r\n", b"x\r\nConnection: close\r\n"))
            return client.version(), read_all(client)

    async with protected(place.file) as served:
        spoken, answers = await asyncio.to_thread(ask)
        assert spoken == version.name.replace("v1_", "v1.")
        assert answers.count(b"HTTP/1.1 200 OK") == 4


async def test_a_long_answer_is_whole(place: Place) -> None:
    """It takes thousands of records, and the client's buffers hold only some of them."""
    context = place.ca.client_context()
    async with (
        protected(place.file, metrics=Metrics()) as served,
        served.client(context) as client,
        client.get("/metrics") as got,
    ):
        assert len(await got.read()) == MEGABYTES * 1_000_000


async def test_a_client_that_does_not_read_is_cut_off(place: Place) -> None:
    """As without TLS: it would keep an answer in memory."""

    def dawdle() -> None:
        with connected(served, place.ca.client_context()) as client:
            client.sendall(GET.replace(b"livez", b"metrics"))
            for _ in range(200):
                client.sendall(b"\r\n")
                time.sleep(0.05)

    async with protected(place.file, times=Times(answer=0.3), metrics=Metrics()) as served:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await asyncio.to_thread(dawdle)


@pytest.mark.timing
@pytest.mark.parametrize(
    "begun", [b"", HELLO_BEGINS[:1], HELLO_BEGINS, HELLO_BEGINS + bytes(300)], ids=len
)
async def test_a_handshake_has_the_deadline_of_a_request(place: Place, begun: bytes) -> None:
    """Whether it has not begun or stands still: otherwise connections would fill all places."""
    async with protected(place.file, times=Times(request=0.3)) as served:
        began = time.monotonic()
        assert await asyncio.to_thread(tell, served, begun) == b""
        assert 0.2 < time.monotonic() - began < 10


async def test_a_handshake_byte_by_byte_does_not_last_longer(place: Place) -> None:
    """The deadline is that of the whole."""

    def dribble() -> None:
        with socket.create_connection(served.address, timeout=20) as client:
            for byte in HELLO_BEGINS + bytes(1000):
                client.sendall(bytes((byte,)))
                time.sleep(0.01)

    async with protected(place.file, times=Times(request=0.5)) as served:
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(dribble)


async def test_a_request_that_stands_still_is_told_so(place: Place) -> None:
    """Behind the handshake, deadlines and refusals are those of any connection."""

    def ask() -> bytes:
        with connected(served, place.ca.client_context()) as client:
            client.sendall(GET[:-1])
            return read_all(client)

    async with protected(place.file, times=Times(request=0.5)) as served:
        assert b"408 Request Timeout" in await asyncio.to_thread(ask)


async def test_a_client_without_tls_learns_what_is_wrong(place: Place) -> None:
    """Somebody has typed http:// into a browser."""
    async with protected(place.file) as served, served.client() as client:
        async with client.get("/livez") as got:
            assert (got.status, "https://" in await got.text()) == (400, True)
        assert served.observer.of(HandshakeFailed) == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16" * 16384,
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x16\x03\x01\xff\xff" + bytes(70000),
        bytes(20000),
        HELLO_BEGINS + bytes(506),
    ],
    ids=repr,
)
async def test_garbage_harms_nobody(place: Place, garbage: bytes) -> None:
    """Whatever is sent, the connection ends, and the next client is served."""
    async with protected(place.file) as served:
        await asyncio.to_thread(tell, served, garbage, ends=True)
        assert await live(served, place.ca.client_context()) == "ok\n"


async def test_garbage_after_the_handshake_ends_the_connection(place: Place) -> None:
    """It has been changed on the way, or is an attempt at something."""

    def disturb() -> bytes:
        with connected(served, place.ca.client_context()) as client:
            raw = socket.socket(fileno=client.detach())
            raw.settimeout(20)
            with raw:
                raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
                return read_all(raw)

    async with protected(place.file) as served:
        await asyncio.to_thread(disturb)
        assert await live(served, place.ca.client_context()) == "ok\n"


async def test_a_failed_handshake_is_reported_with_its_reason(place: Place) -> None:
    """Prometheus says only that the connection was reset."""
    place.write("min_version: TLS13")
    context = place.ca.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with protected(place.file) as served:
        with pytest.raises(REFUSED):
            await live(served, context)
        ((event,), (host, port)) = set(served.observer.of(HandshakeFailed)), served.address
        assert (event.socket, event.message) == (f"{host}:{port}", "unsupported protocol")


async def test_clients_need_a_certificate_where_it_is_required(place: Place) -> None:
    """None, or one of another authority, is refused during the handshake."""
    other = Authority(place.directory, "other")
    good, wrong = place.ca.issue("good"), other.issue("wrong")
    async with protected(place.with_clients()) as served:
        assert await live(served, place.ca.client_context(good)) == "ok\n"
        for pair in (None, wrong):
            with pytest.raises(REFUSED):
                await live(served, place.ca.client_context(pair))
        events = served.observer.of(HandshakeFailed)
        assert {event.message for event in events} == {
            "peer did not return a certificate",
            "certificate verify failed: unable to get local issuer certificate",
        }


async def test_a_certificate_may_be_optional_but_not_wrong(place: Place) -> None:
    """As VerifyClientCertIfGiven says."""
    other = Authority(place.directory, "other")
    place.write("client_auth_type: VerifyClientCertIfGiven", "client_ca_file: ca.pem")
    async with protected(place.file) as served:
        for pair in (None, place.ca.issue("good")):
            assert await live(served, place.ca.client_context(pair)) == "ok\n"
        with pytest.raises(REFUSED):
            await live(served, place.ca.client_context(other.issue("wrong")))


SANS = (
    "client_allowed_sans: "
    "[prometheus.example, 192.0.2.7, '2001:db8::1', 'spiffe://x/y', a@b.example]"
)

ALLOWED = (
    "prometheus.example",
    "2001:db8::1",
    "192.0.2.7",
    x509.UniformResourceIdentifier("spiffe://x/y"),
    x509.RFC822Name("a@b.example"),
)


@pytest.mark.parametrize("name", ALLOWED, ids=str)
async def test_clients_of_allowed_names_may_connect(
    place: Place, name: str | x509.GeneralName
) -> None:
    """One of the certificate's names is enough, of whatever kind it is."""
    context = place.ca.client_context(place.ca.issue("client", "other.example", name))
    async with protected(place.with_clients(SANS)) as served:
        assert await live(served, context) == "ok\n"


@pytest.mark.parametrize("name", ["Prometheus.example", "example", "192.0.2.8", "spiffe://x/z"])
async def test_clients_of_other_names_may_not(place: Place, name: str) -> None:
    """A name matches exactly, as in exporter-toolkit."""
    context = place.ca.client_context(place.ca.issue("client", "other.example", name))
    async with protected(place.with_clients(SANS)) as served:
        with pytest.raises(REFUSED):
            await live(served, context)
        (event,) = set(served.observer.of(HandshakeFailed))
        assert event.message == "the client's certificate is for no allowed name"


async def test_a_session_is_resumed_only_by_a_client_with_the_right_name(place: Place) -> None:
    """The name counts for each connection, whether there is a whole handshake or not."""
    context = place.ca.client_context(place.ca.issue("client", "prometheus.example"))

    def twice() -> tuple[bytes, bool | None]:
        with connected(served, context) as client:
            client.sendall(GET)
            client.recv(1)
            session = client.session
        again = socket.create_connection(served.address, timeout=20)
        with context.wrap_socket(again, server_hostname="localhost", session=session) as client:
            client.sendall(GET.replace(b"x\r\n", b"x\r\nConnection: close\r\n"))
            return read_all(client), client.session_reused

    async with protected(place.with_clients("client_allowed_sans: [prometheus.example]")) as served:
        answer, resumed = await asyncio.to_thread(twice)
        assert (resumed, b"200 OK" in answer) == (True, True)


async def test_renegotiation_is_refused(place: Place) -> None:
    """TLS 1.2 has it, and a client could keep the daemon busy with handshakes for ever."""
    async with protected(place.file) as served:
        protection = served.watch.current
        assert protection is not None
        assert protection.tls is not None
        assert protection.tls.context.options & ssl.OP_NO_RENEGOTIATION


def resident() -> int:
    """Return how many bytes of memory the process takes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_clients_that_jam_take_bounded_memory(place: Place) -> None:
    """They send request after request, and read no answers."""
    context, number = place.ca.client_context(), 100
    metrics = Metrics(lambda: (os.urandom(1_000_000) for _ in range(3)))

    def jam() -> ssl.SSLSocket:
        client = connected(served, context)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(GET.replace(b"livez", b"metrics"))
        client.recv(10)
        client.settimeout(0)
        with suppress(ssl.SSLWantWriteError):
            for _ in range(30):
                client.send(GET * 400)
        return client

    async with protected(place.file, metrics=metrics) as served:
        with ExitStack() as clients:
            clients.enter_context(await asyncio.to_thread(jam))
            before = resident()
            for _ in range(number):
                clients.enter_context(await asyncio.to_thread(jam))
            await asyncio.sleep(0.5)
            # Nearly half of it is the clients' own.
            each = (resident() - before) / number
    assert each < 2 * 128 * 1024


async def test_idle_connections_take_little_memory(place: Place) -> None:
    """A user may have 128 of them, and all users together thousands."""
    context = place.ca.client_context()
    number = 300

    async with protected(place.file) as served:
        with ExitStack() as clients:
            await live(served, context)
            before = resident()
            for _ in range(number):
                client = await asyncio.to_thread(connected, served, context)
                clients.enter_context(client)
            await asyncio.sleep(0.2)
            # The clients' own ends count as well.
            each = (resident() - before) / number
        assert each < 64 * 1024


async def test_handshakes_are_made_beside_the_loop_one_at_a_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a large key each takes many milliseconds, in which probes and refreshes go on."""
    advance, running, most, threads = tls_stream._advance, 0, 0, set()

    def slowly(tls: ssl.SSLObject) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threads.add(threading.current_thread())
        time.sleep(0.05)
        running -= 1
        return advance(tls)

    monkeypatch.setattr(tls_stream, "_advance", slowly)
    context = place.ca.client_context()
    async with protected(place.file) as served:
        assert await asyncio.gather(*[live(served, context) for _ in range(5)]) == ["ok\n"] * 5
    assert most == 1
    assert threading.main_thread() not in threads


async def test_a_flood_of_handshakes_is_served(place: Place) -> None:
    """One after the other, and whoever comes meanwhile as well."""
    context = place.ca.client_context()
    async with protected(place.file) as served:

        async def shake() -> None:
            for _ in range(30):
                _, writer = await asyncio.open_connection(
                    *served.address, ssl=context, server_hostname="localhost"
                )
                writer.close()

        flood = [asyncio.create_task(shake()) for _ in range(10)]
        assert await live(served, context) == "ok\n"
        await asyncio.gather(*flood)


async def test_what_a_client_gets_is_not_mixed_up(place: Place) -> None:
    """Many at once, each with an answer of its own length."""
    context = place.ca.client_context()
    async with protected(place.file) as served, served.client(context) as client:

        async def ask(path: str) -> int:
            async with client.get(path) as got:
                await got.read()
                return got.status

        paths = ["/livez", "/readyz", "/nothing", "/status.json"] * 25
        found = await asyncio.gather(*map(ask, paths))
        assert found == [200, 200, 404, 200] * 25
