"""When there is too much to do, and when no longer."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.overload import INTERVAL, Overload, OverloadState


class OverloadTests(SynchronousTestCase):
    """The average decides."""

    def setUp(self) -> None:
        self.overload = Overload(0.1)

    def look(self, delay: float, times: int) -> list[bool]:
        """So many looks, each with this delay; whether each changed the state."""
        return [self.overload.observe(delay) for _ in range(times)]

    def test_one_long_turn(self) -> None:
        """A single delay, however long, is no overload; a second one is."""
        self.assertEqual(self.look(0.005, 20), [False] * 20)
        self.assertEqual(self.look(60.0, 1), [False])
        self.assertEqual(self.look(0.005, 20), [False] * 20)
        self.assertEqual(self.look(60.0, 2), [False, True])

    def test_on_and_off(self) -> None:
        changes = self.look(0.3, 20)
        self.assertEqual(changes.count(True), 1)
        self.assertIs(self.overload.state, OverloadState.OVERLOADED)
        changes = self.look(0.0, 20)
        self.assertEqual(changes.count(True), 1)
        self.assertIs(self.overload.state, OverloadState.CALM)

    def test_hysteresis(self) -> None:
        """Between half the limit and the limit all stays as it is."""
        self.assertEqual(self.look(0.07, 50), [False] * 50)
        self.look(0.3, 20)
        self.assertEqual(self.look(0.07, 50), [False] * 50)
        self.assertTrue(self.overload.active)

    def test_refused_for_its_wait(self) -> None:
        """While something is, delays that are short because of that end no overload."""
        self.look(0.3, 20)
        for _ in range(50):
            self.assertFalse(self.overload.observe(0.01, refused=True))
        self.assertGreater(self.overload.share, 0.99)
        self.look(0.01, 20)
        self.assertFalse(self.overload.active)

    def test_soon_over(self) -> None:
        """However bad it was, two seconds of calm are enough."""
        self.look(60.0, 100)
        self.assertTrue(self.overload.active)
        self.look(0.0, round(2.0 / INTERVAL))
        self.assertFalse(self.overload.active)

    def test_share(self) -> None:
        """The worse it is, the more are refused; none when all is well."""
        self.assertFalse(any(self.overload.refuses() for _ in range(10)))
        shares = []
        for _ in range(4):
            self.look(0.4, 3)
            shares.append(sum(self.overload.refuses() for _ in range(1000)))
        self.assertEqual(shares, sorted(shares))
        self.assertGreater(shares[-1], 800)
        self.look(0.0, 20)
        self.assertFalse(any(self.overload.refuses() for _ in range(10)))

    def test_clocks_that_jump(self) -> None:
        """A negative delay is none."""
        self.look(-5.0, 3)
        self.look(0.3, 2)
        self.assertTrue(self.overload.active)
