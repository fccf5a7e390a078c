"""Arithmetic of the suite: medians, ratios between neighbours, the search for a rate.

Pure: imports driving for its types alone.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from benchmarks.driving import Outcome

#: times the floor's CPU per message, and what would be fine
TARGET, STRETCH = 2.0, 1.6


class Spread(NamedTuple):
    """One figure over several runs."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def spread(values: Iterable[float]) -> Spread:
    """Of at least one value."""
    found = sorted(values)
    return Spread(statistics.median(found), found[0], found[-1])


def ratios(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Of neighbours in time: what else the machine does disturbs both alike."""
    return spread(a / b for a, b in zip(over, under, strict=True))


def median(outcomes: Sequence[Outcome], field: str) -> float:
    """Of one figure."""
    found: float = statistics.median(getattr(outcome, field) for outcome in outcomes)
    return found


def bisect(good: Callable[[float], bool], low: float, high: float, precision: float) -> float:
    """The highest rate that is good, to a factor of ``1 + precision``.

    Looks below ``low`` and above ``high`` where it must; 0 when not even a hundredth of ``low``
    is good.
    """
    least = low / 100
    while not good(low):
        low, high = low / 2, low
        if low < least:
            return 0.0
    while good(high):
        low, high = high, high * 1.5
    while high > low * (1 + precision):
        middle = (low * high) ** 0.5
        if good(middle):
            low = middle
        else:
            high = middle
    return low


def goodput(outcome: Outcome, seconds: float, skipped: float) -> float:
    """Positive answers a second in the first ``seconds`` of an open loop, less what is skipped."""
    first, last = round(skipped / outcome.slice), round(seconds / outcome.slice)
    found = outcome.slices[first:last]
    return sum(each.delivered for each in found) / (len(found) * outcome.slice)


def recovery(outcome: Outcome, after: float, limit_ms: float) -> float:
    """Seconds from ``after`` on until messages are answered well for good.

    That is: in each later slice none is refused, and the p99 is below the limit.
    """
    first = round(after / outcome.slice)
    bad = [
        number
        for number, each in enumerate(outcome.slices[first:], 1)
        if each.refused or each.p99_ms > limit_ms
    ]
    return bad[-1] * outcome.slice if bad else 0.0


def verdict(ratio: float, target: float = TARGET, stretch: float | None = STRETCH) -> str:
    """Whether a ratio that should be small is."""
    if stretch is not None and ratio <= stretch:
        return "met, stretch too"
    return "met" if ratio <= target else "MISSED"
