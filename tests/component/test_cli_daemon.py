"""Requests to the daemon over a real socket, and to whatever else may be there in its place."""

import _thread
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

import pytest

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.http_client import Deadline, Stream
from refresherd.cli.errors import (
    InvalidResponse,
    NoDaemon,
    NotPermitted,
    TimedOut,
    Unavailable,
    UsageError,
)
from support.fake_daemon import FakeDaemon, canned, fake_daemon

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the daemon's socket."""
    return tmp_path / "api.sock"


@pytest.fixture
def fake(path: Path) -> Iterator[FakeDaemon]:
    """Serve a daemon."""
    with fake_daemon(path) as daemon:
        yield daemon


def test_token_requests_follow_the_api(path: Path, fake: FakeDaemon) -> None:
    """The daemon rejects unknown parameters and malformed numbers."""
    fake.issue("payments", "abc")
    daemon = Daemon(str(path))
    assert daemon.token("payments", "raw", Deadline(10), min_ttl=0, wait=2) == b"abc"
    assert daemon.token("payments", "header", Deadline(10), min_ttl=90, wait=0.5).endswith(b"abc\n")
    assert fake.requests == [
        "GET /v1/apps/payments/token?format=raw&wait=2",
        "GET /v1/apps/payments/token?format=header&wait=0.5&min_ttl=90",
    ]


def test_the_daemon_is_to_answer_just_before_the_deadline(path: Path, fake: FakeDaemon) -> None:
    """Its refusal says why there is no token; a timeout would not."""
    fake.issue("payments", "abc")
    for seconds, answer in ((60, 59.5), (2, 1.8), (0.5, 0.45)):
        Daemon(str(path)).token("payments", "raw", Deadline(seconds), min_ttl=0)
        asked = float(fake.requests[-1].rpartition("=")[2])
        assert answer - 0.2 < asked <= answer


def test_requests_name_the_app_and_nothing_else(path: Path, fake: FakeDaemon) -> None:
    """The kernel tells the daemon which user makes the request."""
    fake.issue("payments")
    daemon = Daemon(str(path))
    for answer in (
        daemon.status("", Deadline(5)),
        daemon.status("payments", Deadline(5)),
        daemon.refresh("payments", Deadline(9), wait=5),
    ):
        assert b'"payments"' in answer
    assert fake.requests == [
        "GET /v1/apps",
        "GET /v1/apps/payments",
        "POST /v1/apps/payments/refresh?wait=5",
    ]


def test_an_unknown_app_is_answered_with_the_known_ones(path: Path, fake: FakeDaemon) -> None:
    """Most unknown names are misspelt."""
    fake.set_status("payments")
    daemon = Daemon(str(path))
    with pytest.raises(Unavailable, match=r"payments: no valid token \(starting\)"):
        daemon.token("payments", "raw", Deadline(1), min_ttl=0, wait=0)
    with pytest.raises(UsageError, match=r'no app named "payment"; the apps are: payments'):
        daemon.token("payment", "raw", Deadline(1), min_ttl=0, wait=0)


def test_tokens_arrive_as_they_are_issued(path: Path, fake: FakeDaemon) -> None:
    """The stream stays open as long as the daemon runs."""
    fake.issue("payments", "first")
    tokens = Daemon(str(path)).tokens("payments")
    assert b'"first"' in next(tokens)
    fake.issue("payments", "second")
    assert b'"second"' in next(tokens)
    fake.end_streams()
    assert list(tokens) == []


def test_no_daemon_is_an_error_that_says_what_to_check(path: Path) -> None:
    """The usual cause is that the daemon was not started."""
    with pytest.raises(NoDaemon, match=r"nothing answers on .*is refresherd running\? .* --socket"):
        Daemon(str(path)).status("", Deadline(1))


def test_the_socket_of_a_dead_daemon_counts_as_none(path: Path) -> None:
    """The file of a socket outlives a daemon that was killed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(NoDaemon, match="nothing answers"):
        Daemon(str(path)).status("", Deadline(1))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("directory", "{path} is a directory, not a socket; name the daemon's with --socket"),
        ("file", "{path} is a file, not a socket; name the daemon's with --socket"),
        ("pipe", "{path} is a named pipe, not a socket; name the daemon's with --socket"),
        ("link", "{path} is a file, not a socket; name the daemon's with --socket"),
        ("dangling", "nothing answers on {path}, a link to gone: is refresherd running? "),
        ("loop", "{path} cannot be used as the daemon's socket: Too many levels of symbolic "),
        ("datagrams", "{path} cannot be used as the daemon's socket: Protocol wrong type for "),
        ("file/under", "nothing answers on {path}: is refresherd running? If its socket is "),
        ("x" * 200, "{path} cannot be used as the daemon's socket: AF_UNIX path too long; name "),
    ],
)
def test_what_lies_at_the_sockets_path_is_named(tmp_path: Path, place: str, message: str) -> None:
    """To ask whether the daemon is running would mislead; none may become a traceback."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for link, target in (("link", "file"), ("dangling", "gone"), ("loop", "loop")):
        (tmp_path / link).symlink_to(target)
    path = str(tmp_path / place)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as logger:
        logger.bind(str(tmp_path / "datagrams"))
        with pytest.raises(NoDaemon) as raised:
            Daemon(path).status("", Deadline(1))
    text = str(raised.value)
    assert text.startswith(message.format(path=path))
    assert text.count("\n") == 0


