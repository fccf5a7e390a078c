"""What is made of the measurements of all scenarios."""

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import full, lifecycle
from benchmarks.driving import BenchError, Slice
from benchmarks.full import Extent, Section
from benchmarks.hot_path import Load, Row
from benchmarks.lifecycle import Crowd, Cycles, Idle
from benchmarks.subjects import DEFAULTS, Room, Setting
from benchmarks.sustained import Storm, Sustained
from tests.benchmarks.support import OUTCOME, outcome

PLACE = cast(Room, None)
EXTENT = Extent(2, 1.0, 1.5, 3, 100, 1000)


class SectionTests(SynchronousTestCase):
    """Tables and targets."""

    def verdicts(self, section: Section) -> dict[str, bool]:
        """Of each target."""
        for row in section.table.rows:
            self.assertEqual(len(row), len(section.table.columns), row)
        return {each.what: each.met for each in section.targets}

    def fake_hot_path(
        self, gateway: float = 150.0, lost: int = 0
    ) -> list[tuple[Load, Setting, int]]:
        """What would be measured."""
        asked: list[tuple[Load, Setting, int]] = []

        def hot_path(
            place: Room,
            runs: int,
            loads: Sequence[Load],
            setting: Setting = DEFAULTS,
            sessions: int = 50,
            with_kamailio: bool = False,
        ) -> list[Row]:
            asked.extend((load, setting, sessions) for load in loads)
            floor, found = [OUTCOME] * runs, [outcome(cpu_us=gateway, lost=lost)] * runs
            return [Row(setting, sessions, load, floor, found) for load in loads]

        self.patch(full, "hot_path", hot_path)
        return asked

    def test_hot_path(self) -> None:
        asked = self.fake_hot_path()
        section = full.of_hot_path(PLACE, EXTENT)
        verdicts = self.verdicts(section)
        self.assertEqual(len(verdicts), 17)
        self.assertEqual(set(verdicts.values()), {True})
        self.assertIn("CPU to the floor's: msrp->page, tcp, 5000/s", verdicts)
        self.assertEqual({setting.transport for _, setting, _ in asked}, {"udp", "tcp"})
        self.assertEqual(section.figures["cost"]["udp page2msrp saturation"], [100.0, 150.0])
        self.assertIn("10 µs a message: it could do 100000 a second", section.table.note)
        harmed = "of these messages refused or lost"
        self.fake_hot_path(201.0)
        verdicts = self.verdicts(full.of_hot_path(PLACE, EXTENT))
        self.assertEqual([what for what, met in verdicts.items() if met], [harmed])
        self.fake_hot_path(lost=1)
        verdicts = self.verdicts(full.of_hot_path(PLACE, EXTENT))
        self.assertEqual([what for what, met in verdicts.items() if not met], [harmed])

    def test_variations(self) -> None:
        asked = self.fake_hot_path()
        self.patch(full, "speaks_tls", lambda: True)
        section = full.of_variations(PLACE, EXTENT)
        self.assertEqual(self.verdicts(section), {})
        self.assertEqual({sessions for _, _, sessions in asked}, {1, 50, 100, 2000})
        self.assertTrue(any(load.way == "both" for load, _, _ in asked))
        self.assertTrue(any(setting.msrps for _, setting, _ in asked))
        asked.clear()
        self.patch(full, "speaks_tls", lambda: False)
        full.of_variations(PLACE, EXTENT)
        self.assertFalse(any(setting.transport == "tls" for _, setting, _ in asked))

    def test_large(self) -> None:
        asked = self.fake_hot_path()
        section = full.of_large(PLACE, EXTENT)
        self.assertEqual(self.verdicts(section), {})
        self.assertEqual([load.chunk for load, _, _ in asked], [2048, 2048, 100])
        self.assertEqual(asked[-1][0].slow, 400)

    def test_cycles(self) -> None:
        # A core is what counts, not how many the closed loop came to.
        floor = outcome(cpu_us=67.0)
        dear, cheap = outcome(cpu_us=670.0, rate=1600.0), outcome(cpu_us=660.0, rate=1400.0)
        runs = [
            ("page2msrp", Cycles(dear, outcome(refused=2, unanswered=1, cpu_us=700.0), floor)),
            ("msrp2page", Cycles(cheap, outcome(waited=0.3), floor)),
        ]
        self.patch(lifecycle, "cycles", lambda *arguments: iter(runs))
        self.patch(lifecycle, "burst", lambda *arguments: iter([outcome(unanswered=4)]))
        section = full.of_cycles(PLACE, EXTENT)
        one_core = "sessions that one core sets up, uses once and ends in a second"
        harmed = "of these failed or lost"
        self.assertEqual(
            self.verdicts(section),
            {
                f"{one_core}, page->msrp": False,
                f"{harmed}, 20 at a time, page->msrp": True,
                f"{harmed}, 1,500 a second, page->msrp": False,
                f"{one_core}, msrp->page": True,
                f"{harmed}, 20 at a time, msrp->page": True,
                f"{harmed}, 1,500 a second, msrp->page": True,
            },
        )
        self.assertEqual(
            [row[1:] for row in section.table.rows[:2]],
            [
                ["670", "10.00 (10.00 to 10.00)", "1493", "1600", "3.0", "0"],
                ["700", "10.45 (10.45 to 10.45)", "1429", "2000", "3.0", "3"],
            ],
        )
        self.assertEqual([row[-1] for row in section.table.rows], ["0", "3", "0", "0", "4"])
        self.assertIn("**The machine was not quiet**", section.table.note)
        self.assertIn("no core for 30% of the time", section.table.note)

    def test_idle(self) -> None:
        few = {"page2msrp": [OUTCOME] * 3, "msrp2page": [OUTCOME] * 3}
        # One of three pairs was disturbed.
        many = {
            "page2msrp": [outcome(cpu_us=cost) for cost in (500.0, 114.0, 90.0)],
            "msrp2page": [outcome(cpu_us=cost) for cost in (116.0, 500.0, 90.0)],
        }
        floor, gateway = Crowd(few, few, few), Crowd(few, few, many)
        run = Idle(10000, 9.0, 11000.0, 5000.0, 0.021, OUTCOME, floor, gateway)
        self.patch(lifecycle, "idle", lambda *arguments: iter([run]))
        section = full.of_idle(PLACE, EXTENT)
        cost = "cost at 10,000 sessions to that at 100 sessions"
        self.assertEqual(
            self.verdicts(section),
            {
                "memory of one of 10,000 idle sessions": True,
                "CPU of 10,000 idle sessions": False,
                f"{cost}, through 100 of them, page->msrp": True,
                f"{cost}, through 100 of them, msrp->page": True,
                f"{cost}, through all in turn, page->msrp": True,
                f"{cost}, through all in turn, msrp->page": False,
            },
        )
        [line] = (cells for name, cells in section.table.rows if "all in turn, msrp" in name)
        self.assertEqual(line, "1.16 (1.16 to 1.16); the floor's 1.00")

    def sustained(self, *runs: tuple[str, Sustained]) -> dict[str, bool]:
        self.patch(full.sustained, "sustained", lambda *arguments: iter(runs))
        return self.verdicts(full.of_sustained(PLACE, EXTENT))

    def test_sustained(self) -> None:
        quiet, paused = outcome(p99_ms=1.0), outcome(p99_ms=500.0)
        latencies = {
            0.5: [(quiet, outcome(p99_ms=p99)) for p99 in (5.9, 500.0, 5.8)],
            0.8: [(quiet, outcome(p99_ms=21.1)), (paused, quiet), (quiet, paused)],
        }
        still = outcome(slice=0.25, slices=(Slice(1000, 1.0, 0, 1000),) * 12)
        run = Sustained(10000.0, 4600.0, 4000.0, latencies, [Storm(still, still, still)])
        self.patch(Storm, "share", 0.91)
        self.patch(Storm, "recovery", 2.25)
        self.assertEqual(
            self.sustained(("page2msrp", run)),
            {
                "highest rate to the floor's, page->msrp": True,
                "p99 added at 50% of the highest rate, page->msrp": True,
                "p99 added at 80% of the highest rate, page->msrp": False,
                "goodput beyond the highest rate, page->msrp": True,
                "back to normal, page->msrp": False,
            },
        )

    def test_pairs_are_told(self) -> None:
        pairs = [(OUTCOME, outcome(p99_ms=4.0, refused=2, held_ms=120.0))] * 3
        latencies = {0.5: pairs, 0.8: pairs}
        run = Sustained(10000.0, 4600.0, 4000.0, latencies, [])
        self.patch(full.sustained, "sustained", lambda *arguments: iter([("page2msrp", run)]))
        section = full.of_sustained(PLACE, EXTENT)
        cells = {name: cell for _, name, cell in section.table.rows}
        self.assertEqual(cells["p99 at 50% of that, ms, 3 pairs in a run"][:4], "4.00")
        self.assertEqual(cells["  lost or refused by the gateway"], "6")
        self.assertIn("the driver was at most 120 ms late", section.table.note)

    def test_nothing_is_sustained(self) -> None:
        found = self.sustained(("page2msrp", Sustained(10000.0, 0.0, 0.0, {}, [])))
        self.assertEqual(set(found.values()), {False})


