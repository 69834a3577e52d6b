"""Where the HTTP listener listens, its errors, and how it stops."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession

from refresherd.adapters.web.listener import HttpListener, address_text, site
from refresherd.adapters.web.pages import Pages
from refresherd.adapters.web.recent import Recent
from refresherd.domain.connection_quota import Quota
from refresherd.domain.errors import RefresherdError
from refresherd.host.admission import Admission
from refresherd.host.http.server import DEFAULT_TIMES, Times
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import FakeClock, RecordingObserver
from support.web_pages import MEGABYTES, Metrics, NoApps


def listening_on(
    *addresses: tuple[str, int],
    times: Times = DEFAULT_TIMES,
    metrics: Metrics | None = None,
    quota: Quota | None = None,
) -> HttpListener:
    """Return a listener for these addresses."""
    clock = FakeClock()
    made = metrics or Metrics()
    pages = Pages(made, NoApps(), Recent(clock), KeyedExecutor(), clock, fault=str)
    return HttpListener(addresses, pages, clock, Admission(RecordingObserver(), quota), times=times)


async def test_every_address_is_served_on_a_free_port() -> None:
    """With a port of 0 the listener tells which one it has; IPv6 works as well as IPv4."""
    served = listening_on(("127.0.0.1", 0), ("::1", 0), ("localhost", 0))
    await served.start()
    async with ClientSession() as client:
        for host, port in served.addresses:
            url = f"http://{address_text(host, port)}/livez"
            async with client.get(url) as got:
                assert await got.text() == "ok\n"
    await served.stop()
    assert served.addresses == ()


async def test_no_address_switches_the_listener_off() -> None:
    """An empty `listen` is valid."""
    served = listening_on()
    await served.start()
    assert served.addresses == ()
    await served.stop()


async def test_an_address_in_use_is_named_and_the_others_are_closed() -> None:
    """A second daemon on the host must say which of its addresses is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
            free = other.getsockname()[1]
        served = listening_on(("::1", free), ("127.0.0.1", port))
        with pytest.raises(RefresherdError) as raised:
            await served.start()
        assert str(raised.value) == (
            f"cannot listen on 127.0.0.1:{port}: the address is in use; end the other process, or "
            "write another port under listen in [http]"
        )
        assert served.addresses == ()
        socket.create_server(("::1", free), family=socket.AF_INET6).close()


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.1", "cannot listen on 192.0.2.1:9749: this host has no such address"),
        ("2001:db8::1", "cannot listen on [2001:db8::1]:9749: this host has no such address"),
        (
            "no.such.host.invalid",
            "cannot listen on no.such.host.invalid:9749: this host does not know",
        ),
    ],
)
async def test_an_address_of_another_host_is_named(host: str, message: str) -> None:
    """Addresses move between hosts; the message must be readable."""
    with pytest.raises(RefresherdError) as raised:
        await listening_on((host, 9749)).start()
    assert str(raised.value).startswith(message)
    assert "Errno" not in str(raised.value)


