"""The emulator over real loopback connections: its endpoints, faults and control API."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest

from refresherd.emulator import App, Emulator, Fault, Options

SCHEMA = json.loads(Path(__file__).with_name("dsm_schema.json").read_text())
AUTH = "/sys/v1/session/auth"
REAUTH = "/sys/v1/session/reauth"
REFRESH = "/sys/v1/session/refresh"
TERMINATE = "/sys/v1/session/terminate"
KEYS = "/crypto/v1/keys"


def validate(value: object, name: str) -> None:
    """Check an answer against the part of the schema with this name."""
    schema = {**SCHEMA, "$ref": f"#/$defs/{name}"}
    jsonschema.validate(value, schema, format_checker=jsonschema.FormatChecker())


@dataclass
class Clock:
    """A clock, and a sleep that moves it instead of waiting."""

    time: float = 100.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        """Move the clock at once."""
        self.waits.append(seconds)
        self.time += seconds


@dataclass
class Answer:
    """An answer as a client sees it."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON may be anything
        """The body as JSON."""
        return json.loads(self.text)


class Client:
    """A client of the emulator that knows nothing but HTTP."""

    def __init__(self, dsm: Emulator, context: ssl.SSLContext | None = None) -> None:
        self._url = dsm.url
        self._context = context

    async def send(self, method: str, path: str, authorization: str = "", body: str = "") -> Answer:
        """Send one request on a connection of its own, and read the whole answer."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if authorization:
            headers["Authorization"] = authorization
        connector = aiohttp.TCPConnector(ssl=self._context or True, force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(
                method, self._url + path, headers=headers, data=body, allow_redirects=False
            ) as response,
        ):
            text = await response.text()
            seen = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, text, seen)

    async def log_in(self, app: App) -> Answer:
        """Log the app in with its API key."""
        return await self.send("POST", AUTH, f"Basic {app.api_key}")

    async def token(self, app: App) -> str:
        """Log the app in and return its token."""
        token = (await self.log_in(app)).json["access_token"]
        assert isinstance(token, str)
        return token

    async def bearer(self, method: str, path: str, token: str) -> Answer:
        """Send a request in a session."""
        return await self.send(method, path, f"Bearer {token}")

    async def control(self, method: str, path: str, **body: object) -> Answer:
        """Send a request to the control API."""
        return await self.send(method, f"/control/{path}", body=json.dumps(body) if body else "")


@dataclass
class Setup:
    """An emulator with two apps, its clock and a client."""

    dsm: Emulator
    clock: Clock
    client: Client


@pytest.fixture
async def at() -> AsyncIterator[Setup]:
    """Run an emulator on plain HTTP, with a clock that only a test moves."""
    clock = Clock()
    options = Options(apps=2, now=lambda: clock.time, sleep=clock.sleep)
    async with Emulator(options) as dsm:
        yield Setup(dsm, clock, Client(dsm))


def trusting(dsm: Emulator) -> ssl.SSLContext:
    """Make a client's TLS context that trusts the emulator's CA."""
    return ssl.create_default_context(cafile=str(dsm.ca_file))


async def test_a_login_opens_a_session(at: Setup) -> None:
    """The shape of this answer is what every client of DSM is built on."""
    answer = await at.client.log_in(at.dsm.apps[0])
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    validate(answer.json, "AppSession")
    assert answer.json["expires_in"] == 600
    assert answer.json["entity_id"] == at.dsm.apps[0].id


async def test_a_reauth_opens_a_new_session_beside_the_old_one(at: Setup) -> None:
    """The old token must go on working, or consumers that still hold it would fail."""
    old = await at.client.token(at.dsm.apps[0])
    answer = await at.client.bearer("POST", REAUTH, old)
    validate(answer.json, "AppSession")
    new = answer.json["access_token"]
    assert new != old
    assert [(await at.client.bearer("GET", KEYS, t)).status for t in (old, new)] == [200, 200]


async def test_a_refresh_keeps_a_session_from_idling_out(at: Setup) -> None:
    """Keep-alive is the only way to serve a consumer that reads its token once."""
    token = await at.client.token(at.dsm.apps[0])
    for _ in range(3):
        at.clock.time += 599.0
        answer = await at.client.bearer("POST", REFRESH, token)
        assert (answer.status, answer.text) == (204, "")
    at.clock.time += 600.0
    assert (await at.client.bearer("POST", REFRESH, token)).status == 401


async def test_listing_keys_counts_as_use_of_the_session(at: Setup) -> None:
    """A consumer at work keeps its session alive without knowing about it."""
    token = await at.client.token(at.dsm.apps[0])
    for _ in range(2):
        at.clock.time += 599.0
        answer = await at.client.bearer("GET", f"{KEYS}?limit=100&offset=0", token)
        validate(answer.json, "KeyList")
        assert answer.json == []


async def test_a_terminated_session_is_dead_at_once(at: Setup) -> None:
    """Whoever holds a token can end its session, and others must see that in the next answer."""
    token = await at.client.token(at.dsm.apps[0])
    answer = await at.client.bearer("POST", TERMINATE, token)
    assert (answer.status, answer.text) == (204, "")
    for method, path in (("POST", REAUTH), ("POST", REFRESH), ("POST", TERMINATE), ("GET", KEYS)):
        answer = await at.client.bearer(method, path, token)
        assert (answer.status, answer.text) == (401, "Session does not exist")
        assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer unknown", "Bearer"])
async def test_a_session_needs_a_token(at: Setup, authorization: str) -> None:
    """Nothing but a bearer token of a live session opens these doors."""
    for method, path in (("POST", REAUTH), ("POST", REFRESH), ("POST", TERMINATE), ("GET", KEYS)):
        answer = await at.client.send(method, path, authorization)
        assert (answer.status, answer.text) == (401, "Session does not exist")


@pytest.mark.parametrize("authorization", ["", "Basic", "Basic %%%", "Basic eDp5", "Bearer x"])
async def test_a_login_needs_a_credential(at: Setup, authorization: str) -> None:
    """A refused login is a 401 in plain text that doesn't speak of sessions."""
    answer = await at.client.send("POST", AUTH, authorization)
    assert (answer.status, answer.text) == (401, "Authentication failed")
    assert answer.headers["content-type"].startswith("text/plain")


