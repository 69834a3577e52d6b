"""Tokens on request: every client gets one, with no attempt too many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from itertools import islice, repeat

import pytest

from refresherd.domain.errors import (
    NoSuchApp,
    NoToken,
    Reason,
    Rejected,
    Retryable,
    SessionLost,
    TooSoon,
)
from refresherd.domain.model import App, Method, Timing, Token
from refresherd.domain.refresh_allowance import AT_ONCE
from refresherd.domain.reload_plan import ReloadPlan
from refresherd.engine.context import AppContext
from refresherd.engine.supervisor import Supervisor
from refresherd.engine.token_broker import Broker
from support.fake_app import FakeApp, Script, running
from support.fakes import grants, settle

TIMING = Timing(retry_min=1.0)
FIRST, SECOND = islice(grants(), 2)
REFUSED = Retryable(Reason.CONNECT, "refused")
BAD_KEY = Rejected(Reason.REJECTED, "no such key")
PATIENT = 1_000.0
"""Seconds of real time that no test lasts: what is waited for must come of itself."""


class Brokerage:
    """One running app, a broker for it, and DSM by a script."""

    def __init__(self, script: Script, timing: Timing = TIMING) -> None:
        self.fake_app = FakeApp(script, timing=timing)
        self.supervisor = Supervisor(
            [self.fake_app.app], self.make_app_context, self.fake_app.context
        )
        self.broker = Broker(self.supervisor, self.fake_app.clock)

    def make_app_context(self, _: App) -> AppContext:
        """Return the app's ports."""
        return self.fake_app.app_context

    async def advance(self, seconds: float) -> None:
        """Let boot time pass."""
        await self.fake_app.schedule.advance(seconds)

    @property
    def attempts(self) -> int:
        """How often DSM was asked for a session."""
        return len(self.fake_app.scripted.calls)

    async def reload(self, plan: ReloadPlan, *names: str) -> None:
        """Apply a new configuration."""
        await self.supervisor.apply(plan, names, end_sessions=False)
        await settle()


@asynccontextmanager
async def brokerage(script: Script, timing: Timing = TIMING) -> AsyncIterator[Brokerage]:
    """Run the app while the block runs."""
    place = Brokerage(script, timing)
    async with running(place.supervisor.run()):
        yield place


def secrets(*tokens: Token) -> list[str]:
    """Return tokens as consumers know them."""
    return [token.access_token.reveal() for token in tokens]


async def test_the_current_token_is_handed_out_without_an_attempt() -> None:
    """Consumers may ask before each of their own requests."""
    async with brokerage(grants()) as place:
        for _ in range(3):
            assert secrets(await place.broker.token("payments")) == ["token-1"]
            assert secrets(await place.broker.token("payments", min_ttl=500)) == ["token-1"]
        assert place.attempts == 1


async def test_an_unknown_app_is_distinguished_from_one_without_a_token() -> None:
    """The one is a typing error, the other an outage."""
    async with brokerage([asyncio.Event()]) as place:
        for ask in (
            place.broker.token("paymnts"),
            place.broker.refresh("paymnts", PATIENT, operator=True),
            anext(place.broker.watch("paymnts")),
        ):
            with pytest.raises(NoSuchApp, match='"paymnts"'):
                await ask


async def test_a_thousand_requests_for_a_lasting_token_cost_one_attempt() -> None:
    """A service that starts all its workers at once must not flood DSM."""
    go_on = asyncio.Event()
    async with brokerage([FIRST, go_on, SECOND]) as place:
        await place.advance(200)
        asks = [
            asyncio.create_task(place.broker.token("payments", min_ttl=500, wait=PATIENT))
            for _ in range(1000)
        ]
        await settle()
        assert place.attempts == 2
        go_on.set()
        assert set(secrets(*await asyncio.gather(*asks))) == {"token-2"}
        assert place.attempts == 2


async def test_a_scheduled_attempt_serves_requests_too() -> None:
    """They meet at half of the lifetime."""
    go_on = asyncio.Event()
    async with brokerage([FIRST, go_on, SECOND]) as place:
        await place.advance(300)
        assert place.attempts == 2
        ask = asyncio.create_task(place.broker.token("payments", min_ttl=400, wait=PATIENT))
        await settle()
        go_on.set()
        assert secrets(await ask) == ["token-2"]
        assert place.attempts == 2


