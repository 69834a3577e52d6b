"""Endpoints whose addresses change."""

import asyncio
import socket
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest

from refresherd.adapters.dsm.client import Connections
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Secret
from refresherd.host.keyed_executor import KeyedExecutor
from support.dsm_loopback import GRANT, Authority, answering, reply, serving
from support.fakes import API_KEY, FakeClock

HOST = "moved.example.com"


class NameService(KeyedExecutor):
    """An executor that answers look-ups of one name itself."""

    address = "127.0.0.2"

    async def call(self, key: Hashable, run: Callable[[], Any]) -> Any:  # noqa: ANN401  # as the executor
        """Resolve the name, or run any other call as usual."""
        if key != ("resolve", HOST):
            return await super().call(key, run)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, 0))]


async def test_a_dead_address_is_resolved_again_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DSM that moves is found within the outage budget, even if that is short."""
    for name in ("https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
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
