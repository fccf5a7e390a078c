"""Measures what the gateway costs, against the bare floor, in the same run.

    python benchmarks/bench.py [--way page2msrp] [--transport udp] [--sessions 50] [--rate 1000] ...

Floor and gateway take turns under the same traffic of the same driver (``drive.c``, compiled
here), each in a process of its own on loopback.  CPU time is the measured process's, user and
system, as the kernel's scheduler counts it, after a warm-up.  README.md says how to read it.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
TARGET = 2.5  #: times the floor's CPU per message
START_TIMEOUT = 30.0  #: seconds for a process to say that it is ready


class Traffic(NamedTuple):
    """What the driver is to do."""

    way: str
    transport: str
    sessions: int
    messages: int
    warmup: int
    window: int
    rate: int
    slow: int = 0  #: milliseconds that MSRP users take to answer a SEND


class Ports(NamedTuple):
    """Where the measured process listens, and where the users are."""

    sip: int
    msrp: int
    users: int


class Cost(NamedTuple):
    """What the driver measured."""

    cpu_us: float  #: microseconds of CPU a message
    rate: float  #: messages a second
    p50_ms: float  #: from sending a message to its final answer
    p99_ms: float
    accepted_later: int  #: MESSAGEs answered 202 in place of 200
    driver_busy: float  #: share of one core that the driver needed


class BenchError(Exception):
    """A measurement failed; the text says why."""


def compile_driver(directory: Path) -> Path:
    """Compile ``drive.c``.  Raises BenchError when there is no compiler."""
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    compiler = next((found for name in names if name and (found := shutil.which(name))), None)
    if compiler is None:
        raise BenchError(
            "there is no C compiler (cc, gcc or clang) for the driver, benchmarks/drive.c;\n"
            "on Debian: sudo apt-get install gcc libc6-dev"
        )
    driver = directory / "drive"
    made = subprocess.run(
        [compiler, "-O2", "-o", driver, HERE / "drive.c"], capture_output=True, text=True
    )
    if made.returncode:
        raise BenchError(f"{compiler} can't compile benchmarks/drive.c:\n{made.stderr}")
    return driver


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free for UDP and TCP, all different."""
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            stream = held.enter_context(socket.socket())
            datagrams = held.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            with contextlib.suppress(OSError):
                datagrams.bind(("127.0.0.1", port))
                ports.append(port)
    return ports


def floor_command(traffic: Traffic, ports: Ports, state: Path) -> list[str]:
    """How the floor is started."""
    numbers = map(str, ports)
    return [sys.executable, str(HERE / "floor.py"), traffic.way, traffic.transport, *numbers]


