"""An app's token in a file, which holds whole tokens only, and which somebody else may change."""

import os
import stat
from typing import TypeAlias

from refresherd.domain.formats import render_token
from refresherd.domain.model import App, FileSpec, OnExpiry, Token
from refresherd.engine.ports import Alteration, PutReport
from refresherd.host import file_record
from refresherd.host.atomic_file import FileContext, ReplacedFile, Target, remove
from refresherd.host.file_record import FileRecord

NO_FILE = "no file"
"""What was left at the path of a file that was removed."""

SOMEBODY_PUT_A_FILE = "somebody put a file there again"

Left: TypeAlias = FileRecord | str | None


class FileOutput(ReplacedFile):
    """An app's token in a file: implements WatchedOutput."""

    __slots__ = ("_app", "_left", "_spec", "_watched")

    def __init__(self, app: App, spec: FileSpec, files: FileContext) -> None:
        super().__init__(Target.at(spec.path, spec.ownership), files)
        self._app = app
        self._spec = spec
        self._left: Left = None
        """What this process left at the path, None before it wrote or removed anything."""
        self._watched = False
        """Whether that is still there, as far as is known."""

    @property
    def name(self) -> str:
        """The path."""
        return self.path

    @property
    def directory(self) -> str:
        """Where it is: what is in memory never hangs, and is looked at together."""
        return "memory" if self._in_memory else self._target.directory

    @property
    def removes_expired(self) -> bool:
        """As configured by `on_expiry`."""
        return self._spec.on_expiry is OnExpiry.REMOVE

    async def put(self, token: Token) -> PutReport:
        """Replace the file atomically, unless it has the same bytes and rights already.

        Then it is left alone: consumers that watch it need not be told. Raises OutputError, and
        then leaves the old file.
        """
        app, form, clock = self._app, self._spec.format, self._files.clock
        return await self._call(lambda: self._put(render_token(app, token, form, None, clock.wall)))

    async def remove(self) -> None:
        """Remove it if it is there, durably. Raises OutputError."""
        await super().remove()
        self._left, self._watched = NO_FILE, True

    async def discard(self) -> str:
        """Remove it for good, unless somebody has replaced it; then return that as a message."""
        self._watched = False
        return await self._call(self._discard)

    def look(self) -> Alteration | None:
        """Return how the file differs from what `put` or `remove` left there. It blocks."""
        left = self._left
        if not self._watched or left is None:
            return None
        if isinstance(left, FileRecord):
            now: FileRecord | str = left.now(self.path)
        else:
            now = SOMEBODY_PUT_A_FILE if os.path.lexists(self.path) else left
        return None if now is left else Alteration(left, now)

    def confirm(self, alteration: Alteration) -> str:
        """Return what somebody did to it.

        It is of no consequence if the file was written or removed since somebody looked, or if it
        still has the same bytes and rights.
        """
        if alteration.before is not self._left or not self._watched:
            return ""
        if isinstance(alteration.now, FileRecord):
            self._left = alteration.now
            return ""
        self._watched = False
        return str(alteration.now)

    def leave(self) -> None:
        """Do nothing, as `close` does."""

    def close(self) -> None:
        """Do nothing: the file stays, since consumers read it without the daemon."""

    def _put(self, content: bytes) -> PutReport:
        found, left = self.look(), self._left
        altered = found.now if found is not None and isinstance(found.now, str) else ""
        if not isinstance(left, FileRecord) or left.has(content):
            present = file_record.already(self.path, content, self._spec.ownership)
            if present is not None:
                self._left, self._watched = present, True
                return PutReport(unchanged=True, altered=altered)
        self._left, self._watched = self._replace(content), True
        return PutReport(altered=altered)

    def _discard(self) -> str:
        left = self._left
        try:
            found = os.lstat(self.path)
        except OSError:
            return ""  # nothing is left there that anybody could read
        ours = left.is_of(found) if isinstance(left, FileRecord) else left is None
        if not ours or not stat.S_ISREG(found.st_mode):
            return f"{self.path}: not removed, since somebody has replaced it"
        remove(self._target, self._admit)
        return ""
