"""Sessions that come and go, and those that only stay.

May import: subjects and what is below it, hot_path.
"""

import resource
import time
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import processes
from benchmarks.driving import Outcome
from benchmarks.hot_path import load_of
from benchmarks.subjects import Room, Subject, running

IDLE_SECONDS = 5.0
FEW = 100  #: sessions that many are compared with
#: descriptors that a process needs besides those of its sessions
SPARE = 500
WAYS = ("page2msrp", "msrp2page")


class Crowd(NamedTuple):
    """What a message costs in a crowd, at saturation, each way."""

    few: dict[str, Outcome]  #: where there are only a hundred sessions
    some: dict[str, Outcome]  #: through a hundred of many
    all: dict[str, Outcome]  #: through all of many in turn


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


def cycles(room: Room, runs: int, count: int) -> Iterator[tuple[str, Outcome]]:
    """Sessions set up, used for one message and ended, twenty at a time."""
    for _ in range(runs):
        with running("gateway", room) as gateway:
            for way in WAYS:
                yield (
                    way,
                    gateway.driver.cycle(
                        way=way, messages=count, warmup=max(1, count // 8), window=20
                    ),
                )


def burst(room: Room, runs: int) -> Iterator[Outcome]:
    """A hundred MESSAGEs at once, each time to a user with no session yet."""
    for _ in range(runs):
        with running("gateway", room) as gateway:
            yield gateway.driver.flow(messages=2000, warmup=1, window=100, each=100)


def affordable(sessions: int) -> int:
    """So many, or what the limit of open files allows."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sessions if limit == resource.RLIM_INFINITY else min(sessions, limit - SPARE)


def kernel_memory() -> int:
    """Bytes now."""
    return sum(processes.kernel_memory())


def idle(room: Room, runs: int, sessions: int) -> Iterator[Idle]:
    """That many sessions, a connection and a dialog each."""
    sessions = affordable(sessions)
    for _ in range(runs):
        with running("floor", room) as small, running("floor", room) as large:
            small.driver.open(FEW)
            large.driver.open(sessions)
            floor = crowd(small, large)
        with running("gateway", room) as small, running("gateway", room) as large:
            small.driver.open(FEW)
            yield _idle(small, large, sessions, floor)


def crowd(small: Subject, large: Subject) -> Crowd:
    """Few sessions and many, in turn."""
    found = Crowd({}, {}, {})
    for way in WAYS:
        load = load_of(way, 0)._asdict()
        found.few[way] = small.driver.flow(**load)
        found.some[way] = large.driver.flow(**load, sessions=FEW)
        found.all[way] = large.driver.flow(**load)
    return found


def _idle(small: Subject, large: Subject, sessions: int, floor: Crowd) -> Idle:
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
        *(through, floor, crowd(small, large)),
    )
