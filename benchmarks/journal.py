"""What the journal costs: nothing while users answer, and little when every message needs it.

    python -m benchmarks.journal [--runs 5] [--messages 8000]

First the CPU of a message with the journal in a file and in memory, in pairs.  Then every MESSAGE
is journaled before it is answered (``hold_message = 0``, as with MSRP users who are slow), against
the rate at which SQLite alone commits the same rows.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

# As a script, too: the checkout that it is in is measured.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.driving import BenchError, Outcome
from benchmarks.figures import ratios
from benchmarks.subjects import Room, Setting, room, running
from msrpgw.journal import store
from msrpgw.types import Direction, JournalEntry, OutcomeKind
from msrpgw.types import Outcome as Fate

#: milliseconds that MSRP users take to answer, longer than a commit
SLOW = 100

#: rows in one commit of SQLite alone
BATCH = 100

IN_FILE = Setting()
IN_MEMORY = Setting(configuration='[journal]\nbackend = "memory"\n')
EVERYTHING = Setting(configuration="[gateway]\nhold_message = 0\n")


def cost(place: Room, setting: Setting, way: str, messages: int) -> Outcome:
    """Of a gateway with this configuration, fifty sessions."""
    with running("gateway", place, setting) as gateway:
        gateway.driver.open(50)
        return gateway.driver.flow(way=way, messages=messages)


def compare(place: Room, way: str, options: argparse.Namespace) -> None:
    """One way, with the journal in a file and in memory."""
    file, memory = [], []
    for _ in range(options.runs):
        memory.append(cost(place, IN_MEMORY, way, options.messages).cpu_us)
        file.append(cost(place, IN_FILE, way, options.messages).cpu_us)
    print(f"{way}: CPU with the file / in memory: {ratios(file, memory)}", flush=True)


def journaled(place: Room, messages: int) -> Outcome:
    """MESSAGEs that are answered 202 when each is journaled first.  Raises BenchError."""
    with running("gateway", place, EVERYTHING) as gateway:
        gateway.driver.open(50)
        outcome = gateway.driver.flow(messages=messages, window=100, slow=SLOW)
    if outcome.accepted_later < messages:
        raise BenchError("not every MESSAGE was journaled")
    return outcome


def plain_rate(directory: Path, messages: int) -> float:
    """The same rows a second, put and ended, by SQLite alone, a hundred in each commit."""
    file = store.Store(str(Path(tempfile.mkdtemp(dir=directory)) / "plain.db"))
    file.open()
    delivered = Fate(OutcomeKind.DELIVERED, 200, "OK")
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
    # On the disk of the checkout: what is in /tmp may be in memory.
    with room(near=".") as place:
        for way in ("page2msrp", "msrp2page"):
            compare(place, way, options)
        found = []
        for _ in range(options.runs):
            plain = plain_rate(place.directory, options.messages)
            rate = journaled(place, options.messages).rate
            found.append(rate / plain)
            print(
                f"every MESSAGE journaled: {rate:.0f} a second; SQLite alone, {BATCH} in a commit:"
                f" {plain:.0f}; ratio {rate / plain:.2f}",
                flush=True,
            )
        print(f"median ratio {statistics.median(found):.2f}")


if __name__ == "__main__":
    main()
