"""How many messages a second go without loss, how long they take then, and what happens beyond.

May import: subjects and what is below it, figures, hot_path.
"""

import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.driving import BenchError, Outcome
from benchmarks.figures import bisect, calm, disturbance, goodput, patient, recovery
from benchmarks.hot_path import load_of
from benchmarks.subjects import Room, Subject, running

FEW, MANY = 50, 2000  #: sessions: as on the hot path, and for latency and overload
WAYS = ("page2msrp", "msrp2page")
LIMIT_MS = 100.0  #: p99 above which a rate is not sustained
PRECISION = 0.05
#: factor to the second rate that is tried; the first is that at saturation
STRIDE = 1.2
SHARES = (0.5, 0.8)  #: of the sustainable rate, at which latency is measured
TURN = 2.0  #: seconds that floor and gateway are each measured at a share, in turn

EXCESS = 2.0  #: times the sustainable rate
STORM, CALM = 3.0, 4.0  #: seconds of it, and of half the sustainable rate after it
#: seconds on end for which a rate is to hold that latency and storms refer to: in a try there is
#: room for a lucky moment of the machine, and for 7 % too much
HELD = 6.0
#: seconds after too much load until no new session is refused any more
FORGIVEN = 3.0
SKIPPED = 0.5  #: seconds of the storm that fill the queues, and don't count


class Storm(NamedTuple):
    """What the gateway does beyond what it sustains, and just before and after that."""

    before: Outcome  #: at the sustainable rate
    beyond: Outcome
    after: Outcome  #: at the sustainable rate

    @property
    def best(self) -> float:
        """Positive answers a second at the sustainable rate."""
        beside = (goodput(each, TURN, SKIPPED) for each in (self.before, self.after))
        return statistics.mean(beside)

    @property
    def goodput(self) -> float:
        """Positive answers a second beyond it."""
        return goodput(self.beyond, STORM, SKIPPED)

    @property
    def recovery(self) -> float:
        """Seconds from then on until all is well."""
        return recovery(self.beyond, STORM, LIMIT_MS)

    @property
    def share(self) -> float:
        """Positive answers beyond the sustainable rate, to those at it."""
        return self.goodput / self.best if self.best else 0.0


class Sustained(NamedTuple):
    """One way, once."""

    floor: float  #: messages a second, highest without loss and with p99 below the limit
    gateway: float
    crowded: float  #: the gateway's with many sessions, held for longer
    #: floor's and gateway's outcomes, neighbours in time, at shares of that
    latencies: dict[float, list[tuple[Outcome, Outcome]]]
    storms: list[Storm]  #: none: there is no rate that the gateway sustains


def sustains(subject: Subject, way: str, rate: float, seconds: float) -> bool | None:
    """Whether all of so many messages a second come out well and soon.

    None: they don't, and the machine was not quiet.
    """
    load = load_of(way, int(rate), seconds)
    outcome = subject.driver.flow(**load._asdict(), drain=1)
    if not outcome.harmed and outcome.p99_ms < LIMIT_MS:
        return True
    settle(subject, way)
    return None if disturbance([outcome]).severe else False


def settle(subject: Subject, way: str) -> None:
    """Wait until nothing is left of too much load.  Raises BenchError."""
    for _ in range(20):
        load = load_of(way, 400, 0.5)
        outcome = subject.driver.flow(**load._asdict(), drain=2)
        if not outcome.harmed and outcome.p99_ms < LIMIT_MS:
            return
    raise BenchError(f"{subject.name}, {way}: does not come back to normal")


def highest(subject: Subject, way: str, seconds: float) -> float:
    """The sustainable rate, searched from that at saturation; so many seconds of each try.

    The rule is the same for whatever is measured; see ``patient`` for why a try may fail.  A rate
    that is too high by more than ``LIMIT_MS`` to ``seconds`` is found out: at 1.5 s by 7 %.
    """
    saturation = load_of(way, 0)._replace(messages=12_000, warmup=2_000)
    saturated = subject.driver.flow(**saturation._asdict()).rate
    good = patient(lambda rate: sustains(subject, way, rate, seconds))
    return bisect(good, saturated, STRIDE, PRECISION)


def held(subject: Subject, way: str, rate: float) -> float:
    """The highest rate from this one down that is sustained for ``HELD`` seconds; 0: none is."""
    good = patient(lambda rate: sustains(subject, way, rate, HELD))
    lowest = rate / 2
    while rate and not good(rate):
        rate /= 1 + PRECISION
        if rate < lowest:
            return 0.0
    return rate


def in_turn(
    floor: Subject, gateway: Subject, way: str, rate: float, pairs: int
) -> list[tuple[Outcome, Outcome]]:
    """Both at this rate, one after the other, so many times."""
    load = load_of(way, int(rate), TURN)._asdict()

    def pair() -> tuple[Outcome, Outcome]:
        return floor.driver.flow(**load, drain=1), gateway.driver.flow(**load, drain=1)

    return [calm(pair) for _ in range(pairs)]


def storm(subject: Subject, way: str, rate: float) -> Storm:
    """More than is sustainable, and then half of that; before and after that what is."""
    excess, rest = int(EXCESS * rate), int(rate / 2)
    many = int(excess * STORM)

    def sustainable() -> Outcome:
        outcome = subject.driver.flow(**load_of(way, int(rate), TURN)._asdict(), drain=2)
        settle(subject, way)
        return outcome

    def once() -> tuple[Outcome, ...]:
        before = sustainable()
        beyond = subject.driver.flow(
            way=way,
            rate=excess,
            messages=many + int(rest * CALM),
            after=many,
            then=rest,
            warmup=1,
            drain=2,
        )
        settle(subject, way)
        return before, beyond, sustainable()

    return Storm(*calm(once))


def sustained(room: Room, runs: int, seconds: float, pairs: int) -> Iterator[tuple[str, Sustained]]:
    """Each way, so many times; ``seconds`` of each try, ``pairs`` at each share, and storms."""
    for _ in range(runs):
        with running("floor", room) as floor, running("gateway", room) as gateway:
            for subject in (floor, gateway):
                subject.driver.open(FEW)
            # Neighbours in time: the machine may be slower a minute later.
            best = {
                way: (highest(floor, way, seconds), highest(gateway, way, seconds)) for way in WAYS
            }
            time.sleep(FORGIVEN)
            for subject in (floor, gateway):
                subject.driver.open(MANY)
            for way in WAYS:
                rate = held(gateway, way, highest(gateway, way, seconds))
                latencies = {
                    share: in_turn(floor, gateway, way, rate * share, pairs)
                    for share in (SHARES if rate else ())
                }
                storms = [storm(gateway, way, rate) for _ in range(pairs if rate else 0)]
                yield way, Sustained(*best[way], rate, latencies, storms)
