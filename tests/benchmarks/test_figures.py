"""The suite's arithmetic."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.driving import Slice
from benchmarks.figures import bisect, goodput, median, ratios, recovery, spread, verdict
from tests.benchmarks.support import outcome


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


class BisectTests(SynchronousTestCase):
    """The search for a rate."""

    def search(self, capacity: float, low: float, high: float) -> tuple[float, list[float]]:
        """What is found where all rates up to ``capacity`` are good, and what was tried."""
        tried: list[float] = []

        def good(rate: float) -> bool:
            tried.append(rate)
            return rate <= capacity

        return bisect(good, low, high, 0.05), tried

    def test_between(self) -> None:
        found, tried = self.search(1000, 700, 1300)
        self.assertLessEqual(found, 1000)
        self.assertGreater(found * 1.05, 1000)
        self.assertLessEqual(len(tried), 6)

    def test_above(self) -> None:
        found, _ = self.search(5000, 700, 1300)
        self.assertLessEqual(found, 5000)
        self.assertGreater(found * 1.05, 5000)

    def test_below(self) -> None:
        found, _ = self.search(100, 700, 1300)
        self.assertLessEqual(found, 100)
        self.assertGreater(found * 1.05, 100)

    def test_nothing_is_good(self) -> None:
        found, tried = self.search(-1, 700, 1300)
        self.assertEqual(found, 0)
        self.assertLess(len(tried), 10)


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
