"""Names of endpoints whose addresses change."""

import asyncio
import socket
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from refresherd.adapters.dsm import Connections
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Secret
from refresherd.host.keyed_executor import KeyedExecutor
from support.dsm_loopback import GRANT, Authority, answering, reply, serving
from support.fakes import API_KEY, FakeClock

HOST = "moved.example.com"


class NameService(KeyedExecutor):
    """The lanes, with a name service of one name at their end."""

    address = "127.0.0.2"

    async def call(self, lane: Hashable, work: Callable[[], Any]) -> Any:  # noqa: ANN401  # as the lanes
        """Look the name up; all else is done as usual."""
        if lane != ("resolve", HOST):
            return await super().call(lane, work)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, 0))]


async def test_an_address_that_is_dead_is_not_held_on_to(tmp_path: Path) -> None:
    """DSM that moves is found within the outage budget, however short that is."""
    names, authority = NameService(), Authority(tmp_path)
    tls = authority.server(HOST)
    async with (
        serving(answering(reply(200, GRANT)), tls) as peer,
        Connections(names, FakeClock()) as opened,
    ):
        endpoint = Endpoint(f"https://{HOST}:{peer.port}", authority.ca_file)
        client = opened.client(App("payments", endpoint, ApiKeyEnv("KEY")))
        reasons = []
        async with asyncio.timeout(6):
            while not peer.requests:
                try:
                    await client.login(Secret(API_KEY), 5)
                except Retryable as error:
                    reasons.append(error.reason)
                    names.address = "127.0.0.1"
                    await asyncio.sleep(0.1)
        assert set(reasons) == {Reason.CONNECT}
