"""Requests, and how their bytes are read: by llhttp, within limits that it does not have."""

import re
from collections import deque
from dataclasses import dataclass
from urllib.parse import unquote

import httptools

MAX_TARGET = 2048
"""Bytes of a request's target; a longer one is answered with 414."""

MAX_HEAD = 8192
"""Bytes of a head, target included; a longer one is answered with 431."""

MAX_FIELDS = 64
"""Fields of a head; more are answered with 431."""

MAX_BODY = 8192
"""Bytes of a body, which is read and ignored; a longer one is answered with 413."""

MAX_BYTES = 2 * (MAX_HEAD + MAX_BODY)
"""Bytes of a whole request, with what llhttp does not show: the framing of chunks."""

FIELD_OVERHEAD = len(b": \r\n")

HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
"""The characters of a host with its port: RFC 3986, section 3.2."""

SCHEME_AND_HOST = re.compile(r"https?://[^/?]*", re.IGNORECASE)
"""What the absolute form of a target begins with: RFC 9112, section 3.2.2."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body."""

    method: str
    path: str
    """Decoded, without the query."""
    query: str = ""
    """As it was sent, without the question mark."""
    fields: tuple[tuple[str, str], ...] = ()
    """The header fields in order; their names are in lower case."""
    minor: int = 1
    """The minor version: 0 for HTTP/1.0, 1 for HTTP/1.1."""
    keep_alive: bool = True
    """Whether the client wants to send another request on the same connection."""

    def field(self, name: str) -> str:
        """Return all values of a field as one, "" if there is none."""
        return ", ".join(value for found, value in self.fields if found == name)


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request that is refused. What follows it on the connection cannot be read."""

    status: int
    detail: str
    method: str
    """The request's, if so much could be read: an answer to HEAD has no body."""


class RequestReader:
    """Turns the bytes of a connection into requests, in order.

    Call `close` in the end: it is part of a reference cycle.
    """

    __slots__ = (
        "_body_bytes", "_bytes", "_fields", "_head_bytes", "_keep_alive", "_parser", "_refused",
        "_target", "bodiless", "expects_continue", "in_head", "in_request", "ready",
    )  # fmt: skip

    def __init__(self) -> None:
        self.ready: deque[Request | Malformed] = deque()
        """What was read and is not yet answered."""
        self.in_request = False
        """Whether the last request has begun and is not complete."""
        self.in_head = False
        """Whether not even its head is complete."""
        self.expects_continue = False
        """Whether the client waits for "100 Continue" before it sends the body."""
        self.bodiless = True
        """Whether the last request had no body."""
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._refused: Malformed | None = None
        self.on_message_begin()
        self.in_request = self.in_head = False

    def feed(self, data: bytes) -> None:
        """Read some bytes; nothing is read any more after a malformed request."""
        if self._parser is None:
            return
        try:
            self._bytes += len(data)
            self._parser.feed_data(data)
            if self.in_request and self._bytes > MAX_BYTES:
                self._refuse(*(TOO_MANY_FIELDS if self.in_head else TOO_LARGE))
        except httptools.HttpParserUpgrade:
            self.close()  # the answer refuses the upgrade by closing
        except httptools.HttpParserError as error:
            if self.ready and not self.in_request:
                pass  # the client sent more though it had announced that it would not
            elif self._refused is None:
                self._refused = self.malformed(400, f"not a valid HTTP request: {error}")
        if self._refused is not None:
            self.ready.append(self._refused)
            self.in_request = False
            self.close()

    @property
    def clean(self) -> bool:
        """Whether all that the client sends is read and answered."""
        return self._refused is None and not self.in_request and not self.ready

    def malformed(self, status: int, detail: str) -> Malformed:
        """Return the refusal of the request that is being read."""
        method = "" if self._parser is None else self._parser.get_method().decode()
        return Malformed(status, detail, method)

    def close(self) -> None:
        """Read nothing more."""
        self._parser = None

    def on_message_begin(self) -> None:
        """Begin a request: llhttp calls this and all of the following."""
        self.in_request = self.in_head = True
        self.expects_continue = False
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_bytes = self._body_bytes = self._bytes = 0
        self._keep_alive = self.bodiless = True

    def on_url(self, part: bytes) -> None:
        """Take a part of the target."""
        self._target += part
        if len(self._target) > MAX_TARGET:
            self._refuse(414, f"the target is longer than {MAX_TARGET} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; fields that follow a chunked body are ignored."""
        value = value.rstrip(b" \t")  # which llhttp leaves there: RFC 9110, section 5.5
        self._head_bytes += len(name) + len(value) + FIELD_OVERHEAD
        if self.in_head:
            self._fields.append((name.lower(), value))
        if self._head_bytes + len(self._target) > MAX_HEAD or len(self._fields) > MAX_FIELDS:
            self._refuse(*TOO_MANY_FIELDS)

    def on_headers_complete(self) -> None:
        """Check the head."""
        parser, fields = self._parser, self._fields
        if parser is None:
            return
        version = parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._refuse(505, "the version of HTTP is neither 1.0 nor 1.1")
        hosts = [value for name, value in fields if name == b"host"]
        if len(hosts) > 1 or (version == "1.1" and not hosts):
            self._refuse(400, "a request needs one Host field")
        if hosts and HOST.fullmatch(hosts[0]) is None:
            self._refuse(400, "the Host field is not a valid host")
        if b"#" in self._target:
            self._refuse(400, "a target has no fragment")
        self._check_body(version)
        self._keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        self.in_head = False

    def on_body(self, part: bytes) -> None:
        """Throw it away."""
        self.bodiless = False
        self._body_bytes += len(part)
        if self._body_bytes > MAX_BODY:
            self._refuse(*TOO_LARGE)

    def on_message_complete(self) -> None:
        """Make a request of what was read."""
        if self._parser is None:
            return
        target = self._target.decode("latin-1")
        if absolute := SCHEME_AND_HOST.match(target):
            target = target[absolute.end() :]
        path, _, query = target.partition("?")
        self.in_request = self.expects_continue = False
        self.ready.append(
            Request(
                self._parser.get_method().decode(),
                unquote(path) or "/",
                query,
                tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in self._fields),
                int(self._parser.get_http_version() == "1.1"),
                # A field behind a chunked body counts as well.
                self._keep_alive and self._parser.should_keep_alive(),
            )
        )

    def _check_body(self, version: str) -> None:
        for name, value in self._fields:
            if name == b"content-length" and int(value) > MAX_BODY:
                self._refuse(*TOO_LARGE)
            elif name == b"transfer-encoding" and version == "1.0":
                self._refuse(400, "HTTP/1.0 has no Transfer-Encoding")
            elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                self._refuse(501, "the only Transfer-Encoding is chunked")
            elif name == b"expect" and value.strip().lower() != b"100-continue":
                self._refuse(417, "the only expectation that can be met is 100-continue")
            elif name == b"expect":
                self.expects_continue = version == "1.1"

    def _refuse(self, status: int, detail: str) -> None:
        """Stop reading. llhttp reports the exception as an error of its own."""
        if self._refused is None:
            self._refused = self.malformed(status, detail)
        raise httptools.HttpParserError(detail)


TOO_MANY_FIELDS = (431, f"the head has more than {MAX_FIELDS} fields or {MAX_HEAD} bytes")
TOO_LARGE = (413, f"the body is longer than {MAX_BODY} bytes, and nothing here takes one")
