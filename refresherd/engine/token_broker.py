"""Serves requests for a token: the newest, one that lives long enough, or each as it comes."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from math import ceil

from refresherd.domain import operator_transitions, readiness, refresh_allowance, session_state
from refresherd.domain.errors import NoSuchApp, TooSoon
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
        self._whole_at: dict[str, Instant] = {}
        """When the readers' allowance is whole again, by app; only of those that used it."""

    async def token(
        self, name: str, min_ttl: float = 0.0, wait: float = 0.0, *, operator: bool = False
    ) -> Token:
        """Return a token that lives for at least `min_ttl` seconds more, refreshed if necessary.

        Waits for one up to `wait` seconds. Raises NoSuchApp; and NoToken, at once if waiting
        is hopeless. An `operator` uses no allowance.
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
                return await self._next_token(name, ask, operator=operator)
        raise readiness.no_token(self.runner(name).cell.session, self._clock.now())

    async def refresh(self, name: str, wait: float, *, operator: bool) -> None:
        """Make an attempt now; return once it has ended, or after `wait` seconds.

        An attempt that is already under way counts. An app in trouble keeps to its backoff unless
        an `operator` asks. Raises NoSuchApp; and TooSoon if the readers' allowance is used up.
        """
        runner = self.runner(name)
        before = runner.cell.session
        if operator:
            runner.refresh()
        elif before.failures == 0:
            allowed_at = self._hasten(runner, operator=False)
            if allowed_at is not None:
                seconds = max(1, ceil(allowed_at - self._clock.now()))
                raise TooSoon(name, retry_after=seconds)
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

    async def _next_token(self, name: str, ask: Ask, *, operator: bool) -> Token:
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
            allowed_at = None
            session = runner.cell.session
            alive = session_state.valid_token(session, self._clock.now()) is not None
            if alive and not session.failures:
                allowed_at = self._hasten(runner, operator=operator)
            if allowed_at is None:
                await runner.cell.changed(version)
            elif allowed_at > ask.until:
                raise readiness.renewed_too_often(allowed_at, self._clock.now())
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(allowed_at - self._clock.now()):
                        await runner.cell.changed(version)

    def _hasten(self, runner: AppRunner, *, operator: bool) -> Instant | None:
        """Renew a token on request; return None, or when that will be allowed if it is not.

        An attempt that comes as soon anyway costs nothing of the allowance.
        """
        name, session, now = runner.app.name, runner.cell.session, self._clock.now()
        hastened = operator_transitions.hastened(session, now, runner.app.timing)
        if hastened.next_attempt_at >= session.next_attempt_at:
            return None
        token = session_state.valid_token(session, now)
        if token is not None and not operator:
            seconds = refresh_allowance.interval(token)
            whole_at = self._whole_at.get(name, now)
            allowed_at = refresh_allowance.allowed_at(whole_at, seconds)
            if allowed_at > now:
                return allowed_at
            self._whole_at[name] = refresh_allowance.used(whole_at, now, seconds)
        runner.hasten()
        return None


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
