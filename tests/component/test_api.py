"""The API as consumers use it: every route, what it answers, and what it says when it cannot."""

import asyncio
import json
import logging
from contextlib import suppress
from itertools import islice

import pytest
from aiohttp import ClientResponse

from refresherd.adapters.api import answers
from refresherd.domain.errors import OutputError, Reason, Rejected, Retryable
from refresherd.domain.events import ApiAnswered, ApiRoute
from refresherd.domain.model import Access
from refresherd.domain.reload_plan import ReloadPlan
from support.api_place import eventually, served
from support.fakes import FakeOutput, grants

TOKEN = "/v1/apps/payments/token"
FIRST, SECOND = islice(grants(), 2)
TWO_APPS = {"payments": Access(), "ledger": Access()}


async def assert_problem(response: ClientResponse, status: int) -> str:
    """Return the detail of what must be a problem as RFC 9457 has it."""
    assert response.status == status
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    problem = json.loads(await response.read())
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"] == response.reason
    detail = problem["detail"]
    assert isinstance(detail, str)
    return detail


async def test_the_token_is_one_object_of_json() -> None:
    """With all that a consumer needs to use it, and to know when to ask again."""
    async with served() as place, place.client.get(TOKEN) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Server"] == "refresherd"
        assert await response.json() == {
            "app": "payments",
            "token_type": "Bearer",
            "access_token": "token-1",
            "expires_in": 600,
            "expires_at": "2023-11-14T22:40:00Z",
            "issued_at": "2023-11-14T22:30:00Z",
            "generation": 1,
            "entity_id": FIRST.entity_id,
            "endpoint": "https://dsm.example.com",
        }


ENV = """\
FORTANIX_API_ENDPOINT=https://dsm.example.com
FORTANIX_ACCESS_TOKEN=token-1
FORTANIX_TOKEN_EXPIRES_AT=2023-11-14T22:40:00Z
"""


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("raw", "token-1"),
        ("header", "Authorization: Bearer token-1\n"),
        ("env", ENV),
        ("sdkms-cli", "app-token=token-1\nend-point=https://dsm.example.com\n"),
    ],
)
async def test_other_formats_come_as_they_are_in_files(form: str, content: str) -> None:
    """So that a consumer may change from one to the other."""
    async with served() as place, place.client.get(f"{TOKEN}?format={form}") as response:
        assert await response.text() == content
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"


async def test_what_is_left_of_its_life_counts_from_the_answer() -> None:
    """A consumer adds it to its own clock."""
    async with served() as place:
        place.clock.advance(123.4)
        assert (await place.get(TOKEN))[1]["expires_in"] == 476


async def test_one_connection_serves_many_requests() -> None:
    """And each is counted by its route."""
    async with served() as place:
        for _ in range(3):
            assert (await place.get(TOKEN))[0] == 200
        assert place.answered == [("/v1/apps/{app}/token", 200)] * 3


async def test_status_tells_of_all_apps_in_the_configurations_order() -> None:
    """Whoever may connect: it holds no token."""
    script = [Rejected(Reason.REJECTED, "no such key")]
    async with served(TWO_APPS, ledger=script) as place:
        code, status = await place.get("/v1/apps")
        assert code == 200
        assert [(app["name"], app["state"]) for app in status["apps"]] == [
            ("payments", "fresh"),
            ("ledger", "rejected"),
        ]
        assert status["apps"][1]["last_error"] == "rejected: no such key"
        assert "token-1" not in json.dumps(status)
        assert await place.get("/v1/apps/ledger") == (200, status["apps"][1])


async def test_a_token_that_lasts_is_fetched_if_need_be() -> None:
    """The consumer's job takes nine minutes, and the token has eight."""
    async with served() as place:
        place.clock.advance(120)
        assert (await place.get(f"{TOKEN}?min_ttl=480"))[1]["access_token"] == "token-1"
        _, message = await place.get(f"{TOKEN}?min_ttl=540")
        assert (message["access_token"], message["expires_in"]) == ("token-2", 600)


async def test_a_token_that_cannot_last_so_long_is_refused_at_once() -> None:
    """However long the client would wait."""
    async with served() as place, place.client.get(f"{TOKEN}?min_ttl=900&wait=300") as response:
        detail = await assert_problem(response, 503)
        assert detail == "its tokens live for 600 s only, and 900 s were asked for"
        assert response.headers["Retry-After"] == "300"


async def test_without_a_token_the_client_hears_when_to_try_again() -> None:
    """And why there is none: its own log is where people will look first."""
    refused = Retryable(Reason.CONNECT, "connection refused", retry_after=20.0)
    async with served(payments=[refused]) as place, place.client.get(TOKEN) as response:
        detail = await assert_problem(response, 503)
        assert detail == "no valid token (starting): connect: connection refused"
        assert response.headers["Retry-After"] == "20"


