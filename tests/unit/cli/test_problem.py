"""Refusals: what the daemon says, as the line and the exit status of a command."""

import json
import os
import pwd
from io import BytesIO

import pytest

from refresherd.cli.client.answer import Answer
from refresherd.cli.client.failures import (
    BadRequest,
    CommandError,
    NoDaemon,
    NotNow,
    NotPermitted,
    Unintelligible,
    UnknownApp,
)
from refresherd.cli.client.identity import whoever_asks
from refresherd.cli.client.problem import refusal
from support.fake_daemon import starting

PROBLEM = "application/problem+json"


def answer(status: int, body: bytes, kind: str = PROBLEM) -> Answer:
    """Return an answer to a request."""
    head = f"HTTP/1.1 {status} ?\r\nContent-Type: {kind}\r\n\r\n".encode()
    return Answer(BytesIO(head + body))


def apps() -> bytes:
    """Return the status of two apps."""
    return json.dumps({"apps": [starting("payments"), starting("orders")]}).encode()


def refused(status: int, detail: str = "so it is", app: str = "payments") -> CommandError:
    """Return the error for a refusal."""
    return refusal(answer(status, json.dumps({"detail": detail}).encode()), app, apps)


@pytest.mark.parametrize(
    ("status", "kind", "exit_status", "line"),
    [
        (400, BadRequest, 64, "so it is"),
        (404, UnknownApp, 64, "so it is; there are: payments, orders"),
        (503, NotNow, 69, "payments: so it is"),
        (500, Unintelligible, 69, "500: so it is"),
    ],
)
def test_each_refusal_has_its_exit_status(
    status: int, kind: type[CommandError], exit_status: int, line: str
) -> None:
    """Scripts act on the status, people on the line."""
    error = refused(status)
    assert type(error) is kind
    assert error.status == exit_status
    assert str(error) == line


def test_who_is_not_permitted_learns_who_they_are_and_who_decides() -> None:
    """The daemon knows a user by the kernel, which may be another than the one expected."""
    error = refused(403, 'the token of "payments" is not for you')
    assert isinstance(error, NotPermitted)
    assert error.status == 77
    assert str(error).startswith('the token of "payments" is not for you: ')
    assert f"(uid {os.geteuid()})" in str(error)
    assert "[apps.payments.access]" in str(error)


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers users often have none."""
    assert pwd.getpwuid(os.geteuid()).pw_name in whoever_asks()
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert whoever_asks() == "uid 4000000"


def test_the_apps_there_are_go_untold_where_nobody_tells_them() -> None:
    """A second failure must not hide the first."""

    def gone() -> bytes:
        raise NoDaemon("gone")

    message = answer(404, b'{"detail": "no such app"}')
    assert str(refusal(message, "payments", gone)) == "no such app"
    message = answer(404, b'{"detail": "no such app"}')
    assert str(refusal(message, "payments", lambda: b'{"apps": []}')) == "no such app"
    assert str(refused(404, "nothing at this path", app="")) == "nothing at this path"


def test_a_title_serves_where_there_is_no_detail() -> None:
    """RFC 9457 requires neither."""
    assert str(refusal(answer(503, b'{"title": "Busy"}'), "a", apps)) == "a: Busy"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<html>", b"[" * 100_000])
def test_a_problem_that_is_none_is_not_the_daemons(body: bytes) -> None:
    """What answers there may be anything."""
    with pytest.raises(Unintelligible, match="503 with a reason that is none"):
        refusal(answer(503, body), "payments", apps)


def test_an_error_of_another_kind_is_not_the_daemons() -> None:
    """Docker's socket answers 404 in JSON as well."""
    with pytest.raises(Unintelligible, match="404 without a reason"):
        refusal(answer(404, b'{"message": "page not found"}', "application/json"), "a", apps)


def test_an_errors_text_is_fit_for_a_terminal() -> None:
    """It may quote what came over a network."""
    assert str(refused(503, "bad\x1b[31m\nworse")) == "payments: bad [31m worse"
