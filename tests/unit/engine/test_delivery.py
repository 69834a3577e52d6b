"""One output: brought to the newest token, retried by itself, and emptied when it must be."""

import asyncio
from collections.abc import Iterable
from itertools import islice

from refresherd.domain import operator_transitions, session_state
from refresherd.domain.errors import OutputError, SessionLost
from refresherd.domain.events import OutputFailed, OutputRemoved, OutputWritten
from refresherd.domain.model import Instant, Timing
from refresherd.domain.readiness import OutputStatus
from refresherd.domain.session_state import NEVER
from refresherd.engine.delivery import Delivery
from support.fake_app import FakeApp
from support.fakes import FakeOutput, grants, settle

DISK_FULL = OutputError("no space left on device")
GRANTS = list(islice(grants(), 9))
PATH = "/run/payments.token"


class Delivered:
    """An output with its delivery, which works whenever it is due."""

    def __init__(
        self,
        script: Iterable[OutputError | asyncio.Event | None] = (),
        *,
        removes_expired: bool = False,
    ) -> None:
        self.fake_app = FakeApp()
        self.output = FakeOutput(PATH, script, removes_expired=removes_expired)
        self.delivery = Delivery(self.fake_app.running_app, self.output)

    def renew(self) -> None:
        """Publish the next token."""
        session, now = self.fake_app.session, self.fake_app.clock.now()
        grant = GRANTS[session.generation]
        self.fake_app.cell.publish(session_state.granted(session, grant, now, Timing(), 0.0))

    def expire(self) -> None:
        """Let the token run out, and publish that."""
        self.fake_app.clock.advance(600)
        self.fake_app.cell.publish(
            session_state.expired(self.fake_app.session, self.fake_app.clock.now())
        )

    def lose(self) -> None:
        """Publish that DSM declared the token dead."""
        now = self.fake_app.clock.now()
        lost = session_state.failed(self.fake_app.session, SessionLost("gone"), now, Timing(), 0.0)
        self.fake_app.cell.publish(lost)

    async def catch_up(self) -> list[float]:
        """Work whenever the delivery is due until it is not, and return when that was."""
        tries: list[float] = []
        while (due_at := self.delivery.due_at) < NEVER:
            self.fake_app.clock.set(max(due_at, self.fake_app.clock.now()))
            tries.append(self.fake_app.clock.now())
            await self.delivery.work()
        return tries

    @property
    def shown(self) -> list[str]:
        """What consumers saw, in order; "" for nothing."""
        return [token.access_token.reveal() if token else "" for token in self.output.history]


async def test_an_output_is_prepared_before_there_is_a_token() -> None:
    """A missing directory should be reported at the start, not at the first token."""
    delivered = Delivered()
    await delivered.catch_up()
    assert (delivered.output.prepared, delivered.output.puts) == (1, 0)
    assert delivered.delivery.status == OutputStatus(PATH)


async def test_retries_hurry_while_the_old_token_runs_out() -> None:
    """If the disk has room again in the token's last seconds, the next try must not be 10 s off."""
    delivered = Delivered([None, None, *[DISK_FULL] * 50])
    delivered.renew()
    await delivered.catch_up()
    held = delivered.delivery.status.holds
    assert held is not None
    delivered.fake_app.clock.advance(300)
    delivered.fake_app.rng = 1.0  # as late as may be
    delivered.renew()
    tries = await delivered.catch_up()
    assert any(held.expires_at - 1 < at < held.expires_at for at in tries)


async def test_each_new_token_is_written_once() -> None:
    """Consumers get every token, and other changes of the state cause no write."""
    delivered = Delivered()
    delivered.renew()
    await delivered.catch_up()
    written = OutputStatus(PATH, delivered.fake_app.session.token, "", Instant(1000))
    assert delivered.delivery.status == written
    delivered.fake_app.cell.publish(
        operator_transitions.refresh_requested(delivered.fake_app.session, Instant(1001), Timing())
    )
    await delivered.catch_up()
    delivered.renew()
    await delivered.catch_up()
    assert delivered.shown == ["token-1", "token-2"]
    assert delivered.fake_app.observer.events == [
        OutputWritten("payments", PATH, 1),
        OutputWritten("payments", PATH, 2),
    ]
    assert delivered.output.prepared == 1


async def test_an_extended_life_is_written_too() -> None:
    """Otherwise the file's `expires_at` would be wrong after a keep-alive."""
    delivered = Delivered()
    delivered.renew()
    await delivered.catch_up()
    kept = session_state.kept_alive(delivered.fake_app.session, Instant(1300), Timing(), 0.0)
    delivered.fake_app.cell.publish(kept)
    await delivered.catch_up()
    assert delivered.output.holds == kept.token


async def test_a_failing_output_is_retried_by_itself() -> None:
    """A disk with room again gets the token soon, and operators learn why it had not."""
    delivered = Delivered([None, DISK_FULL, DISK_FULL])
    delivered.fake_app.rng = 0.999999
    delivered.renew()
    tries = await delivered.catch_up()
    assert [round(instant, 1) for instant in tries] == [1000, 1001, 1003]
    failures = delivered.fake_app.observer.of(OutputFailed)
    assert [(failure.message, round(failure.retry_in)) for failure in failures] == [
        ("no space left on device", 1),
        ("no space left on device", 2),
    ]
    assert delivered.delivery.status.error == ""
    assert delivered.shown == ["token-1"]


