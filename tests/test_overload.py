"""When there is too much to do, and when no longer."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.overload import INTERVAL, MOST_OF_LIVE, Overload, OverloadState


class OverloadTests(SynchronousTestCase):
    """The average decides."""

    def setUp(self) -> None:
        self.overload = Overload(0.1)

    def look(self, delay: float, times: int) -> list[bool]:
        """So many looks, each with this delay; whether each changed the state."""
        return [self.overload.observe(delay) for _ in range(times)]

    def test_one_long_turn(self) -> None:
        """A single delay, however long, is no overload at a limit that others keep."""
        self.assertEqual(self.look(0.005, 20), [False] * 20)
        self.overload = Overload(0.5)
        self.look(1.0, 1)
        self.assertFalse(self.overload.active)

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

    def test_a_backlog(self) -> None:
        """What is not read counts as a delay; of sessions that are up few are refused."""
        for _ in range(50):
            self.overload.observe(0.0, 5.0)
        self.assertTrue(self.overload.active)
        refused = sum(self.overload.refuses_live() for _ in range(1000))
        self.assertAlmostEqual(refused, 1000 * MOST_OF_LIVE, delta=1)
        self.look(0.0, round(2.0 / INTERVAL))
        self.assertFalse(self.overload.active)
        self.assertFalse(any(self.overload.refuses_live() for _ in range(1000)))

    def test_comes_to_rest(self) -> None:
        """Where some is too much for a share of a half, and not for a little more."""
        self.look(5.0, 3)
        for _ in range(60):
            self.overload.observe(0.2, 0.0 if self.overload.live_share > 0.5 else 0.5)
        shares = []
        for _ in range(40):
            self.overload.observe(0.2, 0.0 if self.overload.live_share > 0.5 else 0.5)
            shares.append(self.overload.live_share)
        self.assertGreater(min(shares), 0.45)
        self.assertLess(max(shares), 0.55)

    def test_some_is_not_too_much(self) -> None:
        """Neither more nor less is refused."""
        for _ in range(4):
            self.overload.observe(0.0, 5.0)
        share = self.overload.live_share
        for _ in range(20):
            self.overload.observe(0.2, 0.01)
        self.assertEqual(self.overload.live_share, share)

    def test_a_reactor_that_is_late_refuses_nobody_who_is_up(self) -> None:
        self.look(5.0, 50)
        self.assertFalse(any(self.overload.refuses_live() for _ in range(1000)))

    def test_clocks_that_jump(self) -> None:
        """A negative delay is none."""
        self.look(-5.0, 3)
        self.look(0.3, 2)
        self.assertTrue(self.overload.active)
