"""The commands that talk to the daemon, over a real socket: what they print and return."""

import io
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from refresherd.cli import status, wait, watch
from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.http_client import Deadline
from refresherd.cli.command_line import main, parse
from refresherd.cli.errors import NotPermitted
from support.fake_daemon import FakeDaemon, canned, fake_daemon

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the daemon's socket, which $REFRESHERD_SOCKET names."""
    path = tmp_path / "api.sock"
    monkeypatch.setenv("REFRESHERD_SOCKET", str(path))
    return path


@pytest.fixture
def fake(path: Path) -> Iterator[FakeDaemon]:
    """Serve a daemon."""
    with fake_daemon(path) as daemon:
        yield daemon


class Terminal(io.TextIOWrapper):
    """A stream into memory that claims to be a terminal."""

    def __init__(self) -> None:
        self.content = io.BytesIO()
        super().__init__(self.content, write_through=True)

    def isatty(self) -> bool:
        """Return True."""
        return True


def reject(fake: FakeDaemon, app: str) -> None:
    """Make DSM refuse an app's credential."""
    fake.set_status(
        app,
        state="rejected",
        troubled=True,
        remedy="replace the credential that the error names, or enable the app in DSM",
        consecutive_failures=1,
        last_error="rejected: 401 Unauthorized",
        not_ready_because=["no valid token (rejected): 401 Unauthorized"],
    )


def test_token_prints_the_raw_token_byte_for_byte(fake: FakeDaemon, capfd: Capture) -> None:
    """The vendor's client rejects a token that ends with a newline."""
    fake.issue("payments", "abc")
    assert main(["token", "payments"]) == 0
    assert capfd.readouterr() == ("abc", "")


def test_token_prints_a_format_unchanged(fake: FakeDaemon, capfd: Capture) -> None:
    """A newline at its end is part of the format."""
    fake.issue("payments", "abc")
    assert main(["token", "payments", "--format", "header"]) == 0
    assert capfd.readouterr().out == "Authorization: Bearer abc\n"


