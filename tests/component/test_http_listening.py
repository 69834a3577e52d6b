"""Where the HTTP listener listens, its errors, and how it stops."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest
from aiohttp import ClientSession

from refresherd.adapters.web import IDLE_SECONDS, UNREAD_SECONDS, HttpListener, address_text
from refresherd.domain.errors import RefresherdError
from refresherd.domain.readiness import AppStatus
from refresherd.host.shared_rendering import ANSWER_SECONDS
from support.fakes import FakeClock

MEGABYTES = 30


def huge() -> Iterator[bytes]:
    """Yield more than the kernel's buffers take, which compression makes no smaller."""
    return (os.urandom(1_000_000) for _ in range(MEGABYTES))


class NoApps:
    """A roster without apps."""

    def statuses(self) -> tuple[AppStatus, ...]:
        """Return nothing."""
        return ()

    def status(self, name: str) -> AppStatus | None:
        """Return nothing."""
        raise AssertionError(name)


class Metrics:
    """An exposition whose text is these pieces: by default more than the kernel's buffers take."""

    def __init__(self, pieces: Callable[[], Iterable[bytes]] = huge) -> None:
        self._pieces = pieces

    def content_type(self, _: str) -> str:
        """Return the only one."""
        return "text/plain"

    def render(self, _: str) -> Iterable[bytes]:
        """Return the pieces."""
        return self._pieces()


def listening_on(
    *addresses: tuple[str, int],
    idle_time: float = IDLE_SECONDS,
    unread_time: float = UNREAD_SECONDS,
    answer_time: float = ANSWER_SECONDS,
    metrics: Metrics | None = None,
) -> HttpListener:
    """Return a listener for these addresses."""
    return HttpListener(
        addresses,
        metrics or Metrics(),
        NoApps(),
        FakeClock(),
        idle_time=idle_time,
        unread_time=unread_time,
        answer_time=answer_time,
    )


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


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """Its 40 MB would be kept for ever."""
    served = listening_on(("127.0.0.1", 0), unread_time=0.3)
    await served.start()
    (address,) = served.addresses
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(client.connect, address)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            await asyncio.to_thread(send_until_refused, client)
    await served.stop()


async def test_a_client_that_reads_too_slowly_is_cut_off() -> None:
    """A few bytes now and then would keep its answer in memory for days, and others like it."""
    served = listening_on(("127.0.0.1", 0), answer_time=0.3)
    await served.start()
    (address,) = served.addresses
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(client.connect, address)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(trickle, client)
    await served.stop()


def trickle(client: socket.socket) -> None:
    """Read a little now and then; raise ConnectionError once the peer is gone."""
    for _ in range(200):
        client.recv(64)
        client.sendall(b"\r\n")
        time.sleep(0.05)


def send_until_refused(client: socket.socket) -> None:
    """Send now and then, and never read; raise OSError once the peer is gone."""
    for _ in range(100):
        client.sendall(b"\r\n")
        time.sleep(1.0)


async def test_a_connection_without_a_request_is_closed() -> None:
    """Forgotten connections would use up the daemon's descriptors."""
    served = listening_on(("127.0.0.1", 0), idle_time=0.2)
    await served.start()
    (address,) = served.addresses
    reader, writer = await asyncio.open_connection(*address)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await served.stop()
