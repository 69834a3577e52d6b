"""Endpoints whose addresses change."""

import asyncio
from pathlib import Path

import pytest

from refresherd.adapters.dsm.client import Connections
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Secret
from support.dsm_loopback import GRANT, Authority, Names, answering, reply, serving
from support.fakes import API_KEY, FakeClock

HOST = "moved.example.com"


async def test_a_dead_address_is_resolved_again_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DSM that moves is found within the outage budget, even if that is short."""
    for name in ("https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    names, authority, clock = Names(HOST, "127.0.0.2"), Authority(tmp_path), FakeClock()
    tls = authority.server(HOST)
    async with (
        serving(answering(reply(200, GRANT)), tls) as peer,
        Connections(names, clock) as opened,
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
                    names.addresses = ("127.0.0.1",)
                    clock.advance(0.5)
        assert set(reasons) == {Reason.CONNECT}
