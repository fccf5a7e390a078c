"""A long conversation of many: does anything grow, is anything left when it is over?

    python -m benchmarks.soak [--minutes 60] [--compressed] [--output benchmarks/results]

Rounds of all that the gateway does: sessions opened from either side, messages both ways, sessions
for one message, bursts into new ones, MSRP users so slow that the journal has to help, the end of
all sessions.  Memory is looked at after each round, everything else when the load has stopped:
sessions, transactions, timers, objects, descriptors, rows of the journal must be what they were
before.  ``--compressed`` does that with SIP's timers a tenth as long, in less than half a minute.
"""

import argparse
import contextlib
import json
import os
import signal
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

# As a script, too: the checkout that it is in is measured.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.driving import HERE, BenchError
from benchmarks.machine import machine
from benchmarks.subjects import Room, Setting, Subject, room, running
from benchmarks.tables import Table, Target, at_most, render

#: what must be nothing when nobody says anything
NOTHING = (
    *("sip:transactions", "msrp:sessions", "msrp:connections", "msrpgw:sessions"),
    *("msrpgw:waiting", "msrpgw:journal_entries", "msrpgw:journal_bytes", "dns:pending"),
)
#: messages that fill what remembers the latest of them
FILLING = 11000
#: growth of memory that is no leak: what the allocator did not give back
SLACK_SHARE, SLACK_BYTES = 0.03, 3_000_000
#: of what Python has in use when all is over: a small object for each message would be fifty times
#: as much after an hour
SLACK_BLOCKS = 0.03
#: objects of one type that may be more than before
SLACK_OBJECTS = 20

WATCHED = HERE / "watched.py"


class Extent(NamedTuple):
    """How long, and how much in a round."""

    minutes: float
    sessions: int
    messages: int  #: of each kind of traffic
    rounds: int  #: at least so many
    users: int  #: that fill the caches for them, as memory is looked at
    settling: float  #: seconds after which nothing may be left; more than 128 T1
    warming: float  #: minutes that don't count: until what is remembered for so long goes, too
    configuration: str


#: What leaks is looked for, not what is refused: machines may be busy with something else.
PATIENT = "[limits]\noverload_delay = 5.0\n"
HOUR = Extent(60, 500, 20000, 5, 34000, 80.0, 6.0, PATIENT)
#: 64 T1 are 3.2 s in place of 32
QUICK = f"[sip]\nt1 = 0.05\nt2 = 0.4\nt4 = 0.5\n{PATIENT}"
COMPRESSED = Extent(0, 100, 700, 4, 300, 8.0, 0.0, QUICK)


class State(NamedTuple):
    """What the gateway holds when nobody says anything."""

    resident: int
    descriptors: int
    rows: int  #: of the journal: messages, dialogs
    objects: dict[str, int]


