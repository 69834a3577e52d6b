"""A refused credential, remembered until its source holds another one."""

from collections.abc import Hashable

from refresherd import lifecycle
from refresherd.errors import Retryable
from refresherd.events import CredentialChanged
from refresherd.lifecycle import ALWAYS, NEVER, State
from refresherd.model import App, Instant, Secret
from refresherd.ports import CredentialSource
from refresherd.store import Cell
from refresherd.world import World

LOOK_EVERY = 2.0
"""Seconds between two looks at the source of a refused credential."""


class Refusal:
    """What DSM refused, so that the wait can end as soon as an operator mends it.

    The source's stamp is looked at often and the source read only when that changed;
    and the wait ends only for other content, so that touching a file burns nothing.
    """

    __slots__ = ("_app", "_cell", "_look_at", "_refused", "_source", "_stamp", "_world")

    def __init__(self, app: App, cell: Cell, source: CredentialSource, world: World) -> None:
        self._app = app
        self._cell = cell
        self._source = source
        self._world = world
        self._refused: Secret | None = None
        self._stamp: Hashable = None
        self._look_at = ALWAYS

    @property
    def due_at(self) -> Instant:
        """When to look at the source, NEVER while nothing stands refused."""
        return self._look_at if self._cell.life.state is State.REJECTED else NEVER

    def remember(self, credential: Secret) -> None:
        """Take note that DSM refused this credential."""
        self._refused = credential
        self._stamp = None

    async def work(self) -> None:
        """End the wait if the source holds another credential than the refused one."""
        changed = await self._changed()
        now = self._world.clock.now()
        self._look_at = Instant(now + LOOK_EVERY)
        if changed:
            self._cell.publish(lifecycle.hastened(self._cell.life, now))
            self._world.observer.observe(CredentialChanged(self._app.name))

    async def _changed(self) -> bool:
        stamp = await self._source.stamp()
        if stamp is None or stamp == self._stamp:
            return False
        try:
            changed = await self._source.read() != self._refused
        except Retryable:
            return False  # half replaced, perhaps: the next look reads it again
        self._stamp = stamp
        return changed
