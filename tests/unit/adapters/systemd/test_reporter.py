"""What is reported to the service manager, and when."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from refresherd.adapters.systemd.reporter import Reporter
from refresherd.domain import session_state
from refresherd.domain.errors import DsmError, LoginSuppressed, Reason, Rejected, Retryable
from refresherd.domain.events import (
    AttemptBegan,
    Event,
    LoginPostponed,
    OutputFailed,
    OutputWritten,
    Reloaded,
    ReloadFailed,
    Renewed,
    SessionResumed,
    Stopping,
    TokenExpired,
)
from refresherd.domain.model import Instant, Method, Timing
from refresherd.domain.readiness import AppStatus, Ready
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import NEVER, SessionState
from refresherd.host.service_manager import Notifier
from support.fakes import grants
from support.service_manager import ServiceManager, manager_at
from support.simulation import Machine, simulate

RENEWED = Renewed("a", "https://dsm", Method.AUTH, 0.1, 1, Instant(1), Instant(1), "")
ERROR = Retryable(Reason.CONNECT, "connection refused")
Story = Callable[[], Coroutine[None, None, None]]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    """Yield a service manager that listens."""
    manager = manager_at(tmp_path)
    yield manager
    manager.close()


class Service:
    """A reporter on a simulated machine, and a roster of apps that a test changes."""

    def __init__(self, manager: ServiceManager, *apps: str, wanted: Ready = Ready.ALL) -> None:
        self.machine = Machine()
        self.manager = manager
        self.apps = {name: session_state.begin(self.machine.now()) for name in apps}
        self.notifier = Notifier(manager.address)
        self.reporter = Reporter(self.notifier, self.machine, wanted)

    def statuses(self) -> Iterator[AppStatus]:
        """Return all apps, as a Roster."""
        return (AppStatus(name, session) for name, session in self.apps.items())

    def reports(self) -> tuple[AppReport, ...]:
        """Return nothing: nobody asks for reports here."""
        return ()

    def status(self, name: str) -> AppStatus | None:
        """Return an app, as a Roster."""
        session = self.apps.get(name)
        return None if session is None else AppStatus(name, session)

    def happens(self, session: SessionState, name: str, event: Event) -> None:
        """Give an app a new state, and send the event to the reporter."""
        self.apps[name] = session
        self.reporter.observe(event)

    def serve(self, name: str) -> None:
        """Give an app its token."""
        now, grant = self.machine.now(), next(grants(600.0))
        session = session_state.granted(self.apps[name], grant, now, Timing(), 0.0)
        self.happens(session, name, OutputWritten(name, "/run/a", session.generation))

    def fail(self, name: str, error: DsmError = ERROR) -> None:
        """Make an app's attempt fail."""
        session = session_state.failed(self.apps[name], error, self.machine.now(), Timing(), 0.0)
        self.happens(session, name, OutputFailed(name, "/run/a", "disk full", 1.0))

    def live(self, story: Story, *, deaf: bool = False) -> None:
        """Run the reporter during a story, and a little longer.

        A `deaf` service manager reads only when the story makes it.
        """

        async def main() -> None:
            if not deaf:
                asyncio.get_running_loop().add_reader(self.manager, self.manager.read)
            task = asyncio.create_task(self.reporter.run(self))
            await asyncio.sleep(0)
            await story()
            await asyncio.sleep(2.0)
            task.cancel()

        simulate(self.machine, main())
        self.notifier.close()

    def sent(self, name: str) -> list[str]:
        """Return the values that a name was assigned since the last look, in order."""
        values = (message.value(name) for message in self.manager.take())
        return [value for value in values if value is not None]


async def nothing() -> None:
    """Let nothing happen."""


def test_ready_is_sent_once_when_every_app_is_served(manager: ServiceManager) -> None:
    """Units that start after this one read tokens, so all must be there."""
    service = Service(manager, "a", "b")

    async def story() -> None:
        service.serve("a")
        await asyncio.sleep(1.0)
        (first, *_, last) = manager.take()
        assert (first.value("READY"), last.value("READY")) == (None, None)
        status = last.value("STATUS") or ""
        assert "1 of 2 fresh; waiting for b: no valid token (starting)" in status
        service.serve("b")

    service.live(story)
    (ready, *later) = manager.take()
    assert ready.lines[0] == "READY=1"
    assert (ready.value("STATUS") or "").startswith("2 of 2 fresh; next refresh at 20")
    assert all(message.value("READY") is None for message in later)


@pytest.mark.parametrize(("wanted", "served"), [(Ready.ANY, ["b"]), (Ready.STARTED, [])])
def test_ready_may_need_fewer_apps(
    manager: ServiceManager, wanted: Ready, served: list[str]
) -> None:
    """The operator chooses with `ready`, so that one dead endpoint need not delay the boot."""
    service = Service(manager, "a", "b", wanted=wanted)
    for name in served:
        service.serve(name)
    service.live(nothing)
    assert manager.take()[0].lines[0] == "READY=1"