async def test_a_request_without_a_wait_still_starts_a_refresh() -> None:
    """The next request finds what this one wanted."""
    async with brokerage(grants()) as place:
        await place.advance(200)
        with pytest.raises(NoToken, match="has arrived yet") as raised:
            await place.broker.token("payments", min_ttl=500)
        assert raised.value.retry_after == 1
        await settle()
        assert secrets(await place.broker.token("payments", min_ttl=500)) == ["token-2"]


async def test_repeated_requests_are_limited_to_retry_min() -> None:
    """A client that always wants a brand-new token gets one a second."""
    async with brokerage(grants()) as place:
        await place.advance(0.5)
        ask = asyncio.create_task(place.broker.token("payments", min_ttl=599.8, wait=PATIENT))
        await settle()
        assert (ask.done(), place.attempts) == (False, 1)
        await place.advance(0.5)
        assert secrets(await ask) == ["token-2"]


@pytest.mark.parametrize("min_ttl", [600.0, 601.0, 1e9])
async def test_a_min_ttl_beyond_the_lifetime_is_refused_at_once(min_ttl: float) -> None:
    """Neither waiting nor refreshing would help, only an administrator of DSM."""
    async with brokerage(grants()) as place:
        await place.advance(100)
        with pytest.raises(NoToken, match=r"live only 600 s") as raised:
            await place.broker.token("payments", min_ttl=min_ttl, wait=PATIENT)
        assert raised.value.retry_after == 200
        assert place.attempts == 1


async def test_a_new_token_that_does_not_last_either_ends_the_wait() -> None:
    """DSM took so long to answer that part of the life was gone: another would be no better."""
    go_on = asyncio.Event()
    async with brokerage([FIRST, go_on, SECOND]) as place:
        await place.advance(100)
        ask = asyncio.create_task(place.broker.token("payments", min_ttl=595, wait=PATIENT))
        await settle()
        place.fake_app.clock.advance(10)
        go_on.set()
        with pytest.raises(NoToken, match=r"newest token lives only another 590 s"):
            await ask
        assert place.attempts == 2


async def test_requests_do_not_hasten_an_app_in_trouble() -> None:
    """The backoff bounds the attempts, however many wait and for however long."""
    script: Script = [FIRST, REFUSED, REFUSED, SECOND]
    async with brokerage(script, Timing(retry_min=10.0, retry_max=10.0)) as place:
        await place.advance(300)
        assert place.attempts == 2
        asks = [
            asyncio.create_task(place.broker.token("payments", min_ttl=500, wait=PATIENT))
            for _ in range(3)
        ]
        with pytest.raises(NoToken) as raised:
            await place.broker.token("payments", min_ttl=500)
        assert raised.value.retry_after == 10
        await place.advance(9)
        assert place.attempts == 2
        await place.advance(11)
        assert secrets(*await asyncio.gather(*asks)) == ["token-2"] * 3


async def test_the_first_token_may_be_waited_for() -> None:
    """A service that starts together with the daemon need not fail."""
    go_on = asyncio.Event()
    async with brokerage([go_on, FIRST]) as place:
        hasty = Broker(place.supervisor, place.fake_app.clock, startup_wait=0)
        with pytest.raises(NoToken, match=r"no valid token \(starting\)") as raised:
            await hasty.token("payments")
        assert raised.value.retry_after == 1
        ask = asyncio.create_task(place.broker.token("payments", min_ttl=30, wait=PATIENT))
        await settle()
        go_on.set()
        assert secrets(await ask) == ["token-1"]
        assert place.attempts == 1


async def test_a_request_during_a_restart_waits_for_the_first_token() -> None:
    """Clients are served once the daemon is back, as if nothing had happened."""
    go_on = asyncio.Event()
    async with brokerage([go_on, FIRST]) as place:
        ask = asyncio.create_task(place.broker.token("payments"))
        await settle()
        go_on.set()
        assert secrets(await ask) == ["token-1"]


async def test_the_first_failure_is_returned_at_once() -> None:
    """A client that did not ask to wait hears as soon as it is known that there is no token."""
    async with brokerage([REFUSED]) as place:
        with pytest.raises(NoToken):
            await place.broker.token("payments")


