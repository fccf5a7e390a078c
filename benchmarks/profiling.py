"""Where a message's time goes: functions by cProfile, instructions by callgrind, as text.

    python -m benchmarks.profiling [--way page2msrp] [--output benchmarks/results] [--name before]

Writes ``NAME-WAY-functions.txt``, and ``NAME-WAY-instructions.txt`` where valgrind is installed.
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

# As a script, too: the checkout that it is in is measured.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import processes
from benchmarks.driving import HERE, BenchError
from benchmarks.machine import revision
from benchmarks.subjects import START_TIMEOUT, Room, Setting, room, running

#: messages whose instructions are counted
COUNTED = 1000
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


def functions(place: Room, way: str, messages: int) -> str:
    """The profile of a gateway as text: functions by their own time, then with what they call."""
    stats = place.directory / f"{way}.stats"

    def profiled(command: list[str]) -> list[str]:
        options = ["--profile", str(stats), "--profiler", "cprofile", "--savestats"]
        return [*command[:2], *options, *command[2:]]

    with running("gateway", place, wrap=profiled) as gateway:
        gateway.driver.open(50)
        gateway.driver.flow(way=way, messages=messages, warmup=1)
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
    heading = f"{way}: {messages} messages over UDP, 50 sessions, window 50, under cProfile"
    return f"{heading}\n{revision()}\n{found}"


def wait(true: Callable[[], bool]) -> None:
    """Until it says so; at most as long as a start may take.  Raises BenchError."""
    limit = time.monotonic() + START_TIMEOUT
    while not true():
        if time.monotonic() > limit:
            raise BenchError("the profiled gateway did not end")
        time.sleep(0.05)


def instructions(place: Room, way: str) -> str:
    """Instructions a message as text, and what of the interpreter executes them."""
    output = place.directory / f"callgrind.{way}"

    def counted(command: list[str]) -> list[str]:
        options = ["--instr-atstart=no", f"--callgrind-out-file={output}"]
        return ["valgrind", "--tool=callgrind", *options, *command]

    with running("gateway", place, PATIENT, wrap=counted) as gateway:
        gateway.driver.open(50)
        # Few at a time: it is fifty times slower than it would be, and the driver has timers.
        gateway.driver.flow(way=way, messages=500, warmup=1, window=8)
        control(gateway.pid, "-i", "on")
        gateway.driver.flow(way=way, messages=COUNTED, warmup=1, window=8)
        control(gateway.pid, "-d")
        files = list(place.directory.glob(f"callgrind.{way}.*"))
        [file] = [each for each in files if "totals:" in each.read_text(errors="replace")]
    totals = re.findall(r"^totals: (\d+)", file.read_text(), re.M)
    shown = subprocess.run(
        ["callgrind_annotate", "--auto=no", file], capture_output=True, text=True, check=True
    ).stdout
    lines = [f"{share:>6} %  {name}" for share, name in FUNCTION.findall(shown)[:LINES]]
    each = int(totals[-1]) / COUNTED
    heading = f"{way}: {each:.0f} instructions a message, over UDP, without the kernel's"
    return "\n".join(
        [heading, revision(), "", "Of these, by function of the interpreter:", *lines, ""]
    )


def control(pid: int, *words: str) -> None:
    """Tell callgrind."""
    subprocess.run(["callgrind_control", *words, str(pid)], check=True, capture_output=True)


def main() -> int:
    """Make the profiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--way", choices=["page2msrp", "msrp2page"], help="default: both")
    parser.add_argument("--messages", type=int, default=10000, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=HERE / "results")
    parser.add_argument("--name", default="profile", help="of the files; default: %(default)s")
    parser.add_argument(
        "--no-instructions", action="store_true", help="no callgrind, a minute less"
    )
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    # The order of sets and dicts, and so the count, would differ from run to run.
    os.environ["PYTHONHASHSEED"] = "0"
    with room() as place:
        for way in [options.way] if options.way else ["page2msrp", "msrp2page"]:
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
