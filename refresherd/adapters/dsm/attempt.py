"""One attempt at a request: which addresses are tried for it, and how long each may take.

While a connection is being made, nothing of the request has been sent. If that fails, the attempt
goes on to the next address. Once there is a connection, the request may have reached DSM, which may
have opened a session or counted a login. A failure then ends the attempt, and the next one tries
the other addresses first.
"""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from refresherd.adapters.dsm.addresses import Addresses
from refresherd.adapters.dsm.network_errors import Failure, combined, failure
from refresherd.domain.errors import Retryable
from refresherd.host.keyed_executor import found_no_thread
from refresherd.host.os_errors import NO_THREAD

CONNECT_SECONDS = 2.0
"""How long a connection, TLS included, may take while other addresses are left and not suspect."""

ANSWER_SECONDS = 5.0
"""How long an answer may take while another address is not suspect: an app without a token should
not wait for half of a long timeout. DSM usually answers within a second."""


@dataclass(slots=True)
class Attempt:
    """A request on its way, with at most one connection at a time."""

    deadline: float
    """When it ends, by the event loop's clock."""
    limit: asyncio.Timeout = field(init=False)
    """Ends the present try, which began at `tried_at`."""
    tried_at: float = 0.0
    addresses: Addresses | None = None
    remaining: list[ResolveResult] | None = None
    """The addresses not tried yet, None until the host is resolved."""
    address: str = ""
    """Of the present connection."""
    is_new: bool = False
    """Whether the present connection was opened for this attempt."""
    protocol: ResponseHandler | None = None
    """The connection's. None while it is being made."""
    failures: list[Failure] = field(default_factory=list)

    def begin(self) -> asyncio.Timeout:
        """Begin a try, on a connection from the pool or a new one; return its limit of time."""
        self.address, self.is_new, self.protocol = "", False, None
        self.tried_at = asyncio.get_running_loop().time()
        self.limit = asyncio.timeout_at(self.deadline)
        return self.limit

    async def choose(self) -> ResolveResult:
        """Return the address to connect to, and limit the time for that. Raises OSError."""
        if self.addresses is None:
            raise ValueError("no try has begun")
        if self.remaining is None:
            self.remaining = await self.addresses.resolve()
        chosen = self.remaining.pop(0)
        self.address = chosen["host"]
        if self.remaining:
            now = asyncio.get_running_loop().time()
            seconds = (self.deadline - now) / (1 + len(self.remaining))
            if not self.addresses.is_suspect(self.remaining[0]["host"]):
                seconds = min(seconds, CONNECT_SECONDS)
            self.limit.reschedule(now + seconds)
        return chosen

    def accept(self, connection: Connection) -> bool:
        """Use a connection and limit the time for the answer, or return False to have another.

        A pooled connection is refused if it is not clean, or if its address is suspect and others
        are not. As long as there are such others, an answer must come within a share of the time,
        so that the next attempt, at another address, is not too late.
        """
        self.protocol = connection.protocol
        if self.protocol is None:
            return True
        if self.protocol.should_close and not self.is_new:
            return False
        transport = connection.transport
        peer = None if transport is None else transport.get_extra_info("peername")
        self.address = peer[0] if peer else self.address
        if self.addresses is None or not self.addresses.has_alternatives:
            return True
        others = self.addresses.healthy_others(self.address)
        if others and not self.is_new and self.addresses.is_suspect(self.address):
            return False
        now = asyncio.get_running_loop().time()
        seconds = (self.deadline - now) / (1 + others)
        self.limit.reschedule(now + (min(seconds, ANSWER_SECONDS) if others else seconds))
        return True

    def failed(self, error: Exception) -> Retryable | None:
        """Note why the try failed; return the attempt's error, None if another address is next."""
        seconds = (self.limit.when() or self.deadline) - self.tried_at
        present = failure(error, seconds, self.address)
        self.failures.append(present)
        if self.protocol is None:
            if not present.is_final:
                self.give_up()
            self.address = ""
            has_time = asyncio.get_running_loop().time() < self.deadline
            if self.remaining and not present.is_final and has_time:
                return None
        error_of_all = combined(self.failures)
        unresolved = self.addresses if self.remaining is None else None
        if found_no_thread(error) or (unresolved is not None and unresolved.lacks_thread):
            error_of_all.explain(NO_THREAD)
        return error_of_all

    def answered_badly(self, error: Retryable) -> None:
        """Give the address up after an answer that is unusable, and adapt the error to that."""
        self.give_up()
        if self.addresses is None:
            return
        if self.addresses.healthy_others(self.address):
            error.retry_after = None  # one address's Retry-After does not apply to the others
        if self.addresses.has_alternatives and self.address not in error.message:
            error.explain(f"the address was {self.address}")

    def give_up(self) -> None:
        """Close the connection, and make all apps try the host's other addresses first."""
        if self.addresses is not None and self.address:
            self.addresses.failed(self.address)
        if self.protocol is not None:
            self.protocol.force_close()

    def succeeded(self) -> None:
        """Note that the address answers as DSM does."""
        if self.addresses is not None and self.address:
            self.addresses.answered(self.address)


ATTEMPT: ContextVar[Attempt] = ContextVar("refresherd_dsm_attempt")
"""The current request's. aiohttp tells about connections by tracing only, at 15 % more CPU."""


class Resolver(AbstractResolver):
    """Gives aiohttp one address at a time: the one that the current attempt has chosen."""

    async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
        """Return an address of the host that the attempt is made at. Raises OSError."""
        return [await ATTEMPT.get().choose()]

    async def close(self) -> None:
        """Do nothing."""