async def test_an_expired_token_is_handed_to_nobody() -> None:
    """A consumer would be refused with it, and blame its own configuration."""
    script: Script = [FIRST, *repeat(REFUSED, 100)]
    timing = Timing(retry_min=100.0, retry_max=100.0)
    async with brokerage(script, timing) as place:
        await place.advance(599.9)
        assert secrets(await place.broker.token("payments")) == ["token-1"]
        # Time passes, as in a suspend, and nobody has noticed yet.
        place.fake_app.clock.advance(0.2)
        with pytest.raises(NoToken, match=r"no valid token \(retrying\): connect: refused"):
            await place.broker.token("payments")


async def test_readers_cannot_have_a_refused_credential_retried() -> None:
    """DSM may reset the app's secret, and a client that may only read must not cause that."""
    async with brokerage([BAD_KEY, BAD_KEY]) as place:
        with pytest.raises(NoToken, match="an operator must act") as raised:
            await place.broker.token("payments", min_ttl=30)
        assert raised.value.retry_after == 1800
        await place.broker.refresh("payments", PATIENT, operator=False)
        assert place.attempts == 1
        refresh = asyncio.create_task(place.broker.refresh("payments", PATIENT, operator=True))
        await place.advance(1)
        await refresh
        assert place.attempts == 2


async def test_readers_cannot_have_a_token_renewed_again_and_again() -> None:
    """Each renewal costs a session at DSM, writes and hooks; an operator may have as many."""
    async with brokerage(list(islice(grants(), 20))) as place:
        await settle()

        async def refresh(*, operator: bool) -> None:
            await place.advance(2)
            asked = asyncio.create_task(
                place.broker.refresh("payments", PATIENT, operator=operator)
            )
            await place.advance(1)
            await asked

        for _ in range(AT_ONCE):
            await refresh(operator=False)
        assert place.attempts == 1 + AT_ONCE
        with pytest.raises(TooSoon, match=r"too often; ask again in 5[0-9] s") as raised:
            await refresh(operator=False)
        with pytest.raises(NoToken, match="renewed for its readers too often") as unmet:
            await place.broker.token("payments", min_ttl=599, wait=0.01)
        assert 45 < raised.value.retry_after < 60
        assert 45 < unmet.value.retry_after < 60
        for _ in range(5):
            await refresh(operator=True)
        assert place.attempts == 1 + AT_ONCE + 5
        await place.advance(60)
        before = await place.broker.token("payments")
        await refresh(operator=False)
        assert (await place.broker.token("payments")).generation == before.generation + 1


async def test_readers_that_ask_together_share_one_renewal() -> None:
    """The workers of a service that got a 401 all ask at once: that is one need, not ten."""
    async with brokerage(list(islice(grants(), 20))) as place:
        await settle()
        for number in range(AT_ONCE):
            await place.advance(0.5)
            asked = [
                asyncio.create_task(place.broker.refresh("payments", PATIENT, operator=False))
                for _ in range(10)
            ]
            await place.advance(1)
            await asyncio.gather(*asked)
            assert place.attempts == number + 2


async def test_a_refused_credential_is_reported_at_once() -> None:
    """Only an operator can help, so a script should not wait for its whole timeout first."""
    async with brokerage([BAD_KEY]) as place:
        await settle()
        with pytest.raises(
            NoToken, match=r"an operator must act: the key .* was refused by .* \(no such key\)"
        ):
            await place.broker.token("payments", wait=PATIENT)


async def test_a_refusal_ends_the_wait_of_earlier_requests() -> None:
    """Many clients ask while the daemon starts."""
    go_on = asyncio.Event()
    async with brokerage([go_on, BAD_KEY]) as place:
        ask = asyncio.create_task(place.broker.token("payments", wait=PATIENT))
        await settle()
        go_on.set()
        with pytest.raises(
            NoToken, match=r"an operator must act: the key .* was refused by .* \(no such key\)"
        ):
            await ask


async def test_an_attempt_after_a_refusal_is_waited_for() -> None:
    """An operator who has corrected the key and asks for a refresh wants its token."""
    go_on = asyncio.Event()
    async with brokerage([BAD_KEY, go_on, FIRST]) as place:
        await settle()
        refresh = asyncio.create_task(place.broker.refresh("payments", PATIENT, operator=True))
        await settle()
        ask = asyncio.create_task(place.broker.token("payments", wait=PATIENT))
        await place.advance(1)
        go_on.set()
        assert secrets(await ask) == ["token-1"]
        await refresh


