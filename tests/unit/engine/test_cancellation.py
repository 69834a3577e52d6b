"""Every await of the engine is cancelled once, and the app goes on from there."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace

import pytest

from refresherd.domain.model import Method, Timing
from refresherd.engine.token_broker import Broker
from simulations.incidents import Incident, Reload, Restart
from simulations.model_dsm import Habits
from simulations.model_host import Host, an_app
from simulations.troubles import Kind
from support.simulation import simulate
from support.suspensions import Suspensions

TIMING = Timing(terminate_after=5.0, session_check=20.0)
Ask = Callable[[Broker], Coroutine[object, object, object]]

LASTS = 75.0
"""Seconds in which an app logs in, renews, checks, ends a session and delivers to a full disk."""

AFTERWARDS = 70.0


def cut(number: int, incident: Incident, renew: Method) -> tuple[int, list[str]]:
    """Let an incident happen at one suspension of an app's run, and run the app on.

    Return how many suspensions there were, and which promises were broken.
    """
    app = an_app("a", replace(TIMING, renew=renew))
    host = Host(Habits(lifetime=60.0, idle=True), lambda: 0.0)
    happening: list[asyncio.Task[None]] = []

    def happens() -> None:
        happening.append(asyncio.get_running_loop().create_task(incident.happen(host)))

    suspensions = Suspensions(number, happens)
    total = 0

    async def main() -> None:
        nonlocal total
        await host.start([app], suspensions.start)
        consumers = asyncio.create_task(host.consume())
        host.troubles.begin(Kind.FULL, 2.0)
        await asyncio.sleep(LASTS)
        total = suspensions.number
        await asyncio.gather(*happening)
        if number:
            assert happening, "the cuts go through all of it"
            await asyncio.sleep(AFTERWARDS)
        consumers.cancel()
        await host.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    simulate(host.machine, main())
    host.promises.finish()
    return total, host.promises.broken


@pytest.mark.parametrize("renew", Method)
@pytest.mark.parametrize(
    "incident",
    [Reload(an_app("a", replace(TIMING, at=0.6))), Restart(), Restart(end_sessions=True)],
    ids=["retuned", "killed", "stopped"],
)
def test_an_app_cancelled_at_any_await_can_run_on(incident: Incident, renew: Method) -> None:
    """A reload or a stop may come at any moment: nothing may be left behind, held or forgotten."""
    total, broken = cut(0, incident, renew)
    assert broken == []
    for number in range(1, total + 1):
        assert cut(number, incident, renew)[1] == [], f"cut at suspension {number} of {total}"


async def watched_once(broker: Broker) -> None:
    """Watch for the current token and the next one."""
    async with aclosing(broker.watch("a")) as tokens:
        await anext(tokens)
        await anext(tokens)


@pytest.mark.parametrize(
    "ask",
    [
        lambda broker: broker.token("a", 59.0, 40.0),
        lambda broker: broker.refresh("a", 40.0, operator=True),
        watched_once,
    ],
    ids=["token", "refresh", "watch"],
)
def test_a_request_cancelled_at_any_await_leaves_nothing_behind(ask: Ask) -> None:
    """Consumers may hang up; the attempt that they caused serves the next request."""
    total = _asked(ask, 0)
    assert total > 0
    for number in range(1, total + 1):
        _asked(ask, number)


def _asked(ask: Ask, number: int) -> int:
    """Cancel a request at that suspension, repeat it, and return how many there were."""
    host = Host(Habits(lifetime=60.0), lambda: 0.0)
    total = 0

    async def main() -> None:
        nonlocal total
        await host.start([an_app("a", TIMING)])
        await asyncio.sleep(10)
        before = asyncio.all_tasks()
        asking: asyncio.Task[object]

        def end() -> None:
            asking.cancel()

        suspensions = Suspensions(number, end)
        asking = suspensions.start(ask(host.broker))
        await asyncio.wait({asking})
        total = suspensions.number
        assert asking.cancelled() == bool(number)
        await ask(host.broker)
        await asyncio.sleep(1)
        assert asyncio.all_tasks() == before
        await host.stop()

    simulate(host.machine, main())
    host.promises.finish()
    assert host.promises.broken == []
    return total
