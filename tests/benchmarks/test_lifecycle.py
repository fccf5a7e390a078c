"""In which order sessions come and go, and few and many take turns."""

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import lifecycle
from benchmarks.driving import Outcome
from benchmarks.lifecycle import FEW, Crowd, crowd, cycles
from benchmarks.subjects import Room, Subject
from tests.benchmarks.support import OUTCOME, outcome

PLACE = cast(Room, None)


class FakeDriver:
    """Writes down what it is asked for."""

    def __init__(self, name: str, asked: list[tuple[str, dict[str, Any]]]) -> None:
        self._name = name
        self._asked = asked

    def open(self, sessions: int) -> None:
        pass

    def flow(self, **arguments: Any) -> Outcome:
        self._asked.append((self._name, arguments))
        return OUTCOME

    cycle = flow


def subject(name: str, asked: list[tuple[str, dict[str, Any]]]) -> Subject:
    """With such a driver."""
    made = Subject.__new__(Subject)
    made.name = name
    made.driver = cast(Any, FakeDriver(name, asked))
    return made


class CyclesTests(SynchronousTestCase):
    """Sessions for one message each."""

    def test_order(self) -> None:
        """Both ways are warm before one is measured, and neither is always the first."""
        asked: list[tuple[str, dict[str, Any]]] = []

        @contextlib.contextmanager
        def running(name: str, place: Room) -> Iterator[Subject]:
            yield subject(name, asked)

        self.patch(lifecycle, "running", running)
        found = list(cycles(PLACE, 2, 4000))
        there, back = "page2msrp", "msrp2page"
        self.assertEqual([way for way, _ in found], [there, back, back, there])
        loads = [load for name, load in asked if name == "gateway"]
        self.assertEqual([load["way"] for load in loads], 3 * [there, back] + 3 * [back, there])
        # The floor's message beside each: a neighbour in time.
        neighbours = [
            (before["messages"], after["way"])
            for (_, before), (name, after) in itertools.pairwise(asked)
            if name == "floor"
        ]
        self.assertEqual(neighbours, [(4000, way) for way in (there, back, back, there)])
        for first in (0, 6):
            counts = [load["messages"] for load in loads[first : first + 6]]
            self.assertEqual(counts, [2000, 2000, 4000, 4000, 4500, 4500])
        self.assertEqual([load.get("rate") for load in loads[:6]], [None] * 4 + [1500] * 2)
        # None of them ends the run.
        self.assertTrue(all(load["drain"] for load in loads))


class CrowdTests(SynchronousTestCase):
    """A message's cost among few and among many."""

    def test_turns(self) -> None:
        asked: list[tuple[str, dict[str, Any]]] = []
        found = crowd(subject("small", asked), subject("large", asked), 2)
        turns = [(name, load.get("sessions")) for name, load in asked]
        self.assertEqual(
            turns,
            2  # ways
            * [
                *(("small", None), ("large", None)),  # to warm them up
                *(("small", None), ("large", FEW), ("large", None)),
                *(("large", None), ("large", FEW), ("small", None)),
            ],
        )
        self.assertEqual({load["messages"] for _, load in asked}, {12_000})
        for outcomes in found:
            counts = {way: len(each) for way, each in outcomes.items()}
            self.assertEqual(counts, {"page2msrp": 2, "msrp2page": 2})

    def test_growth_is_of_neighbours(self) -> None:
        """The machine was twice as slow for the second pair, and paused in the third."""
        few, many = (
            {"page2msrp": [outcome(cpu_us=cost) for cost in costs]}
            for costs in ((100.0, 200.0, 100.0), (110.0, 222.0, 900.0))
        )
        self.assertEqual(Crowd(few, few, many).growth("all", "page2msrp"), 1.11)
        self.assertEqual(Crowd(few, few, many).growth("some", "page2msrp"), 1.0)
