"""Kills the gateway again and again under load, and counts whether it kept its promises.

    python -m tests.interop.crash [--seed N] [--kills N]         at random instants
    python -m tests.interop.crash --commits N                    right before and after commits

Each start of the gateway gets the same ports and the same state directory.  In the end the users
fall silent, and what is still on its way may come.  Then of every message that got a positive
answer there must have been at least one arrival, first arrivals in order, all with the same ids.
Exit status 0 only if so.  Run by ``test_crash``, as a process of its own because the reactor runs
once.
"""

import argparse
import contextlib
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from msrpgw.ua.demo import HOST
from tests.interop.crash_load import Load
from tests.interop.crashing_gateway import faults_of, summary_of

ROOT = Path(__file__).resolve().parent.parent.parent

#: conversations; each speaks both ways
CONVERSATIONS = 32

#: seconds from "is ready" to the kill
LIFETIME = (0.1, 1.2)

#: seconds that a start may take, and that it may take to the commit where it is to die
PATIENCE = 10.0

#: seconds that everything promised may take to come, once all users are silent
DRAIN = 20.0

#: seconds after that, in which something could come once more, with other ids
QUIET = 1.0

#: Answers are held only shortly, so that the journal is used also when receivers are there.
CONFIGURATION = """\
[gateway]
hold_send = 0.1
"""

#: most faults that are printed one by one
_PRINTED = 30


class CrashError(Exception):
    """The test can't go on; the text says why."""


class _Process(ProcessProtocol):
    """One start of the gateway."""

    def __init__(self, log: IO[bytes]) -> None:
        self.ready: Deferred[bool] = Deferred()  #: False: it ended before
        self.ended: Deferred[None] = Deferred()
        self.running = True
        self.how = ""  #: it ended
        self._log = log
        self._words = b""

    def outReceived(self, data: bytes) -> None:
        """Wait for the word; the rest is only kept."""
        self._log.write(data)
        if not self.ready.called:
            self._words += data
            if b"is ready" in self._words:
                self.ready.callback(True)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        """It is over, as it should be or not."""
        self.running = False
        if not (reason.check(ProcessTerminated) and reason.value.signal == signal.SIGKILL):
            self.how = reason.getErrorMessage()
        self._log.flush()
        if not self.ready.called:
            self.ready.callback(False)
        self.ended.callback(None)


class Gateway:
    """The gateway, start after start."""

    def __init__(self, reactor: Any, directory: str, sip: int, msrp: int) -> None:
        self._reactor = reactor
        self._log_path = Path(directory, "log")
        self._log = self._log_path.open("ab")
        self.record = Path(directory, "record")  #: what its starts under observation tell
        configuration = Path(directory, "msrpgw.toml")
        configuration.write_text(CONFIGURATION)
        self._options = [
            *("--nodaemon", "--pidfile=", "msrpgw", "--config", str(configuration)),
            *("--state-dir", directory, "--msrp", f"{HOST}:{msrp}"),
            *("--sip", f"udp:{HOST}:{sip}", "--sip", f"tcp:{HOST}:{sip}"),
        ]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._environment = {**os.environ, "PYTHONPATH": path}
        self._process: Any = None
        self.faults: list[str] = []
        self.up_since = 0.0

    async def start(self, when: str = "") -> _Process:
        """Start it; returns when it is ready, or has died when it was to.

        ``when`` that is, as ``crashing_gateway`` wants it; without, the gateway runs as it is.
        Raises CrashError when it can't be started.
        """
        program = ["-c", "from twisted.scripts.twistd import run; run()"]
        if when:
            program = ["-m", "tests.interop.crashing_gateway", when, str(self.record)]
        protocol = _Process(self._log)
        self._process = self._reactor.spawnProcess(
            protocol,
            sys.executable,
            [sys.executable, *program, *self._options],
            env=self._environment,
            path=str(ROOT),
        )
        limit = self._reactor.callLater(PATIENCE, self.signal, "KILL")
        ready = await protocol.ready
        if limit.active():
            limit.cancel()
        if not ready and (protocol.how or not when):
            raise CrashError(f"the gateway did not start:\n{self.tail()}")
        self.up_since = self._reactor.seconds()
        return protocol

    def signal(self, name: str) -> None:
        """Send it a signal, if it is there."""
        if self._process is not None and self._process.pid is not None:
            self._process.signalProcess(name)

    def judge(self, protocol: _Process) -> None:
        """Whether it ended as it should: by SIGKILL."""
        if protocol.how:
            self.faults.append(f"the gateway ended by itself: {protocol.how}")

    def complaints(self) -> list[str]:
        """Failures that the gateway logged."""
        self._log.flush()
        lines = self._log_path.read_text(errors="replace").splitlines()
        found = [number for number, line in enumerate(lines) if "Traceback" in line]
        return (
            [
                f"the gateway logged {len(found)} tracebacks, the first being\n"
                + "\n".join(lines[max(0, found[0] - 2) : found[0] + 40])
            ]
            if found
            else []
        )

    def tail(self) -> str:
        """What it said last."""
        self._log.flush()
        return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-20:])


