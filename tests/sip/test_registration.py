"""Addresses that are kept registered, at a registrar that is another user agent."""

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.auth.client import Keyring, Secret
from msrpgw.auth.digest import Challenge, render_challenge
from msrpgw.sip.message import Request
from msrpgw.sip.registration import (
    Registration,
    Registrations,
    find_registration_problems,
)
from msrpgw.sip.settings import RegistrationSettings
from msrpgw.sip.transaction import ServerTransaction
from tests.network import Network
from tests.support import CountingRandom, LogLines, make_agent

HOST, REGISTRAR = "192.0.2.1", "192.0.2.9"
AOR = "sip:gw@example.com"


class RegistrationTests(SynchronousTestCase):
    transport = "udp"

    def setUp(self) -> None:
        self.log = LogLines(self, "msrpgw.sip.registration")
        self.network = Network()
        self.agent = make_agent(self.network, HOST)
        self.requests: list[Request] = []
        self.times: list[float] = []
        self.answers: list[tuple[int, list[tuple[str, str]]]] = []  # the last one stays
        self.open()

    def open(self) -> None:
        """A registrar that answers as it is told."""
        self.registrar = make_agent(self.network, REGISTRAR)
        self.registrar.on("REGISTER", self.came)

    def came(self, transaction: ServerTransaction) -> None:
        self.requests.append(transaction.request)
        self.times.append(self.network.clock.seconds())
        status, headers = self.answers[0] if self.answers else (200, [])
        if len(self.answers) > 1:
            self.answers.pop(0)
        if status == 200 and not headers:
            contact = transaction.request.headers.get("Contact") or ""
            headers = [
                ("Contact", "<sip:x@192.0.2.7>;expires=9"),
                ("Contact", f"{contact};expires=600"),
            ]
        if status:
            self.registrar.respond(transaction, status, None, headers)

    def start(
        self, *answers: tuple[int, list[tuple[str, str]]], seconds: float = 1.0
    ) -> Registration:
        self.answers = list(answers)
        transport = f";transport={self.transport}" if self.transport != "udp" else ""
        self.registration = Registration(
            self.agent,
            RegistrationSettings(aor=AOR, registrar=f"sip:{REGISTRAR}{transport}", expires=3600),
        )
        self.registration.start()
        self.network.run(seconds)
        return self.registration

    def cseqs(self) -> Iterable[int]:
        return [request.cseq.number for request in self.requests]

    def test_registered(self) -> None:
        """§10.2: the address of record in To and From, ours in Contact."""
        self.assertTrue(self.start().registered)
        [request] = self.requests
        self.assertEqual((request.from_.uri_text, request.to.uri_text), (AOR, AOR))
        self.assertIsNone(request.to.tag)
        self.assertEqual(request.headers.get("Expires"), "3600")
        suffix = ";transport=tcp" if self.transport == "tcp" else ""
        self.assertEqual(request.headers.get("Contact"), f"<sip:gw@{HOST}:5060{suffix}>")
        self.assertEqual(len(self.log.lines), 1)
        self.assertIn("is registered as", self.log.lines[0])

    def test_refreshed(self) -> None:
        """§10.2.4: before it ends, whatever else is registered there; with the same Call-ID."""
        self.start()
        self.network.run(538, 1)
        self.assertEqual(len(self.requests), 1)
        self.network.run(600, 1)
        self.assertEqual(list(self.cseqs()), [1, 2, 3])
        self.assertEqual(len({request.call_id for request in self.requests}), 1)
        self.assertEqual(len(self.log.lines), 1)

    def test_as_expires_says(self) -> None:
        self.start((200, [("Expires", "100")]))
        self.network.run(51, 1)
        self.assertEqual(len(self.requests), 2)

    def test_too_brief(self) -> None:
        """§10.2.8."""
        self.start((423, [("Min-Expires", "7200")]), (200, []))
        self.assertEqual([each.headers.get("Expires") for each in self.requests], ["3600", "7200"])
        self.assertTrue(self.registration.registered)

    def test_too_brief_for_ever(self) -> None:
        for least in ("x", "60", "99999999"):
            self.requests.clear()
            self.start((423, [("Min-Expires", least)]))
            self.assertEqual(len(self.requests), 1)
            self.assertFalse(self.registration.registered)
            self.registration.stop()

    def test_refused(self) -> None:
        """Told once; tried again ever later, and told when it is well again."""
        self.start((403, []))
        self.network.run(7200, 1)
        self.assertLess(len(self.requests), 12)
        self.assertGreater(len(self.requests), 5)
        waits = [later - sooner for sooner, later in zip(self.times, self.times[1:], strict=False)]
        self.assertLess(waits[0], 31)
        self.assertGreater(waits[-1], 800)
        self.assertLess(max(waits), 1802)
        self.assertEqual(len(self.log.lines), 1)
        self.assertIn("403", self.log.lines[0])
        self.answers = [(200, [])]
        self.network.run(1802, 1)
        self.assertEqual(len(self.log.lines), 2)

    def test_retry_after(self) -> None:
        self.start((503, [("Retry-After", "200")]), (200, []))
        self.network.run(190, 1)
        self.assertEqual(len(self.requests), 1)
        self.network.run(20, 1)
        self.assertTrue(self.registration.registered)

    def test_silent(self) -> None:
        self.start((0, []), seconds=40)
        self.assertIn("no answer", self.log.lines[0])

    def test_password(self) -> None:
        """Asked once; each refresh counts on from the number that had the password."""
        self.agent.keyring = Keyring({"r": Secret("gw", "x")}, CountingRandom("k"))
        challenge = render_challenge(Challenge("r", "n", "SHA-256", True))
        self.start((401, [("WWW-Authenticate", challenge)]), (200, []))
        self.assertEqual(list(self.cseqs()), [1, 2])
        self.network.run(540, 1)
        self.assertEqual(list(self.cseqs()), [1, 2, 3])
        self.assertTrue(all("Authorization" in each.headers for each in self.requests[1:]))

    def test_stopped(self) -> None:
        """Taken back; who does not answer holds nobody up."""
        self.start()
        done: list[None] = []
        self.registration.stop().addCallback(done.append)
        self.network.run(0.5)
        self.assertEqual(self.requests[-1].headers.get("Expires"), "0")
        self.assertEqual(done, [None])
        self.network.run(7200, 1)
        self.assertEqual(len(self.requests), 2)
        self.start()
        self.answers = [(0, [])]
        self.registration.stop().addCallback(done.append)
        self.network.run(3)
        self.assertEqual(len(done), 2)

    def test_stopped_before(self) -> None:
        self.start((403, []))
        stopped: Deferred[None] = self.registration.stop()
        self.successResultOf(stopped)
        self.network.run(3600, 1)
        self.assertEqual(len(self.requests), 1)