def play(subject: Subject, extent: Extent) -> int:
    """A round; how many messages went through.  Raises BenchError when one did not."""
    driver, count = subject.driver, extent.messages
    driver.open(extent.sessions // 2, "page2msrp")
    driver.open(extent.sessions, "msrp2page")
    driver.flow(way="both", messages=count, warmup=1)
    driver.flow(way="both", messages=count, warmup=1, rate=2000)
    slow = max(2, count // 5)
    driver.flow(way="page2msrp", messages=slow, warmup=1, window=100, slow=400)
    driver.close()
    for way in ("page2msrp", "msrp2page"):
        driver.cycle(way=way, messages=max(2, count // 10), warmup=1, window=20)
    driver.flow(way="page2msrp", messages=200, warmup=1, window=50, each=50)
    return 2 * count + slow + 2 * max(2, count // 10) + 200


def fill(subject: Subject, users: int) -> None:
    """Fill what remembers the latest of something, so that it does not look like a leak."""
    subject.driver.cycle(messages=users, warmup=1, window=20)
    subject.driver.open(50)
    subject.driver.flow(way="both", messages=FILLING, warmup=1)
    subject.driver.close()


def settle(subject: Subject, limit: float) -> dict[str, int]:
    """Wait until nothing is left; what is left after so many seconds all the same.

    Not less than half of them: what SIP remembers of transactions that are over is not told.
    """
    until = time.monotonic() + limit
    time.sleep(limit / 2)
    while True:
        told = subject.statistics()
        left = {name: told[name] for name in NOTHING if told.get(name)}
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)


def rows_of(state: Path) -> int:
    """Messages and dialogs in the journal.  Ids of ended messages are kept for some minutes."""
    total = 0
    for file in state.glob("*.db"):
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            for rows in ("messages WHERE ended_at IS NULL", "dialogs"):
                total += database.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]
    return total


def look(subject: Subject, file: Path) -> State:
    """What it holds now.  Raises BenchError when it does not say."""
    file.unlink(missing_ok=True)
    os.kill(subject.pid, signal.SIGUSR2)
    until = time.monotonic() + 10.0
    while not file.exists():
        if time.monotonic() > until:
            raise BenchError("the gateway does not tell what it holds")
        time.sleep(0.05)
    objects = json.loads(file.read_text())
    if not objects["objects"]:
        raise BenchError("the gateway hides what it holds")
    # The connection that asked for statistics is over, but perhaps not yet closed; and to look at
    # everything took so long that the gateway thinks that it is overloaded.
    time.sleep(1.5)
    return State(subject.resident(), subject.descriptors(), rows_of(subject.state), objects)


def more_objects(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """By how many each type has grown, where that is more than caches may take."""
    return {
        name: count - before.get(name, 0)
        for name, count in after.items()
        if name not in ("objects", "blocks") and count - before.get(name, 0) > SLACK_OBJECTS
    }


def growth(resident: list[int]) -> float:
    """Bytes from the first to the last third of the rounds, medians of each."""
    third = max(1, len(resident) // 3)
    return statistics.median(resident[-third:]) - statistics.median(resident[:third])


def judge(before: State, after: State, resident: list[int], left: dict[str, int]) -> list[Target]:
    """What must hold."""
    allowed = max(SLACK_BYTES, SLACK_SHARE * resident[0]) / 1e6
    used, more_used = before.objects["blocks"], after.objects["blocks"] - before.objects["blocks"]
    more = more_objects(before.objects, after.objects)
    found = ", ".join(f"{name} {count}" for name, count in left.items())
    grown = ", ".join(f"{name} {count}" for name, count in sorted(more.items()))
    return [
        at_most("memory growth over the rounds", growth(resident) / 1e6, round(allowed, 1), " MB"),
        at_most("memory in use that is left, %", 100 * more_used / used, 100 * SLACK_BLOCKS, " %"),
        Target("sessions, transactions, messages left", "none", found or "none", not left),
        Target("more objects of a type, more timers", "none", grown or "none", not more),
        at_most("descriptors more than before", max(0, after.descriptors - before.descriptors), 0),
        at_most("rows in the journal", after.rows, 0),
    ]


def rounds(subject: Subject, extent: Extent, say: Callable[[str], None]) -> Iterator[int]:
    """Play until the time is over; the memory after each round."""
    began = time.monotonic()
    number, messages = 0, 0
    while number < extent.rounds or time.monotonic() < began + 60 * extent.minutes:
        messages += play(subject, extent)
        number += 1
        resident = subject.resident()
        say(
            f"round {number}: {messages} messages in {time.monotonic() - began:.0f} s,"
            f" {resident / 1e6:.1f} MB"
        )
        yield resident


def soak(place: Room, extent: Extent, say: Callable[[str], None]) -> tuple[list[Target], Table]:
    """All of it.  Raises BenchError when a message was lost."""
    file = place.directory / "holdings.json"

    def watched(command: list[str]) -> list[str]:
        return [command[0], str(WATCHED), str(file), *command[1:]]

    setting = Setting(configuration=extent.configuration)
    with running("gateway", place, setting, wrap=watched) as gateway:
        fill(gateway, extent.users)
        warming = extent._replace(minutes=extent.warming, rounds=1)
        warmed = len(list(rounds(gateway, warming, lambda line: say(f"warming, {line}"))))
        settle(gateway, extent.settling)
        before = look(gateway, file)
        resident = list(rounds(gateway, extent, say))
        left = settle(gateway, extent.settling)
        after = look(gateway, file)
    rows = [
        ("resident, MB", f"{before.resident / 1e6:.1f}", f"{after.resident / 1e6:.1f}"),
        ("descriptors", str(before.descriptors), str(after.descriptors)),
        ("rows in the journal", str(before.rows), str(after.rows)),
        *(
            (name, str(before.objects.get(name, 0)), str(after.objects.get(name, 0)))
            for name in ("timers", "objects", "blocks")
        ),
    ]
    table = Table(
        "Before and after",
        f"{len(resident)} rounds after {warmed} that don't count; memory after each, MB: "
        + " ".join(f"{each / 1e6:.1f}" for each in resident),
        *(("", "before", "after"), rows),
    )
    return judge(before, after, resident, left), table


def main() -> int:
    """Soak; exits with 1 when something grew or was left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=HOUR.minutes, help="default: %(default)s")
    parser.add_argument("--compressed", action="store_true", help="half a minute, for tests")
    parser.add_argument("--output", type=Path, help="directory for soak.md; default: only print")
    options = parser.parse_args()
    extent = COMPRESSED if options.compressed else HOUR._replace(minutes=options.minutes)
    where = machine()
    try:
        with room() as place:
            targets, table = soak(place, extent, lambda line: print(line, flush=True))
    except BenchError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    text = render("Soak", where, targets, [table])
    print(text)
    if options.output:
        options.output.mkdir(exist_ok=True)
        (options.output / "soak.md").write_text(text)
    return 0 if all(each.met for each in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