async def test_health_and_version_need_no_login(at: Setup) -> None:
    """Probes run without credentials."""
    assert (await at.client.send("GET", "/sys/v1/health")).status == 204
    answer = await at.client.send("GET", "/sys/v1/version")
    assert answer.status == 200
    validate(answer.json, "VersionResponse")


async def test_unknown_paths_and_methods_are_refused(at: Setup) -> None:
    """An endpoint with a trailing slash yields //sys/..., which DSM doesn't know either."""
    assert (await at.client.send("POST", "/" + AUTH)).status == 404
    assert (await at.client.send("GET", "/")).status == 404
    assert (await at.client.send("GET", AUTH)).status == 405
    assert (await at.client.send("POST", "/control/unknown")).status == 404


async def test_every_answer_has_a_request_id_of_its_own(at: Setup) -> None:
    """Operators match a client's log with DSM's by it, errors above all."""
    paths = ["/sys/v1/health", "/sys/v1/version", AUTH, "/unknown"]
    at.dsm.faults.add(Fault(operation="version", status=503))
    seen = [(await at.client.send("GET", path)).headers["x-request-id"] for path in paths]
    assert len(set(seen)) == len(paths)
    assert seen == [request.request_id for request in at.dsm.log]


async def test_expires_in_never_promises_more_than_the_lifetime() -> None:
    """It is a whole number of seconds, so a fractional lifetime must be cut, not rounded."""
    async with Emulator(Options(lifetime=2.9)) as dsm:
        assert (await Client(dsm).log_in(dsm.apps[0])).json["expires_in"] == 2


