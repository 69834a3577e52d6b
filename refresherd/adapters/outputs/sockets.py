"""An app's token on a Unix socket, which sends whole tokens only."""

import asyncio
import socket
from functools import partial
from math import floor

from refresherd.domain.access import ROOT
from refresherd.domain.errors import OutputError, RefresherdError
from refresherd.domain.events import AccessDenied
from refresherd.domain.formats import render_token
from refresherd.domain.model import App, SocketSpec, Token
from refresherd.engine.context import Context
from refresherd.engine.ports import Alteration, PutReport
from refresherd.host import peers
from refresherd.host.acceptor import turn_away
from refresherd.host.admission import Admission
from refresherd.host.keyed_executor import PATIENCE_SECONDS, KeyedExecutor, filesystem_timeout
from refresherd.host.listener import Listener
from refresherd.host.stream import Stream
from refresherd.host.unix_sockets import BoundSocket, Listen, bind

SEND_SECONDS = 5.0
"""A client that has not read its answer after this long is disconnected."""

FIRST_TOKEN_SECONDS = 30.0
"""How long clients that connected during a restart wait for the first token. After that they get an
end of file, like all others while there is no token: DSM may have refused the app."""

NOTHING = b""
"""The answer if there is no token for the client: it reads an immediate end of file."""


