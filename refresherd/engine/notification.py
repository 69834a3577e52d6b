"""Tells an app's consumers of each new token by the app's hooks, once they can find it."""

import asyncio

from refresherd.domain.errors import HookError
from refresherd.domain.events import HookRan, HookResult
from refresherd.domain.model import Instant
from refresherd.domain.session_state import ALWAYS, NEVER, valid_token
from refresherd.engine.context import Context
from refresherd.engine.delivery import Delivery
from refresherd.engine.ports import Hook, TokenView


class Notification:
    """One app's hooks, run in their order after a token has reached all of the app's outputs.

    A hook runs once a token: one that fails is told and counted, and its next chance is the
    next token. Where hooks take longer than a token lasts, only the newest is told of. The
    same token with a longer life is no news: its consumers have it.
    """

    __slots__ = ("_app", "_context", "_deliveries", "_generation", "_hooks", "_left", "_view")

    def __init__(
        self,
        app: str,
        hooks: tuple[Hook, ...],
        deliveries: tuple[Delivery, ...],
        view: TokenView,
        context: Context,
    ) -> None:
        self._app = app
        self._hooks = hooks
        self._deliveries = deliveries
        self._view = view
        self._context = context
        # A token that was there before the hooks were is no news.
        self._generation = view.session.generation
        self._left: tuple[Hook, ...] = ()

    @property
    def due_at(self) -> Instant:
        """Always while a hook is to be run, NEVER while the newest token has had them all."""
        return ALWAYS if self._left or self._delivered() > self._generation else NEVER

    @property
    def told(self) -> int:
        """The generation up to which nobody needs to be told any more."""
        if not self._hooks:
            return self._view.session.generation
        return self._generation - 1 if self._left else self._generation

    def follow(self, earlier: "Notification") -> None:
        """Carry on with the same session under other settings.

        A hook that is new waits for the next token; those that were cut short are run.
        """
        self._generation = earlier.told

    async def work(self) -> None:
        """Run the hooks for the newest token that all outputs hold."""
        generation = self._delivered()
        if generation > self._generation:
            self._generation, self._left = generation, self._hooks
        while self._left:
            # Taken before it runs: were there a bug in it, it would end the app time and again.
            hook, *left = self._left
            self._left = tuple(left)
            try:
                await self._run(hook)
            except asyncio.CancelledError:
                self._left = (hook, *self._left)
                raise

    def _delivered(self) -> int:
        """Return the newest token's generation if it is valid and all outputs hold it, else 0."""
        token = valid_token(self._view.session, self._context.clock.now())
        if token is None:
            return 0
        held = [delivery.status.holds for delivery in self._deliveries]
        # Generations, for a token whose longer life is still to be written is there all the same.
        arrived = all(one is not None and one.generation == token.generation for one in held)
        return token.generation if arrived else 0

    async def _run(self, hook: Hook) -> None:
        began = self._context.clock.now()
        result = HookResult.OK
        try:
            message = await hook.run(self._generation)
        except HookError as error:
            result = HookResult.TIMEOUT if error.timed_out else HookResult.FAILED
            message = str(error)
        duration = self._context.clock.now() - began
        self._context.observer.observe(HookRan(self._app, hook.name, result, duration, message))
