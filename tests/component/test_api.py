"""The API as consumers use it: every route, its answers and its errors."""

import asyncio
import json
import logging
from contextlib import suppress
from itertools import islice
from typing import cast

import pytest
from aiohttp import ClientResponse

from refresherd.domain.errors import OutputError, Reason, Rejected, Retryable
from refresherd.domain.events import ApiAnswered
from refresherd.domain.labels import ApiRoute
from refresherd.domain.model import Access
from refresherd.domain.reload_plan import ReloadPlan
from support.api_place import eventually, served
from support.fakes import FakeOutput, grants

TOKEN = "/v1/apps/payments/token"
FIRST, SECOND = islice(grants(), 2)
TWO_APPS = {"payments": Access(), "ledger": Access()}


async def assert_problem(response: ClientResponse, status: int) -> str:
    """Return the detail of an answer that must be a problem in the sense of RFC 9457."""
    assert response.status == status
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    problem = json.loads(await response.read())
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"] == response.reason
    detail = problem["detail"]
    assert isinstance(detail, str)
    return detail


async def test_the_token_is_a_json_object() -> None:
    """It has all that a consumer needs to use the token, and to know when to ask again."""
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
async def test_other_formats_are_those_of_files(form: str, content: str) -> None:
    """A consumer may change from a file to the API."""
    async with served() as place, place.client.get(f"{TOKEN}?format={form}") as response:
        assert await response.text() == content
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"


async def test_expires_in_counts_from_the_answer() -> None:
    """A consumer adds it to the time on its own clock."""
    async with served() as place:
        place.clock.advance(123.4)
        assert (await place.get(TOKEN))[1]["expires_in"] == 476


async def test_one_connection_serves_many_requests() -> None:
    """Each request is counted by its route."""
    async with served() as place:
        for _ in range(3):
            assert (await place.get(TOKEN))[0] == 200
        assert place.answered == [("/v1/apps/{app}/token", 200)] * 3


async def test_the_status_lists_all_apps_in_the_configurations_order() -> None:
    """Every client that may connect can read it: it has no token."""
    script = [Rejected(Reason.REJECTED, "no such key")]
    async with served(TWO_APPS, ledger=script) as place:
        code, status = await place.get("/v1/apps")
        assert code == 200
        assert [(app["name"], app["state"]) for app in status["apps"]] == [
            ("payments", "fresh"),
            ("ledger", "rejected"),
        ]
        error = "rejected: the key in payments.key was refused by https://dsm.example.com "
        assert status["apps"][1]["last_error"].startswith(f"{error}(no such key); replace it")
        assert "token-1" not in json.dumps(status)
        assert await place.get("/v1/apps/ledger") == (200, status["apps"][1])


async def test_the_status_of_all_apps_is_compressed_for_those_who_want_that() -> None:
    """Ten thousand apps have seven megabytes of it, and hundreds of clients may read it slowly."""
    async with served(TWO_APPS) as place:
        answers = {}
        for coding in ("gzip", "identity"):
            headers = {"Accept-Encoding": coding}
            async with place.client.get("/v1/apps", headers=headers) as response:
                assert response.headers.get("Content-Encoding", "identity") == coding
                assert response.headers["Vary"] == "Accept-Encoding"
                answers[coding] = await response.json()
        assert answers["gzip"] == answers["identity"]


async def test_a_longer_lasting_token_is_fetched_if_necessary() -> None:
    """The consumer's job takes nine minutes, and the token lives for eight more."""
    async with served() as place:
        place.clock.advance(120)
        assert (await place.get(f"{TOKEN}?min_ttl=480"))[1]["access_token"] == "token-1"
        _, token = await place.get(f"{TOKEN}?min_ttl=540")
        assert (token["access_token"], token["expires_in"]) == ("token-2", 600)


async def test_a_lifetime_that_no_token_has_is_refused_at_once() -> None:
    """It makes no difference how long the client would wait."""
    async with served() as place, place.client.get(f"{TOKEN}?min_ttl=900&wait=300") as response:
        detail = await assert_problem(response, 503)
        assert detail == "its tokens live only 600 s, but 900 s were requested"
        assert response.headers["Retry-After"] == "300"