class SocketOutput:
    """An app's token on a socket: implements WatchedOutput. Its mode and owner decide who connects.

    If the app's `access` names systemd units, only those get the token by LoadCredential=.
    """

    def __init__(  # noqa: PLR0913  # the last four have defaults
        self,
        app: App,
        spec: SocketSpec,
        context: Context,
        executor: KeyedExecutor,
        admission: Admission,
        *,
        listen: Listen = bind,
        patience: float = PATIENCE_SECONDS,
        send_timeout: float = SEND_SECONDS,
        first_token: float = FIRST_TOKEN_SECONDS,
    ) -> None:
        self._app = app
        self._spec = spec
        self._context = context
        self._executor = executor
        self._admission = admission
        self._listen_at = listen
        self._patience = patience
        self._send_timeout = send_timeout
        self._first_token = first_token
        self._token: Token | None = None
        self._bound: BoundSocket | None = None
        self._unit_socket: socket.socket | None = None
        """The socket unit's socket, once the output is closed."""
        self._listener: Listener | None = None
        self._sending: set[Stream] = set()
        """Connections whose clients have not read their answers."""
        self._rendered: tuple[int, int, bytes] | None = None
        """The last answer, with its token's generation and seconds left."""
        self._closed = False
        self._watched = False
        """Whether clients reach the socket, as far as is known."""
        self._altered = ""
        """What somebody did to the socket's file, restored before the watch looked."""

    @property
    def name(self) -> str:
        """The path."""
        return str(self._spec.path)

    @property
    def directory(self) -> str:
        """Where it is."""
        return str(self._spec.path.parent)

    @property
    def removes_expired(self) -> bool:
        """Always true: nobody gets an expired token."""
        return True

    async def prepare(self) -> None:
        """Listen, unless it does already. Raises OutputError if something is in the way."""
        run = partial(self._bind, asyncio.get_running_loop())
        try:
            async with filesystem_timeout(self._patience):
                await self._executor.call(self.directory, run)
        except TimeoutError as error:
            raise OutputError(f"{self.name}: {error.strerror}") from None
        except RefresherdError as error:
            raise OutputError(str(error)) from error
        self._watched = True

    async def put(self, token: Token) -> PutReport:
        """Hand out this token from now on. Raises OutputError if clients cannot connect."""
        self._token, self._rendered = token, None
        self._serve()
        # Somebody may have removed the socket's file.
        await self.prepare()
        altered, self._altered = self._altered, ""
        return PutReport(altered=altered)

    async def remove(self) -> None:
        """Hand out nothing from now on."""
        self._token = self._rendered = None

    def look(self) -> Alteration | None:
        """Return how its file differs from what it was when it began to listen. It blocks."""
        bound = self._bound
        message = "" if bound is None or not self._watched else bound.alteration()
        return Alteration(bound, message) if message else None

    def confirm(self, alteration: Alteration) -> str:
        """Return what somebody did to it, "" if it was bound again since."""
        if alteration.before is not self._bound or not self._watched:
            return ""
        self._watched = False
        return str(alteration.now)

    def leave(self) -> None:
        """Stop listening; the next run goes on with the socket if it persists.

        Clients that were accepted still get their answers.
        """
        self._closed = True
        if self._listener is not None:
            self._listener.stop()
        if self._bound is not None:
            self._bound.leave()

    async def discard(self) -> str:
        """Turn the clients of a socket unit away; `close` has removed any other socket's file."""
        if self._unit_socket is None:
            return ""
        turn_away(self._unit_socket)
        return f"{self.name}: its clients are turned away from now on; disable its socket unit"

    def close(self) -> None:
        """Stop listening for good, and remove the socket's file unless it was replaced."""
        self._closed = True
        if self._listener is not None:
            self._disconnect()
        if self._bound is not None:
            self._unit_socket = self._bound.socket if self._bound.from_unit else None
            self._bound.close()
        self._bound = None

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind the socket in the executor's thread, and pass it to the event loop.

        It is passed on even if `prepare` has given up meanwhile.
        """
        if self._reached():
            return
        bound = self._listen_at(self._spec.path, self._spec.ownership)
        if self._closed:
            # Closed in this thread: the next call of the executor may bind the path again.
            bound.close()
        else:
            loop.call_soon_threadsafe(self._adopt, bound)

    def _reached(self) -> bool:
        """Return whether nothing has to be bound: clients reach the socket, or it is closed."""
        bound = self._bound
        if bound is None or self._closed:
            return self._closed
        if self._watched:
            self._altered = bound.alteration()
        return bound.restore("its socket unit")

    def _adopt(self, bound: BoundSocket) -> None:
        if self._closed:
            bound.close()
            return
        if self._listener is not None:
            self._disconnect()
        if self._bound is not None:
            self._bound.close()
        self._bound = bound
        # The clients of a socket unit may have been turned away before a reload named it again.
        asyncio.get_running_loop().remove_reader(bound.socket)
        # Otherwise clients queued before start-up keep waiting for the first token.
        if self._token is not None or not bound.queued:
            self._serve()
        elif not bound.from_unit:
            asyncio.get_running_loop().call_later(self._first_token, self._serve)

    def _serve(self) -> None:
        if self._listener is None and self._bound is not None and not self._closed:
            self._listener = Listener(
                self._bound.socket,
                self.name,
                self._admission,
                user=peers.user,
                serve=self._answer,
            )
            self._listener.start()

    def _disconnect(self) -> None:
        """Accept no more clients, and disconnect those that were accepted."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
        for stream in tuple(self._sending):
            stream.close()

    def _answer(self, stream: Stream, address: object) -> None:
        """Send the answer at once: a kill in between would cost the client its token."""
        stream.write(self._answer_for(stream, address))
        if stream.pending:
            stream.deadline = asyncio.get_running_loop().time() + self._send_timeout
            stream.pause()
            stream.start(_Sending(stream, self._sending))
        else:
            stream.end()

    def _answer_for(self, stream: Stream, address: object) -> bytes:
        token, now = self._token, self._context.clock.now()
        if token is None or token.expires_at <= now:
            return NOTHING
        # For LoadCredential= systemd, which is root, names the unit in its socket's address.
        unit = peers.claimed_unit(address) if stream.user == ROOT else ""
        if unit and self._app.access.units and unit not in self._app.access.units:
            peer = peers.credentials(stream.connection)
            denied = AccessDenied(self._app.name, self.name, peer.uid, peer.gid, peer.pid, unit)
            self._context.observer.observe(denied)
            return NOTHING
        if isinstance(stream.user, int):
            self._context.consumers.record(self._app.name, stream.user, unit, now)
        # Rendered once a second at most: a client loses its token if the process is killed between
        # accept and answer.
        left = floor(token.expires_at - now)
        if self._rendered is None or self._rendered[:2] != (token.generation, left):
            wall = self._context.clock.wall
            content = render_token(self._app, token, self._spec.format, now, wall)
            self._rendered = token.generation, left, content
        return self._rendered[2]


class _Sending:
    """Sends the rest of an answer to a client that is slow to read it: implements Dialogue."""

    __slots__ = ("_sending", "_stream")

    def __init__(self, stream: Stream, sending: set[Stream]) -> None:
        self._stream = stream
        self._sending = sending
        sending.add(stream)

    def received(self, data: bytes) -> None:
        """Ignore it; nothing is read while the answer is sent."""

    def ended(self) -> None:
        """Ignore it, as above."""

    def flushed(self) -> None:
        """End the answer."""
        self._stream.end()

    def expired(self) -> None:
        """Close: the client does not read."""
        self._stream.close()

    def lost(self) -> None:
        """Forget it."""
        self._sending.discard(self._stream)
