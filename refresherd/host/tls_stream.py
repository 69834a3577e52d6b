"""TLS on an accepted connection: bounded, without a socket of its own, and off the event loop.

The stream below carries the encrypted bytes, and its deadline is that of the dialogue above. So a
handshake has as long as a request's head, and a slow one takes a place like any other slow client.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast

from refresherd.domain.connection_quota import Rank, User
from refresherd.host.dialogue import Dialogue
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.stream import READ_BYTES, Place, Stream

RECORD_BYTES = 16384
"""The most that a record of TLS holds: what is written is encrypted in such pieces."""

HANDSHAKE = 0x16
"""The first byte of a record that begins a handshake: RFC 8446, section 5.1."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How connections are encrypted, and which clients may connect."""

    context: ssl.SSLContext
    allowed_sans: frozenset[str] = frozenset()
    """A client's certificate has to be for one of these names; none: for any."""

    def allows(self, certificate: "ssl._PeerCertRetDictType | None") -> bool:
        """Return whether a client that has shown this certificate may connect."""
        if not self.allowed_sans:
            return True
        names = (certificate or {}).get("subjectAltName", ())
        pairs = cast("tuple[tuple[str, str], ...]", names)
        return any(_name(kind, text) in self.allowed_sans for kind, text in pairs)


@dataclass(frozen=True, slots=True)
class TlsPort:
    """What the connections of a listening socket have in common."""

    executor: KeyedExecutor
    """Makes the handshakes, one at a time: each takes a millisecond or more."""
    failed: Callable[[User, str], None]
    """Is told whose handshake failed, and why."""
    to_plain: bytes
    """What a client reads that does not speak TLS."""


class TlsStream(Stream):
    """A stream whose bytes are encrypted on the way; a Dialogue for the encrypted ones."""

    __slots__ = ("_above", "_done", "_incoming", "_outgoing", "_port", "_secure", "_shaking",
                 "_terms", "_tls")  # fmt: skip

    def __init__(  # noqa: PLR0913, PLR0917  # the first four are any stream's
        self,
        connection: socket.SocketType,
        user: User,
        rank: Rank,
        place: Place,
        terms: ServerTls,
        port: TlsPort,
    ) -> None:
        super().__init__(connection, user, rank, place)
        self._terms = terms
        self._port = port
        self._above: Dialogue | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        """None until the client begins a handshake: connections that only wait cost little."""
        self._shaking: asyncio.Task[None] | None = None
        self._done = self._secure = False

    def start(self, dialogue: Dialogue) -> None:
        """Begin with the handshake; afterwards tell the dialogue."""
        self._above = dialogue
        super().start(self)

    def write(self, data: bytes) -> None:
        """Encrypt and send some bytes."""
        if self._tls is None or not self._secure:
            return
        sealed = []
        try:
            for at in range(0, len(data), RECORD_BYTES):
                self._tls.write(data[at : at + RECORD_BYTES])
                sealed.append(self._outgoing.read())
        except ssl.SSLError:
            self.close()
        else:
            super().write(b"".join(sealed))

    def finish(self) -> None:
        """End both TLS and the connection; close once the client has closed, or after a moment."""
        self._say_goodbye()
        super().finish()

    def close(self) -> None:
        """Close at once; what is unsent is lost."""
        if not self.closed and not self.pending:
            self._say_goodbye()
        super().close()

    def received(self, data: bytes) -> None:
        """Take encrypted bytes."""
        if self._secure:
            self._decrypt(data)
            return
        if self._tls is None:
            if data[0] != HANDSHAKE:
                self._give_up(self._port.to_plain)
                return
            context = self._terms.context
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(data)
        self.pause()
        self._shaking = asyncio.create_task(self._shake(self._tls))

    def ended(self) -> None:
        """Note that the client sends nothing more."""
        if self._secure and self._above is not None:
            self._above.ended()
        else:
            self.close()

    def flushed(self) -> None:
        """Go on: the client has read what could not be sent at once."""
        if self._secure and self._above is not None:
            self._above.flushed()
        elif self._done:
            self._begin()

    def expired(self) -> None:
        """Let the dialogue decide; before the handshake is complete, it closes."""
        if self._above is not None:
            self._above.expired()

    def lost(self) -> None:
        """Note that the connection is closed."""
        if self._shaking is not None:
            self._shaking.cancel()
        if self._above is not None:
            self._above.lost()

    async def _shake(self, tls: ssl.SSLObject) -> None:
        """Take a step of the handshake; the client's next bytes are not read meanwhile."""
        try:
            self._done = await self._port.executor.call("TLS handshakes", lambda: _advance(tls))
        except ssl.SSLError as error:
            self._shaking = None
            self._port.failed(self.user, _cause(error))
            self._give_up(self._outgoing.read())
            return
        self._shaking = None
        if sealed := self._outgoing.read():
            super().write(sealed)
        if not self._done:
            self.resume()
        elif not self.pending:
            self._begin()

    def _begin(self) -> None:
        """Hand the connection over to the dialogue above."""
        if self._tls is None or self.closed:
            return
        if not self._terms.allows(self._tls.getpeercert()):
            self._port.failed(self.user, "the client's certificate is for no allowed name")
            self._give_up(b"")
            return
        self._secure = True
        self.resume()
        self._decrypt(b"")

    def _decrypt(self, data: bytes) -> None:
        """Pass on what some encrypted bytes say."""
        if self._tls is None or self._above is None:
            return
        self._incoming.write(data)
        plain, more = [], True
        try:
            while more:
                part = self._tls.read(READ_BYTES)
                plain.append(part)
                more = bool(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._secure = False
            self._give_up(self._outgoing.read())
            return
        if sealed := self._outgoing.read():
            if self.pending:  # it asks for answers of TLS itself, and reads none of them
                self.abort()
                return
            super().write(sealed)
        if any(plain):
            self._above.received(b"".join(plain))
        if not more and self._secure and not self.closed:
            self.pause()
            self._above.ended()

    def _give_up(self, last: bytes) -> None:
        """Send some last bytes as they are, and close once the client has read them."""
        if last:
            super().write(last)
        if self.pending:
            self.abort()
        else:
            super().finish()

    def _say_goodbye(self) -> None:
        """Tell the client that nothing was cut off: RFC 8446, section 6.1."""
        if self._tls is None or not self._secure:
            return
        self._secure = False
        with suppress(ssl.SSLError):  # it says that the client has not said goodbye yet
            self._tls.unwrap()
        if goodbye := self._outgoing.read():
            with suppress(OSError):
                self.connection.send(goodbye)


def _advance(tls: ssl.SSLObject) -> bool:
    """Go on with a handshake; return whether it is complete. Raises SSLError."""
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _cause(error: ssl.SSLError) -> str:
    """Return why a handshake failed, in OpenSSL's words."""
    reason = (error.reason or "protocol error").lower().replace("_", " ")
    detail = getattr(error, "verify_message", "")
    return f"{reason}: {detail}" if detail else reason


def _name(kind: str, text: str) -> str:
    """Return a name of a certificate as it is written in a configuration."""
    if kind == "IP Address":
        with suppress(ValueError):
            return str(ip_address(text.strip()))
    return text
