"""Large answers, made once for many clients, which may read them slowly.

At ten thousand apps the metrics are 31 MB of text. If each client got a text of its own, a few
hundred that do not read would fill the memory. So a text is kept compressed, which is a twentieth
of that, and one text serves everybody who asks within a short time. As the time is a multiple of
how long it took to make the text, and a client has half a minute to read it, what slow clients can
make the process keep is bounded at any number of apps.

An answer that must never be out of date is shared only by clients that asked before its making
began; later ones wait for the next answer.
"""

import asyncio
import os
import time
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from math import inf
from typing import Generic, TypeVar

from refresherd.engine.ports import Clock
from refresherd.host import process
from refresherd.host.keyed_executor import KeyedExecutor

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

SHARED_TIMES = 10.0
"""An answer is shared for this many times as long as it took to make: however many clients ask,
making answers takes a tenth of a processor."""

MAX_SHARED_SECONDS = 5.0
"""No answer is older than this, not counting the time that it took to make."""

MAX_REST_SECONDS = 2.0
"""The longest pause after a rendering: a suspend may make one seem to take hours."""

GZIP_BITS = 31
"""zlib's largest window, in gzip's format."""

COMPRESSED_PART = 16384
"""Bytes of a compressed text that are sent at a time."""

INFLATED_PART = 1024
"""Compressed bytes that are inflated at a time; they become some 20 KB of metrics."""


class CompressedText:
    """A text in gzip's format."""

    __slots__ = ("_compressed", "length")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Compress a text as its pieces come. Call it in a thread."""
        compressor = zlib.compressobj(zlib.Z_BEST_SPEED, wbits=GZIP_BITS)
        compressed = []
        self.length = 0
        """In bytes, when it is not compressed."""
        for piece in pieces:
            self.length += len(piece)
            compressed.append(compressor.compress(piece))
            # Let the event loop run; otherwise each of its turns would wait 5 ms for this thread.
            os.sched_yield()
        self._compressed = b"".join((*compressed, compressor.flush()))

    @property
    def compressed_length(self) -> int:
        """In bytes."""
        return len(self._compressed)

    def compressed(self) -> Iterator[bytes]:
        """Yield the text in gzip's format, a small part at a time."""
        return self._parts(COMPRESSED_PART)

    def plain(self) -> Iterator[bytes]:
        """Yield the text, a small part at a time."""
        inflate = zlib.decompressobj(wbits=GZIP_BITS).decompress
        for part in self._parts(INFLATED_PART):
            if text := inflate(part):
                yield text

    def _parts(self, size: int) -> Iterator[bytes]:
        compressed = self._compressed
        return (compressed[at : at + size] for at in range(0, len(compressed), size))


class Rest:
    """The pause between two renderings, in the thread that makes them one after the other."""

    def __init__(self, times: float = 0.0) -> None:
        """Make pauses that are `times` as long as the rendering before them took."""
        self._times = times
        self._until = -inf

    def wait(self, clock: Clock) -> None:
        """Return when the pause is over. It blocks."""
        left = self._until - clock.now()
        if left > 0:
            # A suspend may have stretched a rendering by hours.
            time.sleep(min(left, MAX_REST_SECONDS))

    def begin(self, now: float, took: float) -> None:
        """Begin the pause after a rendering that took so many seconds."""
        self._until = now + took * self._times


class SharedRendering(Generic[T]):
    """Shares what `render` returns among clients that ask while it runs in a thread, or soon after.

    Calls with the same `name` run one after the other, with pauses in between where `rest` asks for
    them. A rendering that has not begun is abandoned with the last client that waits for it.
    """

    def __init__(
        self,
        name: str,
        render: Callable[[], T],
        executor: KeyedExecutor,
        clock: Clock,
        rest: Rest | None = None,
    ) -> None:
        self._name = name
        self._render = render
        self._executor = executor
        self._clock = clock
        self._rest = rest or Rest()
        self._rendering: asyncio.Task[T] | None = None
        self._begun = False
        self._waiting = 0
        self._shared_until = -inf

    async def get(self) -> T:
        """Return what `render` returns, or raise what it raises."""
        rendering = self._rendering
        if rendering is None or (rendering.done() and self._clock.now() >= self._shared_until):
            rendering = self._rendering = asyncio.create_task(self._render_in_thread())
            rendering.add_done_callback(_retrieve)
        self._waiting += 1
        try:
            return await asyncio.shield(rendering)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._begun and not rendering.done():
                # Otherwise clients that leave at once would have others wait for their answers.
                rendering.cancel()
                self._rendering = None

    def close(self) -> None:
        """Abandon a rendering in progress."""
        if self._rendering is not None:
            self._rendering.cancel()

    async def _render_in_thread(self) -> T:
        self._shared_until, self._begun = -inf, False
        rendered, began, ended = await self._executor.call(self._name, self._render_rested)
        shared = min((ended - began) * SHARED_TIMES, MAX_SHARED_SECONDS)
        self._shared_until = ended + shared
        return rendered

    def _render_rested(self) -> tuple[T, float, float]:
        self._rest.wait(self._clock)
        self._begun = True
        rendered, began, ended = _timed(self._render, self._clock)
        self._rest.begin(ended, ended - began)
        return rendered, began, ended


