"""The API socket's life: bound, served, restored if its file is removed, and stopped."""

import asyncio
import os
import socket
from functools import partial
from pathlib import Path

from refresherd.adapters.api.service import Service
from refresherd.domain.errors import RefresherdError
from refresherd.domain.events import Warned
from refresherd.domain.model import Ownership
from refresherd.engine.context import Context
from refresherd.engine.supervisor import Supervisor
from refresherd.host import peers
from refresherd.host.access_lookup import AccessLookup
from refresherd.host.admission import Admission
from refresherd.host.authorization import Authorizer, Client
from refresherd.host.http.refusals import REFUSALS
from refresherd.host.http.server import DEFAULT_TIMES, HttpServer, Times
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.listener import Listener
from refresherd.host.stream import Stream
from refresherd.host.unix_sockets import BoundSocket, Listen, bind, from_socket_unit

STOP_SECONDS = 0.4
"""How long a stop waits for answers in progress before it cuts them off."""

LAST_REQUEST_SECONDS = 0.1
"""Seconds that a client has for sending its request after it has connected."""

DEFAULT_DIRECTORY = Path("/run/refresherd")
"""systemd makes it (RuntimeDirectory=); a daemon that root starts by hand makes it itself."""

MAY_CONNECT = 0o222
"""The bits of a socket's mode that decide who may connect: unix(7)."""

CHECK_SECONDS = 2.0
"""Seconds between two checks that clients still find the socket: somebody may remove its file."""


class ApiListener:
    """Serves the API at `path`, or on the listening socket `passed` by the service manager."""

    def __init__(  # noqa: PLR0913  # the last four have defaults
        self,
        path: Path,
        ownership: Ownership,
        apps: Supervisor,
        context: Context,
        executor: KeyedExecutor,
        *,
        admission: Admission,
        passed: socket.socket | None = None,
        listen: Listen = bind,
        times: Times = DEFAULT_TIMES,
        default_directory: Path = DEFAULT_DIRECTORY,
    ) -> None:
        self._path = path
        self._ownership = ownership
        self._observer = context.observer
        self._executor = executor
        self._passed = passed
        self._listen = listen
        self._default_directory = default_directory
        self._admission = admission
        lookup = AccessLookup(executor, context.clock)
        self._authorizer = Authorizer(lookup, executor, context.observer, apps.names_units)
        service = Service(apps, context, executor, self._authorizer)
        self._server: HttpServer[Client] = HttpServer(service.handle, context.clock, times)
        self._bound: BoundSocket | None = None
        self._listener: Listener | None = None
        self._checks: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self) -> None:
        """Listen. Raises RefresherdError, with the cause, if that is impossible."""
        if self._passed is None:
            directory = self._path.parent
            by_hand = directory == self._default_directory and os.geteuid() == 0
            if by_hand and not directory.exists():
                directory.mkdir()
                # Whatever the umask: the socket's own mode decides who may connect.
                directory.chmod(0o755)
            self._bound = self._listen(self._path, self._ownership)
        else:
            self._bound = from_socket_unit(self._passed, self._path)
            self._warn_if_more_open(self._bound)
        self._checks = asyncio.create_task(self._check_regularly(self._bound))
        self._bound.socket.settimeout(0)
        self._accept_on(self._bound.socket)

    def _warn_if_more_open(self, bound: BoundSocket) -> None:
        """Report a socket unit that lets more users connect than the configuration's `mode`."""
        mode = self._ownership.mode
        if bound.file is not None and bound.file.mode & ~mode & MAY_CONNECT:
            message = (
                f"the API's socket {self._path} has mode {bound.file.mode:04o} from its socket "
                f"unit, and not {mode:04o} from the configuration; set SocketMode= in the unit"
            )
            self._observer.observe(Warned(message))

    async def leave(self) -> None:
        """Leave new clients to the next daemon, if it goes on with the same socket.

        Call it while apps still have tokens, for the clients that have connected already.
        """
        persists = self._bound is not None and self._bound.persists
        if persists and self._listener is not None:
            self._listener.stop()
            await asyncio.sleep(LAST_REQUEST_SECONDS)

    async def stop(self) -> None:
        """Stop listening, and cut off clients that have no answer within a second."""
        self._stopped = True
        if self._checks is not None:
            self._checks.cancel()
        if self._listener is not None:
            self._listener.stop()
        if self._bound is not None:
            self._bound.leave()
        await self._server.stop(STOP_SECONDS)
        self._listener = self._bound = self._checks = None

    async def _check_regularly(self, bound: BoundSocket) -> None:
        """Restore the socket's file when somebody changes it; report that, and obstacles once."""
        reported = ""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                new, altered = await self._executor.call(
                    str(self._path.parent), partial(self._restored, bound)
                )
            except RefresherdError as error:
                if str(error) != reported:
                    self._observer.observe(Warned(reported := str(error)))
                continue
            reported = ""
            if altered:
                message = f"the API's socket {self._path}: {altered}; it was restored"
                self._observer.observe(Warned(message))
            if new is not bound:
                self._accept_on(new.socket)
                bound.close()
                self._bound = bound = new

    def _restored(self, bound: BoundSocket) -> tuple[BoundSocket, str]:
        """Return the socket that clients find at the path, and what somebody did to it, or "".

        It is a new socket if necessary. Raises RefresherdError. It may block.
        """
        altered = bound.alteration()
        if not altered or bound.restore("refresherd-api.socket"):
            return bound, altered
        new = self._listen(self._path, self._ownership)
        if self._stopped:
            # Close it here: nobody waits for the result any more.
            new.close()
        return new, altered

    def _accept_on(self, listening: socket.socket) -> None:
        if self._listener is not None:
            self._listener.stop()
        self._listener = Listener(
            listening,
            str(self._path),
            self._admission,
            user=peers.user,
            serve=self._serve,
            refusals=REFUSALS,
        )
        self._listener.start()

    def _serve(self, stream: Stream, _: object) -> None:
        self._server.serve(stream, self._authorizer.client(stream.connection, str(self._path)))
