"""The demo and the user agents as a newcomer runs them: processes, sockets, real time."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.ua.demo import free_ports

ROOT = Path(__file__).resolve().parent.parent.parent

#: seconds that a process may take before it counts as hanging
PATIENCE = 180


def environment() -> dict[str, str]:
    """Our own, with the checkout on the path."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def start(*arguments: str) -> "subprocess.Popen[str]":
    """Start a Python module."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment(),
    )


class DemoTests(SynchronousTestCase):
    """``make demo``, lightly and heavily."""

    def demo(self, *arguments: str) -> str:
        """Run a demo; what it printed."""
        process = start(*arguments)
        self.addCleanup(process.kill)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, output)
        return output

    def test_ladder(self) -> None:
        output = self.demo("msrpgw.ua.demo")
        self.assertIn("session 1, opened by a MESSAGE:", output)
        self.assertIn("session 2, opened by an INVITE:", output)
        for step in ('MESSAGE "page 1"', "INVITE", "ACK", 'SEND "msrp 3"', "REPORT 200", "BYE"):
            self.assertRegex(output, rf"\d\.\d  \|.*[<-] {re.escape(step)}.*-[>-]*\|")
        self.assertIn("6 messages each way over 2 sessions: none lost", output)

    def test_many(self) -> None:
        for option in ((), ("--tcp",)):
            output = self.demo("msrpgw.ua.demo", "--messages", "200", "--sessions", "20", *option)
            self.assertIn("200 messages each way over 20 sessions: none lost", output)

    def test_many_over_lossy_links(self) -> None:
        output = self.demo(
            *("tests.interop.lossy_demo", "1", "20", "--messages", "200", "--sessions", "20")
        )
        self.assertIn("200 messages each way over 20 sessions: none lost", output)
        found = re.search(r"dropped (\d+) of (\d+) datagrams", output)
        assert found is not None
        dropped, datagrams = map(int, found.groups())
        self.assertGreater(datagrams, 800)
        self.assertTrue(0.15 < dropped / datagrams < 0.25, output)

    def test_the_gateway_can_not_start(self) -> None:
        process = start("msrpgw.ua.demo", "--sip-port", "1", "--msrp-port", "65536")
        self.addCleanup(process.kill)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1, output)
        self.assertIn("demo: the gateway did not start:", output)
        self.assertNotIn("Traceback", output.partition("did not start")[0])


class UserAgentTests(SynchronousTestCase):
    """``msrpgw-ua``, through a gateway."""

    def setUp(self) -> None:
        self.sip, self.msrp, self.alice, self.bob = free_ports(4)
        state = tempfile.TemporaryDirectory()
        self.addCleanup(state.cleanup)
        log = Path(state.name, "log")
        sip = f"127.0.0.1:{self.sip}"
        with log.open("wb") as output:
            gateway = subprocess.Popen(
                [
                    *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
                    *("--nodaemon", "--pidfile=", "msrpgw", "--state-dir", state.name),
                    *("--sip", f"udp:{sip}", "--sip", f"tcp:{sip}"),
                    *("--msrp", f"127.0.0.1:{self.msrp}"),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(),
            )
        self.addCleanup(gateway.wait)
        self.addCleanup(gateway.terminate)
        limit = time.monotonic() + 30
        while "is ready" not in log.read_text():
            self.assertIsNone(gateway.poll(), log.read_text())
            self.assertLess(time.monotonic(), limit, log.read_text())
            time.sleep(0.05)

    def user(self, kind: str, *arguments: str) -> "subprocess.Popen[str]":
        """Alice is a page user, Bob an MSRP user."""
        alice, bob = f"sip:alice@127.0.0.1:{self.alice}", f"sip:bob@127.0.0.1:{self.bob}"
        me, peer = (alice, bob) if kind == "page" else (bob, alice)
        process = start(
            *("msrpgw.ua.main", kind, "--me", me, "--peer", peer, "--timeout", "20", "--json"),
            *("--proxy", f"127.0.0.1:{self.sip}", *arguments),
        )
        self.addCleanup(process.kill)
        return process

    def finish(self, *processes: "subprocess.Popen[str]") -> list[list[dict[str, object]]]:
        """What they said, all having ended well."""
        said = []
        for process in processes:
            output, _ = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 0, output)
            said.append([json.loads(line) for line in output.splitlines()])
        return said

    def test_message_opens(self) -> None:
        for option in ((), ("--tcp",)):
            bob = self.user("msrp", "--expect", "Hello", "--send", "Grüße", *option)
            time.sleep(1.5)  # until Bob listens
            alice = self.user("page", "--send", "Hello", "--expect", "Grüße", *option)
            said, heard = self.finish(alice, bob)
            self.assertEqual([line["event"] for line in said], ["sending", "sent", "received"])
            self.assertEqual(heard[-2]["state"], "delivered")

    def test_invite_opens(self) -> None:
        alice = self.user("page", "--expect", "Hello", "--send", "Hi")
        time.sleep(1.5)  # until Alice listens
        bob = self.user("msrp", "--call", "--send", "Hello", "--expect", "Hi")
        said, heard = self.finish(alice, bob)
        self.assertEqual(said[-1]["status"], 200)
        self.assertIn("delivered", [line.get("state") for line in heard])

    def test_nobody_there(self) -> None:
        bob = self.user("msrp", "--send", "Hello")
        output, _ = bob.communicate(timeout=PATIENCE)
        self.assertEqual(bob.returncode, 1, output)
        self.assertEqual(json.loads(output.splitlines()[-2])["state"], "failed")

    def test_port_in_use(self) -> None:
        self.alice = self.sip
        alice = self.user("page", "--send", "Hello")
        output, _ = alice.communicate(timeout=PATIENCE)
        self.assertEqual(alice.returncode, 1)
        self.assertRegex(output, r"^msrpgw-ua: Couldn't listen on .*\n$")
