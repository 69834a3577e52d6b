"""The emulator's logins: bodies, LDAP apps, bound sessions, and API keys in place of sessions."""

import base64
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.emulator import Emulator, Options
from refresherd.emulator.auth_request import METHODS, AuthRequest, parse

AUTH = "/sys/v1/session/auth"
REAUTH = "/sys/v1/session/reauth"
REFRESH = "/sys/v1/session/refresh"
TERMINATE = "/sys/v1/session/terminate"
KEYS = "/crypto/v1/keys"

UNKNOWN = "0c7f1a52-3f1e-4b61-9d0a-7f1f4f2f9b10"


@dataclass
class Client:
    """A client that knows nothing but HTTP, and how to log in as the emulator's LDAP app."""

    dsm: Emulator

    async def send(
        self, method: str, path: str, authorization: str = "", body: str = ""
    ) -> tuple[int, str, dict[str, str]]:
        """Send a request; return the answer's status, text and headers."""
        headers = {"Content-Type": "application/json"}
        if authorization:
            headers["Authorization"] = authorization
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.dsm.url + path, headers=headers, data=body) as response,
        ):
            return response.status, await response.text(), dict(response.headers)

    async def log_in(self, authorization: str = "", **body: Any) -> tuple[int, Any]:  # noqa: ANN401
        """Log in with these fields; return the answer's status, and its object or its text."""
        text = json.dumps(body) if body else ""
        status, answer, _ = await self.send("POST", AUTH, authorization, text)
        return status, json.loads(answer) if status == 200 else answer

    def by_name(self, **changed: object) -> dict[str, Any]:
        """Return the body of the LDAP app's login."""
        app = self.dsm.apps.find("app-3")
        return {
            "method": "auth-by-app-name",
            "acct_id": self.dsm.apps.account_id,
            "name": app.name,
            "password": app.secret,
            **changed,
        }


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Yield a client of an emulator with two apps that have an API key, and an LDAP app."""
    async with Emulator(Options(apps=2, ldap_apps=1)) as dsm:
        yield Client(dsm)


async def test_an_ldap_app_logs_in_by_account_name_and_password(client: Client) -> None:
    """The fields are those of the API description; case does not matter in a UUID."""
    body = client.by_name(acct_id=client.dsm.apps.account_id.upper())
    status, session = await client.log_in(**body)
    app = client.dsm.apps.find("app-3")
    assert (status, session["entity_id"], app.counts.logins) == (200, app.id, 1)
    bearer = f"Bearer {session['access_token']}"
    assert (await client.send("GET", KEYS, bearer))[0] == 200
    assert client.dsm.log.select(operation="auth")[0].app == app.id


@pytest.mark.parametrize(
    ("changed", "counted"),
    [({"password": "x"}, 1), ({"name": "app-1"}, 0), ({"acct_id": UNKNOWN}, 0)],
)
async def test_a_wrong_ldap_login_is_refused(
    client: Client, changed: dict[str, object], counted: int
) -> None:
    """A wrong password is counted as a failed login of the app, but resets nothing in DSM."""
    for _ in range(101):
        assert await client.log_in(**client.by_name(**changed)) == (401, "Authentication failed")
    app = client.dsm.apps.find("app-3")
    assert app.counts.failed_logins == 101 * counted
    assert (await client.log_in(**client.by_name()))[0] == 200


async def test_an_ldap_app_has_no_api_key(client: Client) -> None:
    """Its password must not work in the place of a key, and it shows none."""
    app = client.dsm.apps.find("app-3")
    key = base64.b64encode(f"{app.id}:{app.secret}".encode()).decode()
    assert app.api_key == ""
    assert (await client.log_in(f"Basic {key}"))[0] == 401


async def test_control_adds_ldap_apps(client: Client) -> None:
    """A test that needs one asks for it while the emulator runs."""
    body = json.dumps({"name": "billing", "ldap": True, "password": "open sesame"})
    status, text, _ = await client.send("POST", "/control/apps", body=body)
    added = json.loads(text)
    assert (status, added["api_key"], added["password"]) == (200, "", "open sesame")
    fields = {"acct_id": added["acct_id"], "name": "billing", "password": "open sesame"}
    assert (await client.log_in(method="auth-by-app-name", **fields))[0] == 200


async def test_a_session_may_be_bound_to_another_app(client: Client) -> None:
    """Every kind of login can, and a reauth of a bound session is bound as well."""
    first, second, ldap = client.dsm.apps
    for authorization, body in ((f"Basic {first.api_key}", {}), ("", client.by_name())):
        status, session = await client.log_in(
            authorization, **body, bind_to={"app": second.id.upper()}
        )
        assert (status, session["entity_id"]) == (200, second.id)
        _, text, _ = await client.send("POST", REAUTH, f"Bearer {session['access_token']}")
        assert json.loads(text)["entity_id"] == second.id
    assert (first.counts.logins, second.counts.logins, ldap.counts.logins) == (1, 0, 1)


async def test_a_bound_session_works_without_its_makers_certificate() -> None:
    """So a host with a certificate can serve consumers that have none."""
    async with Emulator(Options(apps=1, certificate_apps=1, tls=True)) as dsm:
        plain, certificate = dsm.apps
        unbound = dsm.sessions.open(certificate).token
        bound = dsm.sessions.open(certificate, plain).token
        bound_to_certificate = dsm.sessions.open(plain, certificate).token
        connector = aiohttp.TCPConnector(ssl=False)
        statuses = []
        async with aiohttp.ClientSession(connector=connector) as session:
            for token in (unbound, bound, bound_to_certificate):
                headers = {"Authorization": f"Bearer {token}"}
                async with session.get(dsm.url + KEYS, headers=headers) as response:
                    statuses.append(response.status)
    assert statuses == [401, 200, 401]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "the body is not JSON"),
        ("\xff", "the body is not JSON"),
        ("[]", "the body is not a JSON object"),
        ('"x"', "the body is not a JSON object"),
        ('{"method": "auth-by-name"}', "method: expected one of auth-by-app-name, aws-iam"),
        ('{"method": 1}', "method: expected one of"),
        ('{"method": "auth-by-app-name"}', "auth-by-app-name: missing field acct_id"),
        ('{"method": "password", "email": 1, "password": "x"}', "email: expected a string"),
        ('{"method": "aws-iam", "acct_id": "x"}', "acct_id: expected a UUID"),
        ('{"token_type": "bearer"}', "token_type: expected Bearer"),
        ('{"token_type": 1}', "token_type: expected Bearer"),
        ('{"bind_to": "x"}', 'bind_to: expected an object with the field "app"'),
        ('{"bind_to": {}}', 'bind_to: expected an object with the field "app"'),
        ('{"bind_to": {"app": "x"}}', "bind_to.app: expected a UUID"),
        (f'{{"bind_to": {{"app": "{UNKNOWN}"}}}}', f"bind_to.app: there is no app {UNKNOWN}"),
    ],
)
async def test_a_body_that_the_api_description_does_not_allow_is_refused(
    client: Client, body: str, message: str
) -> None:
    """A client's mistake has to show here rather than at a real DSM."""
    app = client.dsm.apps[0]
    authorization = "" if '"method"' in body else f"Basic {app.api_key}"
    status, text, headers = await client.send("POST", AUTH, authorization, body)
    assert status == 400
    assert text.startswith(message)
    assert headers["Content-Type"].startswith("text/plain")
    assert (app.counts.logins, app.counts.failed_logins) == (0, 0)