async def test_a_hundred_wrong_keys_cost_the_app_its_secret(at: Setup) -> None:
    """The promise never to burn a credential is tested against exactly this."""
    app = at.dsm.apps[0]
    key, token = app.api_key, await at.client.token(app)
    wrong = base64.b64encode(f"{app.id}:wrong".encode()).decode()
    for _ in range(100):
        assert (await at.client.send("POST", AUTH, f"Basic {wrong}")).status == 401
    assert (await at.client.send("POST", AUTH, f"Basic {key}")).status == 401
    assert (await at.client.bearer("GET", KEYS, token)).status == 401
    assert (await at.client.log_in(app)).status == 200


# TLS


async def test_tls_verifies_for_the_local_names_and_those_asked_for() -> None:
    """Clients check names, and tests reach the emulator by several."""
    async with Emulator(Options(tls=True, names=("dsm.example",))) as dsm:
        assert dsm.url.startswith("https://127.0.0.1:")
        context, port = trusting(dsm), int(dsm.url.rpartition(":")[2])
        for name in ("localhost", "127.0.0.1", "::1", "dsm.example"):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=name
            )
            writer.close()
            await writer.wait_closed()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="other")
        assert (await Client(dsm, context).log_in(dsm.apps[0])).status == 200


async def test_a_client_that_does_not_trust_the_ca_is_kept_out() -> None:
    """The emulator's CA is made on the spot: no system may trust it by accident."""
    async with Emulator(Options(tls=True)) as dsm:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await Client(dsm, ssl.create_default_context()).log_in(dsm.apps[0])


async def test_a_certificate_app_logs_in_and_works_with_its_certificate_only() -> None:
    """Its token is of no use to a consumer that lacks the certificate, or shows another's."""
    async with Emulator(Options(tls=True, certificate_apps=2)) as dsm:
        _, app, other = dsm.apps
        with_certificate, with_other = trusting(dsm), trusting(dsm)
        for context, owner in ((with_certificate, app), (with_other, other)):
            issued = dsm.client_certificate(owner)
            context.load_cert_chain(issued.cert_file, issued.key_file)
        client, plain = Client(dsm, with_certificate), Client(dsm, trusting(dsm))
        answer = await client.log_in(app)
        validate(answer.json, "AppSession")
        token = answer.json["access_token"]
        assert (await client.bearer("GET", KEYS, token)).status == 200
        for intruder in (plain, Client(dsm, with_other)):
            assert (await intruder.log_in(app)).status == 401
            assert (await intruder.bearer("GET", KEYS, token)).status == 401


async def test_key_files_are_private_and_vanish_with_the_emulator(tmp_path: Path) -> None:
    """A developer's machine should not collect private keys that others can read."""
    async with Emulator(Options(tls=True, certificate_apps=1)) as dsm:
        key_file = dsm.client_certificate(dsm.apps[1]).key_file
        assert key_file.stat().st_mode & 0o777 == 0o600
    assert not key_file.parent.exists()
    async with Emulator(Options(tls=True, directory=tmp_path)) as dsm:
        assert dsm.ca_file == tmp_path / "ca.pem"
    assert (tmp_path / "ca.pem").exists()


async def test_client_certificates_need_tls(at: Setup) -> None:
    """A test that asks for one on plain HTTP is mistaken, and must learn so at once."""
    assert at.dsm.ca_file is None
    with pytest.raises(ValueError, match="TLS"):
        at.dsm.client_certificate(at.dsm.apps[0])


async def test_it_listens_on_ipv6_too() -> None:
    """Brackets in URLs are where clients stumble."""
    async with Emulator(Options(listen="[::1]:0")) as dsm:
        assert dsm.url.startswith("http://[::1]:")
        assert (await Client(dsm).log_in(dsm.apps[0])).status == 200


