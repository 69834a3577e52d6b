"""What asking for a token means: the newest one, one that lasts, or each as it comes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from refresherd.domain import operator_transitions, session_state, token_refusal
from refresherd.domain.errors import NoSuchApp
from refresherd.domain.model import Instant, Token
from refresherd.domain.session_state import SessionState
from refresherd.domain.token_refusal import Ask
from refresherd.engine.ports import Apps, Clock, Kept

FIRST_SECONDS = 1.0
"""For so long whoever asks waits for a first token or the first failure, wanted or not: a daemon
that takes over from another one has its sessions within milliseconds."""

NO_OUTCOME = (None, 0, None)


class Broker:
    """Hands out tokens on request: never an expired one, and not a refresh more than it takes.

    However many ask, an app makes one attempt at a time, those of its schedule included; and
    whoever may only read its token neither shortens a backoff nor burns a credential.
    """

    def __init__(self, apps: Apps, clock: Clock, first: float = FIRST_SECONDS) -> None:
        """Wait up to `first` seconds for what a daemon that has just begun has to begin with."""
        self._apps = apps
        self._clock = clock
        self._first = first

    async def token(self, name: str, min_ttl: float = 0.0, wait: float = 0.0) -> Token:
        """Return a token that lives for at least `min_ttl` seconds more, refreshed if need be.

        Waits for one up to `wait` seconds. Raises NoSuchApp; and NoToken, at once where
        there is nothing to hope for.
        """
        if _untried(self._kept(name)):
            await self._begun(name)
        token = self._lasting(self._kept(name), min_ttl)
        if token is not None:
            return token
        now = self._clock.now()
        ask = Ask(min_ttl, at=now, until=Instant(now + wait))
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                return await self._awaited(name, ask)
        raise token_refusal.none_yet(self._kept(name).view.session, self._clock.now())

    async def refresh(self, name: str, wait: float, *, operator: bool) -> None:
        """Have an attempt made now; return once it has ended, or after `wait` seconds.

        One that is under way serves. An app in trouble goes on at the pace of its backoff
        unless an `operator` asks. Raises NoSuchApp.
        """
        kept = self._kept(name)
        before = kept.view.session
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
            token = session_state.valid_token(view.session, self._clock.now())
            if token is not None and token != shown:
                shown = token
                yield token
            else:
                await view.changed(version)
                kept = self._apps.kept(name)

    async def _begun(self, name: str) -> None:
        """Return once it is known whether an app has anything to begin with."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._first):
                while _untried(self._kept(name)):
                    view = self._kept(name).view
                    await view.changed(view.version)

    async def _awaited(self, name: str, ask: Ask) -> Token:
        while True:
            kept = self._kept(name)
            version = kept.view.version
            token = self._lasting(kept, ask.min_ttl)
            if token is not None:
                return token
            self._refuse_the_hopeless(kept, ask)
            if self._may_hasten(kept):
                kept.refresh()
            await kept.view.changed(version)

    async def _attempted(self, name: str, before: SessionState) -> None:
        while not (kept := self._kept(name)).view.closed:
            version, session = kept.view.version, kept.view.session
            # A session found dead is followed by a login at once, which belongs to the attempt.
            if (
                _outcome(session) != _outcome(before)
                and session.next_attempt_at > self._clock.now()
            ):
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
        token = session_state.valid_token(kept.view.session, now)
        if token is None or kept.view.closed or token.expires_at - now < min_ttl:
            return None
        return token

    def _may_hasten(self, kept: Kept) -> bool:
        """Return whether a live token is to be renewed now, as nothing else will be so soon."""
        session, now = kept.view.session, self._clock.now()
        if session.failures or session_state.valid_token(session, now) is None:
            return False
        soonest = operator_transitions.hastened(session, now, kept.app.timing).next_attempt_at
        return soonest < session.next_attempt_at

    def _refuse_the_hopeless(self, kept: Kept, ask: Ask) -> None:
        """Raise NoToken where waiting brings no token that lives for so long."""
        if kept.view.closed:
            raise token_refusal.stopping()
        refusal = token_refusal.hopeless(kept.view.session, ask, self._clock.now())
        if refusal is not None:
            raise refusal


def _untried(kept: Kept) -> bool:
    session = kept.view.session
    return not kept.view.closed and session.token is None and _outcome(session) == NO_OUTCOME


def _outcome(session: SessionState) -> tuple[object, ...]:
    return session.last_success_at, session.failures, session.last_failure
