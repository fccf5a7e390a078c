"""Where the time of a message or a session goes: functions by cProfile, instructions by callgrind.

    python -m benchmarks.profiling [--way page2msrp] [--output benchmarks/results] [--name before]

Writes ``NAME-WAY-functions.txt``, and ``NAME-WAY-instructions.txt`` where valgrind is installed;
of a way that begins with ``setup-`` sessions are set up, used for one message and ended by a BYE.
Instructions don't depend on what else the machine does: two runs of the same code differ by less
than two in a hundred.  They are counted in the gateway process alone, without the kernel's share.
"""

import argparse
import os
import pstats
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# As a script, too: the checkout that it is in is measured.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import processes
from benchmarks.driving import HERE, BenchError, Driver
from benchmarks.machine import revision
from benchmarks.subjects import START_TIMEOUT, Room, Setting, room, running

#: sessions that messages go over
SESSIONS = 50
#: lines of a profile that are kept
LINES = 60

#: a line of callgrind_annotate: share, and function in a file whose path says nothing
FUNCTION = re.compile(r"^ *[\d,]+ \( *([\d.]+)%\)  \S*?([^/\s]+:[^\s\[]+)", re.M)

#: What would make a gateway that is fifty times slower take another path.
PATIENT = Setting(
    configuration="""\
[limits]
overload_delay = 100.0
[gateway]
hold_message = 3.0
"""
)


class Work(NamedTuple):
    """What the gateway is profiled at."""

    what: str  #: one piece of it, in a word
    way: str
    setup: bool  #: whether each message has a session of its own
    window: int  #: pieces under way at a time
    patient_window: int  #: the same under callgrind: the driver has timers
    counted: int  #: pieces whose instructions are counted

    def prepare(self, driver: Driver) -> None:
        """What is no part of it."""
        if not self.setup:
            driver.open(SESSIONS)

    def do(self, driver: Driver, pieces: int, window: int) -> None:
        """So many pieces."""
        do = driver.cycle if self.setup else driver.flow
        do(way=self.way, messages=pieces, warmup=1, window=window)

    @property
    def conditions(self) -> str:
        """In words."""
        return "over UDP" if self.setup else f"over UDP, {SESSIONS} sessions"


WORKS = {
    "page2msrp": Work("message", "page2msrp", False, 50, 8, 1000),
    "msrp2page": Work("message", "msrp2page", False, 50, 8, 1000),
    "setup-page2msrp": Work("session", "page2msrp", True, 20, 4, 300),
    "setup-msrp2page": Work("session", "msrp2page", True, 20, 4, 300),
}


def functions(place: Room, name: str, pieces: int) -> str:
    """The profile of a gateway as text: functions by their own time, then with what they call."""
    work = WORKS[name]
    stats = place.directory / f"{name}.stats"

    def profiled(command: list[str]) -> list[str]:
        options = ["--profile", str(stats), "--profiler", "cprofile", "--savestats"]
        return [*command[:2], *options, *command[2:]]

    with running("gateway", place, wrap=profiled) as gateway:
        work.prepare(gateway.driver)
        work.do(gateway.driver, pieces, work.window)
        os.kill(gateway.pid, signal.SIGTERM)
        wait(lambda: not processes.resident(gateway.pid))
    with open(place.directory / "profile.txt", "w+") as text:
        profile = pstats.Stats(str(stats), stream=text)
        for order in ("tottime", "cumulative"):
            profile.sort_stats(order).print_stats(LINES)
        text.seek(0)
        found = text.read()
    # Paths of this machine say nothing.
    found = re.sub(r"\S*/site-packages/", "", found.replace(f"{HERE.parent}/", ""))
    found = re.sub(r"\S*/(python3\.\d+)/", r"\1/", found).replace(f"{place.directory}/", "")
    heading = (
        f"{name}: {pieces} {work.what}s {work.conditions}, window {work.window}, under cProfile"
    )
    return f"{heading}\n{revision()}\n{found}"


def wait(true: Callable[[], bool]) -> None:
    """Until it says so; at most as long as a start may take.  Raises BenchError."""
    limit = time.monotonic() + START_TIMEOUT
    while not true():
        if time.monotonic() > limit:
            raise BenchError("the profiled gateway did not end")
        time.sleep(0.05)


def instructions(place: Room, name: str) -> str:
    """Instructions a piece as text, and what of the interpreter executes them."""
    work = WORKS[name]
    output = place.directory / f"callgrind.{name}"

    def counted(command: list[str]) -> list[str]:
        options = ["--instr-atstart=no", f"--callgrind-out-file={output}"]
        return ["valgrind", "--tool=callgrind", *options, *command]

    with running("gateway", place, PATIENT, wrap=counted) as gateway:
        work.prepare(gateway.driver)
        work.do(gateway.driver, work.counted // 2, work.patient_window)
        control(gateway.pid, "-i", "on")
        work.do(gateway.driver, work.counted, work.patient_window)
        control(gateway.pid, "-d")
        files = list(place.directory.glob(f"callgrind.{name}.*"))
        [file] = [each for each in files if "totals:" in each.read_text(errors="replace")]
    totals = re.findall(r"^totals: (\d+)", file.read_text(), re.M)
    shown = subprocess.run(
        ["callgrind_annotate", "--auto=no", file], capture_output=True, text=True, check=True
    ).stdout
    lines = [f"{share:>6} %  {where}" for share, where in FUNCTION.findall(shown)[:LINES]]
    each = int(totals[-1]) / work.counted
    heading = f"{name}: {each:.0f} instructions a {work.what}, over UDP, without the kernel's"
    return "\n".join(
        [heading, revision(), "", "Of these, by function of the interpreter:", *lines, ""]
    )


def control(pid: int, *words: str) -> None:
    """Tell callgrind."""
    subprocess.run(["callgrind_control", *words, str(pid)], check=True, capture_output=True)


def main() -> int:
    """Make the profiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--way", choices=WORKS, help="default: all")
    parser.add_argument(
        "--messages", type=int, default=10000, help="under cProfile; default: %(default)s"
    )
    parser.add_argument("--output", type=Path, default=HERE / "results")
    parser.add_argument("--name", default="profile", help="of the files; default: %(default)s")
    parser.add_argument(
        "--no-instructions", action="store_true", help="no callgrind, two minutes less"
    )
    parser.add_argument("--no-functions", action="store_true", help="no cProfile")
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    # The order of sets and dicts, and so the count, would differ from run to run.
    os.environ["PYTHONHASHSEED"] = "0"
    with room() as place:
        for way in [options.way] if options.way else WORKS:
            if not options.no_functions:
                file = options.output / f"{options.name}-{way}-functions.txt"
                file.write_text(functions(place, way, options.messages))
                print(file)
            if options.no_instructions:
                continue
            if not shutil.which("valgrind"):
                print("valgrind is not installed: no instruction counts", file=sys.stderr)
                continue
            text = instructions(place, way)
            file = options.output / f"{options.name}-{way}-instructions.txt"
            file.write_text(text)
            print(file, "--", text.partition("\n")[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