async def test_without_a_host_it_listens_on_loopback_only() -> None:
    """A listener that hands out every token must not be open to the network by default."""
    async with Emulator(Options(listen=":0")) as dsm:
        assert dsm.url.startswith("http://127.0.0.1:")


async def test_it_listens_on_every_interface_when_asked_to() -> None:
    """Containers reach it from outside, but its own URL must be one that works here."""
    async with Emulator(Options(listen="0.0.0.0:0")) as dsm:
        assert dsm.url.startswith("http://127.0.0.1:")
        assert (await Client(dsm).log_in(dsm.apps[0])).status == 200


async def test_a_port_that_is_taken_leaves_nothing_behind(at: Setup) -> None:
    """Certificates in the temporary directory must not outlive the failure."""
    second = Emulator(Options(listen=at.dsm.url.removeprefix("http://"), tls=True))
    with pytest.raises(OSError, match="in use"):
        await second.__aenter__()
    assert second.ca_file
    assert not second.ca_file.exists()


async def test_apps_may_be_given_by_their_api_keys() -> None:
    """Configurations that are written beforehand name keys that the emulator has to accept."""
    key = base64.b64encode(b"0b8a4b1c-7f5e-4f0e-9a53-2b1b7a0c9d11:s3cret").decode()
    async with Emulator(Options(apps=1, api_keys=(key,))) as dsm:
        assert [app.api_key == key for app in dsm.apps] == [True, False]
        assert (await Client(dsm).log_in(dsm.apps[0])).status == 200


async def test_an_outage_refuses_connections_and_forgets_nothing(at: Setup) -> None:
    """DSM comes back at the same address, and sessions that did not expire still work."""
    token = await at.client.token(at.dsm.apps[0])
    await at.dsm.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await at.client.send("GET", "/sys/v1/health")
    await at.dsm.start()
    assert (await at.client.bearer("GET", KEYS, token)).status == 200


# Faults


async def test_a_status_is_answered_instead_and_nothing_is_carried_out(at: Setup) -> None:
    """Retry-After, a body and a count must come through; and no session may be opened."""
    app = at.dsm.apps[0]
    at.dsm.faults.add(Fault(operation="auth", status=503, headers={"Retry-After": "3"}, times=1))
    at.dsm.faults.add(Fault(operation="auth", status=429, body="slow down", times=1))
    first, second, third = [await at.client.log_in(app) for _ in range(3)]
    assert (first.status, first.text) == (503, "Service Unavailable")
    assert first.headers["retry-after"] == "3"
    assert (second.status, second.text) == (429, "slow down")
    assert third.status == 200
    assert app.counts.logins == len(at.dsm.sessions.tokens()) == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [("", None), ("<html>", "text/html"), ("{", "application/json"), (b"\xff\x00", None)],
)
async def test_a_200_may_carry_garbage(
    at: Setup, body: str | bytes, content_type: str | None
) -> None:
    """Proxies in between answer 200 with a page of their own, or with nothing."""
    at.dsm.faults.add(Fault(status=200, body=body, content_type=content_type))
    async with aiohttp.ClientSession() as session, session.post(at.dsm.url + AUTH) as response:
        expected = body.encode() if isinstance(body, str) else body
        assert (response.status, await response.read()) == (200, expected)
        assert response.content_type == (content_type or "text/plain")


async def test_a_redirect_points_elsewhere(at: Setup) -> None:
    """A client that follows it would carry the credential to another host."""
    at.dsm.faults.add(Fault(redirect="http://127.0.0.1:1/", times=1))
    at.dsm.faults.add(Fault(redirect="http://127.0.0.1:1/", status=302))
    for status in (307, 302):
        answer = await at.client.log_in(at.dsm.apps[0])
        assert (answer.status, answer.headers["location"]) == (status, "http://127.0.0.1:1/")