@contextmanager
def without_rights_of_root() -> Iterator[None]:
    """Have the kernel refuse what modes forbid, in tests that root runs as well."""
    before = os.geteuid()
    os.seteuid(before or NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def refusal(path: Path) -> str:
    """Return why a user who may not connect cannot, as a command says it."""
    with without_rights_of_root(), pytest.raises(NotPermitted) as refused:
        Daemon(str(path)).status("", Deadline(1))
    assert refused.value.status == 77
    return str(refused.value)


def test_a_user_who_may_not_connect_learns_what_decides() -> None:
    """The socket's rights are set in the daemon's configuration."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        Path(directory).chmod(0o755)
        path = Path(directory) / "api.sock"
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        assert re.search(r"\(uid \d+\) may not connect to .* under \[api\]", refusal(path))


def test_a_user_who_may_not_enter_the_directory_learns_that() -> None:
    """Then the rights of the socket itself do not matter, and cannot even be seen."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0)
        expected = r"\(uid \d+\) may not look for the daemon's socket at .*: let this user enter"
        assert re.search(expected, refusal(Path(directory) / "api.sock"))
        Path(directory).chmod(0o700)


def test_a_daemon_that_hangs_times_out(path: Path) -> None:
    """A service that is starting must not hang with it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(TimedOut, match=r"on .* within 0\.1 s: .* See its log") as late:
            Daemon(str(path)).status("payments", Deadline(0.1))
    assert late.value.status == 75


def test_a_daemon_whose_accept_queue_is_full_times_out(path: Path) -> None:
    """Linux then rejects a connection at once, whatever the timeout."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(str(path))
        listener.listen(0)
        other.connect(str(path))
        with pytest.raises(TimedOut):
            Daemon(str(path)).status("", Deadline(0.1))


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf a", b"HTTP/1.1 20"]
)
def test_a_connection_that_closes_in_mid_response_is_an_error(path: Path, answer: bytes) -> None:
    """Part of a response must not pass for a response."""
    with canned(path, answer), pytest.raises(NoDaemon, match="closed the connection"):
        Daemon(str(path)).token("payments", "raw", Deadline(1), min_ttl=0)


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\n\r\n",
    ],
)
def test_another_service_on_the_socket_is_an_error(path: Path, answer: bytes) -> None:
    """The path may be wrong, or the daemon of another version."""
    expected = "does not answer like a refresherd"
    with canned(path, answer), pytest.raises(InvalidResponse, match=expected):
        Daemon(str(path)).token("payments", "raw", Deadline(1), min_ttl=0)


def test_an_empty_token_is_an_error(path: Path) -> None:
    """A consumer would send it, and DSM would refuse it."""
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with canned(path, empty), pytest.raises(InvalidResponse, match="is empty"):
        Daemon(str(path)).token("payments", "raw", Deadline(1), min_ttl=0)


def test_an_interrupt_just_before_a_blocking_read_is_handled() -> None:
    """Otherwise it would wait until the daemon sends something, maybe ten minutes later."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # This sets Python's flag and interrupts no system call, like a signal at that moment.
        Timer(0.05, _thread.interrupt_main).start()
        with pytest.raises(KeyboardInterrupt):
            Stream(ours, Deadline(10)).readinto(bytearray(1))


def test_a_stream_reads_what_has_arrived() -> None:
    """It returns 0 at the end of the stream, as other streams do."""
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(b"ab")
        theirs.close()
        buffer = bytearray(3)
        assert (Stream(ours, Deadline(10)).readinto(buffer), bytes(buffer)) == (2, b"ab\0")
        assert Stream(ours, Deadline(10)).readinto(buffer) == 0


def test_a_deadline_holds_for_a_response_that_trickles(path: Path) -> None:
    """A limit for each part of it would be no limit for the whole."""

    def trickle() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not over.wait(0.02):
                connection.sendall(b" ")

    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=trickle)
        thread.start()
        with pytest.raises(TimedOut, match=r"within 0\.3 s"):
            Daemon(str(path)).status("", Deadline(0.3))
        over.set()
        thread.join()


def test_a_stream_that_never_begins_times_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped daemon accepts connections, and would be waited for without a word."""
    monkeypatch.setattr("refresherd.cli.client.daemon.STREAM_TIMEOUT", 0.7)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(TimedOut):
            next(Daemon(str(path)).tokens("payments", lambda: pytest.fail("it has not begun")))


def test_an_idle_stream_calls_back(path: Path, fake: FakeDaemon) -> None:
    """The time until the first token can be used to say why there is none."""
    fake.set_status("payments")
    tokens = Daemon(str(path)).tokens("payments", lambda: fake.issue("payments", "first"))
    assert b'"first"' in next(tokens)


def test_asking_for_a_token_loads_little() -> None:
    """Scripts run it often: each of these libraries costs milliseconds, aiohttp 150."""
    program = (
        "import sys; known = set(sys.modules)\n"
        "from refresherd.cli import main\n"
        "assert main(['token', 'payments', '--socket', '/nonexistent']) == 69\n"
        "slow = {'aiohttp', 'asyncio', 'jinja2', 'msgspec', 'pathlib', 'rich'}\n"
        "slow |= {'refresherd.config', 'refresherd.domain.status_lines'}\n"
        "found = slow & (set(sys.modules) - known)\n"
        "sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