class MainTests(SynchronousTestCase):
    """The files."""

    def test_written(self) -> None:
        table = full.Table("Hot path", "As it is.", ("way",), [("there",)])
        target = full.Target("cost", "at most 2", "3", False)
        extents: list[Extent] = []

        def scenario(place: Any, extent: Extent) -> Section:
            extents.append(extent)
            return Section(table, [target], {"something": 1})

        self.patch(full, "SCENARIOS", {"hot-path": scenario})
        self.patch(full, "room", contextlib.nullcontext)
        self.patch(full, "paces", lambda: [30.0, 50.0])
        output = Path(self.mktemp())
        options = ["full", "--quick", "--output", str(output), "--name", "small"]
        self.patch(sys, "argv", options)
        # Without a library that draws.
        self.patch(sys, "modules", {**sys.modules, "benchmarks.plot": None})
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.assertEqual(full.main(), 0)
        self.assertIn("0 of 1 targets met", said.getvalue())
        text = (output / "small.md").read_text()
        for part in (
            "1 runs of each",
            "the same work took 30 to 50 ms",
            "**MISSED**",
            "## Hot path",
        ):
            self.assertIn(part, text)
        self.assertEqual(json.loads((output / "small.json").read_text())["something"], 1)
        self.assertEqual(extents[0].runs, 1)

    def test_written_after_each(self) -> None:
        """What was found before something goes wrong, or is interrupted, is kept."""
        table = full.Table("Hot path", "As it is.", ("way",), [("there",)])
        section = Section(table, [full.Target("cost", "at most 2", "1", True)])

        def broken(place: Any, extent: Extent) -> Section:
            raise BenchError("nobody answers")

        def interrupted(place: Any, extent: Extent) -> Section:
            raise KeyboardInterrupt

        self.patch(full, "SCENARIOS", {"a": broken, "b": lambda *_: section, "c": interrupted})
        self.patch(full, "room", contextlib.nullcontext)
        self.patch(full, "paces", lambda: [30.0, 50.0])
        output = Path(self.mktemp())
        self.patch(sys, "argv", ["full", "--output", str(output)])
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.assertRaises(KeyboardInterrupt, full.main)
        self.assertIn("bench-full: a: nobody answers", said.getvalue())
        self.assertIn("## Hot path", (output / "full.md").read_text())

    def test_fewer_runs_of_what_no_target_is_about(self) -> None:
        for runs, fewer in ((1, 1), (2, 1), (5, 3)):
            self.assertEqual(EXTENT._replace(runs=runs).fewer, fewer)

    def test_files_are_few_enough(self) -> None:
        self.patch(lifecycle.resource, "getrlimit", lambda which: (1024, 4096))
        self.assertEqual(lifecycle.affordable(10000), 3596)
        self.assertEqual(lifecycle.affordable(1000), 1000)
