"""The last generation of each app's tokens in the state directory.

Each token appends a line such as `payments 7`, and an app's last line counts. So a token costs one
append, however many apps there are. Appended lines are not synced: a killed process loses none, a
host that loses power loses the last seconds.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from refresherd.domain.errors import OutputError
from refresherd.domain.events import Warned
from refresherd.domain.model import Instant, Ownership
from refresherd.engine.ports import Observer
from refresherd.host.atomic_file import FileContext, ReplacedFile, Target

RETRY_DELAY = 10.0
"""Seconds between two tries while writes fail. Attempts in between do not wait."""

MAX_BYTES = 16 * 1024 * 1024
"""The longest file that is read: ten thousand apps take 1 MB at most."""

MAX_APPS = 20_000
"""How many apps are remembered, those with the latest tokens: names that change daily must not fill
the disk."""

MIN_APPENDED = 1000
"""Lines that may be appended, or twice as many as there are apps, before the file is replaced by
one with a line for each app."""


class GenerationFile:
    """A GenerationStore in a file that only the daemon's user may read."""

    def __init__(self, path: Path, observer: Observer, files: FileContext) -> None:
        self._file = ReplacedFile(Target.at(path, Ownership(mode=0o600)), files)
        self._observer = observer
        self._clock = files.clock
        self._appended: int | None = None
        """How many lines this run has appended; None if the file is to be replaced next."""
        self._retry_at: Instant | None = None
        """When to try again while writes fail, None while they do not."""
        self._unread = False
        """Whether the file is to be read before it is written: its filesystem may have hung."""
        self._earlier: Mapping[str, int] = {}
        """The generations that were found too late for this run; the next one continues them."""

    async def load(self) -> Mapping[str, int]:
        """Return each app's last generation, nothing (after a warning) if that is lost."""
        try:
            raw = await self._file.read(MAX_BYTES)
            with suppress(OutputError):  # `save` will report it
                await self._file.prepare()
        except OutputError as error:
            self._warn(f"cannot read the generations of earlier tokens: {error}")
            self._unread = True
            return {}
        return decoded(raw or b"")

    async def save(self, changes: Mapping[str, int], last: Mapping[str, int]) -> None:
        """Save the changes of `last` durably enough for a kill. It raises nothing, and warns once.

        While writes fail, most calls return at once.
        """
        if self._retry_at is not None and self._clock.now() < self._retry_at:
            return
        try:
            await self._write(changes, last)
        except OutputError as error:
            if self._retry_at is None:
                limit = "they are counted in memory only until this is fixed"
                self._warn(f"cannot save the generations of tokens; {limit}: {error}")
            self._appended = None
            self._retry_at = Instant(self._clock.now() + RETRY_DELAY)
        else:
            self._retry_at = None

    async def _write(self, changes: Mapping[str, int], last: Mapping[str, int]) -> None:
        if self._unread:
            with suppress(OutputError):  # it is lost, or else the write fails as well
                self._earlier = decoded(await self._file.read(MAX_BYTES) or b"")
        most = max(MIN_APPENDED, 2 * len(last))
        if self._appended is not None and self._appended + len(changes) <= most:
            self._appended += len(changes)
            if await self._file.append(encoded(self._raised(changes))):
                return
        copy = {**self._earlier, **self._raised(last)}
        await self._file.replace(lambda: encoded(copy))
        self._appended = 0
        self._unread = False

    def _raised(self, generations: Mapping[str, int]) -> dict[str, int]:
        """Return generations, none below the app's earlier one."""
        earlier = self._earlier
        return {app: max(number, earlier.get(app, 0)) for app, number in generations.items()}

    def _warn(self, message: str) -> None:
        self._observer.observe(Warned(message))


def encoded(generations: Mapping[str, int]) -> bytes:
    """Return a line for each app, for the last MAX_APPS of them."""
    lines = [f"{app} {generation}\n" for app, generation in generations.items()]
    return "".join(lines[-MAX_APPS:]).encode()


def decoded(raw: bytes) -> dict[str, int]:
    """Return each app's last generation, the latest last. Lines that a crash left half are ignored.

    A line without an end is one of them: of "17" it may have only "1".
    """
    found: dict[str, int] = {}
    for line in raw.decode(errors="replace").split("\n")[:-1]:
        app, _, number = line.partition(" ")
        if number.isascii() and number.isdigit() and len(number) <= len(str(10**15)):
            found.pop(app, None)  # the latest comes last
            found[app] = int(number)
    return found
