"""The command line of ``msrpgw-ua``."""

import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import ConfigError
from msrpgw.ua.main import Lines, Session, make_parser
from msrpgw.ua.terminal import Step
from tests.support import Network
from tests.tls.authority import CA, issue

BASE = ("--me", "sip:alice@127.0.0.1:6060", "--peer", "sip:bob@127.0.0.2:6070")


class CommandLineTests(SynchronousTestCase):
    """What may be typed."""

    def setUp(self) -> None:
        self.err = StringIO()
        self.patch(sys, "stderr", self.err)

    def test_steps_keep_their_order(self) -> None:
        options = make_parser().parse_args(
            ["page", *BASE, "--send", "1", "--expect", "a", "--send", "2"]
        )
        self.assertEqual(options.steps, [Step(True, "1"), Step(False, "a"), Step(True, "2")])

    def test_refused(self) -> None:
        for arguments in (
            ["page", "--me", "sip:alice@127.0.0.1"],
            ["page", "--me", "alice", *BASE[2:]],
            ["page", "--me", "tel:+1", *BASE[2:]],
            ["page", "--me", "sip:127.0.0.1", *BASE[2:]],
            ["page", *BASE, "--proxy", "a b"],
            ["mail", *BASE],
        ):
            with self.assertRaises(SystemExit) as caught:
                make_parser().parse_args(arguments)
            self.assertEqual(caught.exception.code, 2)


class SessionTests(SynchronousTestCase):
    """Whole runs, on a network in memory."""

    def setUp(self) -> None:
        self.network = Network()
        self.out = StringIO()
        self.patch(sys, "stdout", self.out)

    def session(self, address: str, *arguments: str) -> Session:
        options = make_parser().parse_args([*arguments, "--proxy", "none"])
        session = Session(self.network.host(address), options)
        session.listen()
        session.start()
        return session

    def page(self, *arguments: str) -> Session:
        return self.session("127.0.0.1", "page", *BASE, *arguments)

    def bob(self, kind: str, *arguments: str) -> Session:
        uris = ("--me", "sip:bob@127.0.0.2:6070", "--peer", "sip:alice@127.0.0.1:6060")
        return self.session("127.0.0.2", kind, *uris, *arguments)

    def finish(self, *sessions: Session) -> list[int]:
        """Let all run to their end; their exit statuses."""
        self.network.run()
        statuses = [self.successResultOf(session.terminal.done) for session in sessions]
        left = [session.leave() for session in sessions]
        self.network.run(3.0)
        for one in left:
            self.successResultOf(one)
        return statuses

    def test_pages_over_udp_and_tcp(self) -> None:
        for option in ((), ("--tcp",)):
            self.network = Network()
            bob = self.bob("page", "--expect", "Hello", "--send", "Hi", *option)
            alice = self.page("--send", "Hello", "--expect", "Hi", *option)
            self.assertEqual(self.finish(alice, bob), [0, 0])

    def test_msrp(self) -> None:
        for option in ((), ("--active",), ("--tcp",)):
            self.network = Network()
            bob = self.bob("msrp", "--expect", "Hello", "--send", "Hi", *option)
            alice = self.session(
                "127.0.0.1", "msrp", *BASE, "--send", "Hello", "--expect", "Hi", "--call"
            )
            self.assertEqual(self.finish(alice, bob), [0, 0])

    def test_tls(self) -> None:
        """SIP over TLS, and with it MSRPS."""
        ca = self.mktemp()
        Path(ca).write_bytes(CA.pem)
        alice_tls, bob_tls = (
            ("--tls", issue(ips=(host,), issuer=CA).write(self.mktemp()), "--ca", ca)
            for host in ("127.0.0.1", "127.0.0.2")
        )
        bob = self.bob("msrp", "--expect", "Hello", "--send", "Hi", *bob_tls)
        wanted = ("--send", "Hello", "--expect", "Hi", "--call")
        alice = self.session("127.0.0.1", "msrp", *BASE, *wanted, *alice_tls)
        self.assertEqual(self.finish(alice, bob), [0, 0])
        self.assertEqual(self.network.datagrams, [])
        for ends in self.network.connections:
            for end in ends:
                self.assertNotIn(b"Hello", end.written)

    def test_bad_certificate(self) -> None:
        with self.assertRaisesRegex(ConfigError, "certificate: 'nowhere': No such file"):
            self.page("--tls", "nowhere")

    def test_typed(self) -> None:
        bob = self.bob("page", "--count", "2")
        alice = self.page()
        self.assertFalse(alice.scripted)
        lines = Lines(alice.terminal)
        lines.dataReceived("Grüße\n\n  spaces  \n".encode())
        lines.connectionLost()
        self.assertEqual(self.finish(alice, bob), [0, 0])
        shown = self.out.getvalue()
        self.assertIn("sip:alice@127.0.0.1:6060 is ready", shown)
        self.assertIn("<sip:alice@127.0.0.1:6060> spaces\n", shown)
        self.assertIn("1> delivered: 200 OK", shown)

    def test_leaving_twice(self) -> None:
        alice = self.page()
        first, second = alice.leave(), alice.leave()
        self.network.run()
        self.successResultOf(first)
        self.successResultOf(second)
