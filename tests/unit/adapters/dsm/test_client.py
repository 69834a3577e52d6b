"""The requests that a client sends, and the results of their answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientOSError, ClientPayloadError
from aioresponses import CallbackResult, aioresponses
from yarl import URL

from refresherd import __version__
from refresherd.adapters.dsm.client import Connections
from refresherd.domain.errors import Reason, Rejected, Retryable, SessionLost
from refresherd.domain.model import (
    ApiKeyEnv,
    App,
    Certificate,
    Credential,
    Endpoint,
    Grant,
    LdapApp,
    Secret,
    TokenFile,
)
from refresherd.engine.ports import SessionClient
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import API_KEY, ENTITY_ID, FakeClock

DSM = "http://127.0.0.1:9"

AUTH = f"{DSM}/sys/v1/session/auth"

REAUTH = f"{DSM}/sys/v1/session/reauth"

KEY = ApiKeyEnv("KEY")

GRANT = {
    "token_type": "Bearer",
    "expires_in": 600,
    "access_token": "new-token",
    "entity_id": ENTITY_ID,
}


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    """Yield connections that are closed after the test."""
    async with Connections(KeyedExecutor(), FakeClock()) as opened:
        yield opened


def client(connections: Connections, credential: Credential = KEY, url: str = DSM) -> SessionClient:
    """Return the client of an app with this credential."""
    return connections.client(App("payments", Endpoint(url), credential))


def sent(responses: aioresponses, url: str) -> dict[str, Any]:
    """Return the arguments of the only request to a URL."""
    (request,) = responses.requests["POST", URL(url)]
    return dict(request.kwargs)


@pytest.mark.parametrize("url", [DSM, f"{DSM}/", f"{DSM}//"])
async def test_a_login_sends_the_api_key_as_it_is(
    connections: Connections, responses: aioresponses, url: str
) -> None:
    """DSM wants a POST without a body, and no double slash if the endpoint ends in one."""
    responses.post(AUTH, payload=GRANT, headers={"X-Request-Id": "r-1"})
    grant = await client(connections, url=url).login(Secret(API_KEY), 20)
    assert grant == Grant(Secret("new-token"), ENTITY_ID, 600.0, "r-1")
    arguments = sent(responses, AUTH)
    assert dict(arguments["headers"]) == {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Content-Type": "application/json",
        "User-Agent": f"refresherd/{__version__}",
        "Authorization": f"Basic {API_KEY}",
    }
    assert arguments["data"] is None
    assert arguments["allow_redirects"] is False


async def test_an_endpoint_below_a_path_keeps_it(
    connections: Connections, responses: aioresponses
) -> None:
    """A gateway may serve DSM below a path of its own."""
    responses.post(f"{DSM}/dsm/sys/v1/session/auth", payload=GRANT)
    await client(connections, url=f"{DSM}/dsm/").login(Secret(API_KEY), 20)


async def test_a_certificate_app_logs_in_with_its_name(
    connections: Connections, responses: aioresponses
) -> None:
    """It has no API key to send, but the request is the same."""
    credential = Certificate(ENTITY_ID, Path("app.pem"), Path("app.key"))
    responses.post(AUTH, payload=GRANT)
    await client(connections, credential).login(Secret("bmFtZTo="), 20)
    assert sent(responses, AUTH)["headers"]["Authorization"] == "Basic bmFtZTo="


TARGET = "0c7f1a52-3f1e-4b61-9d0a-7f1f4f2f9b10"

LDAP = LdapApp("5cbd5b4a-4f0d-4d3e-8a51-2f5a0d0f3c77", "payments", Path("payments.password"))

LDAP_LOGIN = {
    "method": "auth-by-app-name",
    "acct_id": LDAP.acct_id,
    "name": LDAP.app_name,
    "password": 'open "sesame"',
}


def bound(connections: Connections, credential: Credential) -> SessionClient:
    """Return the client of an app with this credential whose sessions are bound to TARGET."""
    return connections.client(App("payments", Endpoint(DSM), credential, bind_to=TARGET))


async def test_an_ldap_app_logs_in_by_the_body_alone(
    connections: Connections, responses: aioresponses
) -> None:
    """It has no API key, so the request has no Authorization header."""
    responses.post(AUTH, payload=GRANT)
    await client(connections, LDAP).login(Secret(json.dumps(LDAP_LOGIN)), 20)
    arguments = sent(responses, AUTH)
    assert json.loads(arguments["data"]) == LDAP_LOGIN
    assert "Authorization" not in arguments["headers"]
    assert arguments["headers"]["Content-Type"] == "application/json"


@pytest.mark.parametrize("credential", [KEY, Certificate(ENTITY_ID, Path("a.pem"), Path("a.key"))])
async def test_bind_to_is_the_whole_body_beside_a_basic_login(
    connections: Connections, responses: aioresponses, credential: Credential
) -> None:
    """The header says who logs in, and the body only whose the session is to be."""
    responses.post(AUTH, payload=GRANT)
    await bound(connections, credential).login(Secret(API_KEY), 20)
    arguments = sent(responses, AUTH)
    assert json.loads(arguments["data"]) == {"bind_to": {"app": TARGET}}
    assert arguments["headers"]["Authorization"] == f"Basic {API_KEY}"


async def test_an_ldap_apps_session_may_be_bound_as_well(
    connections: Connections, responses: aioresponses
) -> None:
    """Both are in one body then."""
    responses.post(AUTH, payload=GRANT)
    await bound(connections, LDAP).login(Secret(json.dumps(LDAP_LOGIN)), 20)
    body = json.loads(sent(responses, AUTH)["data"])
    assert body == LDAP_LOGIN | {"bind_to": {"app": TARGET}}


async def test_only_a_login_has_a_body(connections: Connections, responses: aioresponses) -> None:
    """The API description gives none to the others."""
    responses.post(REAUTH, payload=GRANT)
    await bound(connections, KEY).reauth(Secret("token"), 20)
    assert sent(responses, REAUTH)["data"] is None


@pytest.mark.parametrize("echo", ['open "sesame"', json.dumps(LDAP_LOGIN)])
async def test_an_echoed_password_is_masked(
    connections: Connections, responses: aioresponses, echo: str
) -> None:
    """A debugging proxy may repeat the request's body in its error."""
    responses.post(AUTH, status=401, body=f"refused: {echo}")
    with pytest.raises(Rejected) as caught:
        await client(connections, LDAP).login(Secret(json.dumps(LDAP_LOGIN)), 20)
    assert "sesame" not in str(caught.value)


