"""What the journal costs: nothing while users answer, and little when every message needs it.

    python benchmarks/journal.py [--runs 5] [--messages 8000]

First the CPU of a message with the journal in a file and in memory, in pairs.  Then every MESSAGE
is journaled before it is answered (``hold_message = 0``, as with MSRP users who are slow), against
the rate at which SQLite alone commits the same rows.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bench

sys.path.insert(0, str(bench.HERE.parent))

from msrpgw.journal import store
from msrpgw.types import Direction, JournalEntry, Outcome, OutcomeKind

#: milliseconds that MSRP users take to answer, longer than a commit
SLOW = 100

#: rows in one commit of SQLite alone
BATCH = 100


def gateway(configuration: str) -> Callable[[bench.Traffic, bench.Ports, Path], list[str]]:
    """How a gateway with this configuration is started."""

    def command(traffic: bench.Traffic, ports: bench.Ports, state: Path) -> list[str]:
        file = state / "bench.toml"
        file.write_text(configuration)
        return [*bench.gateway_command(traffic, ports, state), "--config", str(file)]

    return command


IN_FILE = gateway("")
IN_MEMORY = gateway('[journal]\nbackend = "memory"\n')
EVERYTHING = gateway("[gateway]\nhold_message = 0\n")


def compare(driver: Path, directory: Path, way: str, options: argparse.Namespace) -> None:
    """One way, with the journal in a file and in memory."""
    traffic = bench.Traffic(way, "udp", 50, options.messages, 2000, 50, 0)
    ratios = []
    for _ in range(options.runs):
        memory = bench.measure(driver, directory, "gateway", IN_MEMORY, traffic)
        file = bench.measure(driver, directory, "gateway", IN_FILE, traffic)
        ratios.append(file.cpu_us / memory.cpu_us)
    spread = " ".join(f"{ratio:.3f}" for ratio in sorted(ratios))
    print(f"{way}: CPU with the file / in memory: {statistics.median(ratios):.3f}  ({spread})")


def journaled_rate(driver: Path, directory: Path, options: argparse.Namespace) -> float:
    """MESSAGEs answered 202 a second when each is journaled first."""
    traffic = bench.Traffic("page2msrp", "udp", 50, options.messages, 2000, 100, 0, SLOW)
    cost = bench.measure(driver, directory, "gateway", EVERYTHING, traffic)
    if cost.accepted_later < options.messages:
        raise bench.BenchError("not every MESSAGE was journaled")
    return cost.rate


def plain_rate(directory: Path, messages: int) -> float:
    """The same rows a second, put and ended, by SQLite alone, a hundred in each commit."""
    file = store.Store(str(Path(tempfile.mkdtemp(dir=directory)) / "plain.db"))
    file.open()
    delivered = Outcome(OutcomeKind.DELIVERED, 200, "OK")
    began = time.perf_counter()
    for first in range(0, messages, BATCH):
        ids = [f"{number:024x}" for number in range(first, first + BATCH)]
        file.write([store.entry_put(entry(each)) for each in ids])
        file.write([store.entry_ended(each, delivered, 0.0) for each in ids])
    seconds = time.perf_counter() - began
    file.close()
    return messages / seconds


def entry(id: str) -> JournalEntry:
    """A text of a hundred bytes."""
    return JournalEntry(
        id=id,
        direction=Direction.TO_MSRP,
        key="sip:bob@127.0.0.1:sip:alice@127.0.0.1",
        message_id=id,
        content_type="text/plain",
        body=b"x" * 100,
        page_uri="sip:alice@127.0.0.1",
        msrp_uri="sip:bob@127.0.0.1",
        from_uri="sip:alice@127.0.0.1",
        to_uri="sip:bob@127.0.0.1",
        ruri="sip:bob@127.0.0.1",
        received_at=0.0,
        expires_at=86400.0,
    )


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--messages", type=int, default=8000, help="default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="msrpgw-bench-", dir=".") as temporary:
        directory = Path(temporary).resolve()
        driver = bench.compile_driver(directory)
        for way in ("page2msrp", "msrp2page"):
            compare(driver, directory, way, options)
        ratios = []
        for _ in range(options.runs):
            plain = plain_rate(directory, options.messages)
            rate = journaled_rate(driver, directory, options)
            ratios.append(rate / plain)
            print(
                f"every MESSAGE journaled: {rate:.0f} a second; SQLite alone, {BATCH} in a commit:"
                f" {plain:.0f}; ratio {rate / plain:.2f}"
            )
        print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