def test_a_refused_app_does_not_hold_up_the_boot(manager: ServiceManager) -> None:
    """An operator must act, and may need the very units that wait for this one."""
    service = Service(manager, "a", "b", wanted=Ready.SETTLED)

    async def story() -> None:
        service.serve("a")
        await asyncio.sleep(1.0)
        assert service.sent("READY") == []
        service.fail("b", Rejected(Reason.REJECTED, "the key was refused"))
        await asyncio.sleep(0.1)
        assert service.sent("READY") == ["1"]

    service.live(story)


def test_an_app_that_fails_holds_up_the_boot_for_thirty_seconds(manager: ServiceManager) -> None:
    """Its tokens may be needed, so a short outage is waited for; the rest of the host is not."""
    service = Service(manager, "a", "b", wanted=Ready.SETTLED)

    async def story() -> None:
        service.serve("a")
        service.reporter.observe(AttemptBegan("b", Method.AUTH, 0.0))
        for _ in range(29):
            service.fail("b")
            await asyncio.sleep(1.0)
        messages = manager.take()
        assert not any(message.value("READY") for message in messages)
        assert "waiting for b: no valid token (starting): connect: " in (
            messages[-1].value("STATUS") or ""
        )
        await asyncio.sleep(1.1)
        ready = manager.take()[-1]
        assert ready.value("READY") == "1"
        assert (ready.value("STATUS") or "").startswith("1 of 2 fresh; b: no valid token")

    service.live(story)


def test_the_start_is_extended_while_dsm_is_unreachable(manager: ServiceManager) -> None:
    """Otherwise systemd would end the daemon after 90 s, and each start would log in again."""
    service = Service(manager, "a")

    async def story() -> None:
        service.fail("a")
        await asyncio.sleep(600.0)

    service.live(story)
    messages = manager.take()
    extended = [message for message in messages if message.value("EXTEND_TIMEOUT_USEC")]
    assert len(extended) >= 600 / 60 * 2
    assert {message.value("EXTEND_TIMEOUT_USEC") for message in extended} == {"60000000"}
    assert "connect: connection refused" in (messages[-1].value("STATUS") or "")


def test_after_ready_an_unchanged_state_is_not_sent_again(manager: ServiceManager) -> None:
    """The service manager should not be woken for nothing."""
    service = Service(manager, "a")

    async def story() -> None:
        service.serve("a")
        await asyncio.sleep(1.0)
        manager.take()
        for _ in range(100):
            service.reporter.observe(AttemptBegan("a", Method.REAUTH, 0.0))
            service.reporter.observe(OutputWritten("a", "/run/a", 1))
            await asyncio.sleep(0.01)

    service.live(story)
    assert manager.take() == []


def test_each_change_of_the_state_is_sent(manager: ServiceManager) -> None:
    """`systemctl status` shows the last line for as long as nothing happens."""
    service = Service(manager, "a")

    async def story() -> None:
        service.serve("a")
        await asyncio.sleep(1.0)
        service.sent("STATUS")
        service.fail("a")
        await asyncio.sleep(2.0)
        (status,) = service.sent("STATUS")
        assert status.startswith("0 of 1 fresh; a: retrying: connect: connection refused; ")
        expired = replace(session_state.expired(service.apps["a"], Instant(1e9)), token=None)
        service.happens(expired, "a", TokenExpired("a", 1))
        await asyncio.sleep(2.0)
        assert "a: no valid token (" in service.sent("STATUS")[0]
        service.serve("a")

    service.live(story)
    assert service.sent("STATUS")[0].startswith("1 of 1 fresh")


def test_a_full_queue_delays_ready_and_does_not_lose_it(manager: ServiceManager) -> None:
    """Without READY, systemd would end a healthy daemon."""
    service = Service(manager, "a", wanted=Ready.STARTED)
    manager.flood()

    async def story() -> None:
        await asyncio.sleep(1.0)
        assert all(message.value("READY") is None for message in manager.take())

    service.live(story, deaf=True)
    assert service.sent("READY") == ["1"]


def test_a_reload_is_reported_at_once_and_when_it_is_done(manager: ServiceManager) -> None:
    """Systemd 252 requests it with kill(1), and must know of it before that returns."""
    service = Service(manager, "a")

    async def story() -> None:
        service.serve("a")
        await asyncio.sleep(2.0)
        manager.take()
        service.reporter.reload_begins()
        (reloading,) = manager.take()
        assert reloading.lines[0] == "RELOADING=1"
        assert reloading.value("MONOTONIC_USEC")
        service.apps["b"] = session_state.begin(service.machine.now())
        service.reporter.observe(Reloaded(service.machine.now(), 1, 0, 0, 0))
        service.reporter.reload_ended()

    service.live(story)
    (ready,) = manager.take()
    assert ready.lines[0] == "READY=1"
    assert "1 of 2 fresh; b: no valid token" in ready.lines[1]