async def test_a_delayed_answer_is_the_right_one(at: Setup) -> None:
    """Slow is not wrong: the session was opened when the request arrived, not at its answer."""
    at.dsm.faults.add(Fault(delay=30.0))
    answer = await at.client.log_in(at.dsm.apps[0])
    validate(answer.json, "AppSession")
    assert at.clock.waits == [30.0]
    assert at.dsm.sessions.live()[0].deadline == 100.0 + 600.0


async def test_a_delay_may_come_before_an_error(at: Setup) -> None:
    """An overloaded DSM takes its time and then fails."""
    at.dsm.faults.add(Fault(delay=5.0, status=500))
    assert (await at.client.log_in(at.dsm.apps[0])).status == 500
    assert at.clock.waits == [5.0]


async def test_a_hanging_request_is_never_answered(at: Setup) -> None:
    """The client's own timeout has to end it; the log shows that the request came in."""
    at.dsm.faults.add(Fault(operation="auth", hang=True))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await at.client.log_in(at.dsm.apps[0])
    (request,) = at.dsm.log
    assert (request.status, request.fault) == (None, True)
    assert at.dsm.sessions.tokens() == []


async def test_stopping_does_not_wait_for_hanging_requests(at: Setup) -> None:
    """A test with a hung client must not take a minute to end."""
    at.dsm.faults.add(Fault(hang=True))
    hanging = asyncio.create_task(at.client.log_in(at.dsm.apps[0]))
    while not len(at.dsm.log):  # noqa: ASYNC110 - the log is no event
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await at.dsm.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await hanging


async def raw_login(dsm: Emulator, path: str = AUTH, authorization: str = "") -> bytes:
    """Log in over a bare TCP connection, return what comes; ConnectionResetError on a reset."""
    host, _, port = dsm.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    authorization = authorization or f"Basic {dsm.apps[0].api_key}"
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: dsm\r\nContent-Length: 0\r\n"
        f"Authorization: {authorization}\r\n\r\n".encode()
    )
    received = b""
    try:
        while chunk := await reader.read(65536):
            received += chunk
    except ConnectionResetError as error:
        error.add_note(received.decode())
        raise
    finally:
        writer.close()
    return received


async def test_a_reset_before_the_answer_is_a_tcp_reset(at: Setup) -> None:
    """A RST surfaces otherwise than an orderly end, and the request was not carried out."""
    at.dsm.faults.add(Fault(reset="before"))
    with pytest.raises(ConnectionResetError) as caught:
        await raw_login(at.dsm)
    assert caught.value.__notes__ == [""]
    assert at.dsm.sessions.tokens() == []


async def test_a_reset_during_the_answer_leaves_a_session_that_nobody_knows(at: Setup) -> None:
    """The login was carried out, but half of the answer got lost with the connection."""
    at.dsm.faults.add(Fault(reset="during"))
    with pytest.raises(ConnectionResetError) as caught:
        await raw_login(at.dsm)
    head, _, body = caught.value.__notes__[0].partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200")
    assert body.startswith('{"token_type"')
    assert not body.endswith("}")
    assert len(at.dsm.sessions.live()) == 1


async def test_a_reset_during_an_answer_without_a_body_cuts_its_status_line(at: Setup) -> None:
    """A 204 has no half body, but a client must not take its torn head for a success."""
    token = await at.client.token(at.dsm.apps[0])
    at.dsm.faults.add(Fault(reset="during"))
    with pytest.raises(ConnectionResetError) as caught:
        await raw_login(at.dsm, TERMINATE, f"Bearer {token}")
    assert caught.value.__notes__ == ["HTTP/1.1 2"]
    assert at.dsm.sessions.live() == []


