"""One app's runner: what outlives a crash, and what remains after an end."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, islice, repeat
from pathlib import Path

import pytest

from refresherd.domain.errors import OutputError, Reason, Rejected, Retryable, SessionLost
from refresherd.domain.events import (
    AppCrashed,
    CredentialChanged,
    OutputFailed,
    OutputRemoved,
    SessionEnded,
)
from refresherd.domain.labels import Ending
from refresherd.domain.model import Access, FileSpec, Instant, SocketSpec, Timing
from refresherd.domain.readiness import LONGEST_LAG, AppStatus, OutputStatus, ready
from refresherd.domain.session_state import State
from refresherd.engine.app_runner import FORGIVEN_AFTER, AppRunner
from support.fake_app import TIMING, FakeApp, Script, running, stop
from support.fakes import FakeOutput, grants, settle

FIRST, SECOND, THIRD = islice(grants(), 3)
BUG = RuntimeError("bug")
PATH = "/run/payments.token"


class Watched(FakeApp):
    """An app with its runner."""

    def __init__(
        self,
        script: Script,
        *,
        timing: Timing = TIMING,
        outputs: tuple[FakeOutput, ...] = (),
        terminations: Iterable[BaseException | None] = (),
    ) -> None:
        endings = chain(terminations, repeat(None))
        super().__init__(script, timing=timing, outputs=outputs, terminations=endings)
        self.runner = AppRunner(self.app, self.app_context, self.context)

    @property
    def crashes(self) -> list[float]:
        """The pauses after each crash so far, in seconds."""
        return [round(crash.restart_in) for crash in self.observer.of(AppCrashed)]

    def requests(self) -> list[tuple[str, float]]:
        """Return what DSM was asked and when, seconds from the start."""
        return [(call.name, call.at - 1000) for call in self.scripted.calls]

    @property
    def terminated(self) -> set[str]:
        """The tokens whose sessions were to be ended."""
        return {call.secret for call in self.scripted.calls if call.name == "terminate"}


async def test_a_status_has_the_session_and_every_output() -> None:
    """Also before anything has happened."""
    app = Watched([FIRST], outputs=(FakeOutput(PATH),))
    session = app.runner.cell.session
    assert app.runner.status() == AppStatus("payments", session, (OutputStatus(PATH),))
    async with running(app.runner.run()):
        session = app.runner.cell.session
        written = OutputStatus(PATH, session.token, "", session.last_success_at)
        status = AppStatus("payments", session, (written,), token_since=app.clock.now())
        assert app.runner.status() == status
    assert app.runner.app is app.app


async def test_an_output_that_hangs_is_seen_before_it_is_given_up() -> None:
    """Only the time since the new token came counts: DSM's answer may have taken long."""
    hanging = asyncio.Event()
    script: Script = [FIRST, SECOND, Retryable(Reason.CONNECT, "refused")]
    app = Watched(script, outputs=(FakeOutput(PATH, [None, None, hanging]),))
    async with running(app.runner.run()):
        await app.schedule.advance(302)
        status, came_at = app.runner.status(), app.runner.status().token_since
        assert came_at == Instant(1300)
        assert ready(status, Instant(came_at + LONGEST_LAG))
        app.runner.refresh()
        await settle()
        status = app.runner.status()
        assert status.token_since == came_at, "it is the same token"
        assert not ready(status, Instant(came_at + LONGEST_LAG + 1))
        hanging.set()
        await settle()
        assert ready(app.runner.status(), Instant(came_at + LONGEST_LAG + 1))


async def test_an_app_restarted_after_a_crash_keeps_its_session() -> None:
    """The session and its token are worth keeping, whatever the bug was."""
    output = FakeOutput(PATH)
    app = Watched([FIRST, BUG, SECOND], outputs=(output,))
    async with running(app.runner.run()):
        await app.schedule.advance(302)
    assert app.requests() == [("login", 0), ("reauth", 300), ("reauth", 301)]
    assert [token.generation if token else 0 for token in output.history] == [1, 2]
    (crash,) = app.observer.of(AppCrashed)
    assert isinstance(crash.error, ExceptionGroup)
    assert crash.error.exceptions == (BUG,)


