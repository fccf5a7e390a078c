"""The wheel of timers and the delay line."""

import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.timers import DelayLine, Timers


class TimersTests(SynchronousTestCase):
    """``Timers``: never early, late by at most its resolution."""

    def setUp(self) -> None:
        """A clock and a wheel on it."""
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.fired: list[object] = []

    def later(self, delay: float, name: object) -> object:
        """A timer that tells its name and the time."""
        return self.timers.call_later(
            delay, lambda: self.fired.append((name, self.clock.seconds()))
        )

    def names(self) -> list[object]:
        """Who fired, in order."""
        return [item[0] for item in self.fired]

    def test_fires_once(self) -> None:
        """A timer fires when its time has come, and then never again."""
        timer = self.timers.call_later(0.5, lambda: self.fired.append(1))
        self.assertTrue(timer.active)
        self.clock.advance(0.49)
        self.assertEqual(self.fired, [])
        self.clock.advance(0.01)
        self.assertEqual(self.fired, [1])
        self.assertFalse(timer.active)
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.fired, [1])
        self.assertEqual(len(self.timers), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @settings(deadline=None, derandomize=True, max_examples=50)
    @given(st.lists(st.floats(0, 40), max_size=8), st.lists(st.floats(0.001, 3), max_size=30))
    def test_never_early(self, delays: list[float], steps: list[float]) -> None:
        """However time passes, a timer fires at the first step after it is due."""
        self.setUp()
        for delay in delays:
            self.later(delay, delay)
        for step in steps:
            before = self.clock.seconds()
            fired = len(self.fired)
            self.clock.advance(step)
            now = self.clock.seconds()
            for delay, at in self.fired[fired:]:
                self.assertGreaterEqual(at, delay - 1e-7)
                self.assertGreater(delay, before - 0.011)
            fired_names = self.names()
            for delay in delays:
                if delay <= now - 0.011:
                    self.assertIn(delay, fired_names)

    def test_order(self) -> None:
        """Timers fire in the order of their times; equal ones in the order of their making."""
        for name, delay in (("c", 3), ("a", 1), ("b1", 2), ("b2", 2)):
            self.later(delay, name)
        self.clock.pump([0.5] * 10)
        self.assertEqual(self.names(), ["a", "b1", "b2", "c"])

    def test_one_delayed_call(self) -> None:
        """However many timers wait, the reactor carries one call, for the earliest."""
        for delay in (5, 3, 4, 1, 2):
            self.later(delay, delay)
        calls = self.clock.getDelayedCalls()
        self.assertEqual(len(calls), 1)
        self.assertAlmostEqual(calls[0].getTime(), 1.0)

    def test_cancel(self) -> None:
        """A cancelled timer does not fire; cancelling again, or too late, does nothing."""
        timer = self.timers.call_later(1, lambda: self.fired.append(1))
        other = self.timers.call_later(1, lambda: self.fired.append(2))
        timer.cancel()
        timer.cancel()
        self.assertFalse(timer.active)
        self.assertEqual(len(self.timers), 1)
        self.clock.advance(2)
        self.assertEqual(self.fired, [2])
        other.cancel()
        self.assertEqual(self.fired, [2])

    def test_lets_go_of_its_callback(self) -> None:
        """Also while somebody keeps the timer: nothing is left for the garbage collector."""

        class Owner:
            def call(self) -> None:
                pass

        kept = []
        for end in (lambda timer: timer.cancel(), lambda timer: self.clock.advance(2)):
            owner = Owner()
            gone = weakref.ref(owner)
            kept.append(self.timers.call_later(1, owner.call))
            del owner
            end(kept[-1])
            self.assertIsNone(gone())

    def test_cancel_from_a_callback(self) -> None:
        """A timer can cancel another that is due at the same time."""
        self.timers.call_later(1, lambda: second.cancel())
        second = self.timers.call_later(1, lambda: self.fired.append(2))
        self.clock.advance(1)
        self.assertEqual(self.fired, [])

    def test_slots_of_cancelled_timers_go(self) -> None:
        """Slots whose timers were all cancelled are dropped on the way."""
        for delay in (1, 2, 3):
            self.timers.call_later(delay, lambda: None).cancel()
        self.later(0.5, "first")
        self.clock.advance(1)
        self.assertEqual(self.names(), ["first"])
        self.clock.advance(5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slots_of_cancelled_timers_do_not_pile_up(self) -> None:
        """Those of hours either; timers that are not cancelled are not touched."""
        kept = 0
        for number in range(20_000):
            timer = self.timers.call_later(7200 + number / 100, lambda: None)
            if number % 10:
                timer.cancel()
            else:
                self.later(3600 + number / 100, number)
                kept += 1
        self.assertEqual(len(self.timers), 2 * kept)
        self.assertLess(len(self.timers._slots), 5 * kept)
        self.assertEqual(len(self.timers._slots), len(self.timers._ticks))
        self.clock.pump([1.0] * 10_000)
        self.assertEqual(self.names(), list(range(0, 20_000, 10)))
        self.assertEqual(len(self.timers), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_call_later_from_a_callback(self) -> None:
        """A callback may ask for more, also for now."""
        self.timers.call_later(1, lambda: self.later(0, "now"))
        self.timers.call_later(1, lambda: self.later(1, "later"))
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertEqual(self.names(), ["now"])
        self.clock.advance(1)
        self.assertEqual(self.names(), ["now", "later"])

    def test_an_earlier_timer_moves_the_call(self) -> None:
        """A new earliest timer is not late because the call was for another."""
        self.later(10, "late")
        self.later(1, "early")
        self.clock.advance(1)
        self.assertEqual(self.names(), ["early"])
        self.clock.advance(9)
        self.assertEqual(self.names(), ["early", "late"])

    def test_failure_is_logged(self) -> None:
        """A callback that fails stops nobody else."""
        self.timers.call_later(1, lambda: 1 // 0)
        self.later(1, "other")
        self.later(2, "later")
        self.clock.pump([1, 1])
        self.assertEqual(self.names(), ["other", "later"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class DelayLineTests(SynchronousTestCase):
    """``DelayLine``: first in, first out, each after the same delay."""

    def setUp(self) -> None:
        """A line of two seconds."""
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.out: list[object] = []
        self.line: DelayLine[object] = DelayLine(self.timers, 2.0, self.out.append)

    def test_order_and_time(self) -> None:
        """Each item comes out two seconds after it went in."""
        self.line.push("a")
        self.clock.advance(1.5)
        self.line.push("b")
        self.assertEqual(len(self.line), 2)
        self.clock.advance(0.49)
        self.assertEqual(self.out, [])
        self.clock.advance(0.01)
        self.assertEqual(self.out, ["a"])
        self.clock.advance(1.48)
        self.assertEqual(self.out, ["a"])
        self.clock.advance(0.02)
        self.assertEqual(self.out, ["a", "b"])
        self.assertEqual(len(self.timers), 0)

    def test_one_timer(self) -> None:
        """A thousand items need one timer."""
        for number in range(1000):
            self.line.push(number)
        self.assertEqual(len(self.timers), 1)
        self.clock.advance(2)
        self.assertEqual(self.out, list(range(1000)))

    def test_pop(self) -> None:
        """The oldest item can be taken out early; the others keep their time."""
        self.line.push("a")
        self.clock.advance(1)
        self.line.push("b")
        self.assertEqual(self.line.pop(), "a")
        self.clock.advance(1)
        self.assertEqual(self.out, [])
        self.clock.advance(1)
        self.assertEqual(self.out, ["b"])
        self.assertRaises(IndexError, self.line.pop)

    def test_push_from_the_callback(self) -> None:
        """The callback may put the item back."""
        again: DelayLine[int] = DelayLine(
            self.timers,
            1.0,
            lambda left: (self.out.append(left), left and again.push(left - 1)),
        )
        again.push(2)
        self.clock.pump([1] * 5)
        self.assertEqual(self.out, [2, 1, 0])
        self.assertEqual(len(self.timers), 0)

    def test_push_from_the_callback_keeps_nobody_waiting(self) -> None:
        """What still waits comes out in its time when the callback pushes something."""
        again: DelayLine[str] = DelayLine(
            self.timers,
            1.0,
            lambda item: (self.out.append(item), item == "a" and again.push("late")),
        )
        again.push("a")
        self.clock.advance(0.5)
        again.push("b")
        self.clock.pump([0.5, 0.5])
        self.assertEqual(self.out, ["a", "b"])
        self.clock.advance(0.5)
        self.assertEqual(self.out, ["a", "b", "late"])
        self.assertEqual(len(self.timers), 0)

    def test_clear(self) -> None:
        """A cleared line is empty and leaves no timer."""
        self.line.push("a")
        self.line.clear()
        self.line.clear()
        self.assertEqual((len(self.line), len(self.timers)), (0, 0))
        self.clock.advance(5)
        self.assertEqual(self.out, [])

    def test_failure_is_logged(self) -> None:
        """An item whose callback fails stops none of the others."""

        def fail(item: int) -> None:
            self.out.append(item)
            if item == 1:
                raise ZeroDivisionError

        line: DelayLine[int] = DelayLine(self.timers, 1.0, fail)
        for item in (1, 2):
            line.push(item)
        self.clock.advance(1)
        self.assertEqual(self.out, [1, 2])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