async def test_a_retry_within_the_wait_is_waited_for() -> None:
    """A client that waits for longer than `rejected_retry` may see it succeed."""
    async with brokerage([BAD_KEY, FIRST], Timing(rejected_retry=20.0)) as place:
        await settle()
        ask = asyncio.create_task(place.broker.token("payments", wait=PATIENT))
        await place.advance(20)
        assert secrets(await ask) == ["token-1"]


async def test_an_absurd_wait_is_not_passed_on() -> None:
    """A client that obeys `Retry-After` should ask again before tomorrow."""
    timing = Timing(rejected_retry=1e9)
    async with brokerage([BAD_KEY], timing) as place:
        with pytest.raises(NoToken) as raised:
            await place.broker.token("payments")
        assert raised.value.retry_after == 3600


async def test_a_refresh_returns_when_its_attempt_has_ended() -> None:
    """Its caller reads the outcome from the status."""
    go_on = asyncio.Event()
    async with brokerage([FIRST, go_on, SECOND]) as place:
        await place.advance(100)
        refreshes = [
            asyncio.create_task(place.broker.refresh("payments", PATIENT, operator=operator))
            for operator in (True, False)
        ]
        await settle()
        assert not any(refresh.done() for refresh in refreshes)
        go_on.set()
        await asyncio.gather(*refreshes)
        assert secrets(await place.broker.token("payments")) == ["token-2"]
        assert place.attempts == 2


async def test_a_refresh_ends_with_a_failure_as_well() -> None:
    """An operator must hear of it, not wait for the next attempt."""
    script: Script = [FIRST, REFUSED]
    async with brokerage(script, Timing(retry_min=10.0, retry_max=10.0)) as place:
        await place.advance(100)
        await place.broker.refresh("payments", PATIENT, operator=True)
        status = place.supervisor.status("payments")
        assert status is not None
        assert status.session.failures == 1
        await place.broker.refresh("payments", PATIENT, operator=False)
        assert place.attempts == 2


async def test_an_attempt_under_way_in_trouble_serves_a_reader_too() -> None:
    """Whatever the backoff allows anyway is worth waiting for."""
    go_on = asyncio.Event()
    timing = Timing(retry_min=10.0, retry_max=10.0)
    async with brokerage([FIRST, REFUSED, go_on, SECOND], timing) as place:
        await place.advance(310)
        assert place.attempts == 3
        refresh = asyncio.create_task(place.broker.refresh("payments", PATIENT, operator=False))
        await settle()
        assert not refresh.done()
        go_on.set()
        await refresh
        assert place.attempts == 3


async def test_a_session_found_dead_is_followed_up_by_the_same_refresh() -> None:
    """The login comes at once, and only its outcome says whether the app is well."""
    go_on = asyncio.Event()
    async with brokerage([FIRST, SessionLost("gone"), go_on, SECOND]) as place:
        await place.advance(100)
        refresh = asyncio.create_task(place.broker.refresh("payments", PATIENT, operator=True))
        await settle()
        assert not refresh.done()
        go_on.set()
        await refresh
        assert secrets(await place.broker.token("payments")) == ["token-2"]


async def test_a_refresh_need_not_be_waited_for() -> None:
    """It goes on all the same."""
    go_on = asyncio.Event()
    async with brokerage([FIRST, go_on, SECOND]) as place:
        await place.advance(100)
        await place.broker.refresh("payments", 0, operator=True)
        go_on.set()
        await settle()
        assert secrets(await place.broker.token("payments")) == ["token-2"]


async def test_a_watcher_gets_the_token_now_and_each_new_one() -> None:
    """A consumer without a file is never behind."""
    async with brokerage(grants()) as place, aclosing(place.broker.watch("payments")) as tokens:
        assert secrets(await anext(tokens)) == ["token-1"]
        following = asyncio.create_task(anext(tokens))
        await place.advance(299)
        assert not following.done()
        await place.advance(1)
        assert secrets(await following) == ["token-2"]


