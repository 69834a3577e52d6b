"""Watches when the client certificates of apps expire."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from refresherd.domain import certificates
from refresherd.domain.certificates import Dates, Validity
from refresherd.domain.events import CertificateExpires, CertificateRead
from refresherd.domain.model import App, Certificate, Instant
from refresherd.domain.session_state import NEVER
from refresherd.engine.context import Context
from refresherd.host.keyed_executor import PATIENCE_SECONDS, KeyedExecutor, filesystem_timeout
from refresherd.host.source_files import MISSING, file_stamp, read_source

LOOK_SECONDS = 60.0
"""Between two looks at all certificates."""


@dataclass(slots=True)
class _Watched:
    """An app's certificate, and what the last look at it found."""

    app: str
    path: Path
    stamp: Hashable = MISSING
    dates: Dates | None = None
    validity: Validity | None = None
    """What was last reported. None before the first look, which reports nothing: whatever loaded
    the configuration has done so."""


class CertificateWatch:
    """Reports the expiry of the client certificates of all apps that have one.

    Loading a configuration warns of certificates that expire soon. This reports what changes after
    that: a file that was replaced, and a certificate that comes closer to its end.
    """

    def __init__(
        self,
        apps: Iterable[App],
        context: Context,
        executor: KeyedExecutor,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._context = context
        self._executor = executor
        self._patience = patience
        self._alarm = context.schedule.alarm()
        self._watched: dict[Path, list[_Watched]] = {}
        """By directory: each has a thread, so that a hanging disk holds up no other one."""
        self.follow(apps)

    def follow(self, apps: Iterable[App]) -> None:
        """Watch the certificates of these apps, all anew, instead of those watched so far."""
        watched = defaultdict(list)
        for app in apps:
            if isinstance(app.credential, Certificate):
                path = app.credential.cert_file
                watched[path.parent].append(_Watched(app.name, path))
        self._watched = watched
        self._alarm.ring()

    async def run(self) -> NoReturn:
        """Look again and again, until cancelled."""
        while True:
            for directory, watched in tuple(self._watched.items()):
                await self._look(directory, watched)
            next_look = Instant(self._context.clock.now() + LOOK_SECONDS)
            await self._alarm.wait(next_look if self._watched else NEVER)

    async def _look(self, directory: Path, watched: Sequence[_Watched]) -> None:
        with suppress(TimeoutError):
            async with filesystem_timeout(self._patience):
                files = [(one.path, one.stamp) for one in watched]
                found = await self._executor.call(directory, partial(_read_changed, files))
            for one, (stamp, dates) in zip(watched, found, strict=True):
                one.stamp = stamp
                if dates is not None and dates != one.dates:
                    if one.dates is not None:
                        one.validity = Validity.VALID
                    one.dates = dates
                    read = CertificateRead(one.app, str(one.path), dates.expires_at)
                    self._context.observer.observe(read)
        clock = self._context.clock
        now = clock.wall(clock.now())
        for one in watched:
            self._judge(one, now)

    def _judge(self, one: _Watched, now: float) -> None:
        if one.dates is None:
            one.validity = Validity.VALID
            return
        validity, before = certificates.validity(one.dates, now), one.validity
        one.validity = validity
        if before is None or validity in (before, Validity.VALID):
            return
        message = certificates.notice(one.dates, now)
        expires = CertificateExpires(one.app, str(one.path), message, validity)
        self._context.observer.observe(expires)


def _read_changed(
    files: Sequence[tuple[Path, Hashable]],
) -> list[tuple[Hashable, Dates | None]]:
    """Return each file's stamp, with its certificate's dates if the stamp has changed.

    A file without a certificate has no dates, and is not reported here: each attempt does that.
    """
    found: list[tuple[Hashable, Dates | None]] = []
    for path, before in files:
        stamp, dates = file_stamp(path), None
        if stamp not in (before, MISSING):
            with suppress(OSError, ValueError):
                dates = certificates.dates(read_source(path, certificates.LONGEST))
        found.append((stamp, dates))
    return found
