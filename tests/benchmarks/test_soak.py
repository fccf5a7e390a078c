"""When something has grown, and when it was only warm."""

import os
import sqlite3
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import processes
from benchmarks.soak import State, growth, judge, more_objects, rows_of
from benchmarks.watched import holdings, pending
from msrpgw.gateway.policy import TemplatePolicy
from msrpgw.gateway.routes import Routes
from msrpgw.gateway.settings import PolicySettings
from msrpgw.journal import store
from msrpgw.sip.uri import parse_uri
from msrpgw.timers import DelayLine, Timers
from msrpgw.types import Refusal

BEFORE = State(
    100_000_000, 17, 0, {"timers": 3, "msrpgw.Session": 0, "objects": 9000, "blocks": 100_000}
)


class JudgeTests(SynchronousTestCase):
    """The targets of a soak."""

    def missed(
        self, after: State, resident: list[int] | None = None, left: dict[str, int] | None = None
    ) -> list[str]:
        """What did not hold."""
        targets = judge(BEFORE, after, resident or [100_000_000] * 3, left or {})
        self.assertEqual(len(targets), 6)
        return [f"{each.what}: {each.found}" for each in targets if not each.met]

    def test_nothing_grew(self) -> None:
        self.assertEqual(self.missed(BEFORE), [])

    def test_a_few_descriptors_less(self) -> None:
        self.assertEqual(self.missed(BEFORE._replace(descriptors=15)), [])

    def test_memory(self) -> None:
        self.assertEqual(self.missed(BEFORE, [100_000_000, 0, 102_900_000]), [])
        self.assertEqual(
            self.missed(BEFORE, [100_000_000, 0, 103_100_000]),
            ["memory growth over the rounds: 3.1 MB"],
        )

    def test_memory_in_use(self) -> None:
        more = BEFORE.objects | {"blocks": 103_000}
        self.assertEqual(self.missed(BEFORE._replace(objects=more)), [])
        more["blocks"] += 100
        self.assertEqual(
            self.missed(BEFORE._replace(objects=more)), ["memory in use that is left, %: 3.1 %"]
        )

    def test_left(self) -> None:
        self.assertEqual(
            self.missed(BEFORE, left={"sip:transactions": 2}),
            ["sessions, transactions, messages left: sip:transactions 2"],
        )

    def test_objects_and_timers(self) -> None:
        objects = {"timers": 24, "msrpgw.Session": 21, "msrpgw.New": 20, "objects": 99000}
        self.assertEqual(
            self.missed(BEFORE._replace(objects=BEFORE.objects | objects)),
            ["more objects of a type, more timers: msrpgw.Session 21, timers 21"],
        )
        self.assertEqual(more_objects({"a": 5}, {"a": 25, "b": 21}), {"b": 21})

    def test_descriptors_and_rows(self) -> None:
        self.assertEqual(
            self.missed(BEFORE._replace(descriptors=18, rows=1)),
            ["descriptors more than before: 1", "rows in the journal: 1"],
        )

    def test_growth_of_thirds(self) -> None:
        # One round's peak is no growth.
        self.assertEqual(growth([10, 11, 10, 50, 50, 50, 12, 10, 12]), 2)
        self.assertEqual(growth([10]), 0)


class LookTests(SynchronousTestCase):
    """What is looked at."""

    def test_rows_of_the_journal(self) -> None:
        state = Path(self.mktemp())
        state.mkdir()
        file = store.Store(str(state / "journal.db"))
        file.open()
        self.addCleanup(file.close)
        self.assertEqual(rows_of(state), 0)
        with sqlite3.connect(state / "journal.db") as database:
            database.execute("INSERT INTO dialogs VALUES ('id', 'key', '', '', '', '', 1)")
        self.assertEqual(rows_of(state), 1)

    def test_timers(self) -> None:
        timers = Timers(Clock())
        line: DelayLine[int] = DelayLine(timers, 32.0, id)
        memory: DelayLine[int] = DelayLine(timers, 300.0, id)
        before = holdings()
        line.push(1)
        memory.push(1)
        # Each line has one timer, and the short one something that is to come.
        self.assertEqual([pending(each) for each in (timers, line, memory)], [2, 1, 0])
        after = holdings()
        self.assertEqual(after["timers"] - before["timers"], 3)
        self.assertEqual(after["msrpgw.timers.Timer"] - before.get("msrpgw.timers.Timer", 0), 2)

    def test_memory_in_use(self) -> None:
        """Strings count, which the garbage collector does not know."""
        before = holdings()["blocks"]
        kept = [f"text {number}" for number in range(5000)]
        more = holdings()["blocks"] - before
        self.assertTrue(len(kept) <= more < len(kept) + 500, more)

    def test_what_is_remembered_for_minutes_is_no_leak(self) -> None:
        remembered = {"id"}
        line: DelayLine[str] = DelayLine(Timers(Clock()), 300.0, remembered.discard)
        line.push("id")
        routes = Routes(TemplatePolicy(PolicySettings()))
        routes._kept["a", "b", "c"] = Refusal(403, "")
        holdings()
        self.assertEqual((len(line), remembered, routes._kept), (0, set(), {}))

    def test_caches_are_no_leak(self) -> None:
        before = holdings().get("msrpgw.sip.uri.SipUri", 0)
        parse_uri("sip:somebody.new@example.com")
        self.assertEqual(holdings().get("msrpgw.sip.uri.SipUri", 0), before)

    def test_of_a_process(self) -> None:
        pid = os.getpid()
        before = processes.descriptors(pid)
        with open(__file__):
            self.assertEqual(processes.descriptors(pid), before + 1)
        self.assertGreater(processes.resident(pid), 10_000_000)
        self.assertGreater(processes.kernel_memory().slab, 0)
        used = processes.cpu_seconds(pid)
        sum(range(3_000_000))
        self.assertGreater(processes.cpu_seconds(pid), used)
        self.assertEqual(processes.family(pid)[0], pid)
