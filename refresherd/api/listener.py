"""The API socket's life: bound, served, and stopped within a second."""

import asyncio
import os
import resource
import socket
from pathlib import Path

from refresherd.acceptor import Acceptor
from refresherd.api.crowd import Shares
from refresherd.api.reception import Reception
from refresherd.api.service import Service
from refresherd.model import Ownership
from refresherd.ports import Observer
from refresherd.sockets import BoundSocket, bind

STOP_SECONDS = 0.2
"""aiohttp waits twice this long for answers under way before it cuts them off."""

LAST_SECONDS = 0.1
"""Who has come in has asked by then: clients do so at once."""

DEFAULT_DIRECTORY = Path("/run/refresherd")
"""systemd makes it (RuntimeDirectory=), but a daemon started by hand finds it missing."""

OPEN_TO_ALL = 0o755


class ApiListener:
    """Serves the API at `path`, or on the listening socket `passed` by who started the daemon."""

    def __init__(
        self,
        path: Path,
        ownership: Ownership,
        service: Service,
        observer: Observer,
        *,
        passed: socket.socket | None = None,
    ) -> None:
        self._path = path
        self._ownership = ownership
        self._service = service
        self._observer = observer
        self._passed = passed
        self._bound: BoundSocket | None = None
        self._acceptor: Acceptor | None = None
        self._reception: Reception | None = None

    async def start(self) -> None:
        """Listen. Raises RefresherdError, which says what is in the way."""
        listening = self._passed
        if listening is None:
            _make_default_directory(self._path.parent)
            self._bound = bind(self._path, self._ownership)
            listening = self._bound.socket
        listening.settimeout(0)
        self._reception = Reception(
            self._service.handle, self._observer, str(self._path), _shares()
        )
        self._acceptor = Acceptor(listening, self._reception.accepted, self._reception.failed)
        self._acceptor.start()

    async def leave(self) -> None:
        """Leave who comes from now on to the next daemon, if it gets the same socket.

        To be called while apps still have tokens, for those who have come in already.
        """
        if self._passed is not None and self._acceptor is not None:
            self._acceptor.stop()
            await asyncio.sleep(LAST_SECONDS)

    async def stop(self) -> None:
        """Stop listening, and cut off who has not had an answer within a second."""
        if self._acceptor is not None:
            self._acceptor.stop()
        if self._bound is not None:
            self._bound.close()
        if self._reception is not None:
            await self._reception.close(STOP_SECONDS)
        self._acceptor = self._bound = self._reception = None


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