def gateway_command(traffic: Traffic, ports: Ports, state: Path) -> list[str]:
    """How the gateway is started: on its defaults, but for the ports."""
    twistd = Path(sys.executable).with_name("twistd")
    sip = f"127.0.0.1:{ports.sip}"
    return [
        *(str(twistd), "--nodaemon", "--pidfile=", "msrpgw"),
        *("--sip", f"udp:{sip}", "--sip", f"tcp:{sip}"),
        *("--msrp", f"127.0.0.1:{ports.msrp}", "--state-dir", str(state)),
    ]


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[int]:
    """Run a process, from when it says that it is ready; gives its process id."""
    # The checkout itself is measured, installed or not.
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={**os.environ, "PYTHONPATH": path},
        )
    try:
        limit = time.monotonic() + START_TIMEOUT
        while "is ready" not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > limit:
                raise BenchError(f"{command[1]} did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()  # its sessions need no farewell: their users are gone
        process.wait()


def measure(
    driver: Path,
    directory: Path,
    peer: str,
    command: Callable[[Traffic, Ports, Path], list[str]],
    traffic: Traffic,
) -> Cost:
    """Start one process, drive it, and say what it cost."""
    ports = Ports(*free_ports(3))
    log = directory / f"{peer}.log"
    # The next one must not go on with what this one leaves behind.
    state = Path(tempfile.mkdtemp(dir=directory))
    with running(command(traffic, ports, state), log) as pid:
        numbers = map(str, (*ports, pid, *traffic[2:]))
        done = subprocess.run(
            [driver, traffic.way, traffic.transport, peer, *numbers],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise BenchError(f"{peer}, {traffic}:\n{done.stderr}its last words:\n{tail}")
    told = json.loads(done.stdout)
    return Cost(
        told["cpu_us"],
        told["messages"] / told["seconds"],
        told["p50_ms"],
        told["p99_ms"],
        told["accepted_later"],
        told["driver_busy"],
    )


def median(costs: list[Cost], field: str) -> float:
    """The median of one figure."""
    return statistics.median(getattr(cost, field) for cost in costs)


def row_of(traffic: Traffic, floors: list[Cost], gateways: list[Cost]) -> dict[str, object]:
    """One row of the table."""
    # Neighbours in time: what else the machine does disturbs both alike.
    ratios = sorted(
        gateway.cpu_us / floor.cpu_us for floor, gateway in zip(floors, gateways, strict=True)
    )
    return {
        "way": traffic.way,
        "transport": traffic.transport,
        "sessions": traffic.sessions,
        "floor_us": median(floors, "cpu_us"),
        "gateway_us": median(gateways, "cpu_us"),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "floor_rate": median(floors, "rate"),
        "gateway_rate": median(gateways, "rate"),
        "p50_ms": median(gateways, "p50_ms"),
        "p99_ms": median(gateways, "p99_ms"),
        "accepted_later": sum(cost.accepted_later for cost in gateways),
        "driver_busy": max(cost.driver_busy for cost in (*floors, *gateways)),
    }


HEADING = (
    "                          CPU us a message                        messages a second"
    "   answered after\n"
    "way         SIP  sessions   floor  gateway  ratio  (each run)      floor   gateway"
    "     p50 ms  p99 ms"
)


def show(row: dict[str, object]) -> str:
    """A row as text."""
    ratios = row["ratios"]
    assert isinstance(ratios, list)
    spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
    arrow = {"page2msrp": "page->msrp", "msrp2page": "msrp->page"}[str(row["way"])]
    return (
        "{arrow}  {transport}  {sessions:8}  {floor_us:6.1f}  {gateway_us:7.1f}  {ratio:5.2f}"
        "  {spread:14}  {floor_rate:6.0f}  {gateway_rate:8.0f}  {p50_ms:9.2f}  {p99_ms:6.2f}"
    ).format(arrow=arrow, spread=spread, **row)


def remarks(row: dict[str, object]) -> Iterator[str]:
    """What makes a row worth less than it seems."""
    if float(str(row["driver_busy"])) > 0.8:
        yield "the driver was the bottleneck: don't trust the messages a second"
    if row["accepted_later"]:
        yield f"{row['accepted_later']} MESSAGEs were answered 202, not 200: overloaded"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--way", choices=["page2msrp", "msrp2page"], help="default: both")
    parser.add_argument("--transport", choices=["udp", "tcp"], help="of SIP; default: both")
    parser.add_argument("--sessions", type=int, default=50, help="default: %(default)s")
    parser.add_argument(
        "--window",
        type=int,
        default=50,
        help="messages outstanding at a time in all sessions together; default: %(default)s",
    )
    parser.add_argument(
        "--rate", type=int, default=0, help="messages a second, in place of a window"
    )
    parser.add_argument("--messages", type=int, default=8_000, help="default: %(default)s")
    parser.add_argument("--warmup", type=int, default=2_000, help="default: %(default)s")
    parser.add_argument(
        "--runs", type=int, default=7, help="of floor and gateway in turn; default: %(default)s"
    )
    parser.add_argument("--limit", type=float, help="exit with 1 when a ratio is larger")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    return parser.parse_args()


def run(options: argparse.Namespace) -> int:
    """Measure all rows.  Returns the exit status."""
    ways = [options.way] if options.way else ["page2msrp", "msrp2page"]
    transports = [options.transport] if options.transport else ["udp", "tcp"]
    worst = 0.0
    with tempfile.TemporaryDirectory(prefix="msrpgw-bench-") as temporary:
        directory = Path(temporary)
        driver = compile_driver(directory)
        if not options.json:
            print(
                f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load"
                f" {os.getloadavg()[0]:.1f}; medians of {options.runs} runs of"
                f" {options.messages - options.warmup} messages, "
                + (f"{options.rate} a second" if options.rate else f"window {options.window}"),
                flush=True,
            )
            print(HEADING, flush=True)
        for way in ways:
            for transport in transports:
                traffic = Traffic(
                    *(way, transport, options.sessions, options.messages),
                    *(options.warmup, options.window, options.rate),
                )
                floors, gateways = [], []
                for _ in range(options.runs):
                    floors.append(measure(driver, directory, "floor", floor_command, traffic))
                    gateways.append(measure(driver, directory, "gateway", gateway_command, traffic))
                row = row_of(traffic, floors, gateways)
                worst = max(worst, float(str(row["ratio"])))
                print(json.dumps(row) if options.json else show(row), flush=True)
                for remark in remarks(row):
                    print(f"  ! {remark}", file=sys.stderr, flush=True)
    if not options.json:
        verdict = "met" if worst <= TARGET else "missed"
        print(f"target, at most {TARGET} times the floor: {verdict} (worst ratio {worst:.2f})")
    return 1 if options.limit and worst > options.limit else 0


def main() -> int:
    """Run the benchmark; say in one line what prevents it."""
    try:
        return run(parse_arguments())
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
