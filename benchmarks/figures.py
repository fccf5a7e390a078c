"""Arithmetic of the suite: medians, ratios between neighbours, the search for a rate.

Pure: imports driving for its types alone.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from benchmarks.driving import Outcome

_Outcomes = TypeVar("_Outcomes", bound=tuple[Outcome, ...])

#: times the floor's CPU per message, and what would be fine
TARGET, STRETCH = 2.0, 1.6

#: failures of a rate before it is given up; how often what the machine disturbed is done again
TRIES, EXCUSED = 2, 2

#: what a quiet machine stays below: milliseconds that the driver was late, share of the time that
#: the measured process had no core though it was ready, share that the host took
LATE_MS, WAITED, STOLEN = 20.0, 0.1, 0.03


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


class Disturbance(NamedTuple):
    """The worst that the machine did during some measurements."""

    held_ms: float  #: by which the driver was late
    waited: float  #: share of the time that the measured process was ready and had no core
    stolen: float  #: share of the time that the host took from either core

    def __str__(self) -> str:
        return (
            f"the driver was at most {self.held_ms:.0f} ms late, what was measured had no core for"
            f" {self.waited:.0%} of the time, and the host took {self.stolen:.1%}"
        )

    @property
    def severe(self) -> bool:
        """Whether figures may be the machine's and not the measured process's."""
        return self.held_ms > LATE_MS or self.waited > WAITED or self.stolen > STOLEN


def disturbance(outcomes: Iterable[Outcome]) -> Disturbance:
    """The worst of each in at least one measurement, not always the same one."""
    told = [(each.held_ms, each.waited, each.stolen_ms / 1e3 / each.seconds) for each in outcomes]
    return Disturbance(*map(max, zip(*told, strict=True)))


def calm(measure: Callable[[], _Outcomes]) -> _Outcomes:
    """What was measured while the machine was quiet; repeated, ``EXCUSED`` times, where it was not.

    If it never was, that with the least waiting for a core.  The choice is by what the machine did
    and not by what came out.
    """
    found = []
    for _ in range(1 + EXCUSED):
        found.append(measure())
        if not disturbance(found[-1]).severe:
            return found[-1]
    return min(found, key=lambda outcomes: disturbance(outcomes).waited)


def median(outcomes: Sequence[Outcome], field: str) -> float:
    """Of one figure."""
    found: float = statistics.median(getattr(outcome, field) for outcome in outcomes)
    return found


class Added(NamedTuple):
    """Latency at one rate, in milliseconds: medians over pairs of floor and gateway in turn."""

    floor: float  #: p99
    gateway: float
    added: float  #: of the differences between neighbours in time
    pairs: int


def added(pairs: Sequence[tuple[Outcome, Outcome]]) -> Added:
    """What the gateway adds to the floor's p99; one pause of the machine is only one pair's."""
    return Added(
        statistics.median(floor.p99_ms for floor, _ in pairs),
        statistics.median(gateway.p99_ms for _, gateway in pairs),
        statistics.median(gateway.p99_ms - floor.p99_ms for floor, gateway in pairs),
        len(pairs),
    )


def patient(attempt: Callable[[float], bool | None]) -> Callable[[float], bool]:
    """Whether a rate is good at last: bad only when ``TRIES`` tries of it are, and none is good.

    A pause of the machine makes a good rate look bad, but nothing makes a bad one look good: to
    pass, a try has to carry every message.  So one that passes decides, and one that fails is
    repeated.  Were a fifth of all tries disturbed, a search that meets three good rates would go
    astray in 49 % of all runs with one try each, in 28 % with the majority of three, and in 12 %
    with two failures.  Failures of which it is known that the machine was not quiet, None in place
    of False, don't count; but after ``EXCUSED`` of them the machine will not be quieter.
    """

    def good(rate: float) -> bool:
        failures = excused = 0
        while failures < TRIES:
            found = attempt(rate)
            if found:
                return True
            if found is None and excused < EXCUSED:
                excused += 1
            else:
                failures += 1
        return False

    return good


def bisect(good: Callable[[float], bool], start: float, stride: float, precision: float) -> float:
    """The highest rate that is good, to a factor of ``1 + precision``.

    Strides from ``start``, up or down, each the square of the one before, and halves what lies
    between the last two rates.  0 when not even a hundredth of ``start`` is good.
    """
    low = high = start
    if good(start):
        while good(high := low * stride):
            low, stride = high, stride**2
    else:
        while not good(low := high / stride):
            high, stride = low, stride**2
            if high < start / 100:
                return 0.0
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
