"""How late the reactor is."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.lag import Lag
from msrpgw.timers import Timers


class LagTests(SynchronousTestCase):
    """On two clocks: the reactor's, and one that goes on while it is busy."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.extra = 0.0
        self.timers = Timers(self.clock)
        self.lag = Lag(self.timers, lambda: self.clock.seconds() + self.extra)
        self.lag.start()

    def test_worst_of_the_last_ten_seconds(self) -> None:
        self.clock.advance(1.01)
        self.assertLess(self.lag.worst(), 20)
        self.extra += 0.5
        self.clock.advance(1.01)
        self.assertIn(self.lag.worst(), range(490, 530))
        for _ in range(10):
            self.clock.advance(1.01)
        self.assertLess(self.lag.worst(), 20)
        counts = dict(self.lag.histogram.buckets())
        self.assertEqual((counts[0.25], counts[1.0], counts[float("inf")]), (11, 12, 12))

    def test_stop(self) -> None:
        self.lag.stop()
        self.assertEqual(len(self.timers), 0)
