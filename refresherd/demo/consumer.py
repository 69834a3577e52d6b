"""The built-in consumer: it reads every token file and uses the token, as a service would."""

import ssl
from asyncio import sleep
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import aiohttp

PAUSE = 0.5
"""Seconds between two rounds."""

REMEMBERED = 24
"""How many results are remembered for display."""

TIMEOUT = aiohttp.ClientTimeout(total=5)


@dataclass(slots=True)
class Reads:
    """How often DSM accepted or refused a token that was read from a file."""

    total: int = 0
    refused: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """Whether it accepted the newest tokens, oldest first."""


async def consume(endpoint: str, ca_file: Path, files: Sequence[Path], reads: Reads) -> None:
    """List keys with the token of each file, again and again until cancelled."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file))
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
        while True:
            for file in files:
                token = _read(file)
                if token is not None:
                    accepted = await _accepted(session, f"{endpoint}/crypto/v1/keys", token)
                    reads.total += 1
                    reads.refused += not accepted
                    reads.recent.append(accepted)
            await sleep(PAUSE)


async def _accepted(session: aiohttp.ClientSession, url: str, token: str) -> bool:
    try:
        async with session.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
            return answer.status == HTTPStatus.OK
    except (aiohttp.ClientError, TimeoutError):
        return False


def _read(file: Path) -> str | None:
    """Return the token, None without one: the daemon removes a token that DSM has ended."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return None
