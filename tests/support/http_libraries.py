"""What consumers see of the API socket through the HTTP libraries of Python.

Each function makes the same requests and returns the same summary.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import httpx
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

BASE = "http://localhost"
APP = "/v1/apps/payments"

ASKED: tuple[tuple[str, str, str, object], ...] = (
    ("token", "GET", f"{APP}/token", None),
    ("head", "HEAD", f"{APP}/token", None),
    ("bad parameter", "GET", f"{APP}/token?format=x", None),
    ("absent", "GET", "/v1/apps/absent/token", None),
    ("refresh", "POST", f"{APP}/refresh", None),
    ("refresh with a body", "POST", f"{APP}/refresh", b'{"a": "b"}'),
    ("refresh with chunks", "POST", f"{APP}/refresh", "chunks"),
    ("large body", "POST", f"{APP}/refresh", b"x" * 1_000_000),
)

SEEN = {
    "token": "200 payments",
    "head": "200 true 0",
    "bad parameter": "400",
    "absent": "404",
    "refresh": "200",
    "refresh with a body": "200",
    "refresh with chunks": "200",
    "large body": "413",
    "connections for 100 more": "0 or 1",
    "watch": "200 payments",
}
"""What every client must see."""


def chunks() -> Iterator[bytes]:
    """Yield a body whose length no library knows, so that it is sent in chunks."""
    yield b"he"
    yield b"llo"


async def later_chunks() -> AsyncIterator[bytes]:
    """Yield the same as `chunks`."""
    for chunk in chunks():
        yield chunk


def summary(name: str, status: int, length: object, body: bytes) -> str:
    """Return what was seen of an answer."""
    if name in ("token", "watch"):
        return f"{status} {json.loads(body)['app']}"
    if name == "head":
        return f"{status} {json.dumps(int(str(length)) > 100)} {len(body)}"
    return str(status)


def few(connections: int) -> str:
    """Return what the summaries have: the last connection before may have ended with a refusal."""
    return "0 or 1" if connections <= 1 else str(connections)


class Answered(Protocol):
    """A whole answer of requests or httpx."""

    status_code: int

    @property
    def content(self) -> Any:  # noqa: ANN401  # requests' stubs do not say
        """Return the body."""

    @property
    def headers(self) -> Any:  # noqa: ANN401  # each library has a mapping of its own
        """Return the header fields."""


def common(
    ask: Callable[[str, str, object], Answered], connections: Callable[[], int]
) -> dict[str, str]:
    """Return what `ask` sees, up to the watch."""
    seen = {}
    for name, method, path, body in ASKED:
        answer = ask(method, BASE + path, chunks() if body == "chunks" else body)
        length = answer.headers.get("content-length")
        seen[name] = summary(name, answer.status_code, length, answer.content)
    before = connections()
    for _ in range(100):
        assert ask("GET", f"{BASE}{APP}/token", None).status_code == 200
    return {**seen, "connections for 100 more": few(connections() - before)}


class _Connection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class _Pool(HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> Any:  # noqa: ANN401  # its base's annotation is a private protocol
        self.num_connections += 1
        return _Connection(self._path)


class UnixAdapter(HTTPAdapter):
    """Sends the requests of a session to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.pool = _Pool(str(path))

    def get_connection_with_tls_context(self, *_: object, **__: object) -> _Pool:
        """Return the socket's pool."""
        return self.pool


def by_requests(path: Path) -> dict[str, str]:
    """Ask with requests."""
    adapter = UnixAdapter(path)
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)

        def ask(method: str, url: str, body: object) -> Answered:
            return session.request(method, url, data=body, timeout=20)  # type: ignore[arg-type]

        seen = common(ask, lambda: adapter.pool.num_connections)
        with session.get(f"{BASE}{APP}/token?watch=1", stream=True, timeout=20) as watch:
            seen["watch"] = summary("watch", watch.status_code, None, next(watch.iter_lines()))
    adapter.pool.close()
    return seen


def by_httpx(path: Path) -> dict[str, str]:
    """Ask with httpx."""
    opened: list[str] = []

    def trace(event: str, _: object) -> None:
        opened.extend([event] if event == "connection.connect_unix_socket.complete" else [])

    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=20) as client:

        def ask(method: str, url: str, body: object) -> Answered:
            content: Any = body
            return client.request(method, url, content=content, extensions={"trace": trace})

        seen = common(ask, lambda: len(opened))
        with client.stream("GET", f"{BASE}{APP}/token?watch=1") as watch:
            line = next(watch.iter_lines()).encode()
            seen["watch"] = summary("watch", watch.status_code, None, line)
    return seen


def by_httpx_async(path: Path) -> dict[str, str]:
    """Ask with httpx on an event loop."""
    opened: list[str] = []

    async def trace(event: str, _: object) -> None:
        opened.extend([event] if event == "connection.connect_unix_socket.complete" else [])

    async def see() -> dict[str, str]:
        seen = {}
        transport, extensions = httpx.AsyncHTTPTransport(uds=str(path)), {"trace": trace}
        async with httpx.AsyncClient(transport=transport, base_url=BASE, timeout=20) as client:
            for name, method, url, body in ASKED:
                content: Any = later_chunks() if body == "chunks" else body
                answer = await client.request(method, url, content=content, extensions=extensions)
                length = answer.headers.get("content-length")
                seen[name] = summary(name, answer.status_code, length, answer.content)
            before = len(opened)
            for _ in range(100):
                answer = await client.get(f"{APP}/token", extensions=extensions)
                assert answer.status_code == 200
            seen["connections for 100 more"] = few(len(opened) - before)
            async with client.stream("GET", f"{APP}/token?watch=1") as watch:
                async for line in watch.aiter_lines():
                    seen["watch"] = summary("watch", watch.status_code, None, line.encode())
                    break
        return seen

    return asyncio.run(see())


def by_aiohttp(path: Path) -> dict[str, str]:
    """Ask with aiohttp."""

    async def see() -> dict[str, str]:
        seen, opened = {}, 0

        async def count(*_: object) -> None:
            nonlocal opened
            opened += 1

        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_end.append(count)
        connector = aiohttp.UnixConnector(str(path))
        async with aiohttp.ClientSession(
            BASE, connector=connector, trace_configs=[tracing]
        ) as client:
            for name, method, url, body in ASKED:
                data = later_chunks() if body == "chunks" else body
                async with client.request(method, url, data=data) as answer:
                    length = answer.headers.get("Content-Length")
                    seen[name] = summary(name, answer.status, length, await answer.read())
            before = opened
            for _ in range(100):
                async with client.get(f"{APP}/token") as answer:
                    assert answer.status == 200
                    await answer.read()
            seen["connections for 100 more"] = few(opened - before)
            async with client.get(f"{APP}/token?watch=1") as watch:
                line = await watch.content.readline()
                seen["watch"] = summary("watch", watch.status, None, line)
        return seen

    return asyncio.run(see())
