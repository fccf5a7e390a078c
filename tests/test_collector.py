"""When garbage is looked for, and in how much."""

import gc

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.collector import (
    FULL_INTERVAL,
    PATIENCE,
    QUIET_INTERVAL,
    YOUNG,
    YOUNG_INTERVAL,
    Collector,
)


class Circle:
    """Garbage that reference counts don't free."""

    alive = 0

    def __init__(self) -> None:
        Circle.alive += 1
        self.itself = self

    def __del__(self) -> None:
        Circle.alive -= 1


class CollectorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.used = 0.0
        self.before = gc.get_threshold()
        Circle.alive = 0
        self.collector = Collector(self.clock, lambda: self.used)
        self.collector.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        if self.collector.running:
            self.collector.stopService()

    def old_garbage(self) -> None:
        """A circle that is let go of after a look at it."""
        circle = Circle()
        gc.collect(0)
        del circle

    def pass_time(self, seconds: float, load: float) -> None:
        for _ in range(round(seconds / QUIET_INTERVAL)):
            self.used += load * QUIET_INTERVAL
            self.clock.advance(QUIET_INTERVAL)

    def test_young(self) -> None:
        """New garbage goes by itself; what a look left is not looked at again."""
        Circle()
        kept = [[] for _ in range(YOUNG)]  # type: list[list[object]]
        self.assertEqual(Circle.alive, 0)
        self.assertLess(len(gc.get_objects()), YOUNG)
        self.assertGreater(gc.get_freeze_count(), len(kept))

    def test_young_under_an_even_load(self) -> None:
        """What is new does not pile up where as many objects go as come."""
        lives = [[] for _ in range(10 * YOUNG)]  # type: list[list[object]]
        for number in range(len(lives)):
            lives[number] = []  # the one that goes was there before
            if number % 1000 == 0:
                self.clock.advance(YOUNG_INTERVAL)
                self.assertLess(len(gc.get_objects()), YOUNG)

    def test_old_in_a_quiet_moment(self) -> None:
        self.old_garbage()
        gc.collect()
        self.assertEqual(Circle.alive, 1)
        self.pass_time(FULL_INTERVAL + 60, load=0.5)
        self.assertEqual(Circle.alive, 1)
        self.pass_time(QUIET_INTERVAL, load=0.05)
        self.assertEqual(Circle.alive, 0)
        self.assertLess(len(gc.get_objects()), YOUNG)

    def test_old_without_one(self) -> None:
        self.old_garbage()
        self.pass_time(FULL_INTERVAL + (PATIENCE - 1) * QUIET_INTERVAL, load=0.5)
        self.assertEqual(Circle.alive, 1)
        self.pass_time(2 * QUIET_INTERVAL, load=0.5)
        self.assertEqual(Circle.alive, 0)

    def test_stop(self) -> None:
        callbacks = len(gc.callbacks)
        self.collector.stopService()
        self.assertEqual(gc.get_threshold(), self.before)
        self.assertEqual(gc.get_freeze_count(), 0)
        self.assertEqual(len(gc.callbacks), callbacks - 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