class CurrentRendering(Generic[T]):
    """Shares what `render` returns among clients that asked before it began.

    So no client gets an answer from before its request. After each rendering there is a pause,
    `rest_times` as long as the rendering took, and clients that come meanwhile wait.
    """

    def __init__(
        self,
        name: str,
        render: Callable[[], T],
        executor: KeyedExecutor,
        clock: Clock,
        *,
        rest_times: float,
    ) -> None:
        self._name = name
        self._render = render
        self._executor = executor
        self._clock = clock
        self._rest_times = rest_times
        self._rested_at = -inf
        self._last: asyncio.Task[T] | None = None
        """The latest rendering that has begun."""
        self._next: asyncio.Task[T] | None = None
        """The one that has not begun, None if nobody waits for it."""

    async def get(self) -> T:
        """Return what `render` returns, or raise what it raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._render_after(self._last))
            self._next.add_done_callback(_retrieve)
        return await asyncio.shield(self._next)

    def close(self) -> None:
        """Abandon renderings in progress."""
        for rendering in filter(None, (self._last, self._next)):
            rendering.cancel()

    async def _render_after(self, last: asyncio.Task[T] | None) -> T:
        if last is not None:
            await asyncio.wait({last})
        await asyncio.sleep(self._rested_at - self._clock.now())
        self._last, self._next = self._next, None
        timed = partial(_timed, self._render, self._clock)
        rendered, began, ended = await self._executor.call(self._name, timed)
        self._rested_at = ended + min((ended - began) * self._rest_times, MAX_REST_SECONDS)
        return rendered


class SharedRenderings(Generic[K, T]):
    """A shared rendering for each key that clients may ask for.

    If there are very many keys, perhaps no two clients ask for the same. For that case, each
    rendering is followed by a pause, `rest_times` as long as the rendering took.
    """

    def __init__(  # noqa: PLR0913  # the last two have defaults
        self,
        name: str,
        render: Callable[[K], T],
        executor: KeyedExecutor,
        clock: Clock,
        *,
        max_keys: int = 64,
        rest_times: float = 0.0,
    ) -> None:
        self._name = name
        self._render = render
        self._executor = executor
        self._clock = clock
        self._max_keys = max_keys
        self._rest = Rest(rest_times)
        self._renderings: dict[K, SharedRendering[T]] = {}

    async def get(self, key: K) -> T:
        """Return what `render` returns for the key, or raise what it raises."""
        rendering = self._renderings.get(key)
        if rendering is None:
            if len(self._renderings) >= self._max_keys:
                # Clients that wait for it still get it.
                del self._renderings[next(iter(self._renderings))]
            rendering = SharedRendering(
                self._name,
                partial(self._render, key),
                self._executor,
                self._clock,
                self._rest,
            )
            self._renderings[key] = rendering
        return await rendering.get()

    def close(self) -> None:
        """Abandon renderings in progress."""
        for rendering in self._renderings.values():
            rendering.close()


def _timed(render: Callable[[], T], clock: Clock) -> tuple[T, float, float]:
    """Return a rendering, when it began, and when it ended."""
    began = clock.now()
    with process.collector_paused():
        rendered = render()
    return rendered, began, clock.now()


def _retrieve(rendering: asyncio.Task[T]) -> None:
    """Keep asyncio from logging a failure because every client has gone."""
    if not rendering.cancelled():
        rendering.exception()
