"""Where consumers find a token: files and Unix sockets, which hold or send whole tokens only."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from refresherd.domain.access import ROOT
from refresherd.domain.errors import OutputError, RefresherdError
from refresherd.domain.events import AcceptFailed, AccessDenied
from refresherd.domain.formats import render_token
from refresherd.domain.model import App, FileSpec, OnExpiry, SocketSpec, Token
from refresherd.engine.context import Context
from refresherd.engine.ports import Clock
from refresherd.host import peers
from refresherd.host.atomic_file import Claim, ReplacedFile, Target
from refresherd.host.directories import StaleTempFiles
from refresherd.host.keyed_executor import PATIENCE_SECONDS, KeyedExecutor, filesystem_timeout
from refresherd.host.unix_sockets import Acceptor, BoundSocket, Failed, Listen, bind


class FileOutput(ReplacedFile):
    """An app's token in a file: implements Output.

    Each call takes at most `patience` seconds, and raises OutputError if it takes longer.
    """

    __slots__ = ("_app", "_spec")

    def __init__(  # noqa: PLR0913  # the last three have defaults that suit a file of its own
        self,
        app: App,
        spec: FileSpec,
        clock: Clock,
        executor: KeyedExecutor,
        stale_files: StaleTempFiles | None = None,
        *,
        claim: Claim | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        target = Target.at(spec.path, spec.ownership)
        super().__init__(target, clock, executor, stale_files, claim=claim, patience=patience)
        self._app = app
        self._spec = spec

    @property
    def name(self) -> str:
        """The path."""
        return self.path

    @property
    def removes_expired(self) -> bool:
        """As configured by `on_expiry`."""
        return self._spec.on_expiry is OnExpiry.REMOVE

    async def put(self, token: Token) -> None:
        """Replace the file atomically. Raises OutputError, and then leaves the old file."""
        app, form, clock = self._app, self._spec.format, self._clock
        await self.replace(lambda: render_token(app, token, form, None, clock.wall))

    def close(self) -> None:
        """Do nothing: the file stays, since consumers read it without the daemon."""


SEND_SECONDS = 5.0
"""A client that has not read its answer after this long is disconnected."""

UNREAD_BYTES = 65536

NOTHING = b""
"""The answer if there is no token for the client: it reads an immediate end of file."""

Answer: TypeAlias = Callable[[socket.socket, object], bytes]
"""Returns the answer for a connection and its peer's address."""


class SocketOutput:
    """An app's token on a socket: implements Output. Its mode and owner decide who connects.

    If the app's `access` names systemd units, only those get the token by LoadCredential=.
    """

    def __init__(  # noqa: PLR0913  # the last three have defaults
        self,
        app: App,
        spec: SocketSpec,
        context: Context,
        executor: KeyedExecutor,
        *,
        listen: Listen = bind,
        patience: float = PATIENCE_SECONDS,
        send_timeout: float = SEND_SECONDS,
    ) -> None:
        self._app = app
        self._spec = spec
        self._context = context
        self._executor = executor
        self._listen_at = listen
        self._patience = patience
        self._send_timeout = send_timeout
        self._token: Token | None = None
        self._server: AnswerServer | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """The path."""
        return str(self._spec.path)

    @property
    def removes_expired(self) -> bool:
        """Always true: nobody gets an expired token."""
        return True

    async def prepare(self) -> None:
        """Listen, unless it does already. Raises OutputError if something is in the way."""
        run = partial(self._bind, asyncio.get_running_loop())
        try:
            async with filesystem_timeout(self._patience):
                await self._executor.call(str(self._spec.path.parent), run)
        except TimeoutError as error:
            raise OutputError(f"{self.name}: {error.strerror}") from None
        except RefresherdError as error:
            raise OutputError(str(error)) from error

    async def put(self, token: Token) -> None:
        """Hand out this token from now on. Raises OutputError if clients cannot connect."""
        self._token = token
        # Somebody may have removed the socket's file.
        await self.prepare()

    async def remove(self) -> None:
        """Hand out nothing from now on."""
        self._token = None

    def close(self) -> None:
        """Stop listening for good, and remove the socket's file unless it was replaced."""
        self._closed = True
        if self._server is not None:
            self._server.close()
            self._server = None

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind the socket in the executor's thread, and pass it to the event loop.

        It is passed on even if `prepare` has given up meanwhile.
        """
        server = self._server
        needless = self._closed or (server is not None and server.bound.in_place())
        if needless:
            return
        bound = self._listen_at(self._spec.path, self._spec.ownership)
        if self._closed:
            # Closed in this thread: the next call of the executor may bind the path again.
            bound.close()
        else:
            loop.call_soon_threadsafe(self._adopt, bound)

    def _adopt(self, bound: BoundSocket) -> None:
        if self._closed:
            bound.close()
        elif self._token is not None or bound.inode is not None:
            if self._server is not None:
                self._server.close()
            self._server = AnswerServer(bound, self._answer, self._failed, self._send_timeout)
        # Otherwise it is systemd's socket: clients queued before start-up keep waiting for the
        # first token.

    def _failed(self, error: OSError) -> None:
        self._context.observer.observe(AcceptFailed(self.name, error.strerror or str(error)))

    def _answer(self, connection: socket.socket, address: object) -> bytes:
        token, clock = self._token, self._context.clock
        now = clock.now()
        if token is None or token.expires_at <= now:
            return NOTHING
        # For LoadCredential= systemd, which is root, names the unit in its socket's address.
        units, peer = self._app.access.units, peers.credentials(connection)
        unit = peers.claimed_unit(address) if peer.uid == ROOT else ""
        if units and unit and unit not in units:
            denied = AccessDenied(self._app.name, self.name, peer.uid, peer.gid, peer.pid, unit)
            self._context.observer.observe(denied)
            return NOTHING
        return render_token(self._app, token, self._spec.format, now, clock.wall)


class AnswerServer:
    """Sends each client of a socket one answer, concurrently, until it is closed."""

    def __init__(
        self, bound: BoundSocket, answer: Answer, failed: Failed, send_timeout: float
    ) -> None:
        self.bound = bound
        self._answer = answer
        self._send_timeout = send_timeout
        self._sending: set[asyncio.Task[None]] = set()
        self._acceptor = Acceptor(bound.socket, self._accepted, failed)
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening, and disconnect all clients."""
        self._acceptor.stop()
        self.bound.close()
        for task in self._sending:
            task.cancel()

    def _accepted(self, connection: socket.socket, address: object) -> None:
        task = asyncio.create_task(self._send(connection, self._answer(connection, address)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        # Not closed in `_send`, which never runs if it is cancelled before it began.
        task.add_done_callback(lambda _: connection.close())

    async def _send(self, connection: socket.socket, answer: bytes) -> None:
        with suppress(OSError):  # TimeoutError is one as well
            async with asyncio.timeout(self._send_timeout):
                await asyncio.get_running_loop().sock_sendall(connection, answer)
            connection.shutdown(socket.SHUT_WR)
            # With unread bytes left, closing would reset the connection before the end of file.
            connection.recv(UNREAD_BYTES)
