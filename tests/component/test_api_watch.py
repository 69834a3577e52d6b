"""Watching a token over the API: a line for each, for slow readers too, and a clean end."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from typing import Any, cast

import pytest
from aiohttp import ClientPayloadError, ClientResponse, StreamReader

from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import Endpoint, Method, Timing
from refresherd.domain.reload_plan import ReloadPlan
from support.api_place import Place, eventually, served
from support.fake_app import Script
from support.fakes import grants, settle

WATCH = "/v1/apps/payments/token?watch=1"
REFUSED = Retryable(Reason.CONNECT, "refused")


async def line(response: ClientResponse) -> dict[str, Any]:
    """Return the next line."""
    async with asyncio.timeout(10):
        text = await response.content.readline()
    assert text.endswith(b"\n")
    fields: dict[str, Any] = json.loads(text)
    return fields


async def rest(stream: StreamReader) -> bytes:
    """Return the rest of an answer that ends cleanly; aiohttp raises if it is cut off."""
    async with asyncio.timeout(10):
        return await stream.read()


async def test_each_new_token_is_a_json_line() -> None:
    """The current token is the first line."""
    async with served() as place, place.client.get(WATCH) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/x-ndjson"
        assert response.headers["Cache-Control"] == "no-store"
        first = await line(response)
        await place.advance(300)
        second = await line(response)
        assert [fields["access_token"] for fields in (first, second)] == ["token-1", "token-2"]
        assert (second["generation"], second["expires_in"]) == (2, 600)
        assert set(first) == set(second)


async def test_an_answer_begins_before_there_is_a_token() -> None:
    """The client knows then that it is watching; failures add no lines."""
    go_on = asyncio.Event()
    script: Script = [REFUSED, go_on, *islice(grants(), 1)]
    async with served(payments=script) as place, place.client.get(WATCH) as response:
        assert response.status == 200
        go_on.set()
        await place.advance(1)
        assert (await line(response))["access_token"] == "token-1"


async def test_a_watch_is_counted_when_it_begins() -> None:
    """It may last for months, and would dominate the sum of all durations."""
    async with served() as place, place.client.get(WATCH) as response:
        await line(response)
        assert place.answered == [("/v1/apps/{app}/token", 200)]
        response.close()
        await asyncio.sleep(0.05)
        assert len(place.answered) == 1


async def test_a_longer_lifetime_of_the_same_token_is_a_line() -> None:
    """With keepalive, `expires_at` changes and the token does not."""
    async with served() as place:
        (app,) = place.apps.apps
        timing = Timing(renew=Method.KEEPALIVE)
        await place.reload(ReloadPlan(restart=(replace(app, timing=timing),)))
        async with place.client.get(WATCH) as response:
            first = await line(response)
            await place.advance(300)
            second = await line(response)
            assert first["access_token"] == second["access_token"]
            assert first["expires_at"] < second["expires_at"]


@contextmanager
def unread(place: Place) -> Iterator[socket.socket]:
    """Yield a connection that watches, and from which nothing has been read."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(place.path))
        connection.sendall(f"GET {WATCH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.settimeout(0)
        yield connection


async def test_a_slow_reader_gets_few_old_lines_and_then_the_newest() -> None:
    """A process that was stopped for a weekend must not work through all its tokens first."""
    async with served() as place:
        with unread(place) as connection:
            await eventually(lambda: len(place.answered) == 1)
            for _ in range(200):
                await place.advance(300)
            text = b""
            async with asyncio.timeout(10):
                while b'"generation": 201' not in text:
                    text += await asyncio.get_running_loop().sock_recv(connection, 65536)
        seen = [json.loads(line)["generation"] for line in text.split(b"\r\n") if line[:1] == b"{"]
        assert seen == sorted(set(seen))
        assert len(seen) < 30


async def test_a_watch_ends_cleanly_when_the_daemon_stops() -> None:
    """A client can tell a stop from a crash."""
    async with served() as place, place.client.get(WATCH) as response:
        await line(response)
        await place.stop()
        assert await rest(response.content) == b""


async def test_a_watch_ends_cleanly_when_its_app_is_removed() -> None:
    """The client must not wait for a token that will never come."""
    async with served() as place, place.client.get(WATCH) as response:
        await line(response)
        await place.reload(ReloadPlan(stop=("payments",)), names=())
        assert await rest(response.content) == b""


async def test_a_watch_ends_when_its_app_is_removed_before_the_first_token() -> None:
    """No line has been sent by then."""
    script: Script = [asyncio.Event()]
    async with served(payments=script) as place, place.client.get(WATCH) as response:
        await place.reload(ReloadPlan(stop=("payments",)), names=())
        assert await rest(response.content) == b""


async def test_a_watch_leaves_nothing_behind() -> None:
    """Clients come and go for months."""
    async with served() as place:
        before = len(asyncio.all_tasks())
        responses = [await place.client.get(WATCH) for _ in range(10)]
        for response in responses:
            await line(response)
            response.close()
        await eventually(lambda: len(asyncio.all_tasks()) <= before)


@pytest.mark.timing
async def test_a_client_that_reads_nothing_does_not_delay_a_stop() -> None:
    """It is not cut off while the daemon runs, but it is when the daemon stops."""
    async with served() as place:
        with unread(place):
            await eventually(lambda: len(place.answered) == 1)
            for _ in range(50):
                await place.advance(300)
            began = time.monotonic()
            await place.listener.stop()
            assert time.monotonic() - began < 1.5


async def test_failed_attempts_add_no_lines() -> None:
    """A watch is about tokens alone."""
    script: Script = chain(islice(grants(), 1), [REFUSED] * 5, islice(grants(), 1, 2))
    async with served(payments=script) as place, place.client.get(WATCH) as response:
        await line(response)
        await place.advance(400)
        await settle()
        assert (await line(response))["access_token"] == "token-2"


async def test_a_bug_aborts_a_watch_and_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The client must not take it for the end of its app."""
    faulty = Endpoint(cast(str, b"a URL that JSON cannot express"))
    async with served() as place, place.client.get(WATCH) as response:
        await line(response)
        (app,) = place.apps.apps
        await place.reload(ReloadPlan(retune=(replace(app, endpoint=faulty),)))
        await place.advance(300)
        with pytest.raises(ClientPayloadError):
            await rest(response.content)
        assert (await place.get("/v1/apps/other"))[0] == 404
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is TypeError


async def served_by_http_1_0(place: Place) -> bytes:
    """Return what a client that knows no chunks reads until the end."""
    reader, writer = await asyncio.open_unix_connection(str(place.path))
    writer.write(f"GET {WATCH} HTTP/1.0\r\n\r\n".encode())
    await eventually(lambda: len(place.answered) == 1)
    await place.advance(300)
    await place.reload(ReloadPlan(stop=("payments",)), names=())
    text = await reader.read()
    writer.close()
    return text


async def test_an_old_client_may_watch_too() -> None:
    """It gets lines without chunks until the connection ends."""
    async with served() as place:
        head, _, body = (await served_by_http_1_0(place)).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        tokens = [json.loads(text)["access_token"] for text in body.splitlines()]
        assert tokens == ["token-1", "token-2"]
