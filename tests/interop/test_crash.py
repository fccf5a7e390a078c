"""The custody rule under SIGKILL: what got a positive answer arrives, whenever the gateway dies."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.ua.demo import HOST, free_ports
from tests.interop.crash import ROOT
from tests.interop.crash_load import Half
from tests.interop.crashing_gateway import faults_of
from tests.interop.peers import installed

#: seconds that a run may take before it counts as hanging
PATIENCE = 150

STRACE = installed("strace")

#: A MESSAGE to somebody whose telephone rings and rings.
MESSAGE = """\
MESSAGE sip:bob@{host}:{bob} SIP/2.0
Via: SIP/2.0/UDP {host}:{alice};branch=z9hG4bKcrash
Max-Forwards: 70
From: <sip:alice@{host}:{alice}>;tag=1
To: <sip:bob@{host}:{bob}>
Call-ID: crash
CSeq: 1 MESSAGE
Content-Type: text/plain
Content-Length: {length}

{text}"""


class ProcessTestCase(SynchronousTestCase):
    """Starts programs, each in a process group that does not outlive the test."""

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start a program from this checkout."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: "subprocess.Popen[str]") -> None:
        """Kill a program and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class CrashTests(ProcessTestCase):
    """The gateway as a process under load, killed again and again."""

    def crash(self, *arguments: str) -> str:
        """Run the load and the kills; what was printed, which goes on to who runs the tests."""
        process = self.start(sys.executable, "-m", "tests.interop.crash", *arguments)
        output, _ = process.communicate(timeout=PATIENCE)
        print(f"\n{output}", end="", flush=True)
        self.assertEqual(process.returncode, 0, output)
        self.assertIn("every promise was kept", output)
        return output

    def test_random_instants(self) -> None:
        output = self.crash("--seed", "1", "--kills", "30")
        self.assertIn(" 30 kills ", output)
        found = re.search(r"answered (\d+) messages a second", output)
        assert found is not None
        self.assertGreaterEqual(int(found[1]), 200, output)

    def test_at_commits(self) -> None:
        output = self.crash("--seed", "2", "--commits", "20")
        found = re.search(r"(\d+) 202, and (\d+) 200 that rest on the journal", output)
        assert found is not None
        self.assertGreater(min(map(int, found.groups())), 0, output)


class HalfTests(SynchronousTestCase):
    """What the book of one direction of a conversation shows."""

    def half(self, promised: int, *arrivals: tuple[int, str]) -> Half:
        """So many texts were promised, and these numbers came with these ids."""
        half = Half("1/page")
        for _ in range(promised):
            number, _ = half.next_text()
            half.promised[number] = 202
        for number, ids in arrivals:
            half.arrived(f"1/page/{number}", ids)
        return half

    def test_all_is_well(self) -> None:
        half = self.half(3, (1, "a"), (2, "b"), (1, "a"), (3, "c"), (3, "c"))
        self.assertEqual(half.faults(), [])
        self.assertEqual(half.repeated(), 2)

    def test_lost(self) -> None:
        half = self.half(2, (2, "b"))
        self.assertEqual(half.faults(), ["1/page/1 was answered 202, and lost"])

    def test_out_of_order(self) -> None:
        half = self.half(2, (2, "b"), (1, "a"))
        self.assertEqual(half.faults(), ["1/page/2 came before 1/page/1"])
        del half.promised[1]  # its sender was told nothing: it may come at any time
        self.assertEqual(half.faults(), [])

    def test_other_ids(self) -> None:
        half = self.half(1, (1, "a"), (1, "b"))
        self.assertEqual(half.faults(), ["1/page/1 came with several ids: a, b"])

    def test_never_said(self) -> None:
        self.assertEqual(self.half(0, (1, "a")).faults(), ["1/page/1 was never said"])


class RecordTests(SynchronousTestCase):
    """What counts as an answer that rests on nothing."""

    def faults(self, *lines: str) -> int:
        """How many there are in a record."""
        return len(faults_of(lines))

    def test_answered_before_the_commit(self) -> None:
        self.assertEqual(self.faults("answered 1/page/1 202", "committed 1/page/1"), 1)
        self.assertEqual(self.faults("committed 1/page/1", "answered 1/page/1 202"), 0)

    def test_another_start(self) -> None:
        record = ("start after:1", "committed 1/page/1", "start never", "answered 1/page/1 202")
        self.assertEqual(self.faults(*record), 0)

    def test_200_rests_on_the_receiver_or_on_the_journal(self) -> None:
        self.assertEqual(self.faults("answered 1/msrp/1 200", "delivered 1/msrp/1"), 1)
        self.assertEqual(self.faults("delivered 1/msrp/1", "answered 1/msrp/1 200"), 0)
        self.assertEqual(self.faults("committed 1/msrp/1", "answered 1/msrp/1 200"), 0)

    def test_202_rests_on_the_journal_alone(self) -> None:
        self.assertEqual(self.faults("delivered 1/page/1", "answered 1/page/1 202"), 1)


class SystemCallTests(ProcessTestCase):
    """What the kernel saw."""

    if not STRACE:
        skip = "strace is not installed (Debian package strace)"

    text = "remember this"

    def test_on_disk_before_the_202(self) -> None:
        tried = subprocess.run([STRACE, "-o", os.devnull, "true"], capture_output=True, text=True)
        if tried.returncode:
            self.skipTest(f"strace may not trace here: {tried.stderr.strip()}")
        lines = self.trace()
        written = self.first(lines, rf"pwrite64\(.*{self.text}")
        synced = self.first(lines[written:], r"fdatasync(\(| resumed).*= 0$") + written
        answered = self.first(lines, r"send(to|msg)\(.*SIP/2\.0 202 ")
        self.assertLess(written, synced)
        self.assertLess(synced, answered, "\n".join(line[:100] for line in lines[written:]))

    def first(self, lines: list[str], pattern: str) -> int:
        """Index of the first line that the pattern is found in."""
        found = (number for number, line in enumerate(lines) if re.search(pattern, line))
        number = next(found, -1)
        self.assertGreaterEqual(number, 0, f"no {pattern} in {len(lines)} lines")
        return number

    def trace(self) -> list[str]:
        """What strace tells of a gateway that answers one MESSAGE."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        trace = directory / "trace"
        sip, msrp = free_ports(2)
        gateway = self.start(
            *(STRACE, "-f", "-s", "8192", "-o", str(trace)),
            *("-e", "trace=pwrite64,fdatasync,sendto,sendmsg"),
            *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
            *("--nodaemon", "--pidfile=", "msrpgw", "--state-dir", str(directory)),
            *("--sip", f"udp:{HOST}:{sip}", "--msrp", f"{HOST}:{msrp}"),
        )
        with contextlib.ExitStack() as stack:
            alice, bob = (
                stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(2)
            )
            for one in (alice, bob):
                one.bind((HOST, 0))
            ports = {"alice": alice.getsockname()[1], "bob": bob.getsockname()[1]}
            message = MESSAGE.format(host=HOST, text=self.text, length=len(self.text), **ports)
            alice.settimeout(0.2)
            limit = time.monotonic() + 30
            answer = b""
            while not answer.startswith(b"SIP/2.0 2") and time.monotonic() < limit:
                self.assertIsNone(gateway.poll())
                with contextlib.suppress(OSError):
                    alice.sendto(message.replace("\n", "\r\n").encode(), (HOST, sip))
                    answer = alice.recv(65536)
        self.assertTrue(answer.startswith(b"SIP/2.0 202 "), answer)
        self.end(gateway)
        return trace.read_text(errors="replace").splitlines()
