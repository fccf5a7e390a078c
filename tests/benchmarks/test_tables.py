"""Results for people."""

import time
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.bench import as_json, show
from benchmarks.driving import Outcome
from benchmarks.hot_path import Load, Row, load_of, measure
from benchmarks.machine import LOOKS, machine, paces, processor
from benchmarks.subjects import Setting
from benchmarks.tables import Table, Target, at_least, at_most, render
from tests.benchmarks.support import outcome


class TargetTests(SynchronousTestCase):
    """What must hold."""

    def test_at_most(self) -> None:
        self.assertEqual(at_most("cost", 2.004, 2.0), ("cost", "at most 2", "2.004", False))
        self.assertEqual(at_most("p99", 4.9, 5, " ms"), ("p99", "at most 5 ms", "4.9 ms", True))

    def test_at_least(self) -> None:
        self.assertEqual(at_least("rate", 1500.0, 1500), ("rate", "at least 1500", "1500", True))
        self.assertFalse(at_least("rate", 1499.9, 1500).met)

    def test_verdict(self) -> None:
        self.assertEqual(at_most("cost", 1, 2).verdict, "met")
        self.assertEqual(at_most("cost", 3, 2).verdict, "**MISSED**")


class RenderTests(SynchronousTestCase):
    """A Markdown document."""

    def test_whole(self) -> None:
        text = render(
            "Costs",
            ["a machine"],
            [Target("cost", "at most 2", "3", False)],
            [Table("Hot path", "As it is.", ("way", "µs"), [("there", "9.5"), ("back", "10.5")])],
        )
        self.assertEqual(
            text,
            "# Costs\n\n- a machine\n\n"
            "## What must hold\n\n"
            "|      | wanted    | found | verdict    |\n"
            "| ---- | --------- | ----: | ---------- |\n"
            "| cost | at most 2 |     3 | **MISSED** |\n\n"
            "## Hot path\n\nAs it is.\n\n"
            "| way   |   µs |\n"
            "| ----- | ---: |\n"
            "| there |  9.5 |\n"
            "| back  | 10.5 |\n",
        )


class RowTests(SynchronousTestCase):
    """A row of the hot path."""

    def row(self, gateway: float = 190.0, rate: int = 0, **changes: float) -> Row:
        floors = [outcome(cpu_us=100.0), outcome(cpu_us=200.0)]
        gateways = [
            outcome(cpu_us=gateway, **changes),
            outcome(cpu_us=2 * gateway, **changes),
        ]
        relay = [outcome(cpu_us=95.0), outcome(cpu_us=190.0)]
        return Row(Setting(), 50, load_of("page2msrp", rate), floors, gateways, relay)

    def test_ratios(self) -> None:
        row = self.row()
        self.assertEqual(row.ratio.median, 1.9)
        self.assertEqual(row.ratio_to_kamailio and row.ratio_to_kamailio.median, 2.0)
        self.assertIsNone(row._replace(kamailio=()).ratio_to_kamailio)

    def test_shown(self) -> None:
        line = show(self.row())
        for part in ("page->msrp  udp  saturation", "1.90  (1.90 to 1.90)", "   met"):
            self.assertIn(part, line)
        self.assertTrue(show(self.row(gateway=201.0)).endswith("MISSED"))
        self.assertTrue(show(self.row(unanswered=1)).endswith("MISSED"))

    def test_json(self) -> None:
        self.assertIn('"ratio": 1.9,', as_json(self.row()))

    def test_remarks(self) -> None:
        self.assertEqual(list(self.row().remarks()), [])
        [remark] = self.row(driver_busy=0.81).remarks()
        self.assertIn("the driver was the bottleneck", remark)
        [remark] = self.row(accepted_later=3).remarks()
        self.assertIn("6 MESSAGEs were answered 202", remark)
        [remark] = self.row(refused=1, lost=1).remarks()
        self.assertIn("4 messages were refused or lost", remark)
        [remark] = self.row(rate=5000).remarks()
        self.assertIn("did not keep up", remark)
        [remark] = self.row(held_ms=120.0).remarks()
        self.assertIn("not quiet: the driver was at most 120 ms late", remark)

    def test_what_a_fixed_rate_loses_is_counted(self) -> None:
        """In a closed loop it would end all, as nothing can be lost there."""
        asked: list[dict[str, Any]] = []

        def flow(**arguments: Any) -> Outcome:
            asked.append(arguments)
            return outcome()

        subject: Any = SimpleNamespace(name="gateway", driver=SimpleNamespace(flow=flow))
        for rate in (0, 500):
            measure(subject, load_of("both", rate), 50)
        self.assertEqual([each["drain"] for each in asked], [0, 2])

    def test_loads(self) -> None:
        self.assertEqual(load_of("both", 0), Load("both"))
        self.assertEqual(load_of("both", 500, 2.0)[1:4], (500, 1000, 100))
        self.assertEqual((str(Load("both")), str(load_of("both", 500))), ("saturation", "500/s"))


class MachineTests(SynchronousTestCase):
    """Where it was measured."""

    def test_processor(self) -> None:
        text = "processor\t: 0\nmodel name\t: Fast (R) 9\nmodel name\t: Fast (R) 9\n"
        self.assertEqual(processor(text), "Fast (R) 9")
        self.assertNotEqual(processor(""), "")

    def test_versions(self) -> None:
        text = "\n".join(machine())
        for part in ("cores; Linux ", "Python 3.", "Twisted ", "OpenSSL ", "commit "):
            self.assertIn(part, text)

    def test_paces(self) -> None:
        """As long as each look at the clock says."""
        looks = iter(n * 0.04 + (n % 2) * 0.01 * n for n in range(2 * LOOKS))
        self.patch(time, "sleep", lambda seconds: None)
        found = paces(lambda: next(looks))
        self.assertEqual(len(found), LOOKS)
        self.assertAlmostEqual(found[0], 50.0)
        self.assertAlmostEqual(found[-1], 40.0 + 10.0 * (2 * LOOKS - 1))