async def test_an_expired_token_is_never_handed_out() -> None:
    """Not even in the moment before the daemon has noticed."""
    async with served() as place:
        place.clock.advance(600)
        assert (await place.get(TOKEN))[0] == 503


async def test_a_client_may_wait_for_the_first_token() -> None:
    """At boot, everything starts at once."""
    go_on = asyncio.Event()
    async with served(payments=[go_on, FIRST]) as place:
        by_operator = asyncio.create_task(place.get(f"{TOKEN}?wait=60"))
        await asyncio.sleep(0.05)
        assert not by_operator.done()
        go_on.set()
        assert (await by_operator)[1]["access_token"] == "token-1"


async def test_a_wait_is_over_when_it_is_over() -> None:
    """A client's own deadline is shorter than an outage."""
    async with served(payments=[asyncio.Event()]) as place:
        assert (await place.get(f"{TOKEN}?wait=0.05"))[0] == 503


@pytest.mark.parametrize(
    ("query", "parameter", "detail"),
    [
        ("format=xml", "format", "there are raw, header, json, env, sdkms-cli"),
        ("min_ttl=soon", "min_ttl", "write one such as 30"),
        ("wait=-1", "wait", "write one such as 30"),
        ("watch=yes", "watch", "neither 1 nor 0"),
        ("min-ttl=30", "min-ttl", "no such parameter"),
        ("wait=1&wait=2", "wait", "given twice"),
        ("min_ttl=%FF", "min_ttl", "write one such as 30"),
    ],
)
async def test_a_bad_parameter_is_named(query: str, parameter: str, detail: str) -> None:
    """With what would be right, since nobody reads the manual first."""
    async with served() as place, place.client.get(f"{TOKEN}?{query}") as response:
        problem = json.loads(await response.read())
        message = await assert_problem(response, 400)
        assert problem["parameter"] == parameter
        assert message.startswith(f"{parameter}: ")
        assert detail in message


@pytest.mark.parametrize(
    "path", ["/v1/apps?x=1", "/v1/apps/payments?format=raw", "/v1/apps/payments/token?x"]
)
async def test_no_route_ignores_a_parameter(path: str) -> None:
    """What is ignored is believed to work."""
    async with served() as place, place.client.get(path) as response:
        assert "no such parameter" in await assert_problem(response, 400)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/apps/", "/v1/apps/payments/", "/v2/apps", "/v1/apps/payments/key"]
)
async def test_other_paths_lead_nowhere(path: str) -> None:
    """But to a hint; and however many are tried, they are one series."""
    async with served() as place, place.client.get(path) as response:
        assert "/v1/apps" in await assert_problem(response, 404)
        assert place.answered == [("unknown", 404)]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/apps/paymnts"),
        ("GET", "/v1/apps/paymnts/token"),
        ("GET", "/v1/apps/paymnts/token?watch=1"),
        ("POST", "/v1/apps/paymnts/refresh"),
        ("GET", "/v1/apps/%22%3Cx%3E%C3%A9/token"),
    ],
)
async def test_an_unknown_app_is_named(method: str, path: str) -> None:
    """It is mostly a typing error, and then the name shows it."""
    async with served() as place, place.client.request(method, path) as response:
        name = "paymnts" if "paymnts" in path else '"<x>é'
        assert await assert_problem(response, 404) == f'there is no app named "{name}"'


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/apps", "GET"),
        ("DELETE", "/v1/apps/payments", "GET"),
        ("POST", TOKEN, "GET"),
        ("OPTIONS", TOKEN, "GET"),
        ("GET", "/v1/apps/payments/refresh", "POST"),
    ],
)
async def test_a_route_takes_its_own_method_only(method: str, path: str, allowed: str) -> None:
    """A GET must never set off a refresh: anything that follows links sends those."""
    async with served() as place, place.client.request(method, path) as response:
        await assert_problem(response, 405)
        assert response.headers["Allow"] == allowed
        assert place.attempts() == 1


async def test_a_refresh_answers_with_the_status_after_it() -> None:
    """An operator who mended something sees at once whether that was it."""
    output = FakeOutput()
    async with served(outputs=(output,)) as place:
        place.clock.advance(10)
        code, status = await place.post("/v1/apps/payments/refresh")
        assert (code, status["generation"], status["state"]) == (200, 2, "fresh")
        assert [one["current"] for one in status["outputs"]] == [True]
        assert output.holds is not None
        assert output.holds.generation == 2


