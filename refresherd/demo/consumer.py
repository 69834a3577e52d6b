"""The built-in consumer: reads every token file and uses what it finds, like a service would."""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import aiohttp

from refresherd.demo.picture import Reads

PAUSE = 0.5
"""Seconds between two rounds."""

REMEMBERED = 200
"""Answers kept to be shown."""

TIMEOUT = aiohttp.ClientTimeout(total=5)


class Consumer:
    """Lists keys at the endpoint with the token of each file in turn, again and again."""

    def __init__(self, endpoint: str, ca_file: Path, files: Sequence[Path]) -> None:
        self._url = f"{endpoint}/crypto/v1/keys"
        self._ca_file = ca_file
        self._files = files
        self._recent: deque[bool] = deque(maxlen=REMEMBERED)
        self._accepted = 0
        self._refused = 0

    @property
    def reads(self) -> Reads:
        """How it went so far."""
        return Reads(self._accepted, self._refused, tuple(self._recent))

    async def run(self) -> None:
        """Consume until cancelled."""
        trust = ssl.create_default_context(cafile=self._ca_file)
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            while True:
                for file in self._files:
                    await self._consume(session, file)
                await asyncio.sleep(PAUSE)

    async def _consume(self, session: aiohttp.ClientSession, file: Path) -> None:
        token = _read(file)
        if token is None:
            return
        try:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(self._url, headers=headers) as answer:
                accepted = answer.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            accepted = False
        self._count(accepted=accepted)

    def _count(self, *, accepted: bool) -> None:
        self._recent.append(accepted)
        self._accepted += accepted
        self._refused += not accepted


def _read(file: Path) -> str | None:
    """Return the token, None while there is none: the daemon removes one that is dead."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return None
