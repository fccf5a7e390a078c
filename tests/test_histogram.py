"""Values in buckets."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.histogram import Histogram


class HistogramTests(SynchronousTestCase):
    """Each bucket counts what is at most its bound."""

    def test_buckets(self) -> None:
        histogram = Histogram((1.0, 2.0))
        for value in (0.5, 1.0, 1.5, 2.0, 7.0):
            histogram.add(value)
        self.assertEqual(list(histogram.buckets()), [(1.0, 2), (2.0, 4), (float("inf"), 5)])
        self.assertEqual(histogram.total, 12.0)
