"""Serves requests for a token: the newest, one that lives long enough, or each as it comes."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from refresherd.domain import operator_transitions, readiness, session_state
from refresherd.domain.errors import NoSuchApp
from refresherd.domain.model import Instant, Token
from refresherd.domain.readiness import Ask
from refresherd.domain.session_state import SessionState
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.context import StateCell
from refresherd.engine.ports import Clock
from refresherd.engine.supervisor import Supervisor

STARTUP_WAIT = 1.0
"""Seconds for which every request waits for an app's first token or first failure: a daemon that
takes over from another one has its sessions within milliseconds."""


class Broker:
    """Hands out tokens on request: never an expired one, and it refreshes only when necessary.

    However many requests there are, an app makes one attempt at a time, scheduled ones
    included. Clients that may only read a token neither shorten a backoff nor burn a credential.
    """

    def __init__(
        self, supervisor: Supervisor, clock: Clock, startup_wait: float = STARTUP_WAIT
    ) -> None:
        self._supervisor = supervisor
        self._clock = clock
        self._startup_wait = startup_wait

    async def token(self, name: str, min_ttl: float = 0.0, wait: float = 0.0) -> Token:
        """Return a token that lives for at least `min_ttl` seconds more, refreshed if necessary.

        Waits for one up to `wait` seconds. Raises NoSuchApp; and NoToken, at once if waiting
        is hopeless.
        """
        if not _tried(self.runner(name).cell):
            await self._wait(name, self._startup_wait, _tried)
        token = lasting_token(self.runner(name), min_ttl, self._clock.now())
        if token is not None:
            return token
        now = self._clock.now()
        ask = Ask(min_ttl, at=now, until=Instant(now + wait))
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                return await self._next_token(name, ask)
        raise readiness.no_token(self.runner(name).cell.session, self._clock.now())

    async def refresh(self, name: str, wait: float, *, operator: bool) -> None:
        """Make an attempt now; return once it has ended, or after `wait` seconds.

        An attempt that is already under way counts. An app in trouble keeps to its backoff unless
        an `operator` asks. Raises NoSuchApp.
        """
        runner = self.runner(name)
        before = runner.cell.session
        if operator or before.failures == 0:
            runner.refresh()
        elif before.next_attempt_at > self._clock.now():
            return

        def attempted(cell: StateCell) -> bool:
            # A dead session is followed by a login at once, which belongs to the attempt.
            ended = cell.session.next_attempt_at > self._clock.now()
            return cell.closed or (ended and _outcome(cell.session) != _outcome(before))

        await self._wait(name, wait, attempted)

    async def watch(self, name: str) -> AsyncGenerator[Token, None]:
        """Yield the valid token, if there is one, and each new one, until the app is removed.

        A slow client gets the newest only. A longer life of the same token is yielded as well.
        Raises NoSuchApp.
        """
        runner: AppRunner | None = self.runner(name)
        last = None
        while runner is not None and not (cell := runner.cell).closed:
            version = cell.version
            token = session_state.valid_token(cell.session, self._clock.now())
            if token is not None and token != last:
                last = token
                yield token
            else:
                await cell.changed(version)
                runner = self._supervisor.runner(name)

    def runner(self, name: str) -> AppRunner:
        """Return an app's runner. Raises NoSuchApp."""
        runner = self._supervisor.runner(name)
        if runner is None:
            raise NoSuchApp(f'there is no app named "{name}"')
        return runner

    async def _wait(self, name: str, seconds: float, done: Callable[[StateCell], bool]) -> None:
        """Return once an app's state is as `done` wants it, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not done(cell := self.runner(name).cell):
                    await cell.changed(cell.version)

    async def _next_token(self, name: str, ask: Ask) -> Token:
        while True:
            runner = self.runner(name)
            version = runner.cell.version
            token = lasting_token(runner, ask.min_ttl, self._clock.now())
            if token is not None:
                return token
            if runner.cell.closed:
                raise readiness.stopping()
            if refusal := readiness.refusal(runner.cell.session, ask, self._clock.now()):
                raise refusal
            if self._may_hasten(runner):
                runner.refresh()
            await runner.cell.changed(version)

    def _may_hasten(self, runner: AppRunner) -> bool:
        """Return whether to renew a live token now, because nothing else will do so soon."""
        session, now = runner.cell.session, self._clock.now()
        if session.failures or session_state.valid_token(session, now) is None:
            return False
        soonest = operator_transitions.refresh_requested(
            session, now, runner.app.timing
        ).next_attempt_at
        return soonest < session.next_attempt_at


def lasting_token(runner: AppRunner, min_ttl: float, now: Instant) -> Token | None:
    """Return the app's token if it lives for at least `min_ttl` seconds more."""
    token = session_state.valid_token(runner.cell.session, now)
    if token is None or runner.cell.closed or token.expires_at - now < min_ttl:
        return None
    return token


def _tried(cell: StateCell) -> bool:
    """Return whether an app has a token or a failure, or will have neither any more."""
    session = cell.session
    return cell.closed or session.token is not None or _outcome(session) != (None, 0, None)


def _outcome(session: SessionState) -> tuple[object, ...]:
    return session.last_success_at, session.failures, session.last_failure
