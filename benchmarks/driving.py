"""The driver: compiled here, told what to do line by line; what it answers.

May import: nothing of the suite.
"""

import contextlib
import ctypes.util
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "driver"


class BenchError(Exception):
    """A measurement failed; the text says why."""


class Slice(NamedTuple):
    """A short time of an open loop."""

    due: int  #: messages that were to be sent in it
    p99_ms: float  #: of these, from due to answered
    refused: int  #: of these
    delivered: int  #: positive answers that came in it, whenever they were due


class Outcome(NamedTuple):
    """What the driver measured, of all but the first messages, which warm up."""

    messages: int
    seconds: float
    rate: float  #: messages a second
    cpu_us: float  #: microseconds of CPU that a message cost the measured processes
    driver_us: float  #: and the driver
    driver_busy: float  #: share of one core that the driver needed
    p50_ms: float  #: from when a message was due to its answer, or from when it was sent
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    accepted_later: int  #: MESSAGEs answered 202 in place of 200
    repeated: int  #: requests that were sent again
    refused: int
    unanswered: int
    lost: int  #: answered well, and never came
    contradicted: int  #: refused, and came
    held_ms: float  #: by which the driver was late at worst with what it had to do
    waited: float  #: seconds in each that the measured threads were ready and had no core
    stolen_ms: float  #: of all cores, that the host gave to other machines, in ticks of 10 ms
    slices: tuple[Slice, ...] = ()  #: of an open loop
    slice: float = 0.0  #: seconds of each

    @property
    def harmed(self) -> int:
        """Messages that did not come out well."""
        return self.refused + self.unanswered + self.lost + self.contradicted


def parse_outcome(line: str) -> Outcome:
    """Read the driver's answer to ``flow`` or ``cycle``.  Raises ValueError, TypeError."""
    told = json.loads(line)
    slices = tuple(Slice(*each) for each in told.pop("slices", ()))
    return Outcome(**told, slices=slices)


def compile_driver(directory: Path) -> Path:
    """Compile ``driver/``.  Raises BenchError when there is no compiler."""
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    compiler = next((found for name in names if name and (found := shutil.which(name))), None)
    if compiler is None:
        raise BenchError(
            "there is no C compiler (cc, gcc or clang) for benchmarks/driver/;\n"
            "on Debian: sudo apt-get install gcc libc6-dev"
        )
    driver = directory / "drive"
    sources = sorted(SOURCES.glob("*.c"))
    made = subprocess.run(
        [compiler, "-O2", "-o", driver, *sources, "-ldl"], capture_output=True, text=True
    )
    if made.returncode:
        raise BenchError(f"{compiler} can't compile benchmarks/driver/:\n{made.stderr}")
    return driver


def speaks_tls() -> bool:
    """Whether there is a libssl for the driver to load."""
    return bool(ctypes.util.find_library("ssl"))


class Driver:
    """A running driver.  Ends with its standard input."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        """``log``: of what is driven, for its last words when something goes wrong."""
        self._name, self._log = command[1], log
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def ask(self, command: str, **arguments: int | str) -> str:
        """Give a command; the answer's line.  Raises BenchError with what went wrong."""
        words = [command, *(f"{name}={value}" for name, value in arguments.items())]
        assert self._process.stdin and self._process.stdout and self._process.stderr
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(" ".join(words) + " \n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
            why = self._process.stderr.read().strip()
            raise BenchError(f"{self._name}, {' '.join(words)}: {why}\nits last words:\n{tail}")
        return line

    def open(self, sessions: int, way: str = "msrp2page") -> dict[str, Any]:
        """Have so many sessions up in all; what that took, in seconds and CPU seconds.

        Opened by page users, they know no better way to them than UDP.
        """
        told: dict[str, Any] = json.loads(self.ask("open", sessions=sessions, way=way))
        return told

    def flow(self, **arguments: int | str) -> Outcome:
        """Messages over sessions."""
        return parse_outcome(self.ask("flow", **arguments))

    def cycle(self, **arguments: int | str) -> Outcome:
        """Sessions for one message each."""
        return parse_outcome(self.ask("cycle", **arguments))

    def close(self) -> None:
        """End all sessions."""
        self.ask("close")

    def end(self) -> None:
        """End the driver itself."""
        assert self._process.stdin and self._process.stdout and self._process.stderr
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._process.stderr.close()


@contextlib.contextmanager
def driving(command: Sequence[str], log: Path) -> Iterator[Driver]:
    """A driver for a while."""
    driver = Driver(command, log)
    try:
        yield driver
    finally:
        driver.end()
