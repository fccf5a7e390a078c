"""The suite's arithmetic."""

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.driving import Outcome, Slice
from benchmarks.figures import (
    added,
    bisect,
    calm,
    disturbance,
    goodput,
    median,
    patient,
    ratios,
    recovery,
    spread,
    verdict,
)
from tests.benchmarks.support import OUTCOME, outcome


class SpreadTests(SynchronousTestCase):
    """Several runs."""

    def test_spread(self) -> None:
        self.assertEqual(spread([3, 1, 2]), (2, 1, 3))
        self.assertEqual(str(spread([1, 2])), "1.50 (1.00 to 2.00)")

    def test_ratios_are_of_neighbours(self) -> None:
        # The machine was twice as slow in the second run: for both.
        self.assertEqual(ratios([200, 400, 210], [100, 200, 100]), (2.0, 2.0, 2.1))
        with self.assertRaises(ValueError):
            ratios([1, 2], [1])

    def test_median_of_a_figure(self) -> None:
        runs = [outcome(cpu_us=cost) for cost in (90.0, 300.0, 100.0)]
        self.assertEqual(median(runs, "cpu_us"), 100.0)

    def test_verdict(self) -> None:
        for ratio, expected in (
            (1.6, "met, stretch too"),
            (1.61, "met"),
            (2.0, "met"),
            (2.01, "MISSED"),
        ):
            self.assertEqual(verdict(ratio), expected)
        self.assertEqual(verdict(1.0, 1.15, None), "met")


class DisturbanceTests(SynchronousTestCase):
    """What the machine did meanwhile."""

    def test_worst_of_each(self) -> None:
        found = disturbance(
            [
                outcome(held_ms=3.0, waited=0.05, stolen_ms=0.0),
                outcome(held_ms=1.0, waited=0.08, stolen_ms=2.5, seconds=0.5),
            ]
        )
        self.assertEqual(found, (3.0, 0.08, 0.005))
        self.assertFalse(found.severe)
        self.assertEqual(
            str(found),
            "the driver was at most 3 ms late, what was measured had no core for 8% of the time,"
            " and the host took 0.5%",
        )

    def test_each_may_be_severe(self) -> None:
        for change in ({"held_ms": 21.0}, {"waited": 0.11}, {"stolen_ms": 40.0, "seconds": 1.0}):
            self.assertTrue(disturbance([OUTCOME, outcome(**change)]).severe, change)


class CalmTests(SynchronousTestCase):
    """Measurements that are repeated when the machine was not quiet."""

    def test_first_quiet_one_or_the_least_disturbed(self) -> None:
        for waiting, chosen, count in (
            ((0.05,), 0.05, 1),
            ((0.3, 0.05), 0.05, 2),
            ((0.3, 0.2, 0.4), 0.2, 3),
        ):
            told = iter([(OUTCOME, outcome(waited=each)) for each in (*waiting, 0.0)])
            asked: list[int] = []

            def measure(
                told: Iterator[tuple[Outcome, Outcome]] = told, asked: list[int] = asked
            ) -> tuple[Outcome, Outcome]:
                asked.append(1)
                return next(told)

            self.assertEqual(calm(measure)[1].waited, chosen)
            self.assertEqual(len(asked), count)


class AddedTests(SynchronousTestCase):
    """Latency of floor and gateway in turn."""

    def test_one_pause_is_one_pairs(self) -> None:
        p99s = ((1.0, 3.0), (1.5, 900.0), (300.0, 3.2))
        pairs = [(outcome(p99_ms=floor), outcome(p99_ms=gateway)) for floor, gateway in p99s]
        self.assertEqual(added(pairs), (1.5, 3.2, 2.0, 3))


class PatientTests(SynchronousTestCase):
    """Rates that fail at times."""

    def test_tries(self) -> None:
        for outcomes, expected in (
            ((True,), True),
            ((False, True), True),
            ((False, False), False),
            # Twice it is the machine's fault, not more often.
            ((None, True), True),
            ((None, False, None, True), True),
            ((None, None, False, None), False),
            ((None, None, None, None), False),
        ):
            told = iter(outcomes)
            asked: list[float] = []

            def attempt(
                rate: float, told: Iterator[bool | None] = told, asked: list[float] = asked
            ) -> bool | None:
                asked.append(rate)
                return next(told)

            self.assertEqual(patient(attempt)(500.0), expected)
            self.assertEqual(asked, [500.0] * len(outcomes))


class BisectTests(SynchronousTestCase):
    """The search for a rate."""

    def search(self, capacity: float, start: float) -> tuple[float, list[float]]:
        """What is found where all rates up to ``capacity`` are good, and what was tried."""
        tried: list[float] = []

        def good(rate: float) -> bool:
            tried.append(rate)
            return rate <= capacity

        return bisect(good, start, 1.2, 0.05), tried

    def test_near_and_far(self) -> None:
        for capacity, most in ((1000, 4), (990, 4), (1190, 4), (1210, 6), (5000, 10), (100, 10)):
            found, tried = self.search(capacity, 1000)
            self.assertLessEqual(found, capacity)
            self.assertGreater(found * 1.05, capacity)
            self.assertEqual(tried[0], 1000)
            self.assertLessEqual(len(tried), most, capacity)

    def test_nothing_is_good(self) -> None:
        found, tried = self.search(-1, 1000)
        self.assertEqual(found, 0)
        self.assertLess(len(tried), 8)

    def test_pauses_of_the_machine(self) -> None:
        """A rate that fails now and then is found all the same, when it is tried again."""
        for disturbed in range(6):
            tries = 0

            def good(rate: float, disturbed: int = disturbed) -> bool:
                nonlocal tries
                tries += 1
                return rate <= 1100 and tries != disturbed

            found = bisect(patient(good), 1000, 1.2, 0.05)
            self.assertTrue(1100 / 1.05 < found <= 1100, disturbed)


class StormTests(SynchronousTestCase):
    """An open loop beyond what can be, and then one below it: slices of a quarter of a second."""

    def storm(self, *slices: tuple[float, int, int]) -> object:
        """p99, refused, delivered of each slice."""
        return outcome(slice=0.25, slices=tuple(Slice(100, *each) for each in slices))

    def test_goodput(self) -> None:
        run = self.storm((9, 0, 900), (9, 0, 900), (9, 5, 100), (9, 5, 200), (9, 0, 7))
        # The first half second fills queues, and what is after the storm is not in it.
        self.assertEqual(goodput(run, 1.0, 0.5), 600.0)

    def test_recovery(self) -> None:
        wild, slow, refusing, calm = (900, 0, 9), (101, 0, 9), (1, 1, 9), (1, 0, 9)
        for slices, expected in (
            ((wild, calm, calm, calm), 0.0),
            ((wild, slow, calm, calm), 0.25),
            ((wild, calm, refusing, calm), 0.5),
            ((wild, calm, calm, slow), 0.75),
        ):
            self.assertEqual(recovery(self.storm(*slices), 0.25, 100.0), expected)