async def test_without_a_token_the_client_learns_when_to_try_again() -> None:
    """It also learns why there is none: its own log is where people look first."""
    refused = Retryable(Reason.CONNECT, "connection refused", retry_after=20.0)
    async with served(payments=[refused]) as place, place.client.get(TOKEN) as response:
        detail = await assert_problem(response, 503)
        assert detail == "no valid token (starting): connect: connection refused"
        assert response.headers["Retry-After"] == "20"


async def test_an_expired_token_is_never_handed_out() -> None:
    """This holds even before the daemon has noticed the expiry."""
    async with served() as place:
        place.clock.advance(600)
        assert (await place.get(TOKEN))[0] == 503


async def test_a_client_may_wait_for_the_first_token() -> None:
    """At boot, everything starts at once."""
    go_on = asyncio.Event()
    async with served(payments=[go_on, FIRST]) as place:
        request = asyncio.create_task(place.get(f"{TOKEN}?wait=60"))
        await asyncio.sleep(0.05)
        assert not request.done()
        go_on.set()
        assert (await request)[1]["access_token"] == "token-1"


async def test_a_wait_ends_after_the_time_that_was_asked_for() -> None:
    """A client's own deadline may be shorter than an outage."""
    async with served(payments=[asyncio.Event()]) as place:
        assert (await place.get(f"{TOKEN}?wait=0.05"))[0] == 503


@pytest.mark.parametrize(
    ("query", "parameter", "detail"),
    [
        ("format=xml", "format", "use raw, header, json, env, sdkms-cli"),
        ("min_ttl=soon", "min_ttl", "write a number such as 30"),
        ("wait=-1", "wait", "write a number such as 30"),
        ("watch=yes", "watch", "must be 0 or 1"),
        ("min-ttl=30", "min-ttl", "unknown parameter"),
        ("wait=1&wait=2", "wait", "given more than once"),
        ("min_ttl=%FF", "min_ttl", "write a number such as 30"),
    ],
)
async def test_a_bad_parameter_is_named(query: str, parameter: str, detail: str) -> None:
    """The error says what is right, since nobody reads the manual first."""
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
    """An ignored parameter would be believed to work."""
    async with served() as place, place.client.get(path) as response:
        assert "unknown parameter" in await assert_problem(response, 400)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/apps/", "/v1/apps/payments/", "/v2/apps", "/v1/apps/payments/key"]
)
async def test_other_paths_are_not_found(path: str) -> None:
    """The error names the right path; however many are tried, they are one metric series."""
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
    """It is usually a typing error, which the name reveals."""
    async with served() as place, place.client.request(method, path) as response:
        name = "paymnts" if "paymnts" in path else '"<x>é'
        assert await assert_problem(response, 404) == f'there is no app named "{name}"'


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/apps", "GET, HEAD"),
        ("DELETE", "/v1/apps/payments", "GET, HEAD"),
        ("POST", TOKEN, "GET, HEAD"),
        ("OPTIONS", TOKEN, "GET, HEAD"),
        ("GET", "/v1/apps/payments/refresh", "POST"),
    ],
)
async def test_a_route_accepts_its_own_method_only(method: str, path: str, allowed: str) -> None:
    """A GET must never start a refresh: whatever follows links sends GETs."""
    async with served() as place, place.client.request(method, path) as response:
        await assert_problem(response, 405)
        assert response.headers["Allow"] == allowed
        assert place.attempts() == 1


async def test_a_refresh_answers_with_the_status_after_it() -> None:
    """An operator who has fixed something sees at once whether it helped."""
    output = FakeOutput()
    async with served(outputs=(output,)) as place:
        place.clock.advance(10)
        code, status = await place.post("/v1/apps/payments/refresh")
        assert (code, status["generation"], status["state"]) == (200, 2, "fresh")
        assert [one["current"] for one in status["outputs"]] == [True]
        assert output.holds is not None
        assert output.holds.generation == 2


async def test_a_failed_refresh_shows_in_the_status() -> None:
    """The request itself succeeded, so its code is 200."""
    async with served(payments=[FIRST, Retryable(Reason.TIMEOUT, "no answer")]) as place:
        place.clock.advance(10)
        code, status = await place.post("/v1/apps/payments/refresh")
        assert (code, status["state"]) == (200, "retrying")
        assert status["last_error"] == "timeout: no answer"


