"""The newest session of an app that has only a live token, where the daemon's next run finds it."""

from pathlib import Path

from refresherd.adapters.state.session_file_record import (
    LONGEST,
    SessionRecord,
    parsed,
    written,
)
from refresherd.domain.errors import OutputError, Reason, Retryable
from refresherd.domain.events import Warned
from refresherd.domain.model import App, Ownership, Secret, Token
from refresherd.engine.context import Context
from refresherd.host.atomic_file import Target
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.reading import content
from refresherd.host.replaced_file import PATIENCE_SECONDS, ReplacedFile
from refresherd.host.stale_temp_files import Leftovers


class SessionFile:
    """An app's session file: a Chain. Only the daemon's user may read it.

    It is read once, before it is first written: this process is the only one that does.
    """

    def __init__(  # noqa: PLR0913  # as many as any file that is replaced
        self,
        app: App,
        path: Path,
        context: Context,
        executor: KeyedExecutor,
        leftovers: Leftovers | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        target = Target.at(path, Ownership(mode=0o600))
        self._file = ReplacedFile(target, context.clock, executor, leftovers, patience=patience)
        self._endpoint = app.endpoint.url
        self._context = context
        self._known = False
        self._origin = ""
        self._newest: Secret | None = None
        self._kept = 0

    @property
    def name(self) -> str:
        """The path."""
        return self._file.path

    @property
    def removes_expired(self) -> bool:
        """Never: DSM may count from the last use, and then the session lives on."""
        return False

    @property
    def kept(self) -> int:
        """The generation of the newest token that is safely on the disk, 0 for none of this run."""
        return self._kept

    async def prepare(self) -> None:
        """Sweep temporary files of killed runs; raise OutputError if nothing could be written."""
        await self._file.prepare()
        await self._read()

    async def newest(self, bootstrap: Secret | None) -> Secret | None:
        """Return the newest token, None if there is none or it goes back to another bootstrap.

        With None for the bootstrap any will do. Raises Retryable where the file cannot be read.
        """
        try:
            await self._read()
        except OutputError as error:
            raise Retryable(Reason.CREDENTIAL, str(error)) from error
        if bootstrap is not None and bootstrap.fingerprint() != self._origin:
            return None
        return self._newest

    def begin(self, bootstrap: Secret) -> None:
        """Have what is kept from now on go back to this bootstrap."""
        self._known = True
        self._origin = bootstrap.fingerprint()
        self._newest = None

    async def put(self, token: Token) -> None:
        """Replace the file, atomically and durably. Raises OutputError."""
        self._newest = token.access_token
        expires_at = self._context.clock.wall(token.expires_at)
        content = written(token, self._endpoint, self._origin, expires_at)
        await self._file.replace(lambda: content)
        self._kept = token.generation

    async def remove(self) -> None:
        """Forget a session that DSM has declared dead. Raises OutputError."""
        self._newest = None
        self._kept = 0
        await self._file.remove()

    def close(self) -> None:
        """Do nothing: the file is for the next run."""

    async def _read(self) -> None:
        """Learn where an earlier run left off, unless that is known."""
        if not self._known:
            self._learn(await self._file.blocking(lambda: content(self.name, LONGEST)))

    def _learn(self, raw: bytes | None) -> None:
        # Who asked at the same time may have come first, and a chain may have begun since.
        known, self._known = self._known, True
        if known or raw is None:
            return
        try:
            self._adopt(parsed(raw))
        except ValueError as error:
            message = f"{self.name} is not used, and is replaced with the next token: {error}"
            self._context.observer.observe(Warned(message))

    def _adopt(self, record: SessionRecord) -> None:
        if record.endpoint != self._endpoint:
            raise ValueError(f"its session is not one at {self._endpoint}")
        self._origin, self._newest = record.origin, record.access_token