async def test_a_token_file_logs_in_by_reauth(
    connections: Connections, responses: aioresponses
) -> None:
    """A host without an API key can only derive a session from the one in the file."""
    responses.post(REAUTH, payload=GRANT)
    await client(connections, TokenFile(Path("bootstrap.token"))).login(Secret("first"), 20)
    assert sent(responses, REAUTH)["headers"]["Authorization"] == "Bearer first"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_file_is_rejected(
    connections: Connections, responses: aioresponses, status: int
) -> None:
    """There is no other credential to fall back to, unlike with an app's own session."""
    responses.post(REAUTH, status=status)
    with pytest.raises(Rejected):
        await client(connections, TokenFile(Path("bootstrap.token"))).login(Secret("first"), 20)


async def test_a_reauth_sends_the_token(connections: Connections, responses: aioresponses) -> None:
    """The live session's token is what DSM makes the new session from."""
    responses.post(REAUTH, payload=GRANT)
    grant = await client(connections).reauth(Secret("old-token"), 20)
    assert grant.access_token.reveal() == "new-token"
    assert sent(responses, REAUTH)["headers"]["Authorization"] == "Bearer old-token"


async def test_a_keep_alive_returns_the_request_id(
    connections: Connections, responses: aioresponses
) -> None:
    """The request id is all that the answer holds."""
    url = f"{DSM}/sys/v1/session/refresh"
    responses.post(url, status=204, headers={"x-request-id": "r-9"})
    assert await client(connections).keep_alive(Secret("token"), 20) == "r-9"
    assert sent(responses, url)["headers"]["Authorization"] == "Bearer token"


