"""A host without an API key: each session comes from the one before, through stops and kills."""

import json
import os
import random
import signal
import stat
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.programs import PATIENCE, Dsm, Workplace, command, emulator, running

LIFETIME = 10

HEAD = """\
state_dir = "state"
{head}
[http]
listen = []
[refresh]
at = 0.1
jitter = 0.05
retry_min = "100ms"
rejected_retry = "1h"
terminate_after = "100ms"
"""


def request(url: str, authorization: str = "", body: bytes | None = None) -> Any:  # noqa: ANN401  # JSON
    """Return what DSM answers."""
    headers = {"Authorization": authorization} if authorization else {}
    request = urllib.request.Request(url, body, headers)  # noqa: S310  # the emulator's, http://
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310  # as above
        return json.load(answer)


def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Host:
    """A host with one `token_file` app, and the emulator that issued its token."""

    def __init__(self, directory: Path, dsm: Dsm) -> None:
        self._dsm = dsm
        self.url = dsm.url
        self.directory = directory
        self.bootstrap = directory / "bootstrap.token"
        self.token = directory / "payments.token"
        self.session = directory / "state" / "payments.session"
        self.log = directory / "log"
        self.config = self.configured()
        self.place()

    def configured(self, head: str = "") -> Path:
        """Write the configuration."""
        workplace = Workplace(self.directory, self._dsm)
        output = f'[[apps.payments.files]]\npath = "{self.token}"\n'
        workplace.sections.append(f'[apps.payments]\ntoken_file = "bootstrap.token"\n{output}')
        return workplace.write(HEAD.format(head=head))

    def place(self) -> str:
        """Do as an operator does: log in elsewhere, and copy the token here."""
        key = self._dsm.api_keys[0]
        token = request(f"{self.url}/sys/v1/session/auth", f"Basic {key}", b"")["access_token"]
        self.bootstrap.touch(mode=0o600)
        self.bootstrap.write_text(token)
        return str(token)

    def end_all_sessions(self) -> None:
        """End the sessions, as an administrator can."""
        request(f"{self.url}/control/sessions/end", body=b"{}")

    def held(self) -> str:
        """Return what consumers find, "" for nothing."""
        return self.token.read_text() if self.token.exists() else ""

    def works(self) -> bool:
        """Return whether DSM accepts the token that a consumer has just read."""
        return bool(request(f"{self.url}/crypto/v1/keys", f"Bearer {self.held()}") == [])

    def statistics(self) -> dict[str, Any]:
        """Return DSM's request counts."""
        found: dict[str, Any] = request(f"{self.url}/control/statistics")["apps"][0]
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = self.log.read_text().splitlines() if self.log.exists() else ()
        return [line for line in map(json.loads, lines) if line["event"] == name]

    @contextmanager
    def daemon(self) -> Iterator[int]:
        """Run the daemon; yield its pid once it has a new token."""
        before = self.held()
        with running("run", "--config", str(self.config), stderr=self.log) as process:
            eventually(lambda: self.held() not in ("", before))
            yield process.pid


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Yield a host with its bootstrap token, whose daemon is not started yet."""
    with emulator("--lifetime", str(LIFETIME)) as dsm:
        yield Host(tmp_path, dsm)


@dataclass
class Reader:
    """A consumer that reads its token in a loop."""

    host: Host
    seen: set[str] = field(default_factory=set)
    done: threading.Event = field(default_factory=threading.Event)

    def read(self) -> None:
        """Read until stopped."""
        while not self.done.wait(0.001):
            self.seen.add(self.host.held())

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read while the block runs."""
        thread = threading.Thread(target=self.read)
        thread.start()
        try:
            yield
        finally:
            self.done.set()
            thread.join(PATIENCE)


def test_the_chain_never_breaks_while_the_daemon_is_down_for_less_than_a_lifetime(
    host: Host,
) -> None:
    """Killed or stopped at any moment: the next run resumes the stored session, without a key."""
    random.seed(1)
    reader = Reader(host)
    with reader.reading():
        for number in range(10):
            with host.daemon() as pid:
                host.bootstrap.unlink(missing_ok=True)
                time.sleep(random.uniform(0, 1.0))  # noqa: S311  # a time to die
                os.kill(pid, signal.SIGTERM if number % 5 == 4 else signal.SIGKILL)
        with host.daemon():
            assert host.works()
    counts = host.statistics()
    assert reader.seen - {""} <= set(counts["tokens"]), "half a token"
    assert counts["logins"] == 1
    assert counts["reauths"] > 10
    assert counts["terminates"] > 0
    assert host.events("refresh failed") == []
    assert stat.S_IMODE(host.session.stat().st_mode) == 0o600
    assert stat.S_IMODE(host.session.parent.stat().st_mode) == 0o700


def test_two_daemons_on_one_state_are_one_too_many(host: Host) -> None:
    """Each would end the sessions that the other one needs."""
    with host.daemon() as pid:
        for words in (("run",), ("once", "--timeout", "5s")):
            second = command(*words, "--config", str(host.config))
            assert second.returncode == 69
            message = (
                f"state_dir {host.session.parent}: it is in use by another refresherd (pid {pid})"
            )
            assert message in second.stderr
            assert "Traceback" not in second.stderr
        assert host.works()