async def test_resets_reach_through_tls() -> None:
    """Consumers in the field use TLS, where a reset takes another way through the client."""
    async with Emulator(Options(tls=True)) as dsm:
        client = Client(dsm, trusting(dsm))
        for reset in (Fault(reset="before"), Fault(reset="during")):
            dsm.faults.clear()
            dsm.faults.add(reset)
            with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
                await client.log_in(dsm.apps[0])
        assert len(dsm.sessions.tokens()) == 1


async def test_a_truncated_body_is_shorter_than_announced(at: Setup) -> None:
    """An unfinished answer must not be taken for a whole one."""
    at.dsm.faults.add(Fault(truncate=20))
    head, _, body = (await raw_login(at.dsm)).partition(b"\r\n\r\n")
    assert len(body) == 20
    assert b"content-length: 20\r\n" not in head.lower()
    with pytest.raises(aiohttp.ClientPayloadError):
        await at.client.log_in(at.dsm.apps[0])


async def test_a_dripping_answer_is_whole_in_the_end(at: Setup) -> None:
    """One byte a second keeps a timeout between bytes from firing; only one overall helps."""
    at.dsm.faults.add(Fault(drip=1.0))
    answer = await at.client.log_in(at.dsm.apps[0])
    validate(answer.json, "AppSession")
    assert at.clock.waits == [1.0] * len(answer.text)


@pytest.mark.parametrize(
    "fields",
    [
        {"expires_in": 0},
        {"expires_in": 4294967295},
        {"token_type": "Cookie"},
        {"allowed_mfa_methods": [{"Fido2": {}}]},
        {"allowed_mfa_methods": None},
        {"challenge": {"u2f_challenge": "x", "u2f_keys": []}},
        {"fido2_assertion_options": {"challenge": "eA"}},
        {"a_field_of_tomorrow": [1, {"a": None}]},
    ],
)
async def test_fields_of_the_answer_can_be_overridden(at: Setup, fields: dict[str, object]) -> None:
    """All of these are answers that the description of DSM's API allows."""
    at.dsm.faults.add(Fault(operation="auth", fields=fields))
    answer = await at.client.log_in(at.dsm.apps[0])
    validate(answer.json, "AuthResponse")
    assert {name: answer.json[name] for name in fields} == fields


async def test_fields_can_have_the_wrong_type_or_be_missing(at: Setup) -> None:
    """Not even a broken DSM may crash a client."""
    at.dsm.faults.add(Fault(fields={"expires_in": "600"}, missing=["access_token"]))
    answer = (await at.client.log_in(at.dsm.apps[0])).json
    assert answer["expires_in"] == "600"
    assert "access_token" not in answer
    with pytest.raises(jsonschema.ValidationError):
        validate(answer, "AuthResponse")


async def test_expires_in_can_be_off_by_some_seconds(at: Setup) -> None:
    """A DSM that promises more than it keeps shows who trusts `expires_in` blindly."""
    at.dsm.faults.add(Fault(operation="reauth", expires_in_skew=-60))
    token = await at.client.token(at.dsm.apps[0])
    assert (await at.client.bearer("POST", REAUTH, token)).json["expires_in"] == 540


async def test_an_answer_can_be_larger_than_a_mebibyte(at: Setup) -> None:
    """A client needs a limit on what it reads."""
    at.dsm.faults.add(Fault(padding=2_000_000))
    answer = await at.client.log_in(at.dsm.apps[0])
    validate(answer.json, "AppSession")
    assert len(answer.text) > 2_000_000


async def test_faults_leave_other_apps_alone(at: Setup) -> None:
    """One app's trouble is its own, so it must be possible to make trouble for one only."""
    at.dsm.faults.add(Fault(app="app-1", status=500))
    first, second = at.dsm.apps
    assert (await at.client.log_in(first)).status == 500
    token = await at.client.token(second)
    assert (await at.client.bearer("POST", REAUTH, token)).status == 200


async def test_headers_can_be_added_to_a_right_answer(at: Setup) -> None:
    """A cookie or a Retry-After beside a success must not confuse a client."""
    at.dsm.faults.add(Fault(headers={"Set-Cookie": "a=b"}))
    assert (await at.client.send("GET", "/sys/v1/health")).headers["set-cookie"] == "a=b"


