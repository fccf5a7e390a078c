"""Sessions that come and go, and those that only stay.

May import: subjects and what is below it, figures, hot_path.
"""

import resource
import time
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import processes
from benchmarks.driving import Outcome
from benchmarks.figures import ratios
from benchmarks.hot_path import load_of
from benchmarks.subjects import Room, Subject, running

IDLE_SECONDS = 5.0
FEW = 100  #: sessions that many are compared with
WINDOW = 50  #: connections of the floor, and its messages under way
#: descriptors that a process needs besides those of its sessions
SPARE = 500
WAYS = ("page2msrp", "msrp2page")

TOGETHER = 20  #: sessions at a time in the closed loop
#: sessions that a fresh process needs until the next ones don't get cheaper: the first 500 cost
#: half as much again
COLD = 2_000
#: sessions that are opened a second whatever becomes of the others, and for how many seconds
ARRIVING, ARRIVAL = 1_500, 3.0
#: seconds for the last ones; one that fails is counted and does not end the run
DRAIN = 3

#: messages of each of the measurements in a crowd, so that each of 10,000 sessions has one, and
#: those before them
CROWD_MESSAGES, CROWD_WARMUP = 12_000, 2_000


class Cycles(NamedTuple):
    """Sessions for one message each."""

    closed: Outcome  #: so many at a time
    arriving: Outcome  #: so many a second
    floor: Outcome  #: a message of the floor's at saturation, the same way


class Crowd(NamedTuple):
    """What a message costs in a crowd, at saturation, each way: neighbours in time."""

    few: dict[str, list[Outcome]]  #: where there are only a hundred sessions
    some: dict[str, list[Outcome]]  #: through a hundred of many
    all: dict[str, list[Outcome]]  #: through all of many in turn

    def growth(self, which: str, way: str) -> float:
        """Cost among many to that among few, the median of the pairs' ratios.

        ``which``: some, all.
        """
        many, few = getattr(self, which)[way], self.few[way]
        return ratios([each.cpu_us for each in many], [each.cpu_us for each in few]).median


class Idle(NamedTuple):
    """Many sessions that nobody uses, and what they cost then."""

    sessions: int
    seconds: float  #: to set them all up
    resident: float  #: bytes of memory a session, above the empty process
    kernel: float  #: bytes of kernel memory a session, both ends of its connection
    cpu: float  #: share of a core while nobody says anything
    through: Outcome  #: one message through each
    floor: Crowd  #: with as many connections
    gateway: Crowd

    def outcomes(self) -> Iterator[Outcome]:
        """All that were compared."""
        for one in (self.floor, self.gateway):
            for found in one:
                for each in found.values():
                    yield from each


def cycles(room: Room, runs: int, count: int) -> Iterator[tuple[str, Cycles]]:
    """Sessions set up, used for one message and ended; so many in the closed loop.

    Both ways are warm before either is measured, and each is the first in every other run.
    """
    for run in range(runs):
        ways = WAYS[:: -1 if run % 2 else 1]
        with running("floor", room) as floor, running("gateway", room) as gateway:
            floor.driver.open(WINDOW)
            cycle = gateway.driver.cycle
            for way in ways:
                cycle(way=way, messages=COLD, warmup=1, window=TOGETHER, drain=DRAIN)
            closed, messages = {}, {}
            for way in ways:
                closed[way] = cycle(
                    way=way, messages=count, warmup=count // 8, window=TOGETHER, drain=DRAIN
                )
                messages[way] = floor.driver.flow(**load_of(way, 0)._asdict())
            for way in ways:
                many = int(ARRIVING * ARRIVAL)
                arriving = cycle(
                    way=way, messages=many, warmup=many // 10, rate=ARRIVING, drain=DRAIN
                )
                yield way, Cycles(closed[way], arriving, messages[way])


def burst(room: Room, runs: int) -> Iterator[Outcome]:
    """A hundred MESSAGEs at once, each time to a user with no session yet."""
    for _ in range(runs):
        with running("gateway", room) as gateway:
            yield gateway.driver.flow(messages=6000, warmup=2000, window=100, each=100)


def affordable(sessions: int) -> int:
    """So many, or what the limit of open files allows."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sessions if limit == resource.RLIM_INFINITY else min(sessions, limit - SPARE)


def kernel_memory() -> int:
    """Bytes now."""
    return sum(processes.kernel_memory())


def idle(room: Room, runs: int, sessions: int, pairs: int) -> Iterator[Idle]:
    """That many sessions, a connection and a dialog each; ``pairs``: of few and many."""
    sessions = affordable(sessions)
    for _ in range(runs):
        with running("floor", room) as small, running("floor", room) as large:
            small.driver.open(FEW)
            large.driver.open(sessions)
            floor = crowd(small, large, pairs)
        with running("gateway", room) as small, running("gateway", room) as large:
            small.driver.open(FEW)
            yield _idle(small, large, sessions, floor, pairs)


def crowd(small: Subject, large: Subject, pairs: int) -> Crowd:
    """Few sessions and many, in turn and back, ``pairs`` times."""
    found = Crowd({}, {}, {})
    for way in WAYS:
        load = load_of(way, 0)._replace(messages=CROWD_MESSAGES, warmup=CROWD_WARMUP)._asdict()
        turns: list[tuple[list[Outcome], Subject, dict[str, int]]] = [
            (found.few.setdefault(way, []), small, {}),
            (found.some.setdefault(way, []), large, {"sessions": FEW}),
            (found.all.setdefault(way, []), large, {}),
        ]
        for subject in (small, large):
            subject.driver.flow(**load)  # neither shall be the warmer one
        for number in range(pairs):
            for outcomes, subject, part in turns[:: -1 if number % 2 else 1]:
                outcomes.append(subject.driver.flow(**load, **part))
    return found


def _idle(small: Subject, large: Subject, sessions: int, floor: Crowd, pairs: int) -> Idle:
    time.sleep(0.5)
    empty, kernel = large.resident(), kernel_memory()
    opened = large.driver.open(sessions)
    time.sleep(2.0)
    resident = (large.resident() - empty) / sessions
    kernel = kernel_memory() - kernel
    cpu = large.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    cpu = large.cpu_seconds() - cpu
    through = large.driver.flow(messages=sessions, warmup=1)
    return Idle(
        *(sessions, opened["seconds"], resident, kernel / sessions, cpu / IDLE_SECONDS),
        *(through, floor, crowd(small, large, pairs)),
    )