def test_token_on_a_terminal_leaves_the_prompt_a_line_of_its_own(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output is exact even there; the newline goes to standard error."""
    fake.issue("payments", "abc")
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["token", "payments"]) == 0
    assert (out.content.getvalue(), err.content.getvalue()) == (b"abc", b"\n")
    assert main(["token", "payments", "--format", "header"]) == 0
    assert err.content.getvalue() == b"\n"


def test_token_prefers_one_that_lasts_for_a_request(fake: FakeDaemon, capfd: Capture) -> None:
    """One that expires in the pipe is useless; but while DSM is away, any valid one will do."""
    fake.issue("payments", "short", lifetime=12)
    assert main(["token", "payments"]) == 0
    assert capfd.readouterr().out == "short"
    first, second = fake.requests
    assert "min_ttl=30" in first
    assert "min_ttl" not in second
    assert main(["token", "payments", "--min-ttl", "30s"]) == 69
    assert main(["token", "payments", "--min-ttl", "0s"]) == 0
    assert capfd.readouterr().out == "short"


def test_token_without_a_token_prints_nothing_on_standard_output(
    fake: FakeDaemon, capfd: Capture
) -> None:
    """A script that ignores the exit status must get an empty token, not a sentence."""
    fake.set_status("payments")
    assert main(["token", "payments", "--timeout", "0.1"]) == 69
    expected = "refresherd token: payments: no valid token (starting)\n"
    assert capfd.readouterr() == ("", expected)


def test_status_of_all_apps_is_a_table(fake: FakeDaemon, capsys: Capture) -> None:
    """Operators look here first, and programs find a line for each app; trouble comes first."""
    fake.issue("payments")
    reject(fake, "orders")
    assert main(["status"]) == 0
    heading, orders, payments = capsys.readouterr().out.splitlines()
    assert heading.split("  ")[0] == "APP"
    assert payments.split()[:2] == ["payments", "fresh"]
    assert orders.endswith("rejected: 401 Unauthorized")


def test_status_on_a_terminal_says_what_to_do(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person gets the status page's picture, as wide as the terminal is."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    fake.issue("payments")
    reject(fake, "orders")
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["status"]) == 0
    lines = out.content.getvalue().decode().splitlines()
    assert lines[0] == "1 of 2 apps is in trouble"
    assert "  What to do: replace the credential that the error names," in lines
    assert lines[-1].startswith("payments  fresh")
    assert max(map(len, lines)) <= 60


def test_status_of_one_app_has_its_details(fake: FakeDaemon, capsys: Capture) -> None:
    """Only that app is asked for: the status of thousands takes a while."""
    fake.issue("payments")
    assert main(["status", "payments"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("The app is well\n")
    assert "  endpoint: https://amer.smartkey.io\n" in out
    assert fake.requests == ["GET /v1/apps/payments"]


def test_status_json_is_the_daemons_own(fake: FakeDaemon, capsys: Capture) -> None:
    """Scripts get members, too, that this version of the command does not know."""
    fake.set_status("payments", novelty=1)
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"apps": [fake.status("payments")]}
    assert main(["status", "payments", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == fake.status("payments")


def watched(words: tuple[str, ...], *between: Callable[[], object]) -> None:
    """Run `status --watch`, calling each `between` in place of a wait, and then Ctrl-C."""
    script = iter(between)

    def sleep(_: float) -> None:
        step = next(script, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    with pytest.raises(KeyboardInterrupt):
        status.execute(parse("status", ("--watch", *words)), sleep)


def test_status_watch_shows_changes(fake: FakeDaemon, capsys: Capture) -> None:
    """In a pipe, one table follows the other, each with its time."""
    fake.set_status("payments")
    watched((), lambda: fake.issue("payments"))
    first, second = capsys.readouterr().out.strip().split("\n\n")
    assert "starting" in first
    assert "fresh" in second
    assert re.search(r"\nAs of \d\d:\d\d:\d\d UTC$", second)


def test_status_watch_survives_a_restart_of_the_daemon(path: Path, capsys: Capture) -> None:
    """An operator who restarts it sees it go and come back."""
    state = FakeDaemon()
    state.issue("payments")
    with ExitStack() as stack:
        stack.enter_context(fake_daemon(path, state))
        watched((), stack.close, lambda: stack.enter_context(fake_daemon(path, state)))
    before, gone, after = capsys.readouterr().out.strip().split("\n\n")
    assert "fresh" in before
    assert gone.startswith("nothing answers on ")
    assert "fresh" in after


def test_status_watch_keeps_the_last_facts_and_says_how_old_they_are(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, what was known before the daemon stopped may be what somebody needs now."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("LINES", "24")
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    state = FakeDaemon()
    state.issue("payments")
    with ExitStack() as stack:
        stack.enter_context(fake_daemon(path, state))
        watched((), stack.close, lambda: stack.enter_context(fake_daemon(path, state)))
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.content.getvalue().decode())
    before, gone, after = text.split("\x1b[J")[1:]
    (as_of,) = re.findall(r"As of (\d\d:\d\d:\d\d UTC)", before)
    assert gone.startswith(
        f"The daemon does not answer. This is its status as of {as_of}; trying again.\nnothing"
    )
    assert "payments  fresh" in gone
    assert after.startswith("The app is well")
    assert max(map(len, text.splitlines())) <= 90


def test_status_watch_json_prints_a_line_each_time(path: Path, capsys: Capture) -> None:
    """Errors stay apart from what a script reads."""
    state = FakeDaemon()
    state.issue("payments")
    with ExitStack() as stack:
        stack.enter_context(fake_daemon(path, state))
        watched(("payments", "--json"), lambda: state.issue("payments"), stack.close)
    out, err = capsys.readouterr()
    assert [json.loads(line)["generation"] for line in out.splitlines()] == [1, 2]
    assert err.startswith("refresherd status: nothing answers")


def test_status_watch_ends_at_once_for_an_unknown_app(fake: FakeDaemon, capsys: Capture) -> None:
    """Waiting would not help."""
    fake.set_status("payments")
    assert main(["status", "payment", "--watch"]) == 64
    assert "the apps are: payments" in capsys.readouterr().err


def test_wait_prints_nothing_if_all_are_ready(fake: FakeDaemon, capsys: Capture) -> None:
    """A start script needs only the exit status."""
    fake.issue("payments")
    fake.issue("orders")
    assert main(["wait"]) == 0
    assert main(["wait", "payments", "orders"]) == 0
    assert capsys.readouterr() == ("", "")


def test_wait_ends_as_soon_as_the_token_is_there(fake: FakeDaemon) -> None:
    """A service should not start later than necessary."""
    fake.set_status("payments")

    def sleep(_: float) -> None:
        fake.issue("payments")

    assert wait.execute(parse("wait", ("payments",)), sleep=sleep) == 0
    assert len(fake.requests) == 2


def test_wait_prints_which_app_is_not_ready_and_why(fake: FakeDaemon, capsys: Capture) -> None:
    """The log of a service that failed to start should explain it."""
    fake.issue("payments")
    reject(fake, "orders")
    assert main(["wait", "--timeout", "0.1"]) == 75
    reason = "no valid token (rejected): 401 Unauthorized"
    assert capsys.readouterr() == ("", f"refresherd wait: orders: {reason}\n")


def test_wait_says_at_once_that_an_app_is_rejected(fake: FakeDaemon, capsys: Capture) -> None:
    """A service would seem to hang for a minute, although only an operator can help."""
    reject(fake, "payments")
    said = []

    def sleep(_: float) -> None:
        said.append(capsys.readouterr().err)
        if len(said) == 2:
            fake.issue("payments")

    assert wait.execute(parse("wait", ("payments",)), sleep=sleep) == 0
    reason = "no valid token (rejected): 401 Unauthorized"
    assert said == [f"refresherd wait: payments: {reason}\n", ""]


def test_wait_waits_for_the_daemon_too(path: Path, capsys: Capture) -> None:
    """At boot, units may start in any order."""
    state = FakeDaemon()
    state.issue("payments")
    with ExitStack() as stack:

        def sleep(_: float) -> None:
            stack.enter_context(fake_daemon(path, state))

        assert wait.execute(parse("wait", ("payments",)), sleep=sleep) == 0
    assert main(["wait", "payments", "--timeout", "0.1"]) == 75
    assert "nothing answers on" in capsys.readouterr().err


def test_wait_times_out_if_the_daemon_hangs(path: Path, capsys: Capture) -> None:
    """The timeout holds, whatever takes so long."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert main(["wait", "--timeout", "0.1"]) == 75
    assert "no answer on" in capsys.readouterr().err


def test_wait_waits_for_files_too(fake: FakeDaemon, capsys: Capture) -> None:
    """The service that starts next reads one of them."""
    fake.issue("payments")
    fake.set_status(
        "payments", ready=False, not_ready_because=["/run/x does not hold the newest token"]
    )
    assert main(["wait", "--timeout", "0.1"]) == 75
    assert "/run/x does not hold the newest token" in capsys.readouterr().err


def test_wait_refreshes_a_token_that_will_not_last(fake: FakeDaemon) -> None:
    """A job of five minutes cannot use a token that lives for one."""
    fake.issue("payments", lifetime=60)
    assert main(["wait", "payments", "--min-ttl", "5m", "--timeout", "5s"]) == 0
    assert fake.requests.count("POST /v1/apps/payments/refresh?wait=0") == 1


def test_wait_refreshes_an_app_only_once(fake: FakeDaemon, capsys: Capture) -> None:
    """If tokens never live that long, each check would cost DSM a session."""
    fake.issue("payments", lifetime=60)
    fake.on_refresh = lambda app: fake.issue(app, lifetime=60)
    assert main(["wait", "payments", "--min-ttl", "5m", "--timeout", "0.5s"]) == 75
    assert "lives for another" in capsys.readouterr().err
    assert len([line for line in fake.requests if line.startswith("POST")]) == 1


def test_wait_repeats_a_refresh_that_the_daemon_did_not_accept(fake: FakeDaemon) -> None:
    """An overloaded daemon gets the request again at the next check."""
    fake.issue("payments", lifetime=60)
    fake.refusals["POST /v1/apps/payments/refresh"] = (503, "too many connections")

    def sleep(_: float) -> None:
        fake.refusals.clear()

    assert wait.execute(parse("wait", ("payments", "--min-ttl", "5m")), sleep=sleep) == 0
    assert fake.requests.count("POST /v1/apps/payments/refresh?wait=0") == 2


class Locked(Daemon):
    """A daemon to whose socket nobody may connect the first few times, as root always might."""

    def __init__(self, denials: int) -> None:
        super().__init__("locked")
        self._denials = denials

    def status(self, app: str, deadline: Deadline) -> bytes:
        """Return the status of no app."""
        assert (app, deadline.seconds) == ("", 1.0)
        self._denials -= 1
        if self._denials >= 0:
            raise NotPermitted("may not connect")
        return b'{"apps": []}'


def test_wait_tries_a_locked_socket_twice() -> None:
    """A daemon creates its socket a moment before it opens it to others."""
    opening = wait.ReadinessChecker(Locked(1), (), 0.0)
    assert opening.not_ready(Deadline(1.0)) == ["may not connect"]
    assert opening.not_ready(Deadline(1.0)) == []
    locked = wait.ReadinessChecker(Locked(2), (), 0.0)
    assert locked.not_ready(Deadline(1.0))
    with pytest.raises(NotPermitted):
        locked.not_ready(Deadline(1.0))


@pytest.mark.parametrize(("refused", "expected"), [(403, 77), (404, 64)])
def test_wait_ends_at_once_if_waiting_would_not_help(
    refused: int, expected: int, fake: FakeDaemon, capsys: Capture
) -> None:
    """Time cures neither a misspelt app nor a missing permission."""
    fake.issue("payments", lifetime=60)
    fake.refusals["POST /v1/apps/payments/refresh"] = (refused, "no")
    assert main(["wait", "payments", "--min-ttl", "5m"]) == expected
    assert capsys.readouterr().err.startswith("refresherd wait: no")


def test_refresh_shows_the_new_status(fake: FakeDaemon, capsys: Capture) -> None:
    """An operator who repaired something wants to see the effect."""
    for app in ("payments", "orders"):
        fake.issue(app)
    assert main(["refresh", "payments", "orders", "payments"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["payments", "fresh"], ["orders", "fresh"]]
    assert sorted(request.partition("?")[0] for request in fake.requests) == [
        "POST /v1/apps/orders/refresh",
        "POST /v1/apps/payments/refresh",
    ]


@pytest.mark.timing
@pytest.mark.parametrize(
    "words",
    [
        ("token", "payments"),
        ("refresh", "payments"),
        ("refresh", "--all"),
        ("exec", "payments", "--on-refresh", "HUP", "--", "true"),
        ("wait",),
        ("wait", "payments", "--min-ttl", "5m"),
    ],
)
def test_a_daemon_that_stands_still_costs_the_timeout_and_no_more(
    words: tuple[str, ...], path: Path, capsys: Capture
) -> None:
    """A stopped daemon still gets connections: the kernel accepts them."""
    at = words.index("--") if "--" in words else len(words)
    words = (*words[:at], "--timeout", "400ms", *words[at:])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        began = time.monotonic()
        assert main(words) == 75
        assert time.monotonic() - began < 0.5
    assert "within 0.4 s" in capsys.readouterr().err


@pytest.mark.timing
def test_one_timeout_is_for_all_apps_of_a_refresh(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """With thousands of apps that hang, the last ones would otherwise be asked for hours later."""
    monkeypatch.setattr("refresherd.cli.refresh.CONCURRENCY", 1)
    for number in range(5):
        fake.issue(f"app-{number}")
    fake.on_refresh = lambda _: time.sleep(0.4)
    began = time.monotonic()
    assert main(["refresh", "--all", "--timeout", "500ms"]) == 75
    assert time.monotonic() - began < 0.8
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_refresh_all(fake: FakeDaemon, capsys: Capture) -> None:
    """After an outage nobody wants to type all names."""
    for number in range(40):
        fake.issue(f"app-{number}")
    assert main(["refresh", "--all"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == [f"app-{number}" for number in range(40)]


def test_refresh_all_without_apps_succeeds(fake: FakeDaemon, capsys: Capture) -> None:
    """Nothing can have failed."""
    assert main(["refresh", "--all"]) == 0
    assert capsys.readouterr() == ("", "")
    assert fake.requests == ["GET /v1/apps"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [((), "name the apps, or give --all"), (("payments", "--all"), "not both")],
)
def test_refresh_needs_either_names_or_all(
    words: tuple[str, ...], complaint: str, path: Path, capsys: Capture
) -> None:
    """An empty variable in a script must not refresh every app."""
    assert not path.exists()
    assert main(["refresh", *words]) == 64
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "expected"), [("retrying", 75), ("expired", 69), ("starting", 69), ("rejected", 77)]
)
def test_the_exit_status_of_a_failed_refresh_says_what_to_do(
    state: str, expected: int, fake: FakeDaemon, capsys: Capture
) -> None:
    """Try again, wait for DSM, or replace the credential."""
    fake.issue("payments")
    fake.issue("orders")
    fake.on_refresh = lambda _: fake.set_status("orders", state=state, consecutive_failures=3)
    assert main(["refresh", "payments", "orders"]) == expected
    assert capsys.readouterr().out.splitlines()[2].split()[1] == state


def test_the_worst_of_several_refreshes_is_the_exit_status(
    fake: FakeDaemon, capsys: Capture
) -> None:
    """The successful ones are still shown."""
    fake.issue("payments")
    fake.set_status("orders")
    fake.refusals["POST /v1/apps/orders/refresh"] = (403, "not for you")
    assert main(["refresh", "payments", "orders", "nobody"]) == 64
    out, err = capsys.readouterr()
    assert "payments  fresh" in out
    assert "refresherd refresh: not for you" in err
    assert 'no app named "nobody"' in err


def test_a_refresh_that_does_not_finish_in_time_is_an_error(
    fake: FakeDaemon, capsys: Capture
) -> None:
    """The daemon then answers with a status in which nothing may have changed."""
    fake.issue("payments")
    fake.on_refresh = lambda _: time.sleep(0.46)
    assert main(["refresh", "payments", "--timeout", "500ms"]) == 75
    out, err = capsys.readouterr()
    assert (out, "within 0.5 s" in err) == ("", True)


def test_watch_prints_each_new_token_as_a_line(fake: FakeDaemon, capfd: Capture) -> None:
    """The program that reads them needs each one at once, and nothing else."""
    fake.issue("payments", "first")

    def renew_and_stop() -> None:
        fake.wait_for("sent payments: first")
        fake.issue("payments", "second")
        fake.wait_for("sent payments: second")
        fake.end_streams()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    thread = Thread(target=renew_and_stop)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        watch.execute(parse("watch", ("payments",)), interrupt)
    thread.join()
    out, err = capfd.readouterr()
    assert [json.loads(line)["access_token"] for line in out.splitlines()] == ["first", "second"]
    assert err == "refresherd watch: the daemon closed the connection; trying again\n"


def test_watch_says_why_it_waits(fake: FakeDaemon, capfd: Capture) -> None:
    """A rejected app gets no token before an operator acts; silence would look like a hang."""
    reject(fake, "payments")

    def answered() -> None:
        """Return once the status has been asked for twice: by then it was answered once."""
        for _ in range(2):
            fake.requests.clear()
            fake.wait_for("GET /v1/apps/payments")

    def repair() -> None:
        answered()
        fake.set_status("payments", state="expired", not_ready_because=["no valid token (expired)"])
        answered()
        fake.issue("payments", "first", lifetime=0.0)
        fake.set_status("payments", state="rejected", not_ready_because=["no valid token (x)"])
        fake.wait_for("sent payments: first")
        answered()
        fake.end_streams()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    thread = Thread(target=repair)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        watch.execute(parse("watch", ("payments",)), interrupt)
    thread.join()
    out, err = capfd.readouterr()
    assert json.loads(out)["access_token"] == "first"
    states = ("rejected): 401 Unauthorized", "expired)", "x)")
    assert err.splitlines() == [
        *(
            f"refresherd watch: payments: no valid token ({state}; waiting for a token"
            for state in states
        ),
        "refresherd watch: the daemon closed the connection; trying again",
    ]


def test_watch_without_a_daemon_ends(path: Path, capsys: Capture) -> None:
    """Otherwise a misspelt path would look like a token that does not change."""
    assert not path.exists()
    assert main(["watch", "payments"]) == 69
    assert "nothing answers on" in capsys.readouterr().err


def test_watch_rejects_lines_that_are_not_tokens(path: Path, capsys: Capture) -> None:
    """Another service may answer on the socket."""
    with canned(path, b"HTTP/1.1 200 OK\r\n\r\n<html>\n"):
        assert main(["watch", "payments"]) == 69
    assert "a line that is not a token" in capsys.readouterr().err