def test_a_reload_that_found_the_queue_full_is_reported_as_a_whole(manager: ServiceManager) -> None:
    """After READY alone, systemd would wait for the end of the reload until its timeout."""
    service = Service(manager, "a")

    async def story() -> None:
        service.serve("a")
        await asyncio.sleep(2.0)
        manager.take()
        manager.flood()
        service.reporter.reload_begins()
        service.reporter.reload_ended()
        await asyncio.sleep(1.0)
        assert all(message.value("READY") is None for message in manager.take())

    service.live(story, deaf=True)
    ready = [message for message in manager.take() if message.value("READY")]
    assert [message.value("RELOADING") for message in ready] == ["1"]


def test_a_withheld_login_is_reported(manager: ServiceManager) -> None:
    """After a restart with a refused key, DSM is not asked, and no other event occurs."""
    service = Service(manager, "a")

    async def story() -> None:
        await asyncio.sleep(1.0)
        manager.take()
        withheld = LoginSuppressed("50 logins have failed", NEVER)
        session = session_state.failed(
            service.apps["a"], withheld, service.machine.now(), Timing(), 0.0
        )
        service.happens(
            session, "a", LoginPostponed("a", withheld.message, session.next_attempt_at)
        )
        await asyncio.sleep(1.0)

    service.live(story)
    assert "50 logins have failed" in service.sent("STATUS")[-1]


def test_a_refused_configuration_ends_the_reload_and_stays_named(manager: ServiceManager) -> None:
    """The old one stays in force, so the service is ready; the refusal must not be overlooked."""
    service = Service(manager, "a")

    async def story() -> None:
        service.serve("a")
        await asyncio.sleep(2.0)
        manager.take()
        for fault in ("config.toml:1: first", "config.toml:2: second"):
            service.reporter.observe(ReloadFailed(fault))
        service.reporter.reload_ended()
        await asyncio.sleep(2.0)
        (ready,) = manager.take()
        assert ready.lines[0] == "READY=1"
        assert ready.lines[1].startswith("STATUS=configuration refused: config.toml:1: first; ")
        service.fail("a")
        await asyncio.sleep(2.0)
        assert service.sent("STATUS")[0].startswith("configuration refused: config.toml:1: first")
        service.reporter.reload_begins()
        service.reporter.observe(Reloaded(service.machine.now(), 0, 0, 0, 0))
        service.reporter.reload_ended()

    service.live(story)
    assert service.sent("STATUS")[-1].startswith("0 of 1 fresh")


def test_before_ready_a_reload_is_not_reported(manager: ServiceManager) -> None:
    """READY=1 at its end would be wrong: the apps are not served yet."""
    service = Service(manager, "a")

    async def story() -> None:
        service.reporter.reload_begins()
        service.reporter.reload_ended()
        await asyncio.sleep(1.0)

    service.live(story)
    assert {line for message in manager.take() for line in message.lines} & {
        "RELOADING=1",
        "READY=1",
    } == set()


def test_a_stop_is_reported_with_its_cause_though_the_queue_is_full(
    manager: ServiceManager,
) -> None:
    """Systemd must not take a stop for a failure of the watchdog."""
    service = Service(manager, "a", wanted=Ready.STARTED)

    async def story() -> None:
        await asyncio.sleep(1.0)
        manager.flood()
        service.reporter.observe(Stopping("SIGTERM"))
        service.reporter.reload_begins()
        await asyncio.sleep(1.0)
        manager.take()

    service.live(story, deaf=True)
    (last,) = manager.take()
    assert last.lines == ("STOPPING=1", "STATUS=stopping: SIGTERM")


@pytest.mark.parametrize("event", [RENEWED, SessionResumed("a", 1, Instant(1), Instant(1))])
def test_an_app_without_outputs_is_ready_with_its_token(
    manager: ServiceManager, event: Event
) -> None:
    """Consumers of the API socket need no file, so no write announces the token."""
    service = Service(manager, "a")

    async def story() -> None:
        now = service.machine.now()
        session = session_state.granted(service.apps["a"], next(grants(600.0)), now, Timing(), 0.0)
        await asyncio.sleep(1.0)
        service.happens(session, "a", event)

    service.live(story)
    assert service.sent("READY") == ["1"]


def test_a_thousand_apps_are_reported(manager: ServiceManager) -> None:
    """They are surveyed in batches, between which the loop serves consumers."""
    service = Service(manager, *(f"app{number}" for number in range(1000)), wanted=Ready.STARTED)
    service.live(nothing)
    assert "0 of 1000 fresh" in service.sent("STATUS")[0]
