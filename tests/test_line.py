"""Turns of the reactor, and who has one."""

import math
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from msrpgw import line
from msrpgw.line import AT_ONCE, REFUSED, REFUSED_AT_ONCE, RELEASED, Line


class Turns:
    """A reactor whose turns are taken one by one."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[Callable[[], None]] = []

    def seconds(self) -> float:
        """The time."""
        return self.now

    def callLater(self, delay: float, call: Callable[[], None]) -> None:
        """In the next turn."""
        assert delay == 0
        self.calls.append(call)

    def turn(self) -> None:
        """The next turn."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Waiting:
    """Has so many requests, and a share of so many a turn."""

    def __init__(self, line: Line, requests: int, share: int = AT_ONCE, since: float = 0.0) -> None:
        self.line = line
        self.requests = requests
        self.share = share
        self.waits_since = since
        self.served: list[int] = []

    def serve(self) -> bool:
        """As many as may be."""
        count = 0
        while self.requests and count < self.share and self.line.take():
            self.requests -= 1
            self.line.done(self)
            count += 1
        self.served.append(count)
        return bool(self.requests)


class HeldBack:
    """Is not read until it is released."""

    released = 0

    def release(self) -> None:
        """It is."""
        self.released += 1


class Patience:
    """What is too long."""

    longest_wait = math.inf


