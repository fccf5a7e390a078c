"""A histogram as Prometheus has it: cheap to add to, summed up when it is read."""

from bisect import bisect_left
from collections.abc import Iterator


class Histogram:
    """Counts values by buckets."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """``bounds``: the largest value of each bucket, ascending; one more has no bound."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0  #: of all values

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> Iterator[tuple[float, int]]:
        """Bounds, the last infinite, with how many values are at most that."""
        count = 0
        for bound, here in zip((*self._bounds, float("inf")), self._counts, strict=True):
            count += here
            yield bound, count