async def test_a_failed_refresh_is_told_in_the_status() -> None:
    """The request was served; the app is in trouble."""
    async with served(payments=[FIRST, Retryable(Reason.TIMEOUT, "no answer")]) as place:
        place.clock.advance(10)
        code, status = await place.post("/v1/apps/payments/refresh")
        assert (code, status["state"]) == (200, "retrying")
        assert status["last_error"] == "timeout: no answer"


@pytest.mark.parametrize("trouble", [OutputError("disk full"), asyncio.Event()])
async def test_a_refresh_does_not_wait_for_a_broken_output(
    monkeypatch: pytest.MonkeyPatch, trouble: OutputError | asyncio.Event
) -> None:
    """It is told in the status; a hanging disk may take hours."""
    monkeypatch.setattr(answers, "LOOKS", 3)
    output = FakeOutput(script=[None, None, trouble])
    async with served(outputs=(output,)) as place:
        place.clock.advance(10)
        _, status = await place.post("/v1/apps/payments/refresh")
        assert status["generation"] == 2
        assert [one["current"] for one in status["outputs"]] == [False]


async def test_an_app_that_goes_while_its_outputs_are_written_is_gone() -> None:
    """The status of an app that there is not would be believed."""
    output = FakeOutput(script=[None, None, asyncio.Event()])
    async with served(outputs=(output,)) as place:
        place.clock.advance(10)
        by_operator = asyncio.create_task(place.post("/v1/apps/payments/refresh"))
        await eventually(lambda: place.attempts() == 2)
        await place.reload(ReloadPlan(stop=("payments",)), names=())
        assert (await by_operator)[0] == 404


async def test_a_refresh_need_not_be_waited_for() -> None:
    """A script that has ten thousand to set off."""
    go_on = asyncio.Event()
    async with served(payments=[FIRST, go_on, SECOND]) as place:
        place.clock.advance(10)
        _, status = await place.post("/v1/apps/payments/refresh?wait=0")
        assert status["generation"] == 1
        go_on.set()


async def test_concurrent_refreshes_are_one() -> None:
    """Ten operators on one outage."""
    go_on = asyncio.Event()
    async with served(payments=[FIRST, go_on, SECOND]) as place:
        place.clock.advance(10)
        by_operator = [
            asyncio.create_task(place.post("/v1/apps/payments/refresh")) for _ in range(10)
        ]
        await asyncio.sleep(0.1)
        go_on.set()
        assert {status["generation"] for _, status in await asyncio.gather(*by_operator)} == {2}
        assert place.attempts() == 2


async def test_what_a_wait_costs_is_in_the_duration() -> None:
    """Slow answers show in the histogram whoever's fault they are."""
    go_on = asyncio.Event()
    async with served(payments=[go_on, FIRST]) as place:
        by_operator = asyncio.create_task(place.get(f"{TOKEN}?wait=60"))
        await asyncio.sleep(0.05)
        place.clock.advance(7)
        go_on.set()
        await by_operator
        assert place.observer.of(ApiAnswered) == [ApiAnswered(ApiRoute.TOKEN, 200, 7.0)]


async def test_an_old_client_is_served_too() -> None:
    """HTTP/1.0 without a Host, as from a shell script."""
    async with served() as place:
        reader, writer = await asyncio.open_unix_connection(str(place.path))
        writer.write(f"GET {TOKEN}?format=raw HTTP/1.0\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        assert answer.startswith("HTTP/1.0 200 OK\r\n")
        assert answer.endswith("\r\n\r\ntoken-1")
        writer.close()


async def test_what_is_no_http_is_told_so() -> None:
    """The connection is then closed, for where the next request begins nobody knows."""
    async with served() as place:
        reader, writer = await asyncio.open_unix_connection(str(place.path))
        writer.write(b"HELO localhost\r\n\r\n")
        answer = (await reader.read()).decode()
        assert " 400 Bad Request\r\n" in answer
        assert "application/problem+json" in answer
        assert "this is no request that HTTP knows" in answer
        writer.close()


async def test_a_bug_is_an_answer_to_the_client_and_a_traceback_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The daemon goes on, and the client learns no more than that."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret of the trade")

    monkeypatch.setattr(answers, "status_fields", fail)
    async with served() as place:
        async with place.client.get("/v1/apps/payments") as response:
            assert await assert_problem(response, 500) == "see the daemon's log"
        assert (await place.get(TOKEN))[0] == 200
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_a_client_that_leaves_is_not_waited_for() -> None:
    """Its request must not go on for the rest of its five minutes."""
    async with served(payments=[asyncio.Event()]) as place:
        before = len(asyncio.all_tasks())
        by_operator = [asyncio.create_task(place.get(f"{TOKEN}?wait=300")) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) > before + len(by_operator)
        for ask in by_operator:
            ask.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*by_operator)
        await eventually(lambda: len(asyncio.all_tasks()) <= before)
