"""The commands that ask the daemon, over a real socket: what they print, and how they end."""

import io
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from refresherd.cli import main, status, wait, watch
from refresherd.cli.client.daemon import Daemon
from refresherd.cli.errors import NotPermitted
from refresherd.cli.parser import parse
from support.fake_daemon import FakeDaemon, canned, fake_daemon

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the daemon's socket is, which the commands know."""
    path = tmp_path / "api.sock"
    monkeypatch.setenv("REFRESHERD_SOCKET", str(path))
    return path


@pytest.fixture
def fake(path: Path) -> Iterator[FakeDaemon]:
    """Serve a daemon."""
    with fake_daemon(path) as daemon:
        yield daemon


class Terminal(io.TextIOWrapper):
    """A stream into memory that says it is a terminal."""

    def __init__(self) -> None:
        self.content = io.BytesIO()
        super().__init__(self.content, write_through=True)

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def reject(fake: FakeDaemon, app: str) -> None:
    """Have DSM refuse an app's credential."""
    fake.tell(
        app,
        state="rejected",
        consecutive_failures=1,
        last_error="rejected: 401 Unauthorized",
        not_ready_because=["no valid token (rejected): rejected: 401 Unauthorized"],
    )


def test_the_raw_token_is_printed_to_the_byte(fake: FakeDaemon, capfd: Capture) -> None:
    """The vendor's client refuses a token with a line break at its end."""
    fake.issue("payments", "abc")
    assert main(["token", "payments"]) == 0
    assert capfd.readouterr() == ("abc", "")


def test_a_format_is_printed_as_it_comes(fake: FakeDaemon, capfd: Capture) -> None:
    """The formats' own line ends belong to them."""
    fake.issue("payments", "abc")
    assert main(["token", "payments", "--format", "header"]) == 0
    assert capfd.readouterr().out == "Authorization: Bearer abc\n"