@pytest.mark.parametrize("trouble", [OutputError("disk full"), asyncio.Event()])
async def test_a_refresh_does_not_wait_long_for_a_broken_output(
    trouble: OutputError | asyncio.Event,
) -> None:
    """The status shows it instead; a disk may hang for hours."""
    output = FakeOutput(script=[None, None, trouble])
    async with served(outputs=(output,)) as place:
        place.clock.advance(10)
        _, status = await place.post("/v1/apps/payments/refresh")
        assert status["generation"] == 2
        assert [one["current"] for one in status["outputs"]] == [False]


async def test_an_app_that_is_removed_during_a_refresh_is_not_found() -> None:
    """A client would believe the status of an app that no longer exists."""
    output = FakeOutput(script=[None, None, asyncio.Event()])
    async with served(outputs=(output,)) as place:
        place.clock.advance(10)
        request = asyncio.create_task(place.post("/v1/apps/payments/refresh"))
        await eventually(lambda: place.attempts() == 2)
        await place.reload(ReloadPlan(stop=("payments",)), names=())
        assert (await request)[0] == 404


async def test_a_refresh_need_not_be_waited_for() -> None:
    """A script may have ten thousand refreshes to start."""
    go_on = asyncio.Event()
    async with served(payments=[FIRST, go_on, SECOND]) as place:
        place.clock.advance(10)
        _, status = await place.post("/v1/apps/payments/refresh?wait=0")
        assert status["generation"] == 1
        go_on.set()


async def test_concurrent_refreshes_make_one_attempt() -> None:
    """Ten operators may react to one outage."""
    go_on = asyncio.Event()
    async with served(payments=[FIRST, go_on, SECOND]) as place:
        place.clock.advance(10)
        requests = [asyncio.create_task(place.post("/v1/apps/payments/refresh")) for _ in range(10)]
        await asyncio.sleep(0.1)
        go_on.set()
        assert {status["generation"] for _, status in await asyncio.gather(*requests)} == {2}
        assert place.attempts() == 2


async def test_the_duration_of_a_request_includes_its_wait() -> None:
    """The histogram shows slow answers, whatever made them slow."""
    go_on = asyncio.Event()
    async with served(payments=[go_on, FIRST]) as place:
        request = asyncio.create_task(place.get(f"{TOKEN}?wait=60"))
        await asyncio.sleep(0.05)
        place.clock.advance(7)
        go_on.set()
        await request
        assert place.observer.of(ApiAnswered) == [ApiAnswered(ApiRoute.TOKEN, 200, 7.0)]


async def test_an_old_client_is_served_too() -> None:
    """A shell script may send HTTP/1.0 without a Host."""
    async with served() as place:
        reader, writer = await asyncio.open_unix_connection(str(place.path))
        writer.write(f"GET {TOKEN}?format=raw HTTP/1.0\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        assert answer.startswith("HTTP/1.1 200 OK\r\n")
        assert answer.endswith("\r\n\r\ntoken-1")
        writer.close()


async def test_a_client_that_does_not_speak_http_gets_an_error() -> None:
    """The connection is closed, as nobody can tell where the next request would begin."""
    async with served() as place:
        reader, writer = await asyncio.open_unix_connection(str(place.path))
        writer.write(b"HELO localhost\r\n\r\n")
        answer = (await reader.read()).decode()
        assert " 400 Bad Request\r\n" in answer
        assert "application/problem+json" in answer
        assert "not a valid HTTP request" in answer
        writer.close()


async def test_a_bug_is_a_500_for_the_client_and_a_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The daemon goes on, and the client learns nothing about its insides."""
    faulty = FakeOutput(cast(str, b"a name that JSON cannot express"))
    async with served(outputs=(faulty,)) as place:
        async with place.client.get("/v1/apps/payments") as response:
            detail = "internal error; see the daemon's log"
            assert await assert_problem(response, 500) == detail
        assert (await place.get(TOKEN))[0] == 200
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is TypeError


async def test_a_request_ends_with_its_client() -> None:
    """It must not go on for the rest of its five minutes."""
    async with served(payments=[asyncio.Event()]) as place:
        before = len(asyncio.all_tasks())
        requests = [asyncio.create_task(place.get(f"{TOKEN}?wait=300")) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) > before + len(requests)
        for request in requests:
            request.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*requests)
        await eventually(lambda: len(asyncio.all_tasks()) <= before)
