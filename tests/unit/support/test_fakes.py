"""The fakes that other tests rely on behave as their ports promise."""

import asyncio
from itertools import islice

import pytest

from refresherd.domain.errors import OutputError, Reason, Retryable, SessionLost
from refresherd.domain.events import LoopLagged, Stopping
from refresherd.domain.model import Instant, Secret, Token
from support.fakes import (
    FakeClock,
    FakeCredential,
    FakeOutput,
    FakeSchedule,
    RecordingObserver,
    ScriptedClient,
    grants,
    settle,
)


async def test_alarms_go_off_in_order_and_at_their_time() -> None:
    """Tests of the refresher read instants, so they must be those that were asked for."""
    clock = FakeClock()
    schedule = FakeSchedule(clock)
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, *waits: float) -> None:
        alarm = schedule.alarm()
        for seconds in waits:
            await alarm.wait(Instant(clock.now() + seconds))
            seen.append((name, clock.now()))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("a", 3, 3))
        tasks.create_task(sleeper("b", 0, 5))
        await settle()
        assert seen == [("b", 1000.0)]
        assert schedule.next_at == 1003.0
        await schedule.advance(10)

    assert seen[1:] == [("a", 1003), ("b", 1005), ("a", 1006)]
    assert clock.now() == 1010.0
    assert schedule.next_at is None


async def test_a_suspend_fires_late_and_at_once() -> None:
    """Time that passes in a suspend fires nothing until the machine is back."""
    clock = FakeClock()
    schedule = FakeSchedule(clock)
    waiting = asyncio.create_task(schedule.alarm().wait(Instant(1003)))
    await settle()
    clock.advance(3600)
    await settle()
    assert not waiting.done()
    await schedule.advance(0)
    assert waiting.done()
    assert clock.now() == 4600.0


async def test_a_ring_is_remembered_once() -> None:
    """The fake remembers as the real one does, or tests would pass for the wrong reason."""
    alarm = FakeSchedule(FakeClock()).alarm()
    alarm.ring()
    await alarm.wait(Instant(2000))
    waiting = asyncio.create_task(alarm.wait(Instant(2000)))
    await settle()
    assert not waiting.done()
    alarm.ring()
    await waiting


async def test_a_spinning_task_is_caught() -> None:
    """A refresher that spins must fail its test rather than hang it."""

    async def spin() -> None:
        while True:  # noqa: ASYNC110  # spinning is the point
            await asyncio.sleep(0)

    task = asyncio.create_task(spin())
    with pytest.raises(AssertionError, match="spins"):
        await settle()
    task.cancel()


async def test_a_client_plays_its_script() -> None:
    """Each entry answers one request, and an event delays one."""
    clock, gate = FakeClock(), asyncio.Event()
    client = ScriptedClient(
        clock,
        [Retryable(Reason.CONNECT, "refused"), gate, *islice(grants(), 2)],
        [SessionLost("gone")],
    )
    with pytest.raises(Retryable):
        await client.login(Secret("key"), 1)
    held = asyncio.create_task(client.reauth(Secret("old"), 1))
    await settle()
    assert not held.done()
    gate.set()
    assert (await held).access_token.reveal() == "token-1"
    clock.advance(5)
    assert await client.keep_alive(Secret("token-1"), 1) == "request-2"
    with pytest.raises(SessionLost):
        await client.terminate(Secret("old"), 1)
    with pytest.raises(AssertionError, match="run out"):
        await client.login(Secret("key"), 1)
    assert client.instants("login") == [1000, 1005]
    assert [call.secret for call in client.calls] == ["key", "old", "token-1", "old", "key"]


async def test_an_output_holds_what_it_was_given() -> None:
    """After a failed put, consumers have what they had before."""
    output = FakeOutput(script=[None, OutputError("disk full")])
    token = Token(Secret("t"), "", 1, Instant(0), 600, Instant(600))
    await output.prepare()
    with pytest.raises(OutputError):
        await output.put(token)
    assert not output.history
    await output.put(token)
    assert output.holds == token
    await output.remove()
    assert output.history == [token, None]
    assert (output.prepared, output.puts, output.removes) == (1, 2, 1)


async def test_a_credential_changes_and_breaks_on_demand() -> None:
    """Tests of a replaced or missing key control the source by hand."""
    credential = FakeCredential()
    first = await credential.stamp()
    credential.secret, credential.version = "new", 2
    assert (await credential.read()).reveal() == "new"
    assert await credential.stamp() != first
    credential.error = Retryable(Reason.CREDENTIAL, "gone")
    with pytest.raises(Retryable):
        await credential.read()
    assert credential.reads == 2


def test_an_observer_sorts_its_events() -> None:
    """Tests ask for one kind of event."""
    observer = RecordingObserver()
    observer.observe(LoopLagged(0.0))
    observer.observe(Stopping("TERM"))
    assert observer.of(Stopping) == [Stopping("TERM")]
