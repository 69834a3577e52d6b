"""The daemon asked over a real socket, and whatever else may be there in its place."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.exchange import message
from refresherd.cli.client.failures import (
    NoDaemon,
    NotNow,
    NotPermitted,
    TimedOut,
    Unintelligible,
    UnknownApp,
)
from support.fake_daemon import FakeDaemon, canned, fake_daemon


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the daemon's socket is."""
    return tmp_path / "api.sock"


@pytest.fixture
def fake(path: Path) -> Iterator[FakeDaemon]:
    """Serve a daemon."""
    with fake_daemon(path) as daemon:
        yield daemon


def test_a_token_is_asked_for_as_the_api_has_it(path: Path, fake: FakeDaemon) -> None:
    """The daemon refuses a parameter that it doesn't know, or a number that is none."""
    fake.issue("payments", "abc")
    daemon = Daemon(str(path))
    assert daemon.token("payments", "raw", min_ttl=0, wait=10) == b"abc"
    assert daemon.token("payments", "header", min_ttl=90, wait=0.5).endswith(b"abc\n")
    assert fake.requests == [
        "GET /v1/apps/payments/token?format=raw&wait=10",
        "GET /v1/apps/payments/token?format=header&wait=0.5&min_ttl=90",
    ]


def test_the_requests_name_the_app_and_nothing_else(path: Path, fake: FakeDaemon) -> None:
    """Who asks is known to the daemon from the kernel."""
    fake.issue("payments")
    daemon = Daemon(str(path))
    for answer in (daemon.statuses(5), daemon.status("payments", 5), daemon.refresh("payments", 5)):
        assert b'"payments"' in answer
    assert fake.requests == [
        "GET /v1/apps",
        "GET /v1/apps/payments",
        "POST /v1/apps/payments/refresh?wait=5",
    ]


def test_refusals_say_what_there_is(path: Path, fake: FakeDaemon) -> None:
    """The names of the apps are a misspelling's remedy."""
    fake.tell("payments")
    daemon = Daemon(str(path))
    with pytest.raises(NotNow, match=r"payments: no valid token \(starting\)"):
        daemon.token("payments", "raw", min_ttl=0, wait=0)
    with pytest.raises(UnknownApp, match=r'no app named "payment"; there are: payments'):
        daemon.token("payment", "raw", min_ttl=0, wait=0)


def test_tokens_come_as_they_are_issued(path: Path, fake: FakeDaemon) -> None:
    """The stream stays open for as long as the daemon does."""
    fake.issue("payments", "first")
    tokens = Daemon(str(path)).tokens("payments")
    assert b'"first"' in next(tokens)
    fake.issue("payments", "second")
    assert b'"second"' in next(tokens)
    fake.end_streams()
    assert list(tokens) == []


def test_nobody_there_is_told_with_what_to_look_for(path: Path) -> None:
    """The usual cause is a daemon that was not started."""
    with pytest.raises(NoDaemon, match=r"nothing answers on .*is refresherd running\? --socket"):
        Daemon(str(path)).statuses(1)


def test_what_a_dead_daemon_left_is_nobody(path: Path) -> None:
    """A socket's file outlives a daemon that was killed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(NoDaemon, match="nothing answers"):
        Daemon(str(path)).statuses(1)


def test_a_path_that_is_no_socket_is_told(tmp_path: Path) -> None:
    """Each of them has its own error, and none is a traceback."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "under", tmp_path):
        with pytest.raises(NoDaemon, match="nothing answers"):
            Daemon(str(path)).statuses(1)
    with pytest.raises(NoDaemon, match="cannot be used as the daemon's socket"):
        Daemon("x" * 200).statuses(1)


def test_who_may_not_connect_learns_who_decides(path: Path) -> None:
    """Root may always connect, so that the kernel's refusal is played here."""
    expected = r"\(uid \d+\) may not connect .* \[api\]"
    with pytest.raises(NotPermitted, match=expected) as refused, message(str(path), 1):
        raise PermissionError(13, "Permission denied")
    assert refused.value.status == 77


def test_a_daemon_that_hangs_is_given_up_in_time(path: Path) -> None:
    """Whoever starts a service must not hang with it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(TimedOut, match=r"no answer on .* within 0\.1 s") as late:
            Daemon(str(path)).status("payments", 0.1)
    assert late.value.status == 75


def test_a_daemon_too_busy_to_take_a_connection_is_given_up_in_time(path: Path) -> None:
    """Linux refuses a connection at once when the queue is full, whatever the timeout."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(str(path))
        listener.listen(0)
        other.connect(str(path))
        with pytest.raises(TimedOut):
            Daemon(str(path)).statuses(0.1)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf a", b"HTTP/1.1 20"]
)
def test_a_daemon_that_goes_away_while_it_answers_is_told(path: Path, answer: bytes) -> None:
    """What had come by then is no answer."""
    with canned(path, answer), pytest.raises(NoDaemon, match="closed the connection"):
        Daemon(str(path)).token("payments", "raw", min_ttl=0, wait=1)


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\n\r\n",
    ],
)
def test_something_else_in_its_place_is_told(path: Path, answer: bytes) -> None:
    """A socket may be another service's, or a daemon's of another age."""
    with canned(path, answer), pytest.raises(Unintelligible, match="is no refresherd"):
        Daemon(str(path)).token("payments", "raw", min_ttl=0, wait=1)


def test_an_empty_token_is_not_handed_on(path: Path) -> None:
    """A consumer would send it, and be refused by DSM."""
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with canned(path, empty), pytest.raises(Unintelligible, match="empty answer"):
        Daemon(str(path)).token("payments", "raw", min_ttl=0, wait=1)
