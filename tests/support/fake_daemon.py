"""A stand-in for the daemon's API socket, which answers as the API does, or as a test tells it.

with fake_daemon(path) as daemon:
    daemon.issue("payments", "token-1")
    ...
    assert daemon.requests == ["GET /v1/apps/payments/token?format=raw&wait=10"]
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from refresherd.domain.formats import render_token
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Format, Instant, Secret, Token
from support.app_fields import ENDPOINT, stamp, starting

LIFETIME = 600.0


class FakeDaemon:
    """The apps and tokens of the daemon, and the requests that it has received."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        """Each request, and each token sent to a watch as `sent APP: TOKEN`."""
        self.refusals: dict[str, tuple[int, str]] = {}
        """Status and detail of the problems that answer requests, by method and path."""
        self.on_refresh: Callable[[str], object] = self.issue
        """Called with the app's name at each request for a refresh."""
        self._apps: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, Token] = {}
        self._changed = threading.Condition()
        self._version = 0
        self._streams = 0

    def issue(self, app: str, token: str = "", lifetime: float = LIFETIME) -> str:
        """Give an app a new token, and return it."""
        with self._changed:
            now = time.time()
            generation = self._tokens[app].generation + 1 if app in self._tokens else 1
            token = token or f"{app}-token-{generation}"
            self._tokens[app] = Token(
                access_token=Secret(token),
                entity_id="8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11",
                generation=generation,
                issued_at=Instant(now),
                lifetime=lifetime,
                expires_at=Instant(now + lifetime),
            )
            self._change()
        self.set_status(
            app,
            state="fresh",
            ready=True,
            not_ready_because=[],
            issued_at=stamp(now),
            expires_at=stamp(now + lifetime),
            next_refresh_at=stamp(now + lifetime / 2),
            generation=generation,
            consecutive_failures=0,
            last_error=None,
            lifetime_seconds=lifetime,
            outage_budget_seconds=lifetime / 2,
        )
        return token

    def set_status(self, app: str, **changes: object) -> None:
        """Change members of an app's status, adding the app if it is new."""
        with self._changed:
            self._apps.setdefault(app, starting(app)).update(changes)

    def end_streams(self) -> None:
        """End every open watch, as a daemon that stops does."""
        with self._changed:
            self._streams += 1
            self._change()

    def wait_for(self, request: str) -> None:
        """Return once `requests` contains that."""
        with self._changed:
            assert self._changed.wait_for(lambda: request in self.requests, timeout=10)

    def record(self, request: str) -> None:
        """Add to `requests`."""
        with self._changed:
            self.requests.append(request)
            self._change()

    def status(self, app: str) -> dict[str, Any] | None:
        """Return an app's status, or None if there is no such app."""
        with self._changed:
            return None if app not in self._apps else dict(self._apps[app])

    def statuses(self) -> list[dict[str, Any]]:
        """Return the status of every app."""
        with self._changed:
            return [dict(app) for app in self._apps.values()]

    def token(self, app: str) -> Token | None:
        """Return an app's token, or None if it has none."""
        return self._tokens.get(app)

    def tokens(self, app: str) -> Iterator[Token]:
        """Yield an app's token and each new one, until `end_streams`."""
        streams, shown = self._streams, None
        while True:
            with self._changed:
                version, token, ended = self._version, self._tokens.get(app), self._streams
            if ended != streams:
                return
            if token is not None and token != shown:
                shown = token
                yield token
            self._wait_past(version)

    def _wait_past(self, version: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._version > version)

    def _change(self) -> None:
        self._version += 1
        self._changed.notify_all()


def rendered(app: str, token: Token, form: Format) -> bytes:
    """Return a token in a format, as it was when it was issued."""
    settings = App(app, Endpoint(ENDPOINT), ApiKeyEnv("KEY"))
    return render_token(settings, token, form, token.issued_at, float)


class Handler(BaseHTTPRequestHandler):
    """Answers as the API does."""

    protocol_version = "HTTP/1.1"

    @property
    def daemon(self) -> FakeDaemon:
        """The daemon that this server stands in for."""
        return cast(Server, self.server).daemon

    def do_GET(self) -> None:
        """Answer a status or a token."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a refresh."""
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Log nothing."""

    def _answer(self) -> None:
        self.daemon.record(f"{self.command} {self.path}")
        target = urlsplit(self.path)
        refusal = self.daemon.refusals.get(f"{self.command} {target.path}")
        app, _, route = target.path.removeprefix("/v1/apps").strip("/").partition("/")
        if refusal is not None:
            self._refuse(*refusal)
        elif not app:
            self._send({"apps": self.daemon.statuses()})
        elif self.daemon.status(app) is None:
            self._refuse(404, f'there is no app named "{app}"')
        elif route == "token":
            self._token(app, {key: value[0] for key, value in parse_qs(target.query).items()})
        else:
            if route == "refresh":
                self.daemon.on_refresh(app)
            self._send(self.daemon.status(app))

    def _token(self, app: str, query: dict[str, str]) -> None:
        if query.get("watch") == "1":
            return self._watch(app)
        token = self.daemon.token(app)
        if token is None:
            return self._refuse(503, "no valid token (starting)")
        if token.lifetime < float(query.get("min_ttl", "0")):
            return self._refuse(503, "its tokens live for less")
        return self._send(rendered(app, token, Format(query["format"])))

    def _watch(self, app: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for token in self.daemon.tokens(app):
            line = rendered(app, token, Format.JSON)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.daemon.record(f"sent {app}: {token.access_token.reveal()}")
        self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, status: int, detail: str) -> None:
        problem = {"type": "about:blank", "title": "?", "status": status, "detail": detail}
        self._send(problem, status, "application/problem+json")

    def _send(self, body: object, status: int = 200, kind: str = "application/json") -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingMixIn, UnixStreamServer):
    """Serves a FakeDaemon."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close their connection."""

    def __init__(self, path: Path, daemon: FakeDaemon) -> None:
        self.daemon = daemon
        super().__init__(str(path), Handler)


@contextmanager
def fake_daemon(path: Path, state: FakeDaemon | None = None) -> Iterator[FakeDaemon]:
    """Serve a fake daemon on a socket, and remove the socket afterwards."""
    daemon = state or FakeDaemon()
    with Server(path, daemon) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield daemon
        finally:
            daemon.end_streams()
            server.shutdown()
            thread.join()
            path.unlink()


@contextmanager
def canned(path: Path, *answers: bytes) -> Iterator[None]:
    """Answer the first connection with the first bytes, and so on, and close each."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_give, args=(listener, answers))
        thread.start()
        try:
            yield
        finally:
            thread.join()
            path.unlink()


def _give(listener: socket.socket, answers: tuple[bytes, ...]) -> None:
    listener.settimeout(10)
    for answer in answers:
        connection, _ = listener.accept()
        with connection:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += connection.recv(4096)
            connection.sendall(answer)