async def test_a_privileged_port_names_the_missing_capability(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tests may run as root, who may use any port, so the kernel's answer is played."""

    def refuse(*_: object, **__: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(RefresherdError, match=r"127\.0\.0\.1:80: not permitted .*CAP_NET_BIND"):
        await listening_on(("127.0.0.1", 80)).start()


@pytest.mark.timing
async def test_a_stop_waits_for_no_client() -> None:
    """The daemon promises to stop within 5 s, and needs them for more than this."""
    served = listening_on(("127.0.0.1", 0))
    await served.start()
    (address,) = served.addresses
    idle, kept, stuck = [await asyncio.open_connection(*address) for _ in range(3)]
    kept[1].write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    stuck[1].write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await kept[0].readuntil(b"ok\n")
    assert await stuck[0].readuntil(b"\r\n\r\n")
    began = time.monotonic()
    await served.stop()
    assert time.monotonic() - began < 1.0
    assert await idle[0].read() == b""
    for _, writer in (idle, kept, stuck):
        writer.close()


@pytest.mark.timing
async def test_a_stop_does_not_wait_for_a_rendering() -> None:
    """A thread cannot be stopped, only abandoned."""
    go_on = threading.Event()

    def pieces() -> Iterator[bytes]:
        assert go_on.wait(10)
        yield b""

    served = listening_on(("127.0.0.1", 0), metrics=Metrics(pieces))
    await served.start()
    (address,) = served.addresses
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await served.stop()
    assert time.monotonic() - began < 1.0
    assert await reader.read() == b""
    writer.close()
    go_on.set()


@pytest.mark.parametrize("reads", [0, 64])
async def test_a_client_that_reads_too_slowly_is_cut_off(reads: int) -> None:
    """A few bytes now and then would keep its answer in memory for days, and others like it."""
    served = listening_on(("127.0.0.1", 0), times=Times(answer=0.3))
    await served.start()
    (address,) = served.addresses
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(client.connect, address)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(linger, client, reads)
    await served.stop()


def linger(client: socket.socket, reads: int) -> None:
    """Send, and read so many bytes, now and then; raise ConnectionError once the peer is gone."""
    for _ in range(200):
        if reads:
            client.recv(reads)
        client.sendall(b"\r\n")
        time.sleep(0.05)


async def test_a_connection_without_a_request_is_closed() -> None:
    """Forgotten connections would use up the daemon's descriptors."""
    served = listening_on(("127.0.0.1", 0), times=Times(request=0.2))
    await served.start()
    (address,) = served.addresses
    reader, writer = await asyncio.open_connection(*address)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await served.stop()


@pytest.mark.parametrize(
    ("address", "user"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:db8::ffff:0:7", "2001:db8::/64"),
        ("fe80::7%lo", "fe80::/64"),
        ("127.1.2.3", "127.0.0.0/8"),
        ("::ffff:127.4.5.6", "127.0.0.0/8"),
    ],
)
def test_a_client_without_a_uid_is_known_by_its_network(address: str, user: str) -> None:
    """A client with a new address for each connection would otherwise have no limit."""
    assert site(address) == user


async def test_a_local_clients_uid_limits_its_connections() -> None:
    """What one local user may open counts for all addresses and all other listeners together."""
    go_on = threading.Event()

    def pieces() -> Iterator[bytes]:
        assert go_on.wait(10)
        yield b""

    metrics, quota = Metrics(pieces), Quota(rank_connections=1)
    served = listening_on(("127.0.0.1", 0), ("::1", 0), metrics=metrics, quota=quota)
    await served.start()
    first, second = served.addresses
    waiting, writer = await asyncio.open_connection(*first)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.1)
    refused, other = await asyncio.open_connection(*second)
    assert (await refused.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
    go_on.set()
    assert (await waiting.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    for each in (writer, other):
        each.close()
    await served.stop()


async def test_the_kernel_keeps_little_for_a_client_that_does_not_read() -> None:
    """Its buffers count towards the daemon's memory limit; hundreds of clients would fill it."""
    served = listening_on(("127.0.0.1", 0))
    await served.start()
    (address,) = served.addresses
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(client.connect, address)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        kept = [0]
        async with asyncio.timeout(60):
            while not kept[-1] or set(kept[-5:]) != {kept[-1]}:
                await asyncio.sleep(0.1)
                kept.append(queued(address[1], client.getsockname()[1]))
    assert kept[-1] < 200_000
    await served.stop()


def queued(port: int, client_port: int) -> int:
    """Return how many bytes the kernel has still to bring to a client on this host."""
    ends = f"0100007F:{port:04X} 0100007F:{client_port:04X} "
    (line,) = (it for it in Path("/proc/net/tcp").read_text().splitlines() if ends in it)
    return int(line.split()[4].partition(":")[0], 16)


async def test_what_follows_a_long_answer_is_answered_after_it() -> None:
    """A pipelined request must not end up in the middle of the metrics."""
    served = listening_on(("127.0.0.1", 0))
    await served.start()
    (address,) = served.addresses
    reader, writer = await asyncio.open_connection(*address)
    request = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n" + request % b"metrics")
    writer.write(request % b"livez")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.findall(rb"Content-Length: ([0-9]+)", head)[0])
    assert length == MEGABYTES * 1_000_000
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await reader.readexactly(length)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(3) == b"ok\n"
    writer.close()
    await served.stop()


async def test_a_burst_of_clients_waits_in_the_queue() -> None:
    """Those whom the kernel turns away would try again only after a second."""
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    served = listening_on(("127.0.0.1", 0))
    await served.start()
    with ExitStack() as clients:
        for _ in range(min(300, most)):  # while the event loop accepts none of them
            clients.enter_context(socket.create_connection(served.addresses[0], timeout=5))
    await served.stop()


async def test_a_request_that_is_not_complete_does_not_interrupt_a_long_answer() -> None:
    """Were it refused for its slowness, the refusal would be read as metrics."""
    served = listening_on(("127.0.0.1", 0), times=Times(answer=0.3))
    await served.start()
    (address,) = served.addresses
    reader, writer = await asyncio.open_connection(*address, limit=1024)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HT")
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.8)
    rest = bytearray()
    with suppress(ConnectionError):
        while part := await reader.read(65536):
            rest += part
    assert len(rest) < MEGABYTES * 1_000_000
    assert b"HTTP/1.1 408" not in rest
    writer.close()
    await served.stop()
