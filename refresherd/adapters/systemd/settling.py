"""Which apps hold up the start, and since when: the facts behind `ready = "settled"`."""

from collections.abc import Iterator
from math import inf

from refresherd.domain import events
from refresherd.domain.events import Event
from refresherd.domain.labels import Jump
from refresherd.domain.model import Instant

FAILING = (
    events.AttemptBegan,
    events.AttemptFailed,
    events.OutputFailed,
    events.OutputAltered,
    events.AppCrashed,
)
"""From the first of these events an app counts as failing, until it settles. The beginning of an
attempt is one of them: an attempt may hang for much longer than the start may wait."""


class Settling:
    """Which apps have not settled yet. An app settles when it is ready or refused.

    An app that waits for its turn, such as one of ten thousand at one endpoint, does not count as
    failing as long as others settle. If none does, the endpoint hangs.
    """

    def __init__(self, now: Instant) -> None:
        self._unsettled: set[str] = set()
        self._failing_since: dict[str, Instant] = {}
        self._progress_at = now
        """When there were last fewer unsettled apps than ever before."""
        self._fewest = inf

    def observe(self, event: Event, now: Instant) -> None:
        """Note when an app begins to fail; a suspend does not count as failing."""
        if isinstance(event, FAILING):
            self._failing_since.setdefault(event.app, now)
        elif isinstance(event, events.ClockJumped) and event.kind is Jump.SUSPEND:
            self._failing_since.clear()
            self._progress_at = now

    def clear(self) -> None:
        """Forget which apps there are: a reload may have removed some."""
        self._unsettled.clear()
        self._fewest = inf

    def update(self, app: str, *, settled: bool, now: Instant) -> None:
        """Note whether an app has settled."""
        if not settled:
            self._unsettled.add(app)
            return
        self._failing_since.pop(app, None)
        if app in self._unsettled:
            self._unsettled.remove(app)
            if len(self._unsettled) < self._fewest:
                self._fewest, self._progress_at = len(self._unsettled), now

    def unsettled_since(self) -> Iterator[Instant]:
        """Return since when each app that has not settled has failed or waited in vain."""
        return (self._failing_since.get(app, self._progress_at) for app in self._unsettled)
