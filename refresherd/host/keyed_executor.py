"""Blocking calls off the event loop, in order for each resource, never behind another resource.

`asyncio.to_thread` shares a handful of threads: six calls that hang on one dead disk would hang
everyone's. Here each key, a resource, has a queue of its own and occupies one thread at most, so a
hanging resource holds up only itself. The threads are daemon threads, so that a hanging one does
not hold up the end of the process either.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from errno import EAGAIN, ETIMEDOUT
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from refresherd.domain.durations import in_seconds
from refresherd.host.os_errors import NO_THREAD

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""A filesystem that takes longer than this counts as hanging."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any = field(default=None, repr=False)
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    run: Callable[[], Any]
    future: asyncio.Future[_Outcome]

    def outcome(self) -> _Outcome:
        """Run it, and return how it ended."""
        try:
            return _Outcome(self.run())
        except BaseException as error:  # noqa: BLE001  # raised anew where the call is awaited
            return _Outcome(error=error)

    def resolve(self, outcome: _Outcome) -> None:
        """Wake the caller, unless it was cancelled."""
        if not self.future.done():
            self.future.set_result(outcome)


@dataclass(frozen=True, slots=True, eq=False)
class _Queue:
    """A key's calls. A deque allows the loop to add and remove while a thread takes."""

    key: Hashable
    calls: deque[_Call] = field(default_factory=deque)

    def take(self) -> _Call | None:
        """Return the next call whose caller still waits, None if there is none."""
        with suppress(IndexError):
            while (call := self.calls.popleft()).future.done():
                pass
            return call
        return None


class KeyedExecutor:
    """Runs blocking calls in threads, those of one key one by one. Belongs to one event loop.

    Calls that may hang together share a key. As many threads are started as calls come in, but no
    more than `threads`. If all are busy for `grow_after` seconds, they may be hanging, and as many
    again are started. An idle thread ends after `idle_timeout` seconds.

    The threads run `_work`, the loop everything else.
    """

    def __init__(
        self, *, threads: int = 8, grow_after: float = 0.1, idle_timeout: float = 10.0
    ) -> None:
        self._threads = threads
        self._grow_after = grow_after
        self._idle_timeout = idle_timeout
        self._queues: dict[Hashable, _Queue] = {}
        self._waiting: deque[_Queue] = deque()
        """Queues that no thread empties yet."""
        self._dispatched: SimpleQueue[_Queue | None] = SimpleQueue()
        """Queues for idle threads to take; None ends one."""
        self._started = 0
        self._may_start = True
        """Whether the process could start a thread when it last tried."""
        self._idle = 0
        self._growth: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()
        self._drained.set()

    async def call(self, key: Hashable, run: Callable[[], T]) -> T:
        """Return what `run` returns, or raise what it raises, after `key`'s earlier calls.

        The caller bounds the wait. A call that is cancelled before it began never runs. One that
        has begun cannot be stopped, and later calls of its key wait for its end.
        """
        call = _Call(run, asyncio.get_running_loop().create_future())
        queue = self._queues.get(key)
        if queue is not None:
            queue.calls.append(call)
        else:
            queue = self._queues[key] = _Queue(key, deque((call,)))
            self._drained.clear()
            self._waiting.append(queue)
            self._dispatch(self._threads)
        try:
            outcome = await call.future
        except asyncio.CancelledError:
            # Behind a hanging call it would stay for long, with what it holds.
            with suppress(LookupError, ValueError):
                self._queues[key].calls.remove(call)
                if self.lacks_thread(key):
                    raise asyncio.CancelledError(NO_THREAD) from None
            raise
        if outcome.error is not None:
            raise outcome.error
        value: T = outcome.value
        return value

    def lacks_thread(self, key: Hashable) -> bool:
        """Return whether calls of a key wait because the process may have no more threads."""
        return not self._may_start and self._queues.get(key) in self._waiting

    async def drained(self) -> None:
        """Return once no call is running or waiting. The caller bounds the wait."""
        await self._drained.wait()

    def _dispatch(self, limit: int) -> None:
        """Dispatch what waits, starting threads while there are fewer than `limit`."""
        while self._waiting and (self._idle or (self._started < limit and self._start())):
            self._idle -= 1
            self._dispatched.put(self._waiting.popleft())
        if self._waiting and self._growth is None:
            loop = asyncio.get_running_loop()
            self._growth = loop.call_later(self._grow_after, self._grow)

    def _grow(self) -> None:
        self._growth = None
        self._dispatch(self._started + self._threads)

    def _start(self) -> bool:
        """Start a thread, idle at first; return False if the process may have no more of them."""
        loop = asyncio.get_running_loop()
        try:
            threading.Thread(target=self._work, args=(loop,), name="executor", daemon=True).start()
        except RuntimeError:
            self._may_start = False
            return False
        self._may_start = True
        self._started += 1
        self._idle += 1
        return True

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop was closed, so nobody waits any more
            while self._work_once(loop):
                pass

    def _work_once(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Empty one queue; return whether to go on.

        In a frame of its own, so that an idle thread keeps no reference to a call.
        """
        try:
            queue = self._dispatched.get(timeout=self._idle_timeout)
        except Empty:
            loop.call_soon_threadsafe(self._end_idle)
            return True
        if queue is None:
            return False
        while (call := queue.take()) is not None:
            outcome = call.outcome()
            if not queue.calls:
                # One message for both: each costs the loop a wake-up.
                loop.call_soon_threadsafe(self._finished, queue, call, outcome)
                return True
            loop.call_soon_threadsafe(call.resolve, outcome)
        loop.call_soon_threadsafe(self._finished, queue)
        return True

    def _finished(
        self, queue: _Queue, call: _Call | None = None, outcome: _Outcome | None = None
    ) -> None:
        if call is not None and outcome is not None:
            call.resolve(outcome)
        self._idle += 1
        if queue.calls:
            self._waiting.append(queue)
        else:
            del self._queues[queue.key]
            if not self._queues:
                self._drained.set()
        self._dispatch(self._threads)

    def _end_idle(self) -> None:
        """End a thread that has been idle, unless it has just been given a queue."""
        if self._idle:
            self._idle -= 1
            self._started -= 1
            self._dispatched.put(None)


def found_no_thread(error: Exception) -> bool:
    """Return whether an error is a timeout of a call that never got a thread."""
    cancelled = error.__cause__
    return isinstance(cancelled, asyncio.CancelledError) and NO_THREAD in cancelled.args


@asynccontextmanager
async def filesystem_timeout(seconds: float) -> AsyncIterator[None]:
    """Give the block, which waits for a filesystem, this many seconds.

    After that, raise TimeoutError: an OSError whose `strerror` explains it to an operator, and
    does not blame the filesystem if an executor's call in the block has found no thread.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        if found_no_thread(error):
            raise TimeoutError(EAGAIN, NO_THREAD) from None
        message = f"no answer for {in_seconds(seconds)}; its filesystem hangs or is overloaded"
        raise TimeoutError(ETIMEDOUT, message) from None
