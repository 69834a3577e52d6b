"""A Unix socket on which whoever connects reads one whole token, and then end of file."""

import asyncio
import socket
from functools import partial

from refresherd.adapters.outputs.handout import Handout
from refresherd.adapters.outputs.rendering import rendered
from refresherd.domain.access import ROOT
from refresherd.domain.errors import OutputError, RefresherdError
from refresherd.domain.events import AcceptFailed, AccessDenied
from refresherd.domain.model import App, SocketSpec, Token
from refresherd.engine.context import Context
from refresherd.host import peers
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.unix_sockets import BoundSocket, Listen, Listening, bind

PATIENCE_SECONDS = 10.0
"""A filesystem that takes longer hangs, and the operator is told so."""

NOTHING = b""
"""There is no other way to say no: end of file at once."""


class SocketOutput:
    """An app's token on a socket: an Output. Mode and owner of its file say who may connect.

    Where the app's `access` names units, LoadCredential= gets the token in those alone.
    """

    def __init__(  # noqa: PLR0913  # as many as anything in the world takes
        self,
        app: App,
        spec: SocketSpec,
        context: Context,
        executor: KeyedExecutor,
        *,
        listen: Listen = bind,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._app = app
        self._spec = spec
        self._context = context
        self._executor = executor
        self._listen_at = listen
        self._patience = patience
        self._token: Token | None = None
        self._handout: Handout | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """The path."""
        return str(self._spec.path)

    @property
    def removes_expired(self) -> bool:
        """Always: a token that has run out is handed to nobody."""
        return True

    async def prepare(self) -> None:
        """Listen. Raises OutputError, which says what is in the way."""
        await self._listen()

    async def put(self, token: Token) -> None:
        """Hand this token out from now on. Raises OutputError where nobody could connect."""
        self._token = token
        await self._listen()

    async def remove(self) -> None:
        """Hand out nothing."""
        self._token = None

    def close(self) -> None:
        """Stop listening, for good, and remove the socket's file unless it is another's."""
        self._closed = True
        self._serve(None)

    async def _listen(self) -> None:
        """See to it that clients find the socket: somebody may have removed its file."""
        bind_again = partial(self._bind, asyncio.get_running_loop())
        try:
            async with asyncio.timeout(self._patience):
                await self._executor.call(str(self._spec.path.parent), bind_again)
        except TimeoutError:
            message = f"no answer for {self._patience:g} s; its filesystem hangs or is swamped"
            raise OutputError(f"{self.name}: {message}") from None
        except RefresherdError as error:
            raise OutputError(str(error)) from error

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind the socket, unless it is in its place: in a thread, where that may block.

        What was bound is handed over even if nobody waits for it any more.
        """
        if not self._missing():
            return
        bound = self._listen_at(self._spec.path, self._spec.ownership)
        if self._closed:
            # Here, for another output may want the path, and be next in this lane.
            bound.close()
        else:
            loop.call_soon_threadsafe(self._adopt, bound)

    def _missing(self) -> bool:
        return not self._closed and (self._handout is None or not self._handout.in_place())

    def _adopt(self, bound: Listening) -> None:
        if self._closed:
            bound.close()
        elif self._token is not None or isinstance(bound, BoundSocket):
            self._serve(Handout(bound, self._content, self._failed))
        # Else who has come while the daemon was not there waits on, for its first token.

    def _serve(self, handout: Handout | None) -> None:
        if self._handout is not None:
            self._handout.close()
        self._handout = handout

    def _failed(self, error: OSError) -> None:
        self._context.observer.observe(AcceptFailed(self.name, error.strerror or str(error)))

    def _content(self, connection: socket.socket, address: object) -> bytes:
        """Return what a client is told: the token, if it is valid and for it."""
        token, now = self._token, self._context.clock.now()
        if token is None or token.expires_at <= now or not self._admits(connection, address):
            return NOTHING
        return rendered(self._app, token, self._spec.format, self._context.clock)

    def _admits(self, connection: socket.socket, address: object) -> bool:
        units, peer = self._app.access.units, peers.credentials(connection)
        claimed = peers.claimed_unit(address) if peer.uid == ROOT else ""
        if not units or not claimed or claimed in units:
            return True
        self._context.observer.observe(
            AccessDenied(self._app.name, self.name, peer.uid, peer.gid, peer.pid, claimed)
        )
        return False
