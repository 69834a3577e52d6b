"""A file that always holds a whole token, the newest one."""

from refresherd.domain.formats import render_token
from refresherd.domain.model import App, FileSpec, OnExpiry, Token
from refresherd.engine.ports import Clock
from refresherd.host.atomic_file import Target
from refresherd.host.filesystem import PATIENCE_SECONDS
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.replaced_file import ReplacedFile, StaleTempFiles


class FileOutput(ReplacedFile):
    """An app's token in a file: implements Output.

    Each call takes at most `patience` seconds, and raises OutputError if it takes longer.
    """

    __slots__ = ("_app", "_spec")

    def __init__(  # noqa: PLR0913  # the last two have defaults that suit a file of its own
        self,
        app: App,
        spec: FileSpec,
        clock: Clock,
        executor: KeyedExecutor,
        stale_files: StaleTempFiles | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        target = Target.at(spec.path, spec.ownership)
        super().__init__(target, clock, executor, stale_files, patience=patience)
        self._app = app
        self._spec = spec

    @property
    def name(self) -> str:
        """The path."""
        return self.path

    @property
    def removes_expired(self) -> bool:
        """As configured by `on_expiry`."""
        return self._spec.on_expiry is OnExpiry.REMOVE

    async def put(self, token: Token) -> None:
        """Replace the file atomically. Raises OutputError, and then leaves the old file."""
        app, form, clock = self._app, self._spec.format, self._clock
        await self.replace(lambda: render_token(app, token, form, clock.now(), clock.wall))

    def close(self) -> None:
        """Do nothing: the file stays, since consumers read it without the daemon."""