async def test_a_crash_does_not_forget_a_refused_credential() -> None:
    """Otherwise each crash would be followed by another login with the same wrong key."""
    app = Watched([FIRST, SessionLost("gone"), Rejected(Reason.REJECTED, "bad key")])
    app.scripted.calls.clear()
    async with running(app.runner.run()):
        await app.schedule.advance(310)
        stamped = app.credential.version
        app.credential.version = Unstamped()
        await app.schedule.advance(10)
        assert app.crashes
        app.credential.version = stamped
        await app.schedule.advance(1000)
        assert app.runner.cell.session.state is State.REJECTED
    assert len(app.requests()) == 3
    assert app.observer.of(CredentialChanged) == []


class Unstamped:
    """A stamp whose comparison is a bug."""

    def __eq__(self, other: object) -> bool:
        raise BUG

    def __hash__(self) -> int:
        return 1


async def test_a_crash_does_not_forget_the_sessions_to_be_ended() -> None:
    """Otherwise they would pile up in DSM with each crash."""
    app = Watched([FIRST, SECOND, BUG, THIRD])
    async with running(app.runner.run()):
        await app.schedule.advance(310)
        app.runner.refresh()
        await app.schedule.advance(10)
        assert app.crashes == [1]
        await app.schedule.advance(60)
    assert app.terminated == {"token-1", "token-2"}


@pytest.mark.parametrize("turns", range(4))
async def test_a_stop_during_a_crash_is_a_stop(turns: int) -> None:
    """Python drops a cancellation that meets a failing task group; the stop would never end."""
    gate = asyncio.Event()
    app = Watched([gate, BUG])
    run = asyncio.create_task(app.runner.run())
    await settle()
    gate.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    await stop(run)
    assert run.cancelled()