# The control API


async def test_control_lists_and_adds_apps(at: Setup) -> None:
    """A program in another process learns its API key here and can ask for one more."""
    listed = (await at.client.control("GET", "apps")).json
    assert listed["ca_file"] is None
    assert [app["api_key"] for app in listed["apps"]] == [app.api_key for app in at.dsm.apps]
    added = (await at.client.control("POST", "apps", name="billing", lifetime=2.5)).json
    assert (added["name"], added["lifetime"], added["certificate"]) == ("billing", 2.5, False)
    assert (await at.client.log_in(at.dsm.apps.find("billing"))).json["expires_in"] == 2


async def test_control_adds_certificate_apps_with_their_files() -> None:
    """A certificate is of use only with its key, so both files are named in the answer."""
    async with Emulator(Options(tls=True)) as dsm:
        client, context = Client(dsm, trusting(dsm)), trusting(dsm)
        added = (await client.control("POST", "apps", certificate=True)).json
        context.load_cert_chain(added["cert_file"], added["key_file"])
        assert (await Client(dsm, context).log_in(dsm.apps[1])).status == 200
        assert (await client.control("GET", "apps")).json["ca_file"] == str(dsm.ca_file)


async def test_control_resets_secrets(at: Setup) -> None:
    """An administrator does that elsewhere; the old key and all the app's sessions end with it."""
    old, token = at.dsm.apps[0].api_key, await at.client.token(at.dsm.apps[0])
    answer = await at.client.control("POST", "apps/reset-secret", app="app-1")
    assert answer.json["api_key"] == at.dsm.apps[0].api_key != old
    assert (await at.client.bearer("GET", KEYS, token)).status == 401
    assert (await at.client.send("POST", AUTH, f"Basic {old}")).status == 401


async def test_control_ends_sessions_by_token_by_app_and_all(at: Setup) -> None:
    """Sessions die at any time from outside, singly or together."""
    first, second = at.dsm.apps
    tokens = [await at.client.token(app) for app in (first, first, first, second, second)]

    async def end(**body: object) -> object:
        return (await at.client.control("POST", "sessions/end", **body)).json["ended"]

    assert await end(token=tokens[0]) == 1
    assert await end(token=tokens[0]) == 0
    assert await end(app=first.id) == 2
    assert (await at.client.bearer("GET", KEYS, tokens[3])).status == 200
    assert await end() == 2


async def test_control_adds_and_removes_faults(at: Setup) -> None:
    """A fault in JSON is the same as one in Python."""
    fault_429 = {"operation": "health", "status": 429, "headers": {"Retry-After": 3}, "body": "x"}
    number = (await at.client.control("POST", "faults", **fault_429)).json["id"]
    await at.client.control("POST", "faults", status=500, app="app-2")
    at.dsm.faults.add(Fault(operation="keys", status=200, body=b"\xff"))
    listed = (await at.client.control("GET", "faults")).json
    assert [fault["status"] for fault in listed] == [429, 500, 200]
    answer = await at.client.send("GET", "/sys/v1/health")
    assert (answer.status, answer.text, answer.headers["retry-after"]) == (429, "x", "3")
    assert (await at.client.control("DELETE", f"faults?id={number}")).json == {"left": 2}
    assert (await at.client.send("GET", "/sys/v1/health")).status == 204
    assert (await at.client.control("DELETE", "faults")).json == {"left": 0}


