"""Blocking calls off the event loop: in order for one resource, and none behind another's.

`asyncio.to_thread` shares a handful of threads: six calls that hang on one dead
disk would hang everyone's. A lane is one resource's queue and occupies one thread
at most, so a hanging resource holds up only itself. The threads are daemon
threads, so that a hanging one does not hold up the end of the process either.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How many threads to spend, and when to start and end them. Times in seconds.

    Up to `threads` are started as calls come in. Where those are all busy for `relief`, they
    may be hanging, and as many again are started. An idle one ends after `idle`.
    """

    threads: int = 8
    relief: float = 0.1
    idle: float = 10.0


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any = field(default=None, repr=False)
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    run: Callable[[], Any]
    future: asyncio.Future[_Outcome]

    def land(self, outcome: _Outcome) -> None:
        """Tell who waits, if anyone still does."""
        if not self.future.done():
            self.future.set_result(outcome)


@dataclass(frozen=True, slots=True, eq=False)
class _Lane:
    """The loop appends and withdraws calls while a thread takes them: a deque bears that."""

    key: Hashable
    calls: deque[_Call] = field(default_factory=deque)

    def take(self) -> _Call | None:
        """Return the next call that somebody still waits for, None if there is none."""
        with suppress(IndexError):
            while (call := self.calls.popleft()).future.done():
                pass
            return call
        return None


class KeyedExecutor:
    """The lanes by resource: what may hang together shares a key. Belongs to one event loop."""

    def __init__(self, pace: Pace | None = None) -> None:
        self._executor: dict[Hashable, _Lane] = {}
        self._threads = _Threads(pace or Pace(), self._forget)
        self._drained = asyncio.Event()
        self._drained.set()

    async def call(self, key: Hashable, run: Callable[[], T]) -> T:
        """Return what `run` returns, raise what it raises, once `key`'s earlier calls are done.

        The caller bounds the wait. A call that is cancelled before it began never runs. One
        that has begun cannot be stopped, and the later calls of its lane wait until it ended.
        """
        call = _Call(run, asyncio.get_running_loop().create_future())
        self._submit(key, call)
        try:
            outcome = await call.future
        except asyncio.CancelledError:
            self._withdraw(key, call)
            raise
        if outcome.error is not None:
            raise outcome.error
        value: T = outcome.value
        return value

    async def drained(self) -> None:
        """Return once no call is under way or waiting. The caller bounds the wait."""
        await self._drained.wait()

    def _submit(self, key: Hashable, call: _Call) -> None:
        lane = self._executor.get(key)
        if lane is not None:
            lane.calls.append(call)
            return
        lane = self._executor[key] = _Lane(key)
        lane.calls.append(call)
        self._drained.clear()
        self._threads.hand(lane)

    def _withdraw(self, key: Hashable, call: _Call) -> None:
        """Let go of a call that has not begun: behind a hanging one it would stay for long."""
        with suppress(LookupError, ValueError):
            self._executor[key].calls.remove(call)

    def _forget(self, lane: _Lane) -> None:
        del self._executor[lane.key]
        if not self._executor:
            self._drained.set()


class _Threads:
    """Threads that empty the lanes they are handed. All but `_work` happens in the loop."""

    def __init__(self, pace: Pace, emptied: Callable[[_Lane], None]) -> None:
        self._pace = pace
        self._emptied = emptied
        self._handed: SimpleQueue[_Lane | None] = SimpleQueue()
        self._waiting: deque[_Lane] = deque()
        self._started = 0
        self._idle = 0
        self._relief: asyncio.TimerHandle | None = None

    def hand(self, lane: _Lane) -> None:
        """Have a thread empty a lane as soon as one is free."""
        self._waiting.append(lane)
        self._assign(self._pace.threads)

    def _assign(self, most: int) -> None:
        """Hand on what waits, starting threads while there are fewer than `most`."""
        while self._waiting and (self._idle or (self._started < most and self._start())):
            self._idle -= 1
            self._handed.put(self._waiting.popleft())
        if self._waiting and self._relief is None:
            loop = asyncio.get_running_loop()
            self._relief = loop.call_later(self._pace.relief, self._relieve)

    def _relieve(self) -> None:
        self._relief = None
        self._assign(self._started + self._pace.threads)

    def _start(self) -> bool:
        """Start a thread, idle at first; False where the process may have no more of them."""
        loop = asyncio.get_running_loop()
        try:
            threading.Thread(target=self._work, args=(loop,), name="lane", daemon=True).start()
        except RuntimeError:
            return False
        self._started += 1
        self._idle += 1
        return True

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody wants to know any more
            while self._work_once(loop):
                pass

    def _work_once(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Empty one lane, in a frame of its own: an idle thread keeps nothing of a call."""
        try:
            lane = self._handed.get(timeout=self._pace.idle)
        except Empty:
            loop.call_soon_threadsafe(self._dismiss)
            return True
        if lane is None:
            return False
        while (call := lane.take()) is not None:
            outcome = _run(call.run)
            if not lane.calls:
                # One message for both: each costs the loop a wake-up.
                loop.call_soon_threadsafe(self._finished, lane, call, outcome)
                return True
            loop.call_soon_threadsafe(call.land, outcome)
        loop.call_soon_threadsafe(self._finished, lane)
        return True

    def _finished(
        self, lane: _Lane, call: _Call | None = None, outcome: _Outcome | None = None
    ) -> None:
        if call is not None and outcome is not None:
            call.land(outcome)
        self._idle += 1
        if lane.calls:
            self._waiting.append(lane)
        else:
            self._emptied(lane)
        self._assign(self._pace.threads)

    def _dismiss(self) -> None:
        """End a thread that has been idle, unless it has just been handed a lane."""
        if self._idle:
            self._idle -= 1
            self._started -= 1
            self._handed.put(None)


def _run(run: Callable[[], Any]) -> _Outcome:
    try:
        return _Outcome(run())
    except BaseException as error:  # noqa: BLE001  # raised anew where the call is awaited
        return _Outcome(error=error)
