"""What the pages of the HTTP listener show in tests: no apps, and metrics of any size."""

import os
from collections.abc import Callable, Iterable, Iterator

from refresherd.domain.readiness import AppStatus
from refresherd.domain.report import AppReport

MEGABYTES = 30


def huge() -> Iterator[bytes]:
    """Yield more than the kernel's buffers take, which compression makes no smaller."""
    return (os.urandom(1_000_000) for _ in range(MEGABYTES))


class NoApps:
    """A roster without apps."""

    def statuses(self) -> tuple[AppStatus, ...]:
        """Return nothing."""
        return ()

    def reports(self) -> tuple[AppReport, ...]:
        """Return nothing."""
        return ()

    def status(self, _: str) -> AppStatus | None:
        """Return nothing."""
        return None


class Metrics:
    """An exposition whose text is these pieces: by default more than the kernel's buffers take."""

    def __init__(self, pieces: Callable[[], Iterable[bytes]] = huge) -> None:
        self._pieces = pieces

    def content_type(self, _: str) -> str:
        """Return the only one."""
        return "text/plain"

    def render(self, _: str) -> Iterable[bytes]:
        """Return the pieces."""
        return self._pieces()