async def test_control_counts_what_each_app_did(at: Setup) -> None:
    """The fault suite judges by these numbers: attempts, sessions piled up, tokens issued."""
    app = at.dsm.apps[0]
    first = await at.client.token(app)
    second = (await at.client.bearer("POST", REAUTH, first)).json["access_token"]
    await at.client.bearer("POST", REFRESH, first)
    await at.client.bearer("GET", KEYS, first)
    await at.client.bearer("POST", TERMINATE, first)
    wrong = base64.b64encode(f"{app.id}:wrong".encode()).decode()
    await at.client.send("POST", AUTH, f"Basic {wrong}")
    statistics = (await at.client.control("GET", "statistics")).json
    assert statistics["time"] == 100.0
    assert statistics["apps"][0] == {
        "id": app.id,
        "name": "app-1",
        "logins": 1,
        "failed_logins": 1,
        "failed_logins_24h": 1,
        "reauths": 1,
        "refreshes": 1,
        "terminates": 1,
        "key_listings": 1,
        "secret_resets": 0,
        "live_sessions": 1,
        "live_tokens": [second],
        "tokens": [first, second],
    }
    assert statistics["apps"][1]["tokens"] == []


async def test_the_request_log_holds_every_request_but_no_credential(at: Setup) -> None:
    """It shows a client's headers and timing, to more people than may see a token."""
    token = await at.client.token(at.dsm.apps[0])
    at.clock.time += 7.0
    at.dsm.faults.add(Fault(operation="reauth", status=500))
    await at.client.bearer("POST", REAUTH, token)
    await at.client.send("GET", "/sys/v1/health")
    login, reauth, health = (await at.client.control("GET", "requests")).json
    assert login == {
        "time": 100.0,
        "method": "POST",
        "path": AUTH,
        "operation": "auth",
        "request_id": login["request_id"],
        "app": at.dsm.apps[0].id,
        "scheme": "basic",
        "accept": "application/json",
        "content_type": "application/json",
        "content_length": login["content_length"],
        "fault": False,
        "status": 200,
    }
    assert (reauth["time"], reauth["status"], reauth["fault"]) == (107.0, 500, True)
    assert (health["app"], health["scheme"], health["status"]) == (None, "", 204)
    log = (await at.client.control("GET", "requests")).text
    assert token not in log
    assert at.dsm.apps[0].api_key not in log


async def test_the_request_log_can_be_filtered_and_cleared(at: Setup) -> None:
    """Tests ask for one app's logins since an instant, and start with an empty log."""
    for app in at.dsm.apps:
        token = await at.client.token(app)
        at.clock.time += 1.0
        await at.client.bearer("GET", KEYS, token)

    async def count(query: str) -> int:
        return len((await at.client.control("GET", f"requests?{query}")).json)

    assert await count("") == 4
    assert await count("operation=auth") == 2
    assert await count("app=app-1") == 2
    assert await count("since=102") == 1
    assert await count("operation=keys&app=app-2&since=101.5") == 1
    await at.client.control("DELETE", "requests")
    assert await count("") == 0


async def test_the_request_log_keeps_the_newest() -> None:
    """An emulator that runs for days must not grow with every request."""
    async with Emulator(Options(log_size=2)) as dsm:
        for path in ("/1", "/2", "/3"):
            await Client(dsm).send("GET", path)
        assert [request.path for request in dsm.log] == ["/2", "/3"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", '{"statsu": 500}'),
        ("faults", '{"operation": "reauht"}'),
        ("faults", '{"status": 500, "app": "app-9"}'),
        ("faults", '{"delay": "2"}'),
        ("faults", "[]"),
        ("faults", "{"),
        ("apps", '{"api_key": "eDp5"}'),
        ("apps", '{"certificate": true}'),
        ("apps/reset-secret", "{}"),
        ("sessions/end", '{"app": "app-9"}'),
    ],
)
async def test_control_says_what_it_cannot_understand(at: Setup, path: str, body: str) -> None:
    """A misspelt request that is silently ignored makes a test pass for no reason."""
    answer = await at.client.send("POST", f"/control/{path}", body=body)
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.strip()
    assert len(at.dsm.faults) == 0
    assert len(at.dsm.apps) == 2