class TcpTests(RegistrationTests):
    """The same over a connection, which is kept alive (RFC 5626 §4.4.1)."""

    transport = "tcp"

    def test_kept_alive(self) -> None:
        self.start()
        self.network.run(500, 0.5)
        self.assertEqual(len(self.requests), 1)
        self.assertEqual(len(self.network.connections), 1)
        ours, theirs = self.network.connections[0]
        pings = bytes(ours.written).partition(b"\r\n\r\n")[2]
        self.assertEqual(pings, b"\r\n\r\n" * 5)
        self.assertTrue(bytes(theirs.written).endswith(b"\r\n" * 5))

    def test_connection_lost(self) -> None:
        """Nothing reaches us any more: registered anew."""
        self.start()
        self.network.connections[0][1].abortConnection()
        self.network.run(100, 0.5)
        self.assertEqual(len(self.requests), 2)
        self.assertEqual(len(self.network.connections), 2)
        self.network.run(200, 0.5)
        self.assertEqual(len(self.requests), 2)

    def test_no_pong(self) -> None:
        """The connection is there, and nobody behind it."""
        self.start()
        _, theirs = self.network.connections[0]
        theirs.protocol.dataReceived = lambda data: None
        self.network.run(110, 0.5)
        self.assertEqual(len(self.network.connections), 2)
        self.assertEqual(len(self.requests), 2)


class AllTests(SynchronousTestCase):
    def test_all(self) -> None:
        network = Network()
        settings = tuple(
            RegistrationSettings(aor=f"sip:{name}@{REGISTRAR}") for name in ("alice", "bob")
        )
        registrar = make_agent(network, REGISTRAR)
        registrar.on("REGISTER", lambda transaction: registrar.respond(transaction, 200))
        all_ = Registrations(make_agent(network, HOST, registrations=settings))
        all_.start()
        network.run(1)
        self.assertEqual(all_.registered, 2)
        stopped = all_.stop()
        network.run(1)
        self.successResultOf(stopped)
        self.assertEqual(all_.registered, 0)

    def test_problems(self) -> None:
        good = RegistrationSettings(aor=AOR)
        bad = RegistrationSettings(aor="tel:1", registrar="sip:")
        problems = list(find_registration_problems([good, bad]))
        self.assertEqual(len(problems), 2)
        self.assertIn("is no sip: or sips: URI", problems[0])
