"""A DSM in simulated time, with real sessions that expire, idle out, are renewed and ended."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from math import inf

from refresherd.domain.errors import Reason, Rejected, Retryable, SessionLost
from refresherd.domain.model import Grant, Secret
from simulations.troubles import Kind, Troubles
from support.fakes import ENTITY_ID

TINY, ENDLESS = 1.0, 4_294_967_295.0

SLOW = 15.0
"""Seconds that a slow answer takes: within the usual timeout."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How a DSM behaves. With `idle`, a session's lifetime counts from its last use."""

    lifetime: float = 600.0
    idle: bool = False
    latency: float = 0.2
    maximum: float = inf
    """How long after a login all sessions end that go back to it, in seconds."""


@dataclass(slots=True)
class Session:
    """A session at the DSM; `heard` is whether its answer reached the client."""

    app: str
    lifetime: float
    began: float
    used: float
    login_at: float
    """When the login was sent that it goes back to."""
    heard: bool = False
    ended_at: float = inf
    by_others: bool = False
    """Somebody other than the daemon ended it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request in an app's name."""

    name: str
    at: float


class ModelDsm:
    """Holds the sessions of all apps, and has the planned troubles.

    A session's lifetime begins when its request is sent: the strictest reading.
    """

    def __init__(self, now: Callable[[], float], habits: Habits, troubles: Troubles) -> None:
        self.now = now
        self.habits = habits
        self.troubles = troubles
        self.sessions: dict[str, Session] = {}
        self.requests: dict[str, list[Request]] = defaultdict(list)
        self.refusals: dict[str, list[float]] = defaultdict(list)
        self._alive: dict[str, list[str]] = defaultdict(list)
        self._numbers = count(1)

    def lives(self, token: str) -> bool:
        """Return whether a session is alive: neither expired nor ended."""
        session = self.sessions[token]
        ends = (session.used if self.habits.idle else session.began) + session.lifetime
        return self.now() < min(ends, session.ended_at)

    def living(self, app: str) -> list[str]:
        """Return an app's live sessions, the oldest first."""
        # Dead sessions stay dead, and with short lifetimes there are thousands of them.
        self._alive[app] = [token for token in self._alive[app] if self.lives(token)]
        return list(self._alive[app])

    def use(self, token: str) -> None:
        """Record that a session is used."""
        self.sessions[token].used = self.now()

    def log_out(self, app: str) -> None:
        """End all sessions of an app behind the daemon's back."""
        for token in self.living(app):
            self.sessions[token].ended_at = self.now()
            self.sessions[token].by_others = True

    def grant(self, app: str, sent_at: float, login_at: float) -> Grant:
        """Grant a session with the usual lifetime, or the one of the current trouble."""
        lifetime = min(self.habits.lifetime, login_at + self.habits.maximum - sent_at)
        for kind, odd in ((Kind.TINY, TINY), (Kind.ENDLESS, ENDLESS)):
            lifetime = odd if self.troubles.now(kind, app) else lifetime
        token = f"{app}-{next(self._numbers)}"
        self.sessions[token] = Session(app, lifetime, sent_at, sent_at, login_at)
        self._alive[app].append(token)
        return Grant(Secret(token), ENTITY_ID, lifetime)


class ModelClient:
    """The DSM as one app sees it: a SessionClient."""

    def __init__(self, dsm: ModelDsm, app: str, may_end: Callable[[str], None]) -> None:
        self._dsm = dsm
        self._app = app
        self._may_end = may_end

    async def login(self, credential: Secret, timeout: float) -> Grant:
        """Grant a session to the right key."""
        sent_at = await self._reach("login", timeout)
        if self._is(Kind.FORBIDDEN) or credential.reveal() == "wrong":
            self._dsm.refusals[self._app].append(self._dsm.now())
            raise Rejected(Reason.REJECTED, "refused")
        return await self._granted(sent_at, timeout, sent_at)

    async def reauth(self, token: Secret, timeout: float) -> Grant:
        """Grant a new session for a live one, which stays alive."""
        sent_at = await self._reach("reauth", timeout)
        self._use(token)
        login_at = self._dsm.sessions[token.reveal()].login_at
        return await self._granted(sent_at, timeout, login_at)

    async def keep_alive(self, token: Secret, timeout: float) -> str:
        """Record a use."""
        sent_at = await self._reach("keep_alive", timeout)
        self._use(token)
        await self._answer(sent_at, timeout)
        return ""

    async def terminate(self, token: Secret, timeout: float) -> None:
        """End a session."""
        self._may_end(token.reveal())
        sent_at = await self._reach("terminate", timeout)
        self._use(token)
        self._dsm.sessions[token.reveal()].ended_at = self._dsm.now()
        await self._answer(sent_at, timeout)

    def _is(self, kind: Kind) -> bool:
        return self._dsm.troubles.now(kind, self._app)

    async def _reach(self, name: str, timeout: float) -> float:
        """Return when the request was sent, once the DSM has received it."""
        sent_at = self._dsm.now()
        self._dsm.requests[self._app].append(Request(name, sent_at))
        if self._is(Kind.REFUSED):
            raise Retryable(Reason.CONNECT, "connection refused")
        if self._is(Kind.HANGS):
            await self._time_out(timeout)
        latency = SLOW if self._is(Kind.SLOW) else self._dsm.habits.latency
        if latency >= timeout:
            await self._time_out(timeout)
        await asyncio.sleep(latency)
        if self._is(Kind.BROKEN):
            raise Retryable(Reason.SERVER_ERROR, "500")
        if self._is(Kind.THROTTLED):
            raise Retryable(Reason.THROTTLED, "slow down", retry_after=inf)
        return sent_at

    async def _granted(self, sent_at: float, timeout: float, login_at: float) -> Grant:
        grant = self._dsm.grant(self._app, sent_at, login_at)
        await self._answer(sent_at, timeout)
        self._dsm.sessions[grant.access_token.reveal()].heard = True
        return grant

    async def _answer(self, sent_at: float, timeout: float) -> None:
        if self._is(Kind.LOST):
            await self._time_out(timeout - (self._dsm.now() - sent_at))

    async def _time_out(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        raise Retryable(Reason.TIMEOUT, "no answer")

    def _use(self, token: Secret) -> None:
        if self._is(Kind.FORBIDDEN):
            raise SessionLost("forbidden", dead=False)
        if not self._dsm.lives(token.reveal()):
            if self._dsm.sessions[token.reveal()].by_others:
                # The trouble begins here: the daemon could not have known before.
                self._dsm.troubles.begin(Kind.LOGGED_OUT, app=self._app)
            raise SessionLost("Session does not exist")
        self._dsm.use(token.reveal())
