"""A histogram in the Prometheus sense, of a few hundred bytes."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Counts observations by upper bound; one above them all counts towards +Inf alone."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = array("Q", bytes(8 * (len(bounds) + 1)))
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count an observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bound, +Inf last, with the number of observations up to it."""
        names = (*(str(bound) for bound in self._bounds), "+Inf")
        return list(zip(names, accumulate(self._counts.tolist()), strict=True))

    @property
    def sum(self) -> float:
        """The sum of all observations."""
        return self._sum
