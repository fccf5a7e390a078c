"""Measures what a message costs the gateway, against the bare floor, in the same run.

    python -m benchmarks.bench [--way page2msrp] [--transport udp] [--sessions 50] [--rate 1000] ...

Floor and gateway take turns under the same traffic of the same driver (``driver/``, compiled
here), each in a process of its own on loopback.  CPU time is the measured process's, user and
system, as the kernel's scheduler counts it, after a warm-up.  README.md says how to read it.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path

# As a script, too: the checkout that it is in is measured.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.driving import BenchError
from benchmarks.figures import STRETCH, TARGET, median
from benchmarks.hot_path import ARROWS, RATES, Load, Row, hot_path, load_of
from benchmarks.subjects import Setting, room

HEADING = (
    "                               CPU us a message                              messages a second"
    "   answered after\n"
    "way         SIP        load   floor  gateway  ratio  (each run)     driver    floor   gateway"
    "   p50 ms   p99 ms   at most 2.0"
)


def show(row: Row) -> str:
    """A row as text."""
    ratio = row.ratio
    return (
        f"{ARROWS[row.load.way]}  {row.setting.transport}  {row.load!s:>10}"
        f"  {median(row.floor, 'cpu_us'):6.1f}  {median(row.gateway, 'cpu_us'):7.1f}"
        f"  {ratio.median:5.2f}  {f'({ratio.least:.2f} to {ratio.most:.2f})':14}"
        f" {row.driver_busy:6.0%}  {median(row.floor, 'rate'):7.0f}"
        f"  {median(row.gateway, 'rate'):8.0f}  {median(row.gateway, 'p50_ms'):7.2f}"
        f"  {median(row.gateway, 'p99_ms'):7.2f}   {row.verdict}"
    )


def as_json(row: Row) -> str:
    """A row for keeping."""
    ratio = row.ratio
    return json.dumps(
        {
            "way": row.load.way,
            "transport": row.setting.transport,
            "sessions": row.sessions,
            "rate": row.load.rate,
            "floor_us": median(row.floor, "cpu_us"),
            "gateway_us": median(row.gateway, "cpu_us"),
            "ratio": ratio.median,
            "ratios": [ratio.least, ratio.most],
            "floor_rate": median(row.floor, "rate"),
            "gateway_rate": median(row.gateway, "rate"),
            "p50_ms": median(row.gateway, "p50_ms"),
            "p99_ms": median(row.gateway, "p99_ms"),
            "driver_busy": row.driver_busy,
        }
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--way", choices=list(ARROWS), help="default: each way alone")
    parser.add_argument(
        "--transport", choices=["udp", "tcp", "tls"], help="of SIP; default: udp and tcp"
    )
    parser.add_argument("--sessions", type=int, default=50, help="default: %(default)s")
    parser.add_argument(
        "--window",
        type=int,
        default=50,
        help="messages outstanding at a time in all sessions together; default: %(default)s",
    )
    parser.add_argument(
        "--rate",
        type=int,
        action="append",
        help="messages a second, 0: as many as go; may be given again; default: 0 500 1000 5000",
    )
    parser.add_argument(
        "--messages", type=int, default=20_000, help="at saturation; default: %(default)s"
    )
    parser.add_argument(
        "--warmup", type=int, default=4_000, help="of these, not counted; default: %(default)s"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.7, help="of each other load; default: %(default)s"
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="of floor and gateway in turn; default: %(default)s"
    )
    parser.add_argument("--limit", type=float, help="exit with 1 when a ratio is larger")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    """Measure all rows.  Returns the exit status."""
    ways = [options.way] if options.way else ["page2msrp", "msrp2page"]
    transports = [options.transport] if options.transport else ["udp", "tcp"]
    loads = [
        load_of(way, rate, options.seconds)._replace(window=options.window)
        if rate
        else Load(way, 0, options.messages, options.warmup, options.window)
        for way in ways
        for rate in options.rate or RATES
    ]
    if not options.json:
        print(
            f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load"
            f" {os.getloadavg()[0]:.1f}; {options.sessions} sessions, medians of {options.runs}"
            " runs",
            flush=True,
        )
        print(HEADING, flush=True)
    rows: list[Row] = []
    with room() as place:
        for transport in transports:
            for row in hot_path(place, options.runs, loads, Setting(transport), options.sessions):
                rows.append(row)
                print(as_json(row) if options.json else show(row), flush=True)
                for remark in row.remarks():
                    print(f"  ! {remark}", file=sys.stderr, flush=True)
    # One with messages refused or lost has missed all targets.
    found = sorted(math.inf if row.harmed else row.ratio.median for row in rows)
    if not options.json:
        busiest = max(row.driver_busy for row in rows)
        met = sum(ratio <= TARGET for ratio in found)
        print(
            f"at most {TARGET} times the floor: {met} of {len(found)} rows; {STRETCH} times:"
            f" {sum(ratio <= STRETCH for ratio in found)}; worst {found[-1]:.2f}.  The driver"
            f" needed at most {busiest:.0%} of its core."
        )
    return 1 if options.limit and found[-1] > options.limit else 0


def main() -> int:
    """Run the benchmark; say in one line what prevents it."""
    try:
        return run(parse_arguments())
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
