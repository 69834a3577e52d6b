"""The daemon's JSON: statuses read as values, and problems as a command's errors."""

import json
import os
import pwd
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.cli.client.http_client import Response
from refresherd.cli.client.messages import (
    Status,
    error_from,
    one_line,
    read_app,
    read_status,
    read_statuses,
)
from refresherd.cli.errors import (
    CommandError,
    InvalidResponse,
    NoDaemon,
    NotPermitted,
    TimedOut,
    Unavailable,
    UsageError,
    current_user,
)
from support.app_fields import NOW, fresh, stamp, starting

PROBLEM = "application/problem+json"

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def status(**changes: Any) -> Status:  # noqa: ANN401  # the JSON's values
    """Return that status as a value."""
    return read_status(json.dumps(fresh(**changes)).encode())


def response(status: int, body: bytes, kind: str = PROBLEM) -> Response:
    """Return a response."""
    head = f"HTTP/1.1 {status} ?\r\nContent-Type: {kind}\r\n\r\n".encode()
    return Response(BytesIO(head + body))


def apps() -> bytes:
    """Return the status of two apps."""
    return json.dumps({"apps": [starting("payments"), starting("orders")]}).encode()


def error(status: int, detail: str = "a reason", app: str = "payments") -> CommandError:
    """Return the error for a problem."""
    return error_from(response(status, json.dumps({"detail": detail}).encode()), app, apps)


def test_statuses_keep_the_daemons_order() -> None:
    """It is the configuration's, which operators know."""
    apps = read_statuses(json.dumps({"apps": [fresh("b"), fresh("a")]}).encode())
    assert [app.name for app in apps] == ["b", "a"]
    assert apps[0].expires_at == NOW + 431
    assert apps[0].ready


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, 431.0),
        ({"state": "retrying"}, 431.0),
        ({"state": "expired"}, 0.0),
        ({"expires_at": None}, 0.0),
        ({"expires_at": stamp(NOW - 1)}, 0.0),
    ],
)
def test_only_a_valid_token_has_time_left(changes: dict[str, Any], left: float) -> None:
    """The daemon reports the expiry of a token that is no longer valid, too."""
    assert status(**changes).seconds_left(NOW) == left


def test_an_app_without_reasons_is_not_ready_because_of_its_state() -> None:
    """A daemon that gives no reasons still reports the state and the last error."""
    plain = {key: value for key, value in fresh(state="expired").items() if "ready" not in key}
    assert read_status(json.dumps(plain).encode()).reasons == ("expired",)
    assert not read_status(json.dumps(plain).encode()).ready
    failing = {**plain, "last_error": "connect: refused"}
    assert read_status(json.dumps(failing).encode()).reasons == ("expired: connect: refused",)


