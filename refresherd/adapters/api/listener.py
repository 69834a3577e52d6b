"""The API socket's life: bound, served, and stopped within a second."""

import asyncio
import os
import resource
import socket
from functools import partial
from pathlib import Path

from refresherd.adapters.api.quota import Shares
from refresherd.adapters.api.reception import Reception
from refresherd.adapters.api.service import Service
from refresherd.domain.errors import RefresherdError
from refresherd.domain.events import Warned
from refresherd.domain.model import Ownership
from refresherd.engine.ports import Observer
from refresherd.host.acceptor import Acceptor
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.unix_sockets import BoundSocket, bind

STOP_SECONDS = 0.2
"""aiohttp waits twice this long for answers under way before it cuts them off."""

LAST_SECONDS = 0.1
"""Who has come in has asked by then: clients do so at once."""

DEFAULT_DIRECTORY = Path("/run/refresherd")
"""systemd makes it (RuntimeDirectory=), but a daemon started by hand finds it missing."""

LOOK_SECONDS = 2.0
"""Between two looks whether clients still find the socket: somebody may remove its file."""

OPEN_TO_ALL = 0o755


class ApiListener:
    """Serves the API at `path`, or on the listening socket `passed` by who started the daemon."""

    def __init__(  # noqa: PLR0913  # the last has its default for a path alone
        self,
        path: Path,
        ownership: Ownership,
        service: Service,
        observer: Observer,
        executor: KeyedExecutor,
        *,
        passed: socket.socket | None = None,
    ) -> None:
        self._path = path
        self._ownership = ownership
        self._service = service
        self._observer = observer
        self._executor = executor
        self._passed = passed
        self._bound: BoundSocket | None = None
        self._acceptor: Acceptor | None = None
        self._reception: Reception | None = None
        self._looks: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self) -> None:
        """Listen. Raises RefresherdError, which says what is in the way."""
        listening = self._passed
        if listening is None:
            _make_default_directory(self._path.parent)
            self._bound = bind(self._path, self._ownership)
            listening = self._bound.socket
            self._looks = asyncio.create_task(self._look_again_and_again(self._bound))
        listening.settimeout(0)
        self._reception = Reception(
            self._service.handle, self._observer, self._executor, str(self._path), _shares()
        )
        self._acceptor = _accepting(listening, self._reception)

    async def leave(self) -> None:
        """Leave who comes from now on to the next daemon, if it gets the same socket.

        To be called while apps still have tokens, for those who have come in already.
        """
        if self._passed is not None and self._acceptor is not None:
            self._acceptor.stop()
            await asyncio.sleep(LAST_SECONDS)

    async def stop(self) -> None:
        """Stop listening, and cut off who has not had an answer within a second."""
        self._stopped = True
        if self._looks is not None:
            self._looks.cancel()
        if self._acceptor is not None:
            self._acceptor.stop()
        if self._bound is not None:
            self._bound.close()
        if self._reception is not None:
            await self._reception.close(STOP_SECONDS)
        self._acceptor = self._bound = self._reception = self._looks = None

    async def _look_again_and_again(self, bound: BoundSocket) -> None:
        """Listen anew wherever the socket's file has gone; what is in the way is told once."""
        message = ""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                bound = await self._executor.call(
                    str(self._path.parent), partial(self._seen_to, bound)
                )
            except RefresherdError as error:
                if str(error) != message:
                    self._observer.observe(Warned(message := str(error)))
            else:
                message = ""
                self._adopt(bound)

    def _seen_to(self, bound: BoundSocket) -> BoundSocket:
        """Return the socket that clients find, another if need be. It may block."""
        if bound.in_place():
            return bound
        anew = bind(self._path, self._ownership)
        if self._stopped:
            # Here, for nobody waits for it any more.
            anew.close()
        return anew

    def _adopt(self, bound: BoundSocket) -> None:
        if bound is self._bound or self._reception is None:
            return
        if self._acceptor is not None:
            self._acceptor.stop()
        if self._bound is not None:
            self._bound.close()
        self._bound = bound
        self._acceptor = _accepting(bound.socket, self._reception)


def _accepting(listening: socket.socket, reception: Reception) -> Acceptor:
    acceptor = Acceptor(listening, reception.accepted, reception.failed)
    acceptor.start()
    return acceptor


def _shares() -> Shares:
    """Leave half of the process's descriptors to its other work, whoever connects."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = descriptors == resource.RLIM_INFINITY
    return Shares() if unlimited else Shares(everyone=descriptors // 2)


def _make_default_directory(directory: Path) -> None:
    if directory == DEFAULT_DIRECTORY and os.geteuid() == 0 and not directory.exists():
        directory.mkdir()
        # Whatever the umask: who may connect is for the socket's own mode to say.
        directory.chmod(OPEN_TO_ALL)
