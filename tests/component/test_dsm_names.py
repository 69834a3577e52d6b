"""Endpoints whose addresses change."""

import asyncio
import threading
from pathlib import Path

import pytest

from refresherd.adapters.dsm.client import Connections
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, Secret
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.os_errors import NO_THREAD
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


@pytest.mark.parametrize("url", [f"https://{HOST}", f"http://{HOST}"])
async def test_a_limit_on_threads_is_not_blamed_on_dsm_alone(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the TLS files nor the name can be read then; the network is all right."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    for name in ("https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    async with Connections(KeyedExecutor(), FakeClock()) as opened:
        app = App("payments", Endpoint(url), ApiKeyEnv("KEY"))
        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", refuse)
            with pytest.raises(Retryable) as caught:
                await opened.client(app).login(Secret(API_KEY), 0.05)
    assert caught.value.message == f"no answer within 0.05 s; {NO_THREAD}"
