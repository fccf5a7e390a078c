"""The order of targets, and the black list."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.dns.records import Srv
from msrpgw.sip.dead import DeadTargets
from msrpgw.sip.plan import Choice, by_priority, shuffle
from msrpgw.sip.sending import Target
from msrpgw.timers import Timers
from tests.support import CountingRandom

A, B, C = (Target("UDP", f"10.0.0.{number}", 5060) for number in (1, 2, 3))


class PlanTests(SynchronousTestCase):
    """RFC 2782."""

    @given(st.lists(st.integers(0, 65535), max_size=8))
    def test_all_are_there(self, weights: list[int]) -> None:
        choices = [Choice(weight, ()) for weight in weights]
        self.assertEqual(Counter(shuffle(choices, CountingRandom())), Counter(choices))

    def test_weight_0(self) -> None:
        """It has a very small chance beside others, and the same as others of its kind."""
        random = CountingRandom()
        nothing, much = Choice(0, (A,)), Choice(65535, (B,))
        first = [shuffle([nothing, much], random)[0] for _ in range(300)]
        self.assertLess(first.count(nothing), 5)

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 2))))
    def test_by_priority(self, raw: list[tuple[int, int, int]]) -> None:
        """Ascending, each record once; without those that say that there is nothing."""
        records = [Srv(priority, weight, port, "h") for priority, weight, port in raw]
        groups = by_priority([*records, Srv(0, 0, 5060, "")])
        found = [group[0].priority for group in groups]
        self.assertEqual(found, sorted(set(found)))
        self.assertEqual(
            sorted(record for group in groups for record in group),
            sorted(record for record in records if record.port),
        )


class DeadTests(SynchronousTestCase):
    """``DeadTargets``."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[Target, str]] = []
        self.make(10.0)

    def make(self, time: float) -> None:
        """A list with this time."""
        self.dead = DeadTargets(Timers(self.clock), time)
        self.dead.on_dead = lambda target, reason: self.told.append((target, reason))

    def test_last(self) -> None:
        """Those on it come last, in their order, for that time."""
        self.dead.add(B, "b")
        self.dead.add(A, "a")
        self.assertEqual(self.dead.sort([A, B, C]), [C, A, B])
        self.assertEqual(self.dead.sort([A, B]), [A, B])
        self.assertEqual(self.dead.sort([A]), [A])
        self.clock.advance(10)
        self.assertEqual(self.dead.sort([A, B, C]), [A, B, C])
        self.assertEqual(len(self.dead), 0)

    def test_told_once(self) -> None:
        """For as long as it stays on the list."""
        self.dead.add(A, "a")
        self.clock.advance(6)
        self.dead.add(A, "b")
        self.clock.advance(6)
        self.assertEqual(self.dead.sort([A, B]), [B, A])
        self.assertEqual(self.told, [(A, "a")])
        self.clock.advance(6)
        self.dead.add(A, "c")
        self.assertEqual(self.told, [(A, "a"), (A, "c")])

    def test_back(self) -> None:
        """An answer takes it off; whoever proves it, by whatever name and route."""
        self.dead.add(A._replace(route="<sip:p;lr>", name="x"), "a")
        self.assertEqual(len(self.dead), 1)
        self.dead.heard(A)
        self.assertEqual(len(self.dead), 0)

    def test_other_transport(self) -> None:
        """It is another target."""
        self.dead.add(A, "a")
        other = A._replace(transport="TCP")
        self.assertEqual(self.dead.sort([A, other]), [other, A])

    def test_none(self) -> None:
        """Time 0: there is no list."""
        self.make(0.0)
        self.dead.add(A, "a")
        self.assertEqual((self.dead.sort([A, B]), self.told), ([A, B], []))

    def test_bounded(self) -> None:
        """The oldest go first."""
        for port in range(1, 1201):
            self.dead.add(A._replace(port=port), "a")
        self.assertEqual(len(self.dead), 1024)
        self.assertEqual(self.dead.sort([A._replace(port=1200), A]), [A, A._replace(port=1200)])
