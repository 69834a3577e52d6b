"""DSM as one app sees it: implements SessionClient."""

import asyncio

from aiohttp import ClientError, hdrs
from yarl import URL

from refresherd.adapters.dsm.answers import Exchange, acknowledged, granted
from refresherd.adapters.dsm.link import Link
from refresherd.adapters.dsm.network import failure
from refresherd.adapters.dsm.operations import Operation
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import Grant, Secret
from refresherd.engine.ports import Clock


class Client:
    """Apps' requests. `login` is the operation that their kind of credential logs in by."""

    def __init__(self, endpoint: URL, login: Operation, link: Link, clock: Clock) -> None:
        base = str(endpoint).rstrip("/")
        self._urls = {operation: URL(base + operation.path) for operation in Operation}
        self._login = login
        self._link = link
        self._clock = clock

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Return a new session from the credential. Raises Retryable and Rejected."""
        return granted(await self._exchange(self._login, credential, timeout))

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Return a new session from a live one. Raises Retryable, SessionLost and Rejected."""
        return granted(await self._exchange(Operation.REAUTH, token, timeout))

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Keep a session from idling out; return DSM's request id.

        Raises Retryable and SessionLost.
        """
        return acknowledged(await self._exchange(Operation.KEEP_ALIVE, token, timeout))

    async def terminate(self, token: Secret, timeout: float) -> None:
        """End a session. Raises Retryable and SessionLost."""
        acknowledged(await self._exchange(Operation.TERMINATE, token, timeout))

    async def _exchange(self, operation: Operation, secret: Secret, timeout: float) -> Exchange:
        headers: dict[str, str] = {hdrs.AUTHORIZATION: f"{operation.scheme} {secret.reveal()}"}
        try:
            async with asyncio.timeout(timeout):
                answer = await self._link.post(self._urls[operation], headers)
        except TimeoutError:
            fault = Retryable(Reason.TIMEOUT, f"no answer within {timeout:g} s")
        except (ClientError, OSError) as error:
            fault = failure(error)
        else:
            now = self._clock.wall(self._clock.now())
            return Exchange(operation, secret, answer, now)
        # Raised out here, or aiohttp's error would come along as its context, and that holds
        # the request's headers.
        raise fault