class LineTests(SynchronousTestCase):
    """One wire's."""

    def setUp(self) -> None:
        self.reactor = Turns()
        self.patience = Patience()
        self.line = Line(self.reactor, self.patience)  # type: ignore[arg-type]

    def test_room(self) -> None:
        """So many in one turn, and as many in the next; nothing is asked of the reactor before."""
        self.assertEqual([self.line.take() for _ in range(AT_ONCE - 1)], [True] * (AT_ONCE - 1))
        self.assertEqual(self.reactor.calls, [])
        self.assertEqual([self.line.take() for _ in range(3)], [True, False, False])
        self.reactor.turn()
        self.assertEqual(self.line.take(), True)
        self.assertEqual(self.reactor.calls, [])

    def test_each_turn_has_room_of_its_own(self) -> None:
        """Where somebody says when one is over; who waits then is served first in the next one."""
        ends: list[Line] = []
        line = Line(self.reactor, self.patience, lambda ending: not ends.append(ending))  # type: ignore[arg-type, func-returns-value]
        for _ in range(3):
            for _ in range(AT_ONCE - 1):
                self.assertTrue(line.take())
            self.assertEqual(ends, [line])
            ends.pop().turn_ended()
        self.assertEqual(self.reactor.calls, [])
        waiter = Waiting(line, 10)
        for _ in range(AT_ONCE):
            line.take()
        self.assertFalse(line.take())
        line.join(waiter, 10)
        ends.pop().turn_ended()
        self.assertFalse(line.take())
        self.reactor.turn()
        self.assertEqual(waiter.served, [10])
        self.assertEqual([line.take() for _ in range(AT_ONCE - 9)].count(True), AT_ONCE - 10)

    def test_in_turn(self) -> None:
        """One after the other; who has more than a share goes to the end."""
        one, two, three = (Waiting(self.line, count, 20) for count in (50, 21, 10))
        for waiter in (one, two, three):
            self.line.join(waiter, waiter.requests)
        one.requests += 1
        self.line.join(one)
        self.assertEqual((len(self.reactor.calls), len(self.line)), (1, 82))
        self.reactor.turn()
        self.assertEqual([one.served, two.served, three.served], [[20], [20], [10]])
        self.reactor.turn()
        self.assertEqual([one.served, two.served, three.served], [[20, 20], [20, 1], [10]])
        self.assertEqual(len(self.line), 11)
        self.reactor.turn()
        self.assertEqual(one.served, [20, 20, 11])
        self.assertEqual((len(self.line), self.reactor.calls), (0, []))

    def test_no_room(self) -> None:
        """Who had no turn stays where they were."""
        waiters = [Waiting(self.line, AT_ONCE // 2) for _ in range(5)]
        for waiter in waiters:
            self.line.join(waiter, waiter.requests)
        self.reactor.turn()
        self.assertEqual([len(each.served) for each in waiters], [1, 1, 0, 0, 0])
        self.reactor.turn()
        self.assertEqual([len(each.served) for each in waiters], [1, 1, 1, 1, 0])

    def test_leave(self) -> None:
        """Before its turn, and while another has its own."""
        gone, last = Waiting(self.line, 1), Waiting(self.line, 1)
        first = Waiting(self.line, 1)
        self.patch(first, "serve", lambda: self.line.leave(last))
        for waiter in (gone, first, last):
            self.line.join(waiter)
        self.line.leave(gone)
        self.line.leave(gone)
        self.reactor.turn()
        self.assertEqual((gone.served, last.served), ([], []))
        self.assertEqual((len(self.line), self.reactor.calls), (0, []))

    def test_trouble(self) -> None:
        """Who has a request that makes trouble keeps nobody else waiting, and has another turn."""

        class Bad(Waiting):
            def serve(self) -> bool:
                if not self.served:
                    self.served.append(0)
                    raise ZeroDivisionError
                return super().serve()

        bad, good = Bad(self.line, 1), Waiting(self.line, 1)
        self.line.join(bad)
        self.line.join(good)
        self.reactor.turn()
        self.assertEqual((bad.served, good.served), ([0], [1]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.reactor.turn()
        self.assertEqual(bad.served, [0, 1])

    def test_waits(self) -> None:
        """As long as the first in line."""
        self.assertEqual(self.line.waits, 0.0)
        self.line.join(Waiting(self.line, 1, since=99.5))
        self.line.join(Waiting(self.line, 1, since=99.9))
        self.assertEqual(self.line.waits, 0.5)
        self.reactor.now = 99.0
        self.assertEqual(self.line.waits, 0.0)

    def test_refusals(self) -> None:
        """Many at once, but not in each turn."""

        def refused() -> int:
            count = 0
            while self.line.take_refusal():
                count += 1
            return count

        self.assertEqual(refused(), REFUSED_AT_ONCE)
        self.assertEqual(refused(), 0)
        for count in (1, 5):
            for _ in range(count):
                self.line.join(Waiting(self.line, 1))
                self.reactor.turn()
            self.assertEqual(refused(), min(count * REFUSED, REFUSED_AT_ONCE))

    def test_room_for_more(self) -> None:
        """As many as are served in the time that they may wait; that is learnt."""
        self.assertEqual(self.line.room, math.inf)
        self.patience.longest_wait = 0.5
        self.assertEqual(self.line.room, 0.5 * line._RATE)
        waiter = Waiting(self.line, 1000 * AT_ONCE)
        self.line.join(waiter, waiter.requests)
        for _ in range(100):
            self.reactor.now += 0.1
            self.reactor.turn()
        self.assertAlmostEqual(self.line.room + len(self.line), 0.5 * AT_ONCE / 0.1, 0)
        waiter.requests = 0
        self.line.leave(waiter)
        self.reactor.turn()
        self.reactor.now += 60.0  # nobody is in line, so that says nothing
        self.line.join(Waiting(self.line, 1))
        self.reactor.turn()
        self.assertAlmostEqual(self.line.room, 0.5 * AT_ONCE / 0.1, 0)

    def test_held_back(self) -> None:
        """Released when there is room, some in each turn, in order."""
        self.patience.longest_wait = 0.5
        held = [HeldBack() for _ in range(RELEASED + 2)]
        waiter = Waiting(self.line, 10_000)
        self.line.join(waiter, waiter.requests)
        for each in held:
            self.line.hold(each)
        self.line.forget(held[0])
        self.line.forget(held[0])
        self.reactor.turn()
        self.assertEqual(sum(each.released for each in held), 0)
        waiter.requests = AT_ONCE
        self.line.leave(waiter)
        self.line.join(waiter, AT_ONCE)
        self.reactor.turn()
        self.assertEqual([each.released for each in held], [0, *[1] * RELEASED, 0])
        self.reactor.turn()
        self.assertEqual([each.released for each in held], [0, *[1] * (RELEASED + 1)])
        self.reactor.turn()
        self.assertEqual(self.reactor.calls, [])