def test_a_broken_chain_is_repaired_by_a_new_bootstrap_without_a_restart(host: Host) -> None:
    """The operator places a new token, and the daemon notices by itself."""
    with host.daemon():
        before = host.statistics()["terminates"]
        eventually(lambda: host.statistics()["terminates"] > before)
        host.end_all_sessions()
        eventually(lambda: not host.held())
        eventually(lambda: host.events("refresh failed")[-1]["reason"] == "rejected")
        host.place()
        eventually(host.held)
        assert host.works()
        assert len(host.events("credential changed")) == 1


def test_a_new_bootstrap_comes_before_the_kept_session(host: Host) -> None:
    """It may belong to another app; and one that expired unused does no harm."""
    with host.daemon():
        pass
    placed = host.place()
    with host.daemon():
        assert json.loads(host.session.read_text())["access_token"] != placed
    requests = request(f"{host.url}/control/requests?operation=reauth")
    assert requests[-1]["status"] == 200
    host.bootstrap.write_text("x" * 86)
    with host.daemon():
        assert host.works()
        (failure,) = host.events("refresh failed")
        assert (failure["method"], failure["reason"]) == ("auth", "session_lost")


def test_a_garbled_session_file_is_left_for_the_bootstrap(host: Host) -> None:
    """A damaged file must neither keep the daemon from starting nor be taken for a token."""
    with host.daemon():
        pass
    host.session.write_bytes(b"\x00" * 512)
    host.place()
    with host.daemon():
        assert host.works()
    (warning,) = host.events("warning")
    assert warning["message"].startswith(f"{host.session} is not used")
    assert "Traceback" not in host.log.read_text()


def test_single_shots_go_on_from_each_other(host: Host) -> None:
    """Cron needs the bootstrap token only once."""
    for _ in range(3):
        before = host.held()
        done = command("once", "--config", str(host.config))
        assert done.returncode == 0, done.stderr
        assert host.held() != before
        assert host.works()
        host.bootstrap.unlink(missing_ok=True)


@pytest.mark.parametrize("by_key", [False, True])
def test_generations_grow_through_stops_and_kills(
    tmp_path: Path,
    by_key: bool,  # noqa: FBT001  # by name in the parameters above
) -> None:
    """Consumers take a lower generation for an older token; an app with a key logs in anew."""
    with emulator("--lifetime", str(LIFETIME)) as dsm:
        place = Workplace(tmp_path, dsm)
        output = f'[[apps.payments.files]]\npath = "{tmp_path / "token"}"\nformat = "json"\n'
        place.app("payments", output)
        if not by_key:
            bootstrap = tmp_path / "bootstrap.token"
            bootstrap.touch(mode=0o600)
            login = request(f"{dsm.url}/sys/v1/session/auth", f"Basic {dsm.api_keys[0]}", b"")
            bootstrap.write_text(login["access_token"])
            key = 'api_key_file = "payments.key"'
            place.sections = [
                section.replace(key, f'token_file = "{bootstrap}"') for section in place.sections
            ]
        config = str(place.write(HEAD.format(head="")))
        seen: dict[str, int] = {}

        def newer() -> bool:
            token = (
                json.loads((tmp_path / "token").read_text())
                if (tmp_path / "token").exists()
                else {}
            )
            known, latest = len(seen), max(seen.values(), default=0)
            if token and token["access_token"] not in seen:
                assert token["generation"] == latest + 1
                seen[token["access_token"]] = token["generation"]
            return len(seen) > known

        for kills in (False, True, False, True):
            with running("run", "--config", config) as process:
                eventually(newer)
                eventually(newer)
                if kills:
                    process.kill()
                    process.wait(PATIENCE)
            newer()
        assert command("once", "--config", config).returncode == 0
        assert newer()


def test_a_token_that_never_came_costs_no_generation(tmp_path: Path) -> None:
    """Consumers may count tokens by their generations, even if DSM is down at a stop."""
    with emulator("--lifetime", str(LIFETIME)) as dsm:
        place, token = Workplace(tmp_path, dsm), tmp_path / "token"
        place.app("payments", f'[[apps.payments.files]]\npath = "{token}"\nformat = "json"\n')
        config = str(place.write(HEAD.format(head="")))
        faults = f"{dsm.url}/control/faults"
        request(faults, body=b'{"operation": "auth", "status": 503}')
        with running("run", "--config", config):
            eventually(lambda: request(f"{dsm.url}/control/requests?operation=auth")[1:])
        remove = urllib.request.Request(faults, method="DELETE")  # noqa: S310  # the emulator's, http://
        urllib.request.urlopen(remove, timeout=PATIENCE).close()  # noqa: S310  # as above
        assert command("once", "--config", config).returncode == 0
        assert json.loads(token.read_text())["generation"] == 1


def test_a_stop_that_ends_sessions_leaves_the_last_of_a_chain(host: Host) -> None:
    """Without it the app could not start again; the log says so."""
    host.configured('shutdown = "terminate"')
    with host.daemon():
        pass
    assert host.works()
    with host.daemon():
        assert host.works()
    assert "token_file" in host.events("warning")[0]["message"]
