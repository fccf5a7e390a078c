"""Where a message's time goes: functions by cProfile, instructions by callgrind, as text.

    python benchmarks/profiling.py [--way page2msrp] [--output benchmarks/results] [--name before]

Writes ``NAME-WAY-functions.txt``, and ``NAME-WAY-instructions.txt`` where valgrind is installed.
Instructions don't depend on what else the machine does: two runs of the same code differ by less
than one in a hundred.  They are counted in the gateway process alone, without the kernel's share.
"""

import argparse
import os
import pstats
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench

#: messages of the two runs whose difference is counted: what a start costs falls out
SHORT, LONG = 400, 1400
#: lines of a profile that are kept
LINES = 60

#: a line of callgrind_annotate: share, and function in a file whose path says nothing
FUNCTION = re.compile(r"^ *[\d,]+ \( *([\d.]+)%\)  \S*?([^/\s]+:[^\s\[]+)", re.M)

#: What would make a gateway that is fifty times slower take another path.
PATIENT = """\
[limits]
overload_delay = 100.0
[gateway]
hold_message = 3.0
"""


def traffic(way: str, messages: int, window: int) -> bench.Traffic:
    """Over UDP, fifty sessions."""
    return bench.Traffic(way, "udp", 50, messages, messages // 4, window, 0)


def functions(driver: Path, directory: Path, way: str, messages: int) -> str:
    """The profile of a gateway as text: functions by their own time, then with what they call."""
    stats = directory / f"{way}.stats"
    ports = bench.Ports(*bench.free_ports(3))
    driven = traffic(way, messages, 50)
    twistd, *arguments = bench.gateway_command(driven, ports, Path(tempfile.mkdtemp(dir=directory)))
    command = [
        *(twistd, "--profile", str(stats), "--profiler", "cprofile", "--savestats", *arguments)
    ]
    with bench.running(command, directory / "profiled.log") as pid:
        drive(driver, driven, ports, pid)
        os.kill(pid, signal.SIGTERM)
        wait(stats.exists)
    with open(directory / "profile.txt", "w+") as text:
        profile = pstats.Stats(str(stats), stream=text)
        for order in ("tottime", "cumulative"):
            profile.sort_stats(order).print_stats(LINES)
        text.seek(0)
        found = text.read()
    # Paths of this machine say nothing.
    found = re.sub(r"\S*/site-packages/", "", found.replace(f"{bench.HERE.parent}/", ""))
    found = re.sub(r"\S*/(python3\.\d+)/", r"\1/", found)
    return f"{way}: {messages} messages over UDP, 50 sessions, window 50, under cProfile\n" + found


def drive(driver: Path, driven: bench.Traffic, ports: bench.Ports, pid: int) -> None:
    """Let the driver do its work."""
    numbers = map(str, (*ports, pid, *driven[2:]))
    done = subprocess.run(
        [driver, driven.way, driven.transport, "gateway", *numbers], capture_output=True, text=True
    )
    if done.returncode:
        raise bench.BenchError(done.stderr)


def wait(true: object) -> None:
    """Until a callable says so; at most as long as a start may take."""
    assert callable(true)
    limit = time.monotonic() + bench.START_TIMEOUT
    while not true():
        if time.monotonic() > limit:
            raise bench.BenchError("the profiled gateway did not end")
        time.sleep(0.05)


def counted(driver: Path, directory: Path, way: str, messages: int) -> Path:
    """Callgrind's file about a gateway from when it was ready."""
    ports = bench.Ports(*bench.free_ports(3))
    # Few at a time: it is fifty times slower than it would be, and the driver has timers.
    driven = traffic(way, messages, 8)
    output = directory / f"callgrind.{way}.{messages}"
    configuration = directory / "patient.toml"
    configuration.write_text(PATIENT)
    command = [
        *("valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}"),
        sys.executable,
        *bench.gateway_command(driven, ports, Path(tempfile.mkdtemp(dir=directory))),
        *("--config", str(configuration)),
    ]
    with bench.running(command, directory / "counted.log") as pid:
        switch = ["callgrind_control", "-i", "on", str(pid)]
        subprocess.run(switch, check=True, capture_output=True)
        drive(driver, driven, ports, pid)
        os.kill(pid, signal.SIGTERM)
        wait(lambda: output.exists() and "totals:" in output.read_text(errors="replace"))
    return output


def instructions(driver: Path, directory: Path, way: str) -> str:
    """Instructions a message as text, and what of the interpreter executes them."""
    files = [counted(driver, directory, way, messages) for messages in (SHORT, LONG)]
    totals = [int(re.findall(r"^totals: (\d+)", file.read_text(), re.M)[-1]) for file in files]
    each = (totals[1] - totals[0]) / (LONG - SHORT)
    shown = subprocess.run(
        ["callgrind_annotate", "--auto=no", files[1]], capture_output=True, text=True, check=True
    ).stdout
    lines = [f"{share:>6} %  {name}" for share, name in FUNCTION.findall(shown)[:LINES]]
    heading = f"{way}: {each:.0f} instructions a message, over UDP, without the kernel's\n"
    return "\n".join([heading, "Of these, by function of the interpreter:", *lines, ""])


def main() -> int:
    """Make the profiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--way", choices=["page2msrp", "msrp2page"], help="default: both")
    parser.add_argument("--messages", type=int, default=10000, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=bench.HERE / "results")
    parser.add_argument("--name", default="profile", help="of the files; default: %(default)s")
    parser.add_argument(
        "--no-instructions", action="store_true", help="no callgrind, a minute less"
    )
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="msrpgw-bench-") as temporary:
        directory = Path(temporary)
        driver = bench.compile_driver(directory)
        for way in [options.way] if options.way else ["page2msrp", "msrp2page"]:
            file = options.output / f"{options.name}-{way}-functions.txt"
            file.write_text(functions(driver, directory, way, options.messages))
            print(file)
            if options.no_instructions:
                continue
            if not shutil.which("valgrind"):
                print("valgrind is not installed: no instruction counts", file=sys.stderr)
                continue
            text = instructions(driver, directory, way)
            file = options.output / f"{options.name}-{way}-instructions.txt"
            file.write_text(text)
            print(file, "--", text.partition("\n")[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
