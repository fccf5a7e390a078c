"""Finding the highest rate, with a subject that is only made up."""

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.driving import BenchError, Outcome, Slice
from benchmarks.subjects import Subject
from benchmarks.sustained import (
    LIMIT_MS,
    Storm,
    held,
    highest,
    in_turn,
    settle,
    storm,
    sustains,
)
from tests.benchmarks.support import outcome


class FakeDriver:
    """Sustains so much, and needs some time to come back to itself after more.

    Its machine may pause in one of the loads.
    """

    def __init__(self, capacity: float, **harm: float) -> None:
        self.capacity = capacity
        self.harm = harm or {"p99_ms": 2 * LIMIT_MS}
        self.dizzy = 0  #: loads that go wrong though they are small
        self.pause = 0  #: number of the load that goes wrong for no reason of its own
        self.flows: list[dict[str, Any]] = []

    def flow(self, **arguments: Any) -> Outcome:
        self.flows.append(arguments)
        rate = arguments["rate"]
        if len(self.flows) == self.pause:
            return outcome(**self.harm)
        if rate > self.capacity:
            self.dizzy = 2
            return outcome(**self.harm)
        if self.dizzy:
            self.dizzy -= 1
            return outcome(**self.harm)
        return outcome(rate=float(rate or 1000))


class HighestTests(SynchronousTestCase):
    """Tries of rates."""

    def subject(self, driver: FakeDriver) -> Subject:
        made = Subject.__new__(Subject)
        made.name = "fake"
        made.driver = cast(Any, driver)
        return made

    def test_found(self) -> None:
        driver = FakeDriver(1040.0)
        found = highest(self.subject(driver), "page2msrp", 1.0)
        self.assertLessEqual(found, 1040)
        self.assertGreater(found * 1.05, 1039)
        # What is lost or late in a try is no reason to give up.
        self.assertTrue(all(each.get("drain") for each in driver.flows if each["rate"]))
        # The failed tries did not spoil those after them.
        self.assertFalse(driver.dizzy)

    def test_pauses(self) -> None:
        for pause in range(2, 8):
            driver = FakeDriver(1040.0)
            driver.pause = pause
            found = highest(self.subject(driver), "page2msrp", 1.0)
            self.assertTrue(1040 / 1.051 < found <= 1040, (pause, found))

    def test_held(self) -> None:
        """What holds for a moment alone is too much; one pause of the machine is no reason."""
        driver = FakeDriver(1000.0)
        found = held(self.subject(driver), "page2msrp", 1080.0)
        self.assertTrue(1000 / 1.05 < found <= 1000, found)
        self.assertEqual(driver.flows[0]["messages"], 1080 * 6)
        driver = FakeDriver(1000.0)
        driver.pause = 1
        self.assertEqual(held(self.subject(driver), "page2msrp", 990.0), 990.0)
        self.assertEqual(held(self.subject(FakeDriver(400.0)), "page2msrp", 1000.0), 0.0)
        self.assertEqual(held(self.subject(FakeDriver(400.0)), "page2msrp", 0.0), 0.0)

    def test_in_turn(self) -> None:
        """Floor and gateway, the same load, again and again."""
        drivers = FakeDriver(1040.0), FakeDriver(900.0)
        floor, gateway = map(self.subject, drivers)
        pairs = in_turn(floor, gateway, "msrp2page", 950.0, 3)
        self.assertEqual(len(pairs), 3)
        self.assertEqual(drivers[0].flows, drivers[1].flows)
        self.assertEqual([each.p99_ms > LIMIT_MS for each in pairs[0]], [False, True])
        load = drivers[0].flows[0]
        self.assertEqual((load["rate"], load["messages"]), (950, 1900))

    def test_every_harm_counts(self) -> None:
        for harm in ("refused", "unanswered", "lost", "contradicted"):
            subject = self.subject(FakeDriver(1000.0, **{harm: 1}))
            self.assertTrue(sustains(subject, "msrp2page", 999.0, 1.0))
            self.assertIs(sustains(subject, "msrp2page", 1001.0, 1.0), False, harm)

    def test_harm_while_the_machine_was_not_quiet(self) -> None:
        subject = self.subject(FakeDriver(1000.0, refused=1, waited=0.3))
        self.assertIsNone(sustains(subject, "msrp2page", 1001.0, 1.0))
        # What goes well all the same, goes well.
        driver = FakeDriver(1000.0)
        self.patch(driver, "flow", lambda **load: outcome(waited=0.3))
        self.assertIs(sustains(self.subject(driver), "msrp2page", 999.0, 1.0), True)

    def test_never_normal_again(self) -> None:
        with self.assertRaisesRegex(BenchError, "fake, page2msrp: does not come back to normal"):
            settle(self.subject(FakeDriver(0.0)), "page2msrp")

    def test_storm(self) -> None:
        driver = FakeDriver(10000.0)
        storm(self.subject(driver), "page2msrp", 1000.0)
        before, beyond, after = (each for each in driver.flows if each["rate"] != 400)
        self.assertEqual((before["rate"], before["messages"]), (1000, 2000))
        self.assertEqual(before, after)
        self.assertEqual((beyond["rate"], beyond["after"], beyond["then"]), (2000, 6000, 500))
        self.assertEqual(beyond["messages"], 6000 + 2000)

    def test_storm_again_when_the_machine_was_not_quiet(self) -> None:
        driver = FakeDriver(1500.0, refused=1, waited=0.3)
        storm(self.subject(driver), "page2msrp", 1000.0)
        self.assertEqual([each["rate"] for each in driver.flows].count(2000), 3)


class StormTests(SynchronousTestCase):
    """What a storm says."""

    def test_goodput_and_recovery(self) -> None:
        slices = [Slice(500, 900.0, 0, 100)] * 2 + [Slice(500, 900.0, 250, 200)] * 10
        slices += [Slice(125, 500.0, 0, 300)] * 3 + [Slice(125, 2.0, 0, 125)] * 13
        before, after = (
            outcome(slice=0.25, slices=(Slice(250, 1.0, 0, 9), Slice(250, 1.0, 0, 9), *6 * (one,)))
            for one in (Slice(250, 1.0, 0, 250), Slice(250, 900.0, 50, 150))
        )
        storm = Storm(before, outcome(slice=0.25, slices=tuple(slices)), after)
        self.assertEqual((storm.best, storm.goodput, storm.share), (800.0, 800.0, 1.0))
        self.assertEqual(storm.recovery, 0.75)
        still = outcome(slice=0.25, slices=(Slice(250, 1.0, 250, 0),) * 12)
        self.assertEqual(Storm(still, still, still).share, 0.0)