async def test_a_slow_watcher_gets_the_newest_only() -> None:
    """The others are of no use any more."""
    async with brokerage(grants()) as place, aclosing(place.broker.watch("payments")) as tokens:
        assert secrets(await anext(tokens)) == ["token-1"]
        await place.advance(1000)
        assert secrets(await anext(tokens)) == ["token-4"]


async def test_a_watcher_sees_neither_trouble_nor_an_expired_token() -> None:
    """It gets the next token, whenever that comes."""
    script: Script = [
        REFUSED,
        FIRST,
        *repeat(REFUSED, 6),
        SECOND,
    ]
    timing = Timing(retry_min=100.0, retry_max=100.0)
    async with (
        brokerage(script, timing) as place,
        aclosing(place.broker.watch("payments")) as tokens,
    ):
        first = asyncio.create_task(anext(tokens))
        await place.advance(100)
        assert secrets(await first) == ["token-1"]
        second = asyncio.create_task(anext(tokens))
        await place.advance(500)
        assert not second.done()
        await place.advance(2000)
        assert secrets(await second) == ["token-2"]


async def test_a_watcher_sees_a_longer_life_of_the_same_token() -> None:
    """With keepalive, a consumer that relies on `expires_at` would discard a valid token."""
    timing = Timing(renew=Method.KEEPALIVE)
    async with (
        brokerage(grants(), timing) as place,
        aclosing(place.broker.watch("payments")) as tokens,
    ):
        first = await anext(tokens)
        following = asyncio.create_task(anext(tokens))
        await place.advance(300)
        second = await following
        assert secrets(first, second) == ["token-1", "token-1"]
        assert second.expires_at == first.expires_at + 300


async def test_a_watch_ends_when_its_app_is_removed() -> None:
    """Nobody should wait for a token that will never come."""
    async with brokerage(grants()) as place:
        tokens = [token async for token in _while_reloading(place, ReloadPlan(stop=("payments",)))]
        assert secrets(*tokens) == ["token-1"]


async def _while_reloading(place: Brokerage, plan: ReloadPlan) -> AsyncIterator[Token]:
    """Yield what a watcher gets while a reload goes on beside it."""
    async with aclosing(place.broker.watch("payments")) as tokens:
        yield await anext(tokens)
        reload = asyncio.create_task(place.reload(plan))
        async for token in tokens:
            yield token
        await reload


async def test_a_wait_ends_when_its_app_is_removed() -> None:
    """The answer is then that there is no such app."""
    async with brokerage([asyncio.Event()]) as place:
        token = asyncio.create_task(place.broker.token("payments", wait=PATIENT))
        refresh = asyncio.create_task(place.broker.refresh("payments", PATIENT, operator=True))
        await settle()
        await place.reload(ReloadPlan(stop=("payments",)))
        for ask in (token, refresh):
            with pytest.raises(NoSuchApp):
                await ask


async def test_a_wait_continues_through_a_restart_of_the_app() -> None:
    """A reload in between must not cost a consumer its token."""
    script: Script = [REFUSED, FIRST]
    async with brokerage(script, Timing(retry_min=50.0, retry_max=50.0)) as place:
        ask = asyncio.create_task(place.broker.token("payments", wait=PATIENT))
        await settle()
        app = replace(place.fake_app.app, timing=TIMING)
        await place.reload(ReloadPlan(restart=(app,)), "payments")
        assert secrets(await ask) == ["token-1"]


async def test_a_stopping_daemon_ends_every_wait() -> None:
    """It must be gone within seconds, and its clients know how to retry."""
    place = Brokerage([asyncio.Event()])
    async with running(place.supervisor.run()):
        ask = asyncio.create_task(place.broker.token("payments", wait=PATIENT))
        refresh = asyncio.create_task(place.broker.refresh("payments", PATIENT, operator=True))
        watch = asyncio.create_task(anext(place.broker.watch("payments"), None))
        await settle()
        # `running` sees to it that no task outlives the supervisor's.
    with pytest.raises(NoToken, match="being stopped"):
        await ask
    assert await watch is None
    await refresh


async def test_a_stopped_daemon_hands_out_nothing() -> None:
    """A stop that ends the sessions makes its last tokens invalid."""
    place = Brokerage(grants())
    async with running(place.supervisor.run()):
        assert secrets(await place.broker.token("payments")) == ["token-1"]
    with pytest.raises(NoToken, match="being stopped"):
        await place.broker.token("payments", wait=PATIENT)