async def test_retries_start_over_after_an_output_recovered() -> None:
    """The next full disk has nothing to do with the last one."""
    delivered = Delivered([None, DISK_FULL, DISK_FULL, DISK_FULL, None, DISK_FULL])
    delivered.fake_app.rng = 0.999999
    delivered.renew()
    await delivered.catch_up()
    delivered.renew()
    await delivered.catch_up()
    pauses = [round(failure.retry_in) for failure in delivered.fake_app.observer.of(OutputFailed)]
    assert pauses == [1, 2, 4, 1]


async def test_a_failure_is_in_the_status_and_leaves_the_old_token() -> None:
    """Readiness says which output is behind and why, and what consumers still find there."""
    delivered = Delivered([None, None, DISK_FULL])
    delivered.renew()
    await delivered.catch_up()
    held = delivered.fake_app.session.token
    delivered.renew()
    await delivered.delivery.work()
    assert delivered.delivery.status == OutputStatus(
        PATH, held, "no space left on device", Instant(1000)
    )


async def test_a_failed_preparation_is_retried() -> None:
    """Another unit may create the directory a moment later."""
    delivered = Delivered([DISK_FULL])
    tries = await delivered.catch_up()
    assert len(tries) == 2
    assert delivered.output.prepared == 2
    delivered.renew()
    await delivered.catch_up()
    assert delivered.shown == ["token-1"]


async def test_a_change_of_state_does_not_shorten_the_pause() -> None:
    """It is no reason to write to a full disk more often."""
    delivered = Delivered([None, DISK_FULL, None])
    delivered.renew()
    await delivered.delivery.work()
    delivered.renew()
    assert delivered.delivery.due_at == 1000.5
    await delivered.catch_up()
    assert delivered.shown == ["token-2"]


async def test_a_stuck_output_gets_the_newest_token_only() -> None:
    """Tokens that were replaced while it hung are of no use to consumers."""
    gate = asyncio.Event()
    delivered = Delivered([None, gate, None])
    delivered.renew()
    work = asyncio.create_task(delivered.delivery.work())
    await settle()
    for _ in range(3):
        delivered.renew()
    gate.set()
    await work
    await delivered.catch_up()
    assert delivered.shown == ["token-1", "token-4"]


async def test_an_expired_token_is_never_written() -> None:
    """Not even if the refresher has not yet noticed the expiry."""
    delivered = Delivered([None, DISK_FULL])
    delivered.renew()
    await delivered.delivery.work()
    delivered.fake_app.clock.advance(600)
    await delivered.catch_up()
    delivered.expire()
    await delivered.catch_up()
    assert delivered.shown == []


async def test_an_expired_token_is_kept_or_removed_as_configured() -> None:
    """Some consumers prefer an old token to none, others must fail early."""
    for removes_expired, shown in ((False, ["token-1"]), (True, ["token-1", ""])):
        delivered = Delivered(removes_expired=removes_expired)
        delivered.renew()
        await delivered.catch_up()
        delivered.expire()
        await delivered.catch_up()
        assert delivered.shown == shown


async def test_a_dead_token_is_removed_once_and_replaced() -> None:
    """A token that DSM does not know can only fail, so the file must not contain one."""
    delivered = Delivered()
    delivered.renew()
    await delivered.catch_up()
    delivered.lose()
    await delivered.catch_up()
    assert delivered.delivery.status == OutputStatus(PATH)
    delivered.lose()
    await delivered.catch_up()
    assert delivered.fake_app.observer.of(OutputRemoved) == [OutputRemoved("payments", PATH)]
    delivered.renew()
    await delivered.catch_up()
    assert delivered.shown == ["token-1", "", "token-2"]


async def test_a_dead_token_whose_write_failed_is_removed_again() -> None:
    """A write that was given up may still take effect; the file must not outlive its token."""
    delivered = Delivered([None, None, None, DISK_FULL])
    delivered.renew()
    await delivered.catch_up()
    delivered.lose()
    await delivered.catch_up()
    delivered.renew()
    await delivered.delivery.work()
    delivered.lose()
    await delivered.catch_up()
    assert delivered.output.removes == 2


async def test_clearing_removes_the_token_or_says_why_not() -> None:
    """Before a session ends for good, consumers must lose its token or an operator must know."""
    delivered = Delivered([None, None, DISK_FULL])
    delivered.renew()
    await delivered.catch_up()
    await delivered.delivery.clear()
    assert delivered.fake_app.observer.of(OutputFailed) == [
        OutputFailed("payments", PATH, "no space left on device", 0.0)
    ]
    await delivered.delivery.clear()
    assert delivered.output.holds is None


def test_closing_closes_the_output() -> None:
    """The socket of a removed app must serve nobody."""
    delivered = Delivered()
    delivered.delivery.close()
    assert delivered.output.closed
