"""What asking for a token means: the newest one, one that lasts, or each as it comes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from math import ceil

from refresherd import lifecycle, readiness
from refresherd.errors import NoSuchApp, NoToken
from refresherd.lifecycle import Life
from refresherd.model import Instant, Token
from refresherd.ports import Apps, Clock, Kept

LONGEST_RETRY_AFTER = 3600.0
"""Seconds. Whoever obeys asks again at least so often, however far off the next attempt is."""

AT_ONCE = 1.0
"""Seconds. The shortest `Retry-After` there is."""


class Broker:
    """Hands out tokens on request: never an expired one, and not a refresh more than it takes.

    However many ask, an app makes one attempt at a time, those of its schedule included; and
    whoever may only read its token neither shortens a backoff nor burns a credential.
    """

    def __init__(self, apps: Apps, clock: Clock) -> None:
        self._apps = apps
        self._clock = clock

    async def token(self, name: str, min_ttl: float = 0.0, wait: float = 0.0) -> Token:
        """Return a token that lives for at least `min_ttl` seconds more, refreshed if need be.

        Waits for one up to `wait` seconds. Raises NoSuchApp; and NoToken, at once where
        there is nothing to hope for.
        """
        token = self._lasting(self._kept(name), min_ttl)
        if token is not None:
            return token
        asked_at = self._clock.now()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                return await self._awaited(name, min_ttl, asked_at)
        raise self._none_yet(self._kept(name))

    async def refresh(self, name: str, wait: float, *, operator: bool) -> None:
        """Have an attempt made now; return once it has ended, or after `wait` seconds.

        One that is under way serves. An app in trouble goes on at the pace of its backoff
        unless an `operator` asks. Raises NoSuchApp.
        """
        kept = self._kept(name)
        before = kept.view.life
        if operator or before.failures == 0:
            kept.refresh()
        elif before.next_attempt_at > self._clock.now():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._attempted(name, before)

    async def watch(self, name: str) -> AsyncGenerator[Token, None]:
        """Yield the valid token, if there is one, and each new one, until the app is kept no more.

        Whoever is slow gets the newest only. A longer life of the same token is news as well.
        Raises NoSuchApp.
        """
        kept: Kept | None = self._kept(name)
        shown = None
        while kept is not None and not (view := kept.view).closed:
            version = view.version
            token = lifecycle.valid_token(view.life, self._clock.now())
            if token is not None and token != shown:
                shown = token
                yield token
            else:
                await view.changed(version)
                kept = self._apps.kept(name)

    async def _awaited(self, name: str, min_ttl: float, asked_at: Instant) -> Token:
        while True:
            kept = self._kept(name)
            version = kept.view.version
            token = self._lasting(kept, min_ttl)
            if token is not None:
                return token
            self._refuse_the_hopeless(kept, min_ttl, asked_at)
            if self._may_hasten(kept):
                kept.refresh()
            await kept.view.changed(version)

    async def _attempted(self, name: str, before: Life) -> None:
        while not (kept := self._kept(name)).view.closed:
            version, life = kept.view.version, kept.view.life
            # A session found dead is followed by a login at once, which belongs to the attempt.
            if _outcome(life) != _outcome(before) and life.next_attempt_at > self._clock.now():
                return
            await kept.view.changed(version)

    def _kept(self, name: str) -> Kept:
        kept = self._apps.kept(name)
        if kept is None:
            raise NoSuchApp(f'there is no app named "{name}"')
        return kept

    def _lasting(self, kept: Kept, min_ttl: float) -> Token | None:
        """Return the app's token if it lives for so long."""
        now = self._clock.now()
        token = lifecycle.valid_token(kept.view.life, now)
        if token is None or kept.view.closed or token.expires_at - now < min_ttl:
            return None
        return token

    def _may_hasten(self, kept: Kept) -> bool:
        """Return whether a live token is to be renewed now, as nothing else will be so soon."""
        life, now = kept.view.life, self._clock.now()
        if life.failures or lifecycle.valid_token(life, now) is None:
            return False
        soonest = lifecycle.hastened(life, now, kept.app.timing).next_attempt_at
        return soonest < life.next_attempt_at

    def _refuse_the_hopeless(self, kept: Kept, min_ttl: float, asked_at: Instant) -> None:
        """Raise NoToken where waiting brings no token that lives for so long."""
        life, now = kept.view.life, self._clock.now()
        if kept.view.closed:
            raise NoToken("the app is being stopped", retry_after=_seconds(AT_ONCE))
        token = lifecycle.valid_token(life, now)
        if token is None:
            return
        if token.lifetime <= min_ttl:
            raise NoToken(
                f"its tokens live for {token.lifetime:g} s only, and {min_ttl:g} s were asked for",
                retry_after=_seconds(life.next_attempt_at - now),
            )
        if life.last_success_at is not None and life.last_success_at >= asked_at:
            raise NoToken(
                f"even its newest token lives for another {token.expires_at - now:.3g} s only, "
                f"and {min_ttl:g} s were asked for",
                retry_after=_seconds(life.next_attempt_at - now),
            )

    def _none_yet(self, kept: Kept) -> NoToken:
        life, now = kept.view.life, self._clock.now()
        told = readiness.reasons(readiness.AppStatus(kept.app.name, life), now)
        message = told[0] if told else "no token that lives for so long has come yet"
        return NoToken(message, retry_after=_seconds(life.next_attempt_at - now))


def _outcome(life: Life) -> tuple[object, ...]:
    return life.last_success_at, life.failures, life.last_failure


def _seconds(wait: float) -> int:
    return ceil(min(max(wait, AT_ONCE), LONGEST_RETRY_AFTER))
