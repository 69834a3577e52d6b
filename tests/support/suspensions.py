"""Counts the awaits at which tasks are suspended, and calls something at a chosen one."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Suspensions:
    """The suspensions of the counted tasks, and of all that they create, in their order.

    `at_cut` is called at suspension number `cut`, counted from 1, before the loop goes on:
    a task that it cancels is cancelled at its current await.
    """

    def __init__(self, cut: int, at_cut: Callable[[], object]) -> None:
        self._cut = cut
        self._at_cut = at_cut
        self.number = 0

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Return a task that is counted. From now on, so are the tasks that it creates."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self._create)
        return asyncio.Task(_Counted(work, self._suspended), loop=loop)

    def _create(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        /,
        **_: object,
    ) -> asyncio.Task[Any]:
        creator = asyncio.current_task(loop)
        if (
            creator is not None
            and isinstance(creator.get_coro(), _Counted)
            and isinstance(work, Coroutine)
        ):
            work = _Counted(work, self._suspended)
        return asyncio.Task(work, loop=loop)

    def _suspended(self) -> None:
        self.number += 1
        if self.number == self._cut:
            asyncio.get_running_loop().call_soon(self._at_cut)


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine that reports each of its suspensions."""

    def __init__(self, work: Coroutine[Any, Any, Any], suspended: Callable[[], None]) -> None:
        self._work = work
        self._suspended = suspended

    def send(self, value: object) -> object:
        """Go on up to the next suspension."""
        awaited: object = self._work.send(value)
        self._suspended()
        return awaited

    def throw(self, *error: Any) -> object:  # noqa: ANN401  # as a coroutine's
        """Go on with an error."""
        awaited: object = self._work.throw(*error)
        self._suspended()
        return awaited

    def close(self) -> None:
        """End it."""
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()
