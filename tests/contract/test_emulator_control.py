"""What people meet who write requests to the emulator's control API by hand."""

import json
from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.emulator import Emulator, Fault, Options
from refresherd.emulator.faults import FIELDS
from refresherd.emulator.fields import parse

Answer = tuple[int, str, dict[str, str]]


@pytest.fixture
async def dsm() -> AsyncIterator[Emulator]:
    """Run an emulator with two apps."""
    async with Emulator(Options(apps=2)) as emulator:
        yield emulator


async def send(dsm: Emulator, method: str, path: str, body: str = "") -> Answer:
    """Send a request; return the answer's status, text and headers."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, dsm.url + path, data=body) as response,
    ):
        return response.status, await response.text(), dict(response.headers)


async def index(dsm: Emulator) -> dict[str, dict[str, Any]]:
    """Return the index, by request."""
    status, text, _ = await send(dsm, "GET", "/control")
    assert status == 200
    return {entry["request"]: entry for entry in json.loads(text)["requests"]}


async def test_the_index_lists_every_request_and_each_field_of_a_fault(dsm: Emulator) -> None:
    """Nobody has to leave the terminal to find out how to break something."""
    entries = await index(dsm)
    faults = entries["POST /control/faults"]["fields"]
    assert set(faults) == {field.name for field in fields(Fault)}
    for entry in entries.values():
        assert entry["does"]
        for field in (entry.get("fields") or entry.get("query") or {}).values():
            assert field["meaning"]
            assert "example" in field
    (required,) = entries["POST /control/apps/reset-secret"]["fields"].values()
    assert required["required"] is True


async def test_every_request_of_the_index_exists(dsm: Emulator) -> None:
    """With the examples of its fields it is understood, whatever its outcome."""
    for request in await index(dsm):
        method, path = request.split()
        assert (await send(dsm, method, path, "{}"))[0] in (200, 400)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_the_example_of_each_field_is_right(name: str) -> None:
    """People copy examples."""
    fault = {name: FIELDS[name].example}
    if name in ("body", "content_type"):
        fault["status"] = 200
    assert getattr(Fault(**parse(json.dumps(fault), FIELDS)), name) is not None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"opertion": "auth"}', '"opertion": unknown field; did you mean "operation"?'),
        ('{"qqq": 1}', '"qqq": unknown field; the fields are "operation", "app", "times"'),
        ('{"times": "3"}', '"times": "3" is not right; write a whole number, such as 3'),
        ('{"times": 3.5}', '"times": 3.5 is not right; write a whole number, such as 3'),
        ('{"times": true}', '"times": true is not right; write a whole number, such as 3'),
        ('{"hang": 1}', '"hang": 1 is not right; write true or false, such as true'),
        ('{"delay": NaN}', '"delay": NaN is not right; write a number, such as 0.5'),
        ('{"delay": 1e999}', '"delay": Infinity is not right; write a number, such as 0.5'),
        ('{"fields": []}', '"fields": [] is not right; write an object, such as {"expires_in": 0}'),
        ('{"missing": [1]}', '"missing": [1] is not right; write a list of strings, such as ["acc'),
        ('{"operation": "reauht"}', 'operation: there is no "reauht"; did you mean "reauth"?'),
        ('{"operation": "x"}', 'operation: there is no "x"; the operations are "auth", "reauth"'),
        ('{"status": 99}', "status: must be from 200 to 599"),
        ('{"reset": "after"}', 'reset: must be "before" or "during"'),
        ('{"status": 500, "app": "app-9"}', 'there is no app "app-9"; did you mean "app-2"?'),
        ('{"body": "x"}', "body and content_type need a status; write one, such as 200"),
        ('{"headers": {"a b": "x"}}', "headers: 'a b' is not the name and the value of a header"),
        ('{"headers": {"a": "x\\ny"}}', "headers: 'a' is not the name and the value of a header"),
        ('{"status": 200, "content_type": "a\\nb"}', "headers: 'Content-Type' is not the name"),
        ("{", "the body is not JSON: Expecting"),
        ("[1]", 'the body is [1]; write a JSON object, such as {"operation": "reauth"}'),
    ],
)
async def test_errors_name_what_is_wrong_and_what_is_right(
    dsm: Emulator, body: str, message: str
) -> None:
    """They are as good as the configuration's."""
    status, text, _ = await send(dsm, "POST", "/control/faults", body)
    assert status == 400
    assert text.startswith(message)
    assert text.endswith("GET /control lists each request's fields\n")
    assert len(dsm.faults) == 0


