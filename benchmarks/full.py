"""All scenarios, several runs of each; the results as a table and a plot.

    python -m benchmarks.full [--runs 5] [--only idle] [--quick] [--output benchmarks/results]

Writes ``NAME.md`` and ``NAME.json``, what the plot is of, after each scenario, and in the end
``NAME.svg`` where matplotlib is installed.  Exits with 0 though a target is missed: the table says
so.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# As a script, too: the checkout that it is in is measured.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import lifecycle, sustained
from benchmarks.driving import HERE, BenchError, Outcome, speaks_tls
from benchmarks.figures import (
    EXCUSED,
    TARGET,
    TRIES,
    added,
    disturbance,
    median,
    ratios,
    spread,
)
from benchmarks.hot_path import ARROWS, RATES, Load, Row, hot_path, load_of
from benchmarks.machine import machine, paces
from benchmarks.subjects import Room, Setting, room
from benchmarks.tables import Table, Target, at_least, at_most, render

WAYS = ("page2msrp", "msrp2page")

#: what the gateway does with texts that it must not cut up
WHOLE = "[policy]\ncongestion_safe = true\n"


class Section(NamedTuple):
    """What one scenario found."""

    table: Table
    targets: list[Target]
    figures: dict[str, Any] = {}  #: for the plot


class Extent(NamedTuple):
    """How much of everything."""

    runs: int
    seconds: float  #: of an open loop at a fixed rate
    attempt: float  #: seconds of a try in the search for the highest rate
    pairs: int  #: in which neighbours take turns in a run, for latency and in a crowd
    cycles: int
    idle: int  #: sessions

    @property
    def fewer(self) -> int:
        """Runs of what no target is about."""
        return (self.runs + 1) // 2


FULL = Extent(5, 1.0, 1.5, 3, 4000, 10000)
QUICK = Extent(1, 0.6, 0.8, 1, 1000, 2000)

ROW_COLUMNS = (
    *("way", "SIP", "sessions", "load", "floor µs", "gateway µs", "ratio", "to Kamailio"),
    *("floor/s", "gateway/s", "p50 ms", "p99 ms", "driver", "waited", "verdict"),
)


def row_cells(row: Row) -> list[str]:
    """A row of the hot path."""
    relay = row.ratio_to_kamailio
    transport = row.setting.transport + (" + MSRPS" if row.setting.msrps else "")
    return [
        *(ARROWS[row.load.way], transport, str(row.sessions), str(row.load)),
        f"{median(row.floor, 'cpu_us'):.1f}",
        f"{median(row.gateway, 'cpu_us'):.1f}",
        str(row.ratio),
        f"{relay.median:.2f}" if relay else "",
        f"{median(row.floor, 'rate'):.0f}",
        f"{median(row.gateway, 'rate'):.0f}",
        f"{median(row.gateway, 'p50_ms'):.2f}",
        f"{median(row.gateway, 'p99_ms'):.2f}",
        f"{row.driver_busy:.0%}",
        f"{row.disturbance.waited:.0%}",
        row.verdict,
    ]


def quiet(outcomes: Iterable[Outcome]) -> str:
    """For a note: whether the machine was."""
    worst = disturbance(outcomes)
    return f" {'**The machine was not quiet**' if worst.severe else 'At worst'}: {worst}."


def of_hot_path(place: Room, extent: Extent) -> Section:
    """Each way, each load, over UDP and TCP."""
    loads = [load_of(way, rate, extent.seconds) for way in WAYS for rate in RATES]
    rows = [
        row
        for transport in ("udp", "tcp")
        for row in hot_path(place, extent.runs, loads, Setting(transport), with_kamailio=True)
    ]
    targets = [
        at_most(
            f"CPU to the floor's: {ARROWS[row.load.way]}, {row.setting.transport}, {row.load}",
            *(row.ratio.median, TARGET),
        )
        for row in rows
    ]
    targets.append(at_most("of these messages refused or lost", sum(r.harmed for r in rows), 0))
    driver = max(median(row.gateway, "driver_us") for row in rows if not row.load.rate)
    note = (
        "CPU of a message, user and system, over 50 sessions that are up; 50 under way at"
        " saturation. Ratios are of neighbours in time: median (least to most). Kamailio relays the"
        " same MESSAGEs statefully, so it has one row for both ways. Latency is from when a message"
        f" was due to its answer. The driver needs {driver:.0f} µs a message: it could do"
        f" {1e6 / driver:.0f} a second. Waited: the most that floor or gateway was ready and had no"
        " core." + quiet(each for row in rows for each in (*row.floor, *row.gateway))
    )
    kept = {
        f"{row.setting.transport} {row.load.way} {row.load}": [
            median(row.floor, "cpu_us"),
            median(row.gateway, "cpu_us"),
        ]
        for row in rows
    }
    return Section(
        Table("Hot path", note, ROW_COLUMNS, list(map(row_cells, rows))), targets, {"cost": kept}
    )


def of_variations(place: Room, extent: Extent) -> Section:
    """One session and many, both ways at once, TLS, chunks, slow users."""
    both = [load_of("both", rate, extent.seconds) for rate in (0, 2000)]
    each = [load_of(way, 0) for way in WAYS]
    rows: list[Row] = []
    for sessions in (1, 100, 2000):
        rows += hot_path(place, extent.fewer, each, sessions=sessions)
    rows += hot_path(place, extent.fewer, both)
    some = [load_of(way, rate, extent.seconds) for way in WAYS for rate in (0, 1000)]
    if speaks_tls():
        rows += hot_path(place, extent.fewer, some, Setting("tls"))
        rows += hot_path(place, extent.fewer, each, Setting("tls", msrps=True))
    note = (
        "As above. Over one session at most one MESSAGE may be under way to a page user (RFC 3428"
        " §8), so msrp->page shows its latency, and the gateway's 50 SENDs meet in one turn."
        f" Medians of {extent.fewer}."
    )
    return Section(Table("Variations", note, ROW_COLUMNS, list(map(row_cells, rows))), [])


def of_large(place: Room, extent: Extent) -> Section:
    """Texts in chunks, and MSRP users who keep the gateway waiting."""
    large = Load("page2msrp", messages=2000, warmup=300, window=20, size=10000, chunk=2048)
    setting = Setting("tcp", configuration=WHOLE)
    loads = [large, large._replace(way="msrp2page")]
    rows = hot_path(place, extent.fewer, loads, setting)
    slow = load_of("page2msrp", 2000, 2 * extent.seconds)._replace(slow=400)
    rows += hot_path(place, extent.fewer, [slow])
    names = ("10 kB, chunks of 2 kB", "10 kB, chunks of 2 kB", "users take 0.4 s")
    cells = [[name, *row_cells(row)[:-1]] for name, row in zip(names, rows, strict=True)]
    note = (
        "Long texts go in chunks between gateway and MSRP user, in one piece between floor and MSRP"
        " user. Where MSRP users are slow every MESSAGE is journaled and answered 202 after 0.3 s;"
        f" the floor waits for them and journals nothing. Medians of {extent.fewer}."
    )
    return Section(Table("Long texts, slow users", note, ("", *ROW_COLUMNS[:-1]), cells), [])


def of_cycles(place: Room, extent: Extent) -> Section:
    """Sessions used once, and bursts into new ones."""
    found: dict[str, list[lifecycle.Cycles]] = {}
    for way, each in lifecycle.cycles(place, extent.runs, extent.cycles):
        found.setdefault(way, []).append(each)
    rows, targets = [], []
    everything: list[Outcome] = []
    for way, runs in found.items():
        closed, arriving = [each.closed for each in runs], [each.arriving for each in runs]
        everything += closed + arriving
        floor = [each.floor for each in runs]
        name = f"session for one message, {ARROWS[way]}"
        rows.append(_cycle_cells(f"{name}, {lifecycle.TOGETHER} at a time", closed, floor))
        rows.append(_cycle_cells(f"{name}, {lifecycle.ARRIVING:,} a second", arriving, floor))
        what = f"sessions that one core sets up, uses once and ends in a second, {ARROWS[way]}"
        targets.append(at_least(what, 1e6 / median(closed, "cpu_us"), lifecycle.ARRIVING))
        for outcomes, load in (
            (closed, f"{lifecycle.TOGETHER} at a time"),
            (arriving, f"{lifecycle.ARRIVING:,} a second"),
        ):
            harmed = sum(each.harmed for each in outcomes)
            targets.append(at_most(f"of these failed or lost, {load}, {ARROWS[way]}", harmed, 0))
    bursts = list(lifecycle.burst(place, extent.runs))
    rows.append(_cycle_cells("message of 100 at once into a new session", bursts, []))
    note = (
        "A fresh connection and dialog each, ended by the MSRP user's BYE."
        f" {lifecycle.TOGETHER} at a time: a new one when one is over."
        f" {lifecycle.ARRIVING:,} a second for {lifecycle.ARRIVAL:g} s,"
        " whatever becomes of the others, each from when it was due: one that was refused, whose"
        " message was lost or that did not end has failed. By CPU: a second divided by the CPU of"
        " one, so what one core could do; as driven: how many there were, which the driver, the"
        " network and waiting for one another limit, too. The floor can't set up sessions: what its"
        " message costs at saturation, the same way and in the same run, is the measure. The CPU of"
        " a burst's message includes its share of the session." + quiet(everything)
    )
    columns = (
        *("", "CPU µs", "messages of the floor", "a second of one core, by CPU"),
        *("a second, as driven", "p99 ms"),
    )
    return Section(Table("Set-up and tear-down", note, (*columns, "failed or lost"), rows), targets)


def _cycle_cells(name: str, outcomes: list[Outcome], floor: list[Outcome]) -> list[str]:
    costs = [each.cpu_us for each in outcomes]
    ratio = str(ratios(costs, [each.cpu_us for each in floor])) if floor else ""
    cost = median(outcomes, "cpu_us")
    return [
        *(name, f"{cost:.0f}", ratio, f"{1e6 / cost:.0f}", f"{median(outcomes, 'rate'):.0f}"),
        *(f"{median(outcomes, 'p99_ms'):.1f}", str(sum(each.harmed for each in outcomes))),
    ]


def of_idle(place: Room, extent: Extent) -> Section:
    """Many sessions."""
    found = list(lifecycle.idle(place, extent.runs, extent.idle, extent.pairs))
    resident = spread(each.resident / 1000 for each in found)
    cpu = spread(each.cpu * 100 for each in found)
    growth = {
        f"cost to that at 100 sessions, {where}, {ARROWS[way]}": (
            spread(each.gateway.growth(which, way) for each in found),
            spread(each.floor.growth(which, way) for each in found),
        )
        for which, where in (("some", "through 100 of them"), ("all", "through all in turn"))
        for way in WAYS
    }
    kernel = spread(each.kernel / 1000 for each in found)
    rows = [
        ["resident memory a session, above the empty process, kB", str(resident)],
        ["kernel memory a session, both ends of its connection, kB", str(kernel)],
        ["CPU while idle, % of a core", str(cpu)],
        ["to set all up, s", str(spread(each.seconds for each in found))],
        ["one message through each: p99 ms", str(spread(e.through.p99_ms for e in found))],
        *(
            [what, f"{gateway}; the floor's {floor.median:.2f}"]
            for what, (gateway, floor) in growth.items()
        ),
    ]
    sessions = f"{found[0].sessions:,}"
    targets = [
        at_most(f"memory of one of {sessions} idle sessions", resident.median, 12, " kB"),
        at_most(f"CPU of {sessions} idle sessions", cpu.median, 2, " %"),
        *(
            at_most(what.replace("cost", f"cost at {sessions} sessions", 1), each.median, 1.15)
            for what, (each, _) in growth.items()
        ),
    ]
    note = (
        f"{sessions} sessions, a connection and a dialog each, looked at two seconds after the last"
        " was set up, so what SIP remembers of that for 32 s counts, too. Then a message went"
        " through each; none was lost. Cost: at saturation, few and many sessions in turn and back,"
        f" {extent.pairs} times in a run, both equally warm; a run's figure is the median of the"
        " ratios." + quiet(each for run in found for each in run.outcomes())
    )
    return Section(Table("Idle sessions", note, ("", "median (least to most)"), rows), targets)


def of_sustained(place: Room, extent: Extent) -> Section:
    """Sustainable rates and what lies beyond."""
    found: dict[str, list[sustained.Sustained]] = {}
    for way, each in sustained.sustained(place, extent.runs, extent.attempt, extent.pairs):
        found.setdefault(way, []).append(each)
    rows, targets = [], []
    flows: list[Outcome] = []
    figures: dict[str, Any] = {}
    for way, runs in found.items():
        name = ARROWS[way]
        floor, gateway, crowded = (
            spread(getattr(each, who) for each in runs) for who in ("floor", "gateway", "crowded")
        )
        share = ratios([each.gateway for each in runs], [each.floor for each in runs])
        rows.append([name, "floor's highest rate", f"{floor.median:.0f}/s"])
        rows.append([name, "gateway's highest rate", f"{gateway.median:.0f}/s"])
        rows.append([name, "of the floor's", str(share)])
        many = f"{sustained.MANY:,} sessions"
        rows.append([name, f"gateway's highest rate, {many}", f"{crowded.median:.0f}/s"])
        targets.append(at_least(f"highest rate to the floor's, {name}", share.median, 0.45))
        for part, limit in zip(sustained.SHARES, (5, 20), strict=True):
            measured = [each.latencies[part] for each in runs if part in each.latencies]
            if not measured:
                continue
            each_run = [added(pairs) for pairs in measured]
            more = spread(each.added for each in each_run)
            loaded, least = (
                spread(getattr(each, who) for each in each_run) for who in ("gateway", "floor")
            )
            harmed = sum(outcome.harmed for pairs in measured for _, outcome in pairs)
            count = f"{each_run[0].pairs} pairs in a run"
            rows.append([name, f"p99 at {part:.0%} of that, ms, {count}", str(loaded)])
            rows.append([name, "  the floor's at that rate, ms", str(least)])
            rows.append([name, "  what the gateway adds, ms", str(more)])
            rows.append([name, "  lost or refused by the gateway", str(harmed)])
            what = f"p99 added at {part:.0%} of the highest rate, {name}"
            targets.append(at_most(what, more.median, limit, " ms"))
            flows += [outcome for pairs in measured for pair in pairs for outcome in pair]
        storms = [storm for each in runs for storm in each.storms]
        best = spread([storm.best for storm in storms] or [0.0])
        good = spread([storm.share for storm in storms] or [0.0])
        back = spread([storm.recovery for storm in storms] or [sustained.CALM])
        found_share = spread(
            [storm.goodput / each.crowded for each in runs for storm in each.storms] or [0.0]
        )
        beyond = f"goodput at {sustained.EXCESS:g} times that rate, {len(storms)} storms, to that"
        rows.append([name, "delivered at that rate, before and after:", f"{best.median:.0f}/s"])
        rows.append([name, beyond, str(good)])
        rows.append([name, "  to the highest rate", str(found_share)])
        rows.append([name, "until all is well again, s", str(back)])
        targets.append(at_least(f"goodput beyond the highest rate, {name}", good.median, 0.9))
        targets.append(at_most(f"back to normal, {name}", back.median, 2, " s"))
        figures[way] = {
            "floor": floor.median,
            "gateway": gateway.median,
            "crowded": crowded.median,
            "storm": [list(each) for each in storms[0].beyond.slices] if storms else [],
        }
    note = (
        "UDP, open loop. The highest rate at which no message is lost or refused and the p99 stays"
        f" below {sustained.LIMIT_MS:.0f} ms, by bisection from the rate at saturation, tries of"
        f" {extent.attempt:g} s; given up is what fails {TRIES} times before it goes well, not"
        " counting failures while the machine was not quiet."
        f" With {sustained.FEW} sessions as on the hot path; for latency and overload with"
        f" {sustained.MANY:,}, and lowered until it holds for {sustained.HELD:g} s on end."
        f" Latency: floor and gateway {sustained.TURN:g} s each, in turn; a"
        " run's figures are medians of its pairs and of their differences."
        " Latency counts from when a message was due; users answer at once, so all of it is the"
        f" gateway's and the network's. Beyond: {sustained.STORM:g} s of"
        f" {sustained.EXCESS:g} times the highest rate with the retransmissions of RFC 3261, then"
        f" half of it; {sustained.TURN:g} s of the highest rate before and after that say what it"
        f" is worth in that minute. Pairs and storms are measured again, up to {EXCUSED} times,"
        " when the machine was not quiet." + (quiet(flows) if flows else "")
    )
    return Section(
        Table("Sustainable rate, latency, overload", note, ("way", "", "median"), rows),
        *(targets, {"sustained": figures}),
    )


SCENARIOS: dict[str, Callable[[Room, Extent], Section]] = {
    "hot-path": of_hot_path,
    "sustained": of_sustained,
    "cycles": of_cycles,
    "idle": of_idle,
    "variations": of_variations,
    "large": of_large,
}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each; default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="one run of each, of less")
    parser.add_argument(
        "--only", action="append", choices=list(SCENARIOS), help="may be given again"
    )
    parser.add_argument("--output", type=Path, default=HERE / "results")
    parser.add_argument("--name", default="full", help="of the files; default: %(default)s")
    return parser.parse_args()


def write(base: Path, where: Sequence[str], sections: Sequence[Section]) -> dict[str, Any]:
    """What has been found so far, as text and for the plot; returns the latter."""
    targets = [target for section in sections for target in section.targets]
    text = render("What msrpgw costs", where, targets, [section.table for section in sections])
    figures: dict[str, Any] = {"machine": where}
    for section in sections:
        figures |= section.figures
    base.parent.mkdir(exist_ok=True)
    base.with_suffix(".md").write_text(text)
    base.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def measure(
    place: Room, extent: Extent, names: Iterable[str], found: Callable[[Section], object]
) -> int:
    """Each scenario; returns the exit status: what the others find is worth keeping."""
    failed = 0
    for name in names:
        began = time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        try:
            found(SCENARIOS[name](place, extent))
        except BenchError as error:
            print(f"\nbench-full: {name}: {error}", file=sys.stderr)
            failed = 2
        print(f"{time.monotonic() - began:.0f} s", flush=True)
    return failed


def main() -> int:
    """Measure, write after each scenario; say in one line what prevents it."""
    options = parse_arguments()
    extent = QUICK if options.quick else FULL._replace(runs=options.runs)
    where = [*machine(), f"{extent.runs} runs of each; medians"]
    base = options.output / options.name
    sections: list[Section] = []
    figures: dict[str, Any] = {}

    pace = paces()

    def found(section: Section) -> None:
        sections.append(section)
        pace.extend(paces())
        told = f"between scenarios, the same work took {min(pace):.0f} to {max(pace):.0f} ms"
        figures.update(write(base, [*where, told], sections))

    try:
        with room() as place:
            failed = measure(place, extent, options.only or SCENARIOS, found)
    except BenchError as error:
        print(f"\nbench-full: {error}", file=sys.stderr)
        return 2
    targets = [target for section in sections for target in section.targets]
    print(f"{sum(each.met for each in targets)} of {len(targets)} targets met; see {base}.md")
    try:
        from benchmarks.plot import plot
    except ImportError:
        print("matplotlib is not installed: no plot", file=sys.stderr)
    else:
        plot(figures, base.with_suffix(".svg"))
    return failed


if __name__ == "__main__":
    sys.exit(main())
