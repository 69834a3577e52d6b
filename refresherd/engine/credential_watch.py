"""The credential that an app last used, and whether its source holds another one by now."""

from collections.abc import Hashable

from refresherd.domain import operator_transitions
from refresherd.domain.errors import Retryable
from refresherd.domain.events import CredentialChanged
from refresherd.domain.model import App, Instant, Secret
from refresherd.domain.session_state import ALWAYS, NEVER, State
from refresherd.engine.context import Context
from refresherd.engine.ports import CredentialSource
from refresherd.engine.state_cell import StateCell

LOOK_EVERY = 2.0
"""Seconds between two looks at the source of a refused credential."""


class CredentialWatch:
    """Looks for another credential: often while DSM refuses the one at hand, else when asked.

    The wait of a refused one so ends as soon as an operator mends it. The source's stamp is
    looked at and the source read only when that changed, or when somebody asks; and the
    wait ends only for other content, so that touching a file burns nothing.
    """

    __slots__ = (
        "_app",
        "_asked",
        "_cell",
        "_context",
        "_look_at",
        "_other",
        "_source",
        "_stamp",
        "_used",
    )

    def __init__(
        self, app: App, cell: StateCell, source: CredentialSource, context: Context
    ) -> None:
        self._app = app
        self._cell = cell
        self._source = source
        self._context = context
        self._used: Secret | None = None
        self._other: Secret | None = None
        self._stamp: Hashable = None
        self._asked = False
        self._look_at = ALWAYS

    @property
    def due_at(self) -> Instant:
        """When to look at the source, NEVER while nobody asks and DSM refuses nothing."""
        if self._asked:
            return ALWAYS
        return self._look_at if self._cell.session.state is State.REJECTED else NEVER

    def remember(self, credential: Secret) -> None:
        """Take note that DSM was asked with this credential."""
        self._used = credential
        self._stamp = None
        if credential == self._other:
            self._other = None

    def overtaken(self) -> None:
        """Look again if an attempt has ended while a login with another credential was due.

        The attempt had been under way before, and its outcome put the next one far off.
        """
        if self._other is not None:
            self.ask()

    def follow(self, earlier: "CredentialWatch") -> None:
        """Go on from what was known under the app's earlier settings."""
        self._used = earlier._used  # noqa: SLF001  # another of its own class

    def ask(self) -> None:
        """Have the source looked at once, whatever DSM says."""
        self._asked = True

    async def work(self) -> None:
        """Have the app log in anew if the source holds another credential than the last used."""
        by_operator, self._asked = self._asked, False
        if self._used is not None:
            await self._look(by_operator=by_operator)
        self._look_at = Instant(self._context.clock.now() + LOOK_EVERY)

    async def _look(self, *, by_operator: bool) -> None:
        stamp = await self._source.stamp()
        if not by_operator and (stamp is None or stamp == self._stamp):
            return
        try:
            found = await self._source.read()
        except Retryable:
            return  # half replaced, perhaps: the next look reads it again
        self._stamp = stamp
        self._other = None if found == self._used else found
        if self._other is not None:
            now = self._context.clock.now()
            self._cell.publish(
                operator_transitions.relogged(self._cell.session, now, self._app.timing)
            )
            self._context.observer.observe(CredentialChanged(self._app.name))