async def test_crashes_are_followed_by_growing_pauses() -> None:
    """A bug that recurs must neither flood the logs nor keep the CPU busy."""
    app = Watched(repeat(BUG))
    app.rng = 0.999999
    async with running(app.runner.run()):
        await app.schedule.advance(200)
    assert app.crashes == [2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_crash_after_a_long_quiet_time_counts_as_the_first() -> None:
    """The pause grows only for bugs that recur at once."""
    app = Watched([BUG, BUG, FIRST, BUG, SECOND])
    app.rng = 0.999999
    async with running(app.runner.run()):
        await app.schedule.advance(7)
        app.clock.advance(FORGIVEN_AFTER)
        app.runner.refresh()
        await app.schedule.advance(3)
    assert app.crashes == [2, 4, 2]


async def test_a_refresh_requested_during_the_pause_follows_it() -> None:
    """The operator gets a new token as soon as the app is back."""
    app = Watched([FIRST, BUG, SECOND])
    async with running(app.runner.run()):
        await app.schedule.advance(300)
        app.runner.refresh()
        await app.schedule.advance(1)
        assert app.runner.cell.session.generation == 2


async def ended(app: Watched, seconds: float) -> None:
    """Run the app for some seconds, and end it."""
    async with running(app.runner.run()):
        await app.schedule.advance(seconds)
    await app.runner.clear()
    await app.runner.end_sessions()


async def test_an_end_removes_the_token_and_ends_every_session() -> None:
    """`shutdown = "terminate"` leaves none behind, those in their grace period included."""
    output = FakeOutput(PATH)
    app = Watched([FIRST, SECOND], outputs=(output,))
    await ended(app, 310)
    assert output.holds is None
    assert app.terminated == {"token-1", "token-2"}
    assert app.observer.events[-3:] == [
        OutputRemoved("payments", PATH),
        SessionEnded("payments", Ending.TERMINATED),
        SessionEnded("payments", Ending.TERMINATED),
    ]


async def test_an_end_without_a_session_sends_no_request() -> None:
    """It leaves a file of an earlier run, whose token may still be valid."""
    output = FakeOutput(PATH)
    app = Watched([Rejected(Reason.REJECTED, "bad key")], outputs=(output,))
    await ended(app, 1)
    assert (output.removes, app.terminated) == (0, set())


async def test_an_end_reports_what_it_could_not_do() -> None:
    """An output that still shows the token of an ended session concerns an operator."""
    output = FakeOutput(PATH, [None, None, OutputError("read-only file system")])
    app = Watched([FIRST], outputs=(output,), terminations=[SessionLost("forbidden", dead=False)])
    await ended(app, 1)
    assert app.observer.events[-2:] == [
        OutputFailed("payments", PATH, "read-only file system", 0.0),
        SessionEnded("payments", Ending.FAILED, "forbidden"),
    ]


class CountingHook:
    """A hook that remembers the generations it ran for."""

    name = "count"

    def __init__(self) -> None:
        self.ran: list[int] = []

    async def run(self, generation: int) -> str:
        """Take note."""
        self.ran.append(generation)
        return ""


async def test_hooks_run_for_each_token() -> None:
    """Consumers that read their token once have to be notified of each new one."""
    app = Watched(grants(), outputs=(FakeOutput(PATH),))
    hook = CountingHook()
    app.hooks = (hook,)
    runner = AppRunner(app.app, app.app_context, app.context)
    async with running(runner.run()):
        await app.schedule.advance(650)
    assert hook.ran == [1, 2, 3]


async def test_a_reload_tries_a_refused_credential_again_at_once() -> None:
    """The operator may have corrected it in DSM."""
    app = Watched([Rejected(Reason.REJECTED, "bad key"), FIRST])
    async with running(app.runner.run()):
        await app.schedule.advance(100)
        app.runner.reloaded()
        await app.schedule.advance(0)
        assert app.runner.cell.session.state is State.FRESH


async def test_a_reload_logs_in_with_a_key_replaced_under_the_same_name() -> None:
    """The old key may be revoked from now on."""
    app = Watched([FIRST, SECOND])
    async with running(app.runner.run()):
        await app.schedule.advance(100)
        app.runner.reloaded()
        await app.schedule.advance(0)
        assert app.requests() == [("login", 0)]
        app.credential.secret = "another"
        app.runner.reloaded()
        await app.schedule.advance(0)
    assert app.requests() == [("login", 0), ("login", 100)]


async def test_a_key_replaced_during_a_renewal_is_used_after_it() -> None:
    """The renewal's outcome must not put off the login until half of the lifetime."""
    gate = asyncio.Event()
    app = Watched([FIRST, gate, SECOND, THIRD])
    async with running(app.runner.run()):
        await app.schedule.advance(300)
        app.credential.secret = "another"
        app.runner.reloaded()
        await app.schedule.advance(5)
        gate.set()
        await app.schedule.advance(1)
    assert app.requests() == [("login", 0), ("reauth", 300), ("login", 305)]


async def test_other_settings_keep_the_session_and_unchanged_outputs() -> None:
    """A reload that adds a file writes that file, and does not log in again."""
    same, gone, new = (FakeOutput(f"/run/{name}") for name in ("same", "gone", "new"))
    files = {path: FileSpec(Path(path)) for path in ("/run/same", "/run/gone", "/run/new")}
    app = Watched([FIRST, SECOND], outputs=(same, gone))
    before = replace(app.app, files=(files["/run/same"], files["/run/gone"]))
    earlier = AppRunner(before, app.app_context, app.context)
    async with running(earlier.run()):
        await app.schedule.advance(310)
    app.outputs = (FakeOutput("/run/same"), new)
    after = replace(
        app.app, files=(files["/run/same"], files["/run/new"]), timing=Timing(terminate_after=100)
    )
    later = earlier.retuned(after, app.app_context)
    assert (same.closed, gone.closed) == (False, True)
    async with running(later.run()):
        await app.schedule.advance(100)
    assert app.requests() == [("login", 0), ("reauth", 300), ("terminate", 360)]
    assert len(same.history) == 2, "what is there already is not written again"
    assert [token and token.generation for token in new.history] == [2]


@pytest.mark.parametrize(("users", "kept"), [((), True), (("alice",), False)])
async def test_a_socket_is_bound_again_if_its_readers_change(
    users: tuple[str, ...], *, kept: bool
) -> None:
    """Who may read it is settled when it is bound."""
    socket = FakeOutput("/run/payments.sock")
    app = Watched([FIRST], outputs=(socket,))
    sockets = (SocketSpec(Path("/run/payments.sock")),)
    earlier = AppRunner(replace(app.app, sockets=sockets), app.app_context, app.context)
    async with running(earlier.run()):
        pass
    app.outputs = (FakeOutput("/run/payments.sock"),)
    after = replace(app.app, sockets=sockets, access=Access(users=users))
    earlier.retuned(after, app.app_context)
    assert socket.closed is not kept


async def test_a_closed_app_serves_nobody() -> None:
    """Clients that wait for its next token are released, and its sockets are gone."""
    output = FakeOutput(PATH)
    app = Watched([FIRST], outputs=(output,))
    async with running(app.runner.run()):
        pass
    app.runner.close()
    assert app.runner.cell.closed
    assert output.closed