@pytest.mark.parametrize("path", ["apps", "apps/reset-secret", "faults", "sessions/end"])
@pytest.mark.parametrize("body", [r'{"app": "\ud800"}', r'{"name": "\ud800"}', r'{"\ud800": 1}'])
async def test_text_that_utf8_cannot_hold_is_refused(dsm: Emulator, path: str, body: str) -> None:
    """The answer would repeat it, and end in a 500."""
    status, text, _ = await send(dsm, "POST", f"/control/{path}", body)
    assert status == 400
    assert text.startswith("the body is not JSON")


async def test_the_charset_of_a_body_does_not_matter(dsm: Emulator) -> None:
    """JSON is UTF-8, whatever a client writes."""
    headers = {"Content-Type": "application/json; charset=unknown"}
    url = f"{dsm.url}/control/apps"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=b"{}", headers=headers) as response:
            assert response.status == 200
        async with session.post(url, data=b"\xff", headers=headers) as response:
            assert response.status == 400


async def test_all_faults_of_a_request_are_named_at_once(dsm: Emulator) -> None:
    """As with the configuration, nobody has to try again for each."""
    _, text, _ = await send(dsm, "POST", "/control/faults", '{"opertion": "auth", "times": "3"}')
    assert [line.split(":")[0] for line in text.splitlines()[:-1]] == ['"opertion"', '"times"']


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "/control/apps/reset-secret", '"app": missing; write a string, such as "app-1"'),
        ("GET", "/control/requests?since=x", '"since": "x" is not right; write a number, such'),
        ("GET", "/control/requests?opration=auth", '"opration": unknown field; did you mean "oper'),
        ("DELETE", "/control/faults?id=one", '"id": "one" is not right; write a whole number,'),
        ("GET", "/control/apps?x=1", '"x": unknown field; the fields: none'),
    ],
)
async def test_other_requests_are_checked_as_well(
    dsm: Emulator, method: str, path: str, message: str
) -> None:
    """A misspelt filter that is ignored lists everything, and nobody notices."""
    status, text, _ = await send(dsm, method, path)
    assert status == 400
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/sys/v1/session/auth", "POST, OPTIONS"),
        ("DELETE", "/sys/v1/session/terminate", "POST, OPTIONS"),
        ("POST", "/crypto/v1/keys", "GET, HEAD, OPTIONS"),
        ("HEAD", "/sys/v1/session/reauth", "POST, OPTIONS"),
        ("POST", "/control", "GET, HEAD, OPTIONS"),
        ("PUT", "/control/faults", "GET, HEAD, POST, DELETE, OPTIONS"),
    ],
)
async def test_405_says_which_methods_are_allowed(
    dsm: Emulator, method: str, path: str, allow: str
) -> None:
    """RFC 9110, 15.5.6 demands it."""
    status, _, headers = await send(dsm, method, path)
    assert status == 405
    assert sorted(headers["Allow"].split(", ")) == sorted(allow.split(", "))


async def test_head_and_options_are_answered(dsm: Emulator) -> None:
    """Probes use HEAD, and browsers and gateways use OPTIONS."""
    for path in ("/sys/v1/version", "/control/apps"):
        status, text, headers = await send(dsm, "HEAD", path)
        assert (status, text) == (200, "")
        assert int(headers["Content-Length"]) > 0
        status, text, headers = await send(dsm, "OPTIONS", path)
        assert (status, text) == (204, "")
        assert "GET" in headers["Allow"]
    assert (await send(dsm, "OPTIONS", "/unknown"))[0] == 404


async def test_an_unknown_path_below_control_points_to_the_index(dsm: Emulator) -> None:
    """`/control/fault` is what people type first."""
    status, text, _ = await send(dsm, "POST", "/control/fault", "{}")
    assert status == 404
    assert text == "there is no /control/fault; GET /control lists all requests\n"


async def test_a_status_without_a_name_of_its_own_is_answered(dsm: Emulator) -> None:
    """Proxies invent some, such as 499 and 520."""
    dsm.faults.add(Fault(status=599))
    assert (await send(dsm, "GET", "/sys/v1/health"))[:2] == (599, "Error")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.text(max_size=40) | st.dictionaries(st.sampled_from([*FIELDS, "x"]), JSON).map(json.dumps)
)
def test_no_request_raises_anything_but_what_is_answered_with_400(body: str) -> None:
    """A test that makes a mistake must hear of it, not of a 500."""
    try:
        fault = Fault(**parse(body, FIELDS))
    except (TypeError, ValueError):
        return
    assert isinstance(fault, Fault)