async def test_a_termination_ends_the_session(
    connections: Connections, responses: aioresponses
) -> None:
    """Replaced sessions must not pile up, and one that is gone already is no failure."""
    url = f"{DSM}/sys/v1/session/terminate"
    responses.post(url, status=204)
    await client(connections).terminate(Secret("token"), 20)
    responses.post(url, status=401)
    with pytest.raises(SessionLost):
        await client(connections).terminate(Secret("token"), 20)


async def test_a_date_to_retry_after_counts_from_the_wall_clock(
    connections: Connections, responses: aioresponses
) -> None:
    """The fake clock stands at 14 Nov 2023 22:30:00 GMT."""
    responses.post(AUTH, status=503, headers={"Retry-After": "Tue, 14 Nov 2023 22:30:07 GMT"})
    with pytest.raises(Retryable) as caught:
        await client(connections).login(Secret(API_KEY), 20)
    assert caught.value.retry_after == 7.0


async def test_a_request_that_takes_too_long_times_out(
    connections: Connections, responses: aioresponses
) -> None:
    """A hanging DSM must not hold an attempt for ever, and the message says how long it took."""

    async def hang(_url: URL, **_arguments: object) -> CallbackResult:
        await asyncio.Event().wait()
        return CallbackResult()

    responses.post(AUTH, callback=hang)
    with pytest.raises(Retryable) as caught:
        await client(connections).login(Secret(API_KEY), 0.01)
    assert caught.value.reason is Reason.TIMEOUT
    assert caught.value.message == "no answer within 0.01 s"


@pytest.mark.parametrize("timeout", [0.0, -1.0])
async def test_without_any_time_left_it_fails_at_once(
    connections: Connections, responses: aioresponses, timeout: float
) -> None:
    """The time for an attempt is computed, and the result may be zero."""

    async def hang(_url: URL, **_arguments: object) -> CallbackResult:
        await asyncio.Event().wait()
        return CallbackResult()

    responses.post(AUTH, callback=hang)
    with pytest.raises(Retryable):
        await client(connections).login(Secret(API_KEY), timeout)


async def test_an_error_has_no_context(connections: Connections, responses: aioresponses) -> None:
    """The context would be aiohttp's error, which holds the request's headers."""
    responses.post(AUTH, exception=ClientPayloadError("broken"))
    with pytest.raises(Retryable) as caught:
        await client(connections).login(Secret(API_KEY), 20)
    assert caught.value.reason is Reason.BAD_RESPONSE
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_a_request_on_a_lost_connection_is_sent_once_more(
    connections: Connections, responses: aioresponses
) -> None:
    """The server may close a connection as the request leaves; if it always does, it is down."""
    responses.post(AUTH, exception=ClientOSError(104, "reset"))
    responses.post(AUTH, payload=GRANT)
    assert (await client(connections).login(Secret(API_KEY), 20)).lifetime == 600
    responses.post(AUTH, exception=ClientOSError(104, "reset"), repeat=2)
    with pytest.raises(Retryable) as caught:
        await client(connections).login(Secret(API_KEY), 20)
    assert caught.value.reason is Reason.CONNECT
    assert len(responses.requests["POST", URL(AUTH)]) == 4


async def test_apps_that_differ_only_in_their_names_share_a_client(
    connections: Connections,
) -> None:
    """Ten thousand apps of one DSM need one client for each kind of login."""
    assert client(connections) is client(connections)
    assert client(connections) is not client(connections, TokenFile(Path("bootstrap.token")))