def test_on_a_terminal_the_prompt_has_its_own_line(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes to standard output is exact even there."""
    fake.issue("payments", "abc")
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["token", "payments"]) == 0
    assert (out.content.getvalue(), err.content.getvalue()) == (b"abc", b"\n")
    assert main(["token", "payments", "--format", "header"]) == 0
    assert err.content.getvalue() == b"\n"


def test_a_token_lasts_for_a_request_where_that_can_be_had(
    fake: FakeDaemon, capfd: Capture
) -> None:
    """One that runs out in the pipe is no use; but while DSM is away whatever is good still is."""
    fake.issue("payments", "short", lifetime=12)
    assert main(["token", "payments"]) == 0
    assert capfd.readouterr().out == "short"
    assert [
        ("min_ttl=30" in by_operator, "min_ttl" in by_operator) for by_operator in fake.requests
    ] == [
        (True, True),
        (False, False),
    ]
    assert main(["token", "payments", "--min-ttl", "30s"]) == 69
    assert main(["token", "payments", "--min-ttl", "0s"]) == 0
    assert capfd.readouterr().out == "short"


def test_no_token_is_a_line_and_nothing_on_standard_output(
    fake: FakeDaemon, capfd: Capture
) -> None:
    """A script that forgets to look at the exit status gets an empty token, not a sentence."""
    fake.tell("payments")
    assert main(["token", "payments", "--timeout", "0.1"]) == 69
    expected = "refresherd token: payments: no valid token (starting)\n"
    assert capfd.readouterr() == ("", expected)


def test_the_status_of_all_apps_is_a_table(fake: FakeDaemon, capsys: Capture) -> None:
    """Operators look here first."""
    fake.issue("payments")
    reject(fake, "orders")
    assert main(["status"]) == 0
    heading, payments, orders = capsys.readouterr().out.splitlines()
    assert heading.split("  ")[0] == "APP"
    assert payments.split()[:2] == ["payments", "fresh"]
    assert orders.endswith("rejected: 401 Unauthorized")


def test_the_status_of_one_app_is_asked_for_alone(fake: FakeDaemon, capsys: Capture) -> None:
    """Among thousands that is a matter of time."""
    fake.issue("payments")
    assert main(["status", "payments"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert fake.requests == ["GET /v1/apps/payments"]


def test_the_status_as_json_is_the_daemons(fake: FakeDaemon, capsys: Capture) -> None:
    """Scripts see members that this version of the command doesn't know."""
    fake.tell("payments", novelty=1)
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"apps": [fake.status("payments")]}
    assert main(["status", "payments", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == fake.status("payments")


def watched(words: tuple[str, ...], *between: Callable[[], object]) -> None:
    """Watch the status; each `between` is called instead of a wait, and then comes Ctrl-C."""
    script = iter(between)

    def sleep(_: float) -> None:
        step = next(script, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    with pytest.raises(KeyboardInterrupt):
        status.execute(parse("status", ("--watch", *words)), sleep)


def test_a_watched_status_shows_what_changes(fake: FakeDaemon, capsys: Capture) -> None:
    """Into a pipe, one table follows the other."""
    fake.tell("payments")
    watched((), lambda: fake.issue("payments"))
    first, second = capsys.readouterr().out.strip().split("\n\n")
    assert "starting" in first
    assert "fresh" in second


def test_a_watched_status_outlives_the_daemon(path: Path, capsys: Capture) -> None:
    """Whoever watches a restart sees it go and come back."""
    known = FakeDaemon()
    known.issue("payments")
    with ExitStack() as stack:
        stack.enter_context(fake_daemon(path, known))
        watched((), stack.close, lambda: stack.enter_context(fake_daemon(path, known)))
    before, gone, after = capsys.readouterr().out.strip().split("\n\n")
    assert "fresh" in before
    assert gone.startswith("nothing answers on ")
    assert "fresh" in after


def test_a_watched_status_as_json_is_a_line_each_time(path: Path, capsys: Capture) -> None:
    """What is wrong stands apart from what a script reads."""
    known = FakeDaemon()
    known.issue("payments")
    with ExitStack() as stack:
        stack.enter_context(fake_daemon(path, known))
        watched(("payments", "--json"), lambda: known.issue("payments"), stack.close)
    out, err = capsys.readouterr()
    assert [json.loads(line)["generation"] for line in out.splitlines()] == [1, 2]
    assert err.startswith("refresherd status: nothing answers")


def test_a_misspelt_app_ends_a_watch_at_once(fake: FakeDaemon, capsys: Capture) -> None:
    """There is nothing to wait for."""
    fake.tell("payments")
    assert main(["status", "payment", "--watch"]) == 64
    assert "there are: payments" in capsys.readouterr().err


def test_wait_returns_quietly_once_all_are_ready(fake: FakeDaemon, capsys: Capture) -> None:
    """A start script needs no more than the exit status."""
    fake.issue("payments")
    fake.issue("orders")
    assert main(["wait"]) == 0
    assert main(["wait", "payments", "orders"]) == 0
    assert capsys.readouterr() == ("", "")


def test_wait_is_over_as_soon_as_a_token_comes(fake: FakeDaemon) -> None:
    """A service's start should not take longer than the token's."""
    fake.tell("payments")

    def sleep(_: float) -> None:
        fake.issue("payments")

    assert wait.execute(parse("wait", ("payments",)), sleep=sleep) == 0
    assert len(fake.requests) == 2


def test_wait_says_who_is_missing_and_why(fake: FakeDaemon, capsys: Capture) -> None:
    """Whoever reads the failed start's log should not have to ask again."""
    fake.issue("payments")
    reject(fake, "orders")
    assert main(["wait", "--timeout", "0.1"]) == 75
    reason = "no valid token (rejected): rejected: 401 Unauthorized"
    assert capsys.readouterr() == ("", f"refresherd wait: orders: {reason}\n")


def test_wait_waits_for_the_daemon_as_well(path: Path, capsys: Capture) -> None:
    """At boot, units start in any order."""
    known = FakeDaemon()
    known.issue("payments")
    with ExitStack() as stack:

        def sleep(_: float) -> None:
            stack.enter_context(fake_daemon(path, known))

        assert wait.execute(parse("wait", ("payments",)), sleep=sleep) == 0
    assert main(["wait", "payments", "--timeout", "0.1"]) == 75
    assert "nothing answers on" in capsys.readouterr().err


def test_wait_ends_in_time_though_the_daemon_hangs(path: Path, capsys: Capture) -> None:
    """A timeout is one, whatever it is that takes so long."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert main(["wait", "--timeout", "0.1"]) == 75
    assert "no answer on" in capsys.readouterr().err


def test_wait_goes_by_files_too(fake: FakeDaemon, capsys: Capture) -> None:
    """The service that starts next reads a file that must be there."""
    fake.issue("payments")
    fake.tell("payments", ready=False, not_ready_because=["/run/x does not hold the newest token"])
    assert main(["wait", "--timeout", "0.1"]) == 75
    assert "/run/x does not hold the newest token" in capsys.readouterr().err


def test_wait_has_a_token_refreshed_that_will_not_last(fake: FakeDaemon) -> None:
    """A job that takes five minutes can't use a token with four."""
    fake.issue("payments", lifetime=60)
    assert main(["wait", "payments", "--min-ttl", "5m", "--timeout", "5s"]) == 0
    assert fake.requests.count("POST /v1/apps/payments/refresh?wait=0") == 1


def test_wait_asks_for_one_refresh_only(fake: FakeDaemon, capsys: Capture) -> None:
    """Where tokens never live so long, each look would cost DSM a session."""
    fake.issue("payments", lifetime=60)
    fake.on_refresh = lambda app: fake.issue(app, lifetime=60)
    assert main(["wait", "payments", "--min-ttl", "5m", "--timeout", "0.5s"]) == 75
    assert "lives for another" in capsys.readouterr().err
    assert len([line for line in fake.requests if line.startswith("POST")]) == 1


def test_wait_asks_again_for_a_refresh_that_was_not_heard(fake: FakeDaemon) -> None:
    """A daemon that has no time just then is asked at the next look."""
    fake.issue("payments", lifetime=60)
    fake.refusals["POST /v1/apps/payments/refresh"] = (503, "too many connections")

    def sleep(_: float) -> None:
        fake.refusals.clear()

    assert wait.execute(parse("wait", ("payments", "--min-ttl", "5m")), sleep=sleep) == 0
    assert fake.requests.count("POST /v1/apps/payments/refresh?wait=0") == 2


class Locked(Daemon):
    """A daemon whose socket nobody may connect to for some looks; root always might."""

    def __init__(self, looks: int) -> None:
        super().__init__("locked")
        self._looks = looks

    def statuses(self, timeout: float) -> bytes:
        """Return the status of no app."""
        assert timeout == 1.0
        self._looks -= 1
        if self._looks >= 0:
            raise NotPermitted("may not connect")
        return b'{"apps": []}'


def test_wait_looks_twice_at_a_locked_socket() -> None:
    """A daemon makes its socket before it opens it to others."""
    opening = wait.ReadinessChecker(Locked(1), (), 0.0)
    assert opening.not_ready(1.0) == ["may not connect"]
    assert opening.not_ready(1.0) == []
    locked = wait.ReadinessChecker(Locked(2), (), 0.0)
    assert locked.not_ready(1.0)
    with pytest.raises(NotPermitted):
        locked.not_ready(1.0)


@pytest.mark.parametrize(("refused", "expected"), [(403, 77), (404, 64)])
def test_wait_does_not_wait_for_what_will_not_come(
    refused: int, expected: int, fake: FakeDaemon, capsys: Capture
) -> None:
    """A misspelt app or a missing permission is no matter of time."""
    fake.issue("payments", lifetime=60)
    fake.refusals["POST /v1/apps/payments/refresh"] = (refused, "no")
    assert main(["wait", "payments", "--min-ttl", "5m"]) == expected
    assert capsys.readouterr().err.startswith("refresherd wait: no")


def test_refresh_shows_what_came_of_it(fake: FakeDaemon, capsys: Capture) -> None:
    """The operator who mended something wants to see it."""
    for app in ("payments", "orders"):
        fake.issue(app)
    assert main(["refresh", "payments", "orders", "payments"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["payments", "fresh"], ["orders", "fresh"]]
    assert sorted(fake.requests) == [
        "POST /v1/apps/orders/refresh?wait=60",
        "POST /v1/apps/payments/refresh?wait=60",
    ]


def test_refresh_knows_all_apps(fake: FakeDaemon, capsys: Capture) -> None:
    """After an outage nobody wants to write out their names."""
    for number in range(40):
        fake.issue(f"app-{number}")
    assert main(["refresh", "--all"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == [f"app-{number}" for number in range(40)]


def test_refreshing_all_of_none_is_done(fake: FakeDaemon, capsys: Capture) -> None:
    """There is nothing that could have failed."""
    assert main(["refresh", "--all"]) == 0
    assert capsys.readouterr() == ("", "")
    assert fake.requests == ["GET /v1/apps"]


@pytest.mark.parametrize("words", [(), ("payments", "--all")])
def test_refresh_wants_to_be_told_which(
    words: tuple[str, ...], path: Path, capsys: Capture
) -> None:
    """To refresh all by an empty variable in a script would be a surprise."""
    assert not path.exists()
    assert main(["refresh", *words]) == 64
    assert "name the apps, or give --all" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "expected"), [("retrying", 75), ("expired", 69), ("starting", 69), ("rejected", 77)]
)
def test_a_refresh_that_fails_says_what_to_do_by_its_exit_status(
    state: str, expected: int, fake: FakeDaemon, capsys: Capture
) -> None:
    """Try again, wait for DSM, or mend the credential."""
    fake.issue("payments")
    fake.issue("orders")
    fake.on_refresh = lambda _: fake.tell("orders", state=state, consecutive_failures=3)
    assert main(["refresh", "payments", "orders"]) == expected
    assert capsys.readouterr().out.splitlines()[2].split()[1] == state


def test_the_worst_of_several_refreshes_counts(fake: FakeDaemon, capsys: Capture) -> None:
    """What went well is shown all the same."""
    fake.issue("payments")
    fake.tell("orders")
    fake.refusals["POST /v1/apps/orders/refresh"] = (403, "not for you")
    assert main(["refresh", "payments", "orders", "nobody"]) == 64
    out, err = capsys.readouterr()
    assert "payments  fresh" in out
    assert "refresherd refresh: not for you" in err
    assert 'no app named "nobody"' in err


def test_a_refresh_that_does_not_end_in_time_is_told(fake: FakeDaemon, capsys: Capture) -> None:
    """The daemon answers with the status by then, in which nothing need have changed."""
    fake.issue("payments")
    fake.on_refresh = lambda _: time.sleep(0.1)
    assert main(["refresh", "payments", "--timeout", "50ms"]) == 75
    assert "has not finished within 0.05 s" in capsys.readouterr().err


def test_each_new_token_is_a_line(fake: FakeDaemon, capfd: Capture) -> None:
    """A program that reads them needs each as soon as it is there, and nothing else."""
    fake.issue("payments", "first")

    def renew_and_stop() -> None:
        fake.heard("told payments: first")
        fake.issue("payments", "second")
        fake.heard("told payments: second")
        fake.end_streams()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    meanwhile = Thread(target=renew_and_stop)
    meanwhile.start()
    with pytest.raises(KeyboardInterrupt):
        watch.execute(parse("watch", ("payments",)), interrupt)
    meanwhile.join()
    out, err = capfd.readouterr()
    assert [json.loads(line)["access_token"] for line in out.splitlines()] == ["first", "second"]
    assert err == "refresherd watch: the daemon closed the connection; trying again\n"


def test_a_watch_without_a_daemon_ends(path: Path, capsys: Capture) -> None:
    """A misspelt path would otherwise look like a token that doesn't change."""
    assert not path.exists()
    assert main(["watch", "payments"]) == 69
    assert "nothing answers on" in capsys.readouterr().err


def test_a_stream_of_something_else_is_told(path: Path, capsys: Capture) -> None:
    """It must not be passed on as tokens."""
    with canned(path, b"HTTP/1.1 200 OK\r\n\r\n<html>\n"):
        assert main(["watch", "payments"]) == 69
    assert "a line that is not a token" in capsys.readouterr().err
