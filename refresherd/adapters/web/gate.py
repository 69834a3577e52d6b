"""Applies a web configuration to the HTTP listener: TLS, passwords, and header fields."""

import asyncio
from base64 import b64decode
from collections.abc import Coroutine, Mapping
from socket import SocketType
from typing import Any, NoReturn

from refresherd.adapters.web.passwords import Passwords
from refresherd.adapters.web.protection_watch import ProtectionWatch
from refresherd.domain.connection_quota import Rank, Refusal, User
from refresherd.domain.events import HandshakeFailed
from refresherd.engine.ports import Clock, Observer
from refresherd.host.http.answers import Answer, problem
from refresherd.host.http.connection import HttpConnection
from refresherd.host.http.protection import Protection
from refresherd.host.http.refusals import REFUSALS
from refresherd.host.http.requests import Request
from refresherd.host.http.server import Handler
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.stream import NewStream, Place, Stream
from refresherd.host.tls_stream import TlsPort, TlsStream

PATIENCE_SECONDS = 10.0
"""How long a client waits for its turn to have its password checked: as long as Prometheus does."""

_ASK = problem(
    401,
    "this needs the name and password of a user in basic_auth_users",
    {"WWW-Authenticate": 'Basic realm="refresherd", charset="UTF-8"'},
)
_NOT_YET = problem(
    503, "the web configuration cannot be used; the daemon's log says why", closes=True
)
_TO_PLAIN = problem(400, "this address takes TLS only; write https://").to_bytes(
    None, b"", closing=True
)
_BUSY = problem(503, "too many passwords are being checked; try again", {"Retry-After": "1"})


class Gate:
    """Protects a listener and its pages as a web configuration says: a Handler around another one.

    It covers every path, as in exporter-toolkit.
    """

    def __init__(  # noqa: PLR0913  # the last one has a default
        self,
        inner: Handler[None],
        watch: ProtectionWatch,
        executor: KeyedExecutor,
        clock: Clock,
        observer: Observer,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """`executor` makes handshakes and checks passwords."""
        self._inner = inner
        self._watch = watch
        self._executor = executor
        self._observer = observer
        self._passwords = Passwords(executor, clock)
        self._patience = patience
        self._watching: asyncio.Task[NoReturn] | None = None

    async def start(self) -> None:
        """Read the web configuration, and follow its changes from now on."""
        await self._watch.start()
        self._watching = asyncio.create_task(self._watch.run())

    def stop(self) -> None:
        """Follow no changes, and check no passwords any more."""
        if self._watching is not None:
            self._watching.cancel()
        self._passwords.close()

    @property
    def refusals(self) -> Mapping[Refusal, bytes]:
        """What clients read whose connections are refused; nothing if they expect TLS."""
        protection = self._watch.current
        return REFUSALS if protection is not None and protection.tls is None else {}

    def new_stream(self, socket: str) -> NewStream:
        """Return what makes the streams of the listening socket with this name."""

        def failed(user: User, message: str) -> None:
            self._observer.observe(HandshakeFailed(socket, str(user), message))

        port = TlsPort(self._executor, failed, _TO_PLAIN)

        def make(connection: SocketType, user: User, rank: Rank, place: Place) -> Stream:
            protection = self._watch.current
            if protection is None or protection.tls is None:
                return Stream(connection, user, rank, place)
            return TlsStream(connection, user, rank, place, protection.tls, port)

        return make

    def handle(
        self, connection: HttpConnection[None], request: Request
    ) -> Answer | Coroutine[Any, Any, Answer | None]:
        """Answer a request."""
        protection, encrypted = self._watch.current, isinstance(connection.stream, TlsStream)
        if protection is None or (protection.tls is not None and not encrypted):
            return _NOT_YET
        if not protection.users:
            return self._answered(connection, request, protection)
        given = _credentials(request.field("authorization"))
        if given is None:
            return _ASK.with_fields(protection.fields)
        if self._passwords.remembers(protection.users, *given):
            return self._answered(connection, request, protection)
        return self._checked(connection, request, protection, *given)

    async def _checked(
        self,
        connection: HttpConnection[None],
        request: Request,
        protection: Protection,
        user: str,
        password: str,
    ) -> Answer | None:
        client = connection.stream.user
        try:
            async with asyncio.timeout(self._patience):
                right = await self._passwords.right(protection.users, user, password, client)
        except TimeoutError:
            return _BUSY.with_fields(protection.fields)
        if not right:
            return _ASK.with_fields(protection.fields)
        answer = self._answered(connection, request, protection)
        return answer if isinstance(answer, Answer) else await answer

    def _answered(
        self, connection: HttpConnection[None], request: Request, protection: Protection
    ) -> Answer | Coroutine[Any, Any, Answer | None]:
        answer = self._inner(connection, request)
        if not protection.fields:
            return answer
        if isinstance(answer, Answer):
            return answer.with_fields(protection.fields)
        return _with_fields(answer, protection)


async def _with_fields(
    later: Coroutine[Any, Any, Answer | None], protection: Protection
) -> Answer | None:
    answer = await later
    return None if answer is None else answer.with_fields(protection.fields)


def _credentials(field: str) -> tuple[str, str] | None:
    """Return the user and password of an Authorization field, None if it has none: RFC 7617."""
    scheme, _, encoded = field.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, password) if colon else None