class Errors:
    """Collects what is logged as an error in this process: the users' own troubles."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """Take one log event."""
        if event["log_level"] >= LogLevel.error:
            failure = event.get("log_failure")
            trace = f"\n{failure.getTraceback()}" if failure is not None else ""
            self.found.append(f"{formatEvent(event)}{trace}")


def reserved_ports(count: int) -> list[int]:
    """Free ports that no connection gets by chance, also while the gateway is away."""
    candidates = list(range(20000, 30000))  # Linux gives out 32768 and more
    random.shuffle(candidates)
    ports: list[int] = []
    while len(ports) < count:
        port = candidates.pop()
        with contextlib.suppress(OSError), contextlib.ExitStack() as sockets:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                sockets.enter_context(socket.socket(type=kind)).bind((HOST, port))
            ports.append(port)
    return ports


class Run:
    """One run of the test."""

    def __init__(self, reactor: Any, options: argparse.Namespace, directory: str) -> None:
        self._reactor = reactor
        self._options = options
        self._dice = random.Random(options.seed)  # for the kills alone, so that they come again
        sip, msrp, *own = reserved_ports(2 + 2 * CONVERSATIONS)
        self._gateway = Gateway(reactor, directory, sip, msrp)
        dice = random.Random(f"load {options.seed}")
        self._load = Load(reactor, dice, CONVERSATIONS, [sip, *own])
        self._kills = 0
        self._up = 0.0  # seconds that the gateway was up, and positive answers in them
        self._answered = 0

    async def run(self) -> list[str]:
        """Kill, wait, judge; what is wrong."""
        began = self._reactor.seconds()
        try:
            if self._options.commits:
                await self._kill_at_commits()
            else:
                await self._kill_at_random()
            await self._drain("never" if self._options.commits else "")
        finally:
            self._gateway.signal("KILL")
        took = self._reactor.seconds() - began
        print(
            f"seed {self._options.seed}: {self._kills} kills in {took:.1f} s; the gateway was up"
            f" for {self._up:.1f} s and answered {self._answered / (self._up or 1):.0f} messages"
            " a second"
        )
        print(self._load.summary())
        faults = [*self._gateway.faults, *self._gateway.complaints(), *self._load.faults()]
        if self._options.commits:
            faults += self._judge_record()
        return faults

    async def _kill_at_random(self) -> None:
        for _ in range(self._options.kills):
            process = await self._gateway.start()
            answered = self._load.promised
            await self._sleep(self._dice.uniform(*LIFETIME))
            await self._end(process, answered)

    async def _end(self, process: _Process, answered: int) -> None:
        self._up += self._reactor.seconds() - self._gateway.up_since
        self._answered += self._load.promised - answered
        self._gateway.signal("KILL")
        await process.ended
        self._gateway.judge(process)
        self._kills += 1

    async def _kill_at_commits(self) -> None:
        # The first ones each, then farther apart: 1, 2, 3, 5, 8, ...
        fatal, following = 1, 2
        for number in range(self._options.commits):
            when = f"{'after' if number % 2 else 'before'}:{fatal}"
            if number % 2:
                fatal, following = following, fatal + following
            answered = self._load.promised
            process = await self._gateway.start(when)
            limit = self._reactor.seconds() + PATIENCE
            while process.running and self._reactor.seconds() < limit:
                await self._sleep(0.01)
            if process.running:
                self._gateway.faults.append(f"the gateway came to no commit, {when}")
            await self._end(process, answered)

    async def _drain(self, when: str) -> None:
        """Fall silent, and let come what was promised; then end the gateway as an operator does."""
        self._load.stop()
        process = await self._gateway.start(when)
        limit = self._reactor.seconds() + DRAIN
        while process.running and self._reactor.seconds() < limit and not self._load.settled():
            await self._sleep(0.1)
        await self._sleep(QUIET)
        if not process.running:
            self._gateway.faults.append(f"the gateway ended by itself: {process.how or 'killed'}")
            return
        self._gateway.signal("TERM")
        late = self._reactor.callLater(PATIENCE, self._gateway.signal, "KILL")
        await process.ended
        if late.active():
            late.cancel()
        else:
            self._gateway.faults.append("the gateway did not end on SIGTERM")

    def _sleep(self, seconds: float) -> "Deferred[None]":
        return deferLater(self._reactor, seconds)

    def _judge_record(self) -> list[str]:
        lines = self._gateway.record.read_text().splitlines()
        print(summary_of(lines))
        return faults_of(lines)


async def crash(reactor: Any, options: argparse.Namespace) -> int:
    """Run the test; the exit status."""
    errors = Errors()
    globalLogPublisher.addObserver(errors)
    with contextlib.ExitStack() as stack:
        directory = options.directory or stack.enter_context(
            tempfile.TemporaryDirectory(prefix="msrpgw-crash-")
        )
        faults = await Run(reactor, options, directory).run()
    faults = [*(f"the users' side logged: {error}" for error in errors.found), *faults]
    for fault in faults[:_PRINTED]:
        print(f"FAULT: {fault}")
    print(f"{len(faults)} faults" if faults else "every promise was kept")
    return 1 if faults else 0


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.crash")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=30, help="at random instants")
    parser.add_argument(
        "--commits",
        type=int,
        default=0,
        metavar="N",
        help="instead: N starts that end right before the first commit, right after it, right"
        " before the second one, and so on, then farther apart",
    )
    parser.add_argument("--directory", default="", help="for state and logs, which are kept")
    return parser.parse_args(arguments)


def main() -> None:
    """Parse the command line and run."""
    options = parse_arguments()

    from twisted.internet import reactor as installed

    reactor: Any = installed
    status = 1

    def ended(result: object) -> None:
        nonlocal status
        if isinstance(result, Failure):
            print(f"crash: {result.getErrorMessage()}", file=sys.stderr)
            if not result.check(CrashError):
                result.printTraceback(sys.stderr)
        else:
            assert isinstance(result, int)
            status = result
        reactor.stop()

    def start() -> None:
        Deferred.fromCoroutine(crash(reactor, options)).addBoth(ended)

    reactor.callWhenRunning(start)
    reactor.run()
    sys.exit(status)


if __name__ == "__main__":
    main()
