"""What one user and one source may ask for: buckets, shares, and who is exempt."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.limits import Buckets, Limits, LimitSettings, Progress, Shares


class BucketTests(SynchronousTestCase):
    """A rate, and a burst."""

    def test_burst_then_rate(self) -> None:
        buckets = Buckets(2.0, 3, 10)
        self.assertEqual([buckets.take("a", 0.0) for _ in range(4)], [True, True, True, False])
        self.assertFalse(buckets.take("a", 0.4))
        self.assertTrue(buckets.take("a", 0.5))
        self.assertFalse(buckets.take("a", 0.6))

    def test_refused_costs_nothing(self) -> None:
        """Who goes on asking waits no longer than who is patient."""
        buckets = Buckets(1.0, 1, 10)
        self.assertTrue(buckets.take("a", 0.0))
        for tenth in range(1, 10):
            self.assertFalse(buckets.take("a", tenth / 10))
        self.assertTrue(buckets.take("a", 1.01))

    def test_full_is_full(self) -> None:
        """A long silence gives no more than the burst."""
        buckets = Buckets(1.0, 2, 10)
        buckets.take("a", 0.0)
        self.assertEqual([buckets.take("a", 900.0) for _ in range(3)], [True, True, False])

    def test_apart(self) -> None:
        buckets = Buckets(1.0, 1, 10)
        self.assertTrue(buckets.take("a", 0.0))
        self.assertTrue(buckets.take("b", 0.0))
        self.assertFalse(buckets.take("a", 0.0))

    def test_bounded(self) -> None:
        """Who was silent longest is forgotten; who is refused now is not."""
        buckets = Buckets(1.0, 1, 100)
        buckets.take("loud", 0.0)
        for number in range(10_000):
            buckets.take(str(number), 0.0)
            self.assertFalse(buckets.take("loud", 0.0))
            self.assertLessEqual(len(buckets), 100)

    def test_configure(self) -> None:
        """Other numbers hold at once, for who is known, too; what is too much is forgotten."""
        buckets = Buckets(1.0, 5, 10)
        for name in "abcdefgh":
            buckets.take(name, 0.0)
        buckets.configure(1.0, 1, 3)
        self.assertEqual([buckets.take("h", 0.0), buckets.take("h", 0.0)], [True, False])
        self.assertLessEqual(len(buckets), 3)

    def test_no_limit(self) -> None:
        buckets = Buckets(0.0, 1, 10)
        self.assertTrue(all(buckets.take("a", 0.0) for _ in range(1000)))
        self.assertEqual(len(buckets), 0)


class ShareTests(SynchronousTestCase):
    """So many of each."""

    def test_limit(self) -> None:
        shares = Shares(2)
        shares.enter("a")
        self.assertFalse(shares.full("a"))
        shares.enter("a")
        self.assertTrue(shares.full("a"))
        self.assertFalse(shares.full("b"))
        shares.leave("a")
        self.assertFalse(shares.full("a"))

    def test_nothing_is_kept(self) -> None:
        shares = Shares(2)
        for number in range(1000):
            shares.enter(str(number))
            shares.leave(str(number))
        shares.leave("nobody")
        self.assertEqual(len(shares), 0)


class ExemptTests(SynchronousTestCase):
    """Trusted sources."""

    def test_exempt(self) -> None:
        for exempt in (True, False):
            limits = Limits(
                LimitSettings(exempt_trusted=exempt, source_connections=1),
                lambda host: host == "192.0.2.1",
            )
            self.assertEqual(limits.exempt("192.0.2.1"), exempt)
            self.assertFalse(limits.exempt("192.0.2.2"))
            connections = limits.connections()
            for host in ("192.0.2.1", "192.0.2.2"):
                self.assertFalse(connections.full(host))
                connections.enter(host)
            self.assertEqual(connections.full("192.0.2.1"), not exempt)
            self.assertTrue(connections.full("192.0.2.2"))
            self.assertEqual(limits.counters.source_connections, 2 - exempt)
            connections.leave("192.0.2.2")
            self.assertFalse(connections.full("192.0.2.2"))


class ProgressTests(SynchronousTestCase):
    """How long a message may take."""

    def test_size_counts(self) -> None:
        limits = Limits(LimitSettings(progress_timeout=10.0, slowest=100))
        progress = Progress(limits)
        progress.began(5.0)
        self.assertAlmostEqual(progress.left(5.0), 10.0)
        progress.received(1000)
        self.assertAlmostEqual(progress.left(20.0), 5.0)
        self.assertEqual(limits.counters.slow, 0)
        self.assertLessEqual(progress.left(25.0), 0.0)
        self.assertEqual(limits.counters.slow, 1)
        progress.began(30.0)
        self.assertAlmostEqual(progress.left(30.0), 10.0)
