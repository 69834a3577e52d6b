"""All that is shown at one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from refresherd.demo.changes import Change, Failed, Refreshed
from refresherd.demo.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Reads:
    """How DSM took the tokens that the built-in consumer read from the files.

    `recent` are the newest answers, oldest first: whether DSM accepted.
    """

    accepted: int = 0
    refused: int = 0
    recent: tuple[bool, ...] = ()

    @property
    def total(self) -> int:
        """How many tokens were read and used."""
        return self.accepted + self.refused


@dataclass(frozen=True, slots=True)
class Picture:
    """The apps, what last became of each, and the consumer.

    `elapsed` is how many seconds the demo has run, `ends_in` how many it still will,
    None for as long as nobody interrupts it.
    """

    endpoint: str
    snapshot: Snapshot
    results: Mapping[str, Refreshed | Failed] = field(default_factory=dict)
    reads: Reads = Reads()
    elapsed: float = 0.0
    ends_in: float | None = None


def with_results(
    results: Mapping[str, Refreshed | Failed], changes: Iterable[Change]
) -> dict[str, Refreshed | Failed]:
    """Return each app's last result after these changes."""
    newest = dict(results)
    for change in changes:
        if isinstance(change, Refreshed | Failed):
            newest[change.app] = change
    return newest
