"""A file that always holds a whole token, the newest one."""

import asyncio
from collections.abc import Callable
from secrets import token_hex

from refresherd.errors import OutputError
from refresherd.lanes import Lanes
from refresherd.model import App, FileSpec, OnExpiry, Token
from refresherd.outputs import atomic, preparation
from refresherd.outputs.atomic import Target
from refresherd.outputs.leftovers import Leftovers
from refresherd.outputs.rendering import rendered
from refresherd.ports import Clock

PATIENCE_SECONDS = 10.0
"""A filesystem that takes longer hangs, and the operator is told so."""


class FileOutput:
    """An app's token in a file: an Output.

    Every call blocks in the lane of the file's directory, so a filesystem that hangs holds
    up its own outputs only. Where a call is cancelled, or has taken `patience` seconds, it
    returns at once: waiting on for a hanging filesystem would hold up a reload or the end
    of the process. A write that has begun by then may still land, but never after what is
    asked of this output later: the lane keeps the order. `Lanes.drained` tells when nothing
    is under way any more. Outputs that share their `lanes` should share `leftovers` too.
    """

    def __init__(  # noqa: PLR0913  # the last two have their defaults for one file alone
        self,
        app: App,
        spec: FileSpec,
        clock: Clock,
        lanes: Lanes,
        leftovers: Leftovers | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._app = app
        self._spec = spec
        self._clock = clock
        self._lanes = lanes
        self._leftovers = leftovers or Leftovers()
        self._patience = patience
        self._target = Target.at(spec.path, spec.ownership)

    @property
    def name(self) -> str:
        """The path."""
        return self._target.path

    @property
    def removes_expired(self) -> bool:
        """Whether an expired token is taken away."""
        return self._spec.on_expiry is OnExpiry.REMOVE

    async def prepare(self) -> None:
        """Sweep temporary files of killed runs; raise OutputError if no token could be written."""
        await self._blocking(self._prepare)

    async def put(self, token: Token) -> None:
        """Replace the file atomically. Raises OutputError; the old file is then still there."""
        await self._blocking(lambda: self._write(token))

    async def remove(self) -> None:
        """Remove the file; nothing there is fine. Raises OutputError."""
        await self._blocking(lambda: atomic.remove(self._target))

    def _prepare(self) -> None:
        preparation.prepare(self._target, _nonce(), self._leftovers, self._clock.now())

    def _write(self, token: Token) -> None:
        content = rendered(self._app, token, self._spec.format, self._clock)
        atomic.replace(self._target, content, _nonce())

    async def _blocking(self, run: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._lanes.call(self._target.directory, run)
        except TimeoutError:
            told = f"no answer for {self._patience:g} s; its filesystem hangs or is swamped"
            raise OutputError(f"{self.name}: {told}") from None


def _nonce() -> str:
    return token_hex(8)