@given(st.binary(max_size=30) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_other_document_is_an_invalid_response(text: bytes) -> None:
    """A daemon of another version must not end a command in a traceback."""
    try:
        assert read_statuses(text) == ()
    except InvalidResponse as error:
        assert "another version" in str(error)  # noqa: PT017  # both outcomes are fine


@given(JSON, st.sampled_from(sorted(fresh())))
def test_any_value_of_a_member_is_read_or_an_invalid_response(value: object, member: str) -> None:
    """The same if only one member has changed."""
    try:
        read_statuses(json.dumps({"apps": [{**fresh(), member: value}]}).encode())
    except InvalidResponse:
        return


def test_deeply_nested_json_is_an_invalid_response() -> None:
    """Python's parser gives up with an error of its own."""
    with pytest.raises(InvalidResponse):
        read_statuses(b"[" * 200_000)


def test_the_status_of_one_app_is_not_that_of_several() -> None:
    """A request for one app must not be answered with others."""
    with pytest.raises(InvalidResponse, match="other apps"):
        read_status(json.dumps({"apps": [fresh("a"), fresh("b")]}).encode())


def test_every_text_in_the_fields_is_made_safe_for_a_terminal() -> None:
    """A hook's message may hold what a program printed, in any depth of the document."""
    fields = fresh(outputs=[{"error": "\x1b[31m\nbad", "current": False}])
    read = read_app(json.dumps(fields).encode(), dict)
    assert read == fields | {"outputs": [{"error": "[31m bad", "current": False}]}


@given(st.text(max_size=1000))
def test_text_from_the_daemon_is_made_safe_for_a_terminal(text: str) -> None:
    """A terminal obeys the control characters that are written to it."""
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 403


def test_a_long_text_is_visibly_cut() -> None:
    """The reader should know that there is more."""
    assert one_line("x" * 400) == "x" * 400
    assert one_line("x" * 401) == "x" * 400 + "..."


@pytest.mark.parametrize(
    ("status", "kind", "exit_status", "line"),
    [
        (400, UsageError, 64, "a reason"),
        (404, UsageError, 64, "a reason; the apps are: payments, orders"),
        (429, TimedOut, 75, "payments: a reason"),
        (503, Unavailable, 69, "payments: a reason"),
        (500, InvalidResponse, 69, "status 500: a reason"),
    ],
)
def test_each_problem_has_its_exit_status(
    status: int, kind: type[CommandError], exit_status: int, line: str
) -> None:
    """Scripts act on the status, people on the line."""
    problem = error(status)
    assert type(problem) is kind
    assert problem.status == exit_status
    assert str(problem) == line


def test_a_user_without_permission_learns_who_they_are_and_what_decides() -> None:
    """The daemon learns the user from the kernel; it may not be the expected one."""
    problem = error(403, 'you may not read or refresh the token of "payments"')
    assert isinstance(problem, NotPermitted)
    assert problem.status == 77
    assert str(problem).startswith('you may not read or refresh the token of "payments": ')
    assert f"(uid {os.geteuid()})" in str(problem)
    assert "[apps.payments.access]" in str(problem)


def test_a_user_whom_the_daemon_cannot_identify_learns_why() -> None:
    """No access helps: the daemon cannot tell this user from others, and says so."""
    detail = "you may not read it: the daemon sees you as uid 65534"
    body = json.dumps({"detail": detail, "reason": "the daemon sees you as uid 65534"}).encode()
    problem = error_from(response(403, body), "payments", lambda: b"")
    assert isinstance(problem, NotPermitted)
    assert problem.status == 77
    assert str(problem) == detail


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers users often have no name."""
    assert pwd.getpwuid(os.geteuid()).pw_name in current_user()
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert current_user() == "uid 4000000"


def test_the_list_of_apps_is_left_out_if_it_cannot_be_had() -> None:
    """A second failure must not hide the first."""

    def gone() -> bytes:
        raise NoDaemon("gone")

    body = b'{"detail": "no such app"}'
    assert str(error_from(response(404, body), "payments", gone)) == "no such app"
    no_apps = error_from(response(404, body), "payments", lambda: b'{"apps": []}')
    assert str(no_apps) == "no such app"
    assert str(error(404, "nothing at this path", app="")) == "nothing at this path"


def test_the_title_stands_in_for_a_missing_detail() -> None:
    """RFC 9457 requires neither."""
    assert str(error_from(response(503, b'{"title": "Busy"}'), "a", apps)) == "a: Busy"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<html>", b"[" * 100_000])
def test_a_malformed_problem_is_an_invalid_response(body: bytes) -> None:
    """Anything may answer on that socket."""
    with pytest.raises(InvalidResponse, match="status 503 with malformed application/problem"):
        error_from(response(503, body), "payments", apps)


def test_an_error_of_another_type_is_an_invalid_response() -> None:
    """Docker's socket, for example, answers 404 in plain JSON."""
    other = response(404, b'{"message": "page not found"}', "application/json")
    with pytest.raises(InvalidResponse, match="status 404 without application/problem"):
        error_from(other, "a", apps)


def test_an_errors_text_is_made_safe_for_a_terminal() -> None:
    """It may quote what came over a network."""
    assert str(error(503, "bad\x1b[31m\nworse")) == "payments: bad [31m worse"