async def test_a_password_of_any_characters_is_compared(client: Client) -> None:
    """JSON may hold half of a pair of surrogates, which UTF-8 cannot."""
    assert (await client.log_in(**client.by_name() | {"password": "\ud800"}))[0] == 401


async def test_two_logins_in_one_request_are_refused(client: Client) -> None:
    """Which of them counts would be anybody's guess."""
    authorization = f"Basic {client.dsm.apps[0].api_key}"
    status, text = await client.log_in(authorization, **client.by_name())
    assert status == 400
    assert "both an Authorization header and a method" in text


@pytest.mark.parametrize("body", [{}, {"token_type": "Bearer"}, {"token_type": None}, {"new": [1]}])
async def test_a_body_beside_an_api_key_may_say_nothing_of_interest(
    client: Client, body: dict[str, object]
) -> None:
    """Unknown fields are those of a later version."""
    status, _, _ = await client.send(
        "POST", AUTH, f"Basic {client.dsm.apps[0].api_key}", json.dumps(body)
    )
    assert status == 200


async def test_methods_for_users_are_understood_and_refused(client: Client) -> None:
    """The emulator has no users, but the request is right."""
    examples: dict[type, object] = {str: "x", dict: {}, uuid.UUID: UNKNOWN}
    for method, fields in METHODS.items():
        values: dict[str, Any] = {name: examples[kind] for name, kind in fields.items()}
        answer = await client.log_in(method=method, **values)
        assert answer == (401, "Authentication failed")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([*METHODS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)

BODIES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["method", "token_type", "bind_to", "acct_id", "name"], JSON)
)


@given(st.binary(max_size=60) | BODIES.map(lambda body: json.dumps(body).encode()))
def test_no_body_does_more_than_be_refused(body: bytes) -> None:
    """Whatever a client sends, it gets a 400 and not a 500."""
    try:
        request = parse(body)
    except ValueError:
        return
    assert isinstance(request, AuthRequest)
    assert request.method in ("", *METHODS)


async def test_an_api_key_stands_for_a_session(client: Client) -> None:
    """The API description allows a key wherever it takes a bearer token."""
    app = client.dsm.apps[0]
    basic = f"Basic {app.api_key}"
    status, text, _ = await client.send("POST", REAUTH, basic)
    assert (status, json.loads(text)["entity_id"]) == (200, app.id)
    assert (await client.send("POST", REFRESH, basic))[:2] == (204, "")
    assert (await client.send("GET", KEYS, basic))[:2] == (200, "[]")
    assert (await client.send("POST", TERMINATE, basic))[:2] == (204, "")
    counts = app.counts
    assert (counts.reauths, counts.refreshes, counts.key_listings) == (1, 1, 1)
    # There was no session to terminate, and nobody logged in.
    assert (counts.terminates, counts.logins, len(client.dsm.sessions.live())) == (0, 0, 1)


async def test_a_wrong_key_in_a_sessions_place_counts_as_a_failed_login(client: Client) -> None:
    """DSM counts failed authentications by API key, wherever they happen."""
    app = client.dsm.apps[0]
    key = app.api_key
    wrong = base64.b64encode(f"{app.id}:wrong".encode()).decode()
    paths = [("POST", REAUTH), ("POST", REFRESH), ("POST", TERMINATE), ("GET", KEYS)]
    for number in range(100):
        method, path = paths[number % 4]
        answer = await client.send(method, path, f"Basic {wrong}")
        assert answer[:2] == (401, "Authentication failed")
    assert (app.counts.failed_logins, app.counts.secret_resets) == (100, 1)
    assert (await client.log_in(f"Basic {key}"))[0] == 401
