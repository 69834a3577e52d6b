"""Checks passwords against bcrypt hashes, which take a twentieth of a second of processor each.

A right password is remembered, so a scraper costs one check. Wrong ones are checked one at a time
with rests in between, and each client in its turn: guessing takes a quarter of a processor at most,
and holds up no other client for long.
"""

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b

import bcrypt

from refresherd.domain.connection_quota import User
from refresherd.domain.model import Secret
from refresherd.engine.ports import Clock
from refresherd.host.keyed_executor import KeyedExecutor

REST_TIMES = 3.0
"""After a wrong password, the next check waits this many times as long as that one took."""

MAX_REMEMBERED = 256
"""Right passwords that are remembered; there are more only where passwords change often."""

LONGEST_PASSWORD = 72
"""In bytes. bcrypt has never looked at more; some of its libraries refuse more."""


@dataclass(slots=True, eq=False)
class _Check:
    """A password that waits to be checked."""

    key: bytes
    password: bytes
    hashed: bytes
    known: bool
    """Whether there is such a user; otherwise the check only takes its time."""
    waiters: set[asyncio.Future[bool]] = field(default_factory=set)

    def run(self) -> bool:
        """Return whether it is right. It blocks."""
        with suppress(ValueError):  # such as a NUL in the password
            return bcrypt.checkpw(self.password, self.hashed) and self.known
        return False


class Passwords:
    """Tells right passwords from wrong ones. Belongs to one event loop."""

    def __init__(self, executor: KeyedExecutor, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        self._secret = os.urandom(32)
        """With it, what is remembered tells nothing about a password."""
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._checks: dict[bytes, _Check] = {}
        """Those that wait or run: equal ones are made once."""
        self._queues: OrderedDict[User, deque[_Check]] = OrderedDict()
        """Those that wait, by client; the client whose turn it is comes first."""
        self._runner: asyncio.Task[None] | None = None

    def remembers(self, users: Mapping[str, Secret], user: str, password: str) -> bool:
        """Return whether this was found to be right before."""
        hashed = users.get(user)
        return hashed is not None and self._key(user, password, hashed) in self._right

    async def right(
        self, users: Mapping[str, Secret], user: str, password: str, client: User
    ) -> bool:
        """Return whether a user has this password. Unknown users take as long as known ones."""
        hashed = users.get(user, self._stand_in(users, user))
        key = self._key(user, password, hashed)
        check = self._checks.get(key)
        if check is None:
            text = password.encode()[:LONGEST_PASSWORD]
            check = _Check(key, text, hashed.reveal().encode(), user in users)
            self._checks[key] = check
            self._queues.setdefault(client, deque()).append(check)
            if self._runner is None:
                self._runner = asyncio.create_task(self._run())
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        check.waiters.add(waiter)
        try:
            return await waiter
        finally:
            check.waiters.discard(waiter)
            if not check.waiters:
                # Nobody waits any more, so nothing is spent on it.
                self._checks.pop(key, None)

    def close(self) -> None:
        """Check nothing more."""
        if self._runner is not None:
            self._runner.cancel()

    async def _run(self) -> None:
        # No thread can be started now: those who wait give up, and the next one tries again.
        with suppress(OSError):
            await self._check_all()
        self._runner = None

    async def _check_all(self) -> None:
        while (check := self._next()) is not None:
            began = self._clock.now()
            right = await self._executor.call("passwords", check.run)
            took = self._clock.now() - began
            for waiter in check.waiters:
                if not waiter.done():
                    waiter.set_result(right)
            if right:
                self._remember(check.key)
            else:
                await asyncio.sleep(took * REST_TIMES)

    def _next(self) -> _Check | None:
        """Take the next check that somebody waits for, from each client in turn."""
        while self._queues:
            client, queue = self._queues.popitem(last=False)
            check = queue.popleft()
            if queue:
                self._queues[client] = queue
            if check.waiters:
                return check
        return None

    def _remember(self, key: bytes) -> None:
        self._right[key] = None
        if len(self._right) > MAX_REMEMBERED:
            self._right.popitem(last=False)

    def _stand_in(self, users: Mapping[str, Secret], user: str) -> Secret:
        """Return the hash with which an unknown user's password is compared: always the same one.

        Hashes of several costs take several times; which one is taken must not tell who is known.
        """
        number = int.from_bytes(self._digest(user.encode())[:8])
        return tuple(users.values())[number % len(users)]

    def _key(self, user: str, password: str, hashed: Secret) -> bytes:
        parts = (user.encode(), password.encode(), hashed.reveal().encode())
        return self._digest(b"".join(len(part).to_bytes(4) + part for part in parts))

    def _digest(self, data: bytes) -> bytes:
        return blake2b(data, key=self._secret, digest_size=32).digest()
