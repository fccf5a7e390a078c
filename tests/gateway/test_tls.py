"""MESSAGE over TLS to MSRPS and back, and nothing where TLS does not hold."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.ua.users import MsrpUser, PageUser, Received, Sent
from tests.gateway.support import GATEWAY, Town
from tests.network import FakeTcp
from tests.support import LogLines, make_agent
from tests.tls.authority import CA, Issued, issue, make_authority, make_tls

ALICE, BOB = "10.0.0.1", "10.0.0.2"
TO_ALICE, TO_BOB = f"sips:alice@{ALICE}", f"sips:bob@{BOB}"


class TlsTests(SynchronousTestCase):
    """Alice has SIP MESSAGE, Bob MSRP; both go through the gateway, which is their proxy."""

    def setUp(self) -> None:
        self.log = LogLines(self, "msrpgw")
        self.sent: list[Sent] = []
        self.got: list[str] = []

    def build(self, bob_sip: Issued | None = None, bob_msrp: Issued | None = None) -> None:
        """Everybody; Bob's MSRP certificate is self-signed unless another is given."""
        own = make_tls(self.mktemp(), issue(ips=(GATEWAY,), issuer=CA), host=GATEWAY)
        self.town = town = Town(
            sip={"tls": own}, msrp={"tls": own, "listen_tls": f"{GATEWAY}:2856"}, setup_timeout=5.0
        )
        alice = self.agent(ALICE, issue(ips=(ALICE,), issuer=CA))
        self.alice = PageUser(alice, alice.timers, TO_ALICE, self.came)
        bob = self.agent(BOB, bob_sip or issue(ips=(BOB,), issuer=CA))
        tls = make_tls(self.mktemp(), bob_msrp or issue(), host=BOB)
        self.endpoint = town._endpoint(BOB, 2855, tls=tls, listen_tls=f"{BOB}:2856")
        self.bob = MsrpUser(bob, self.endpoint, bob.timers, TO_BOB, self.came)

    def agent(self, host: str, own: Issued) -> Any:
        """A user's, behind the gateway."""
        proxy = f"sips:{GATEWAY}:5061;lr"
        return make_agent(
            self.town.network, host, tls=make_tls(self.mktemp(), own), outbound_proxy=proxy
        )

    def came(self, received: Received) -> None:
        self.got.append(received.text)

    def send(self, text: str) -> Sent:
        """Alice writes; what became of it."""
        self.alice.send(TO_BOB, text, self.sent.append)
        self.town.run(8, 0.02)
        return self.sent[-1]

    def wires(self) -> list[FakeTcp]:
        """Ends of all connections there were."""
        return [end for ends in self.town.network.connections for end in ends]

    def assertNothingInClear(self) -> None:
        self.assertEqual(self.town.network.datagrams, [])
        for end in self.wires():
            for words in (b"SIP/2.0", b"MSRP", b"secret"):
                self.assertNotIn(words, end.written)

    def test_both_ways(self) -> None:
        self.build()
        self.assertEqual(self.send("secret one").status, 202)
        self.assertEqual(self.send("secret two").status, 200)
        self.bob.send(TO_ALICE, "secret three", self.sent.append)
        self.town.run(2)
        self.assertEqual(self.got, ["secret one", "secret two", "secret three"])
        self.assertEqual(self.sent[-1].status, 200)
        [leg] = [session.leg for session in self.town.gateway.sessions.values()]
        assert leg is not None
        self.assertTrue(all(path.startswith("msrps://") for path in leg.paths), leg.paths)
        self.assertNothingInClear()

    def test_bob_calls(self) -> None:
        """The MSRP user opens the session."""
        self.build()
        self.bob.send(TO_ALICE, "secret", self.sent.append)
        self.town.run(4)
        self.assertEqual(self.got, ["secret"])
        self.assertNothingInClear()

    def test_a_session_that_is_lost_goes_on_over_tls(self) -> None:
        self.build()
        self.send("secret one")
        for ends in self.town.network.connections:
            if any(end.getHost().port == 2856 for end in ends):
                ends[0].break_off()
        self.town.run(2)
        self.assertEqual(self.send("secret two").status, 200)
        self.assertEqual(self.got, ["secret one", "secret two"])
        self.assertNothingInClear()

    def assertRefused(self, *words: str) -> None:
        """Nothing crosses, and log and operator are told why."""
        self.assertEqual(self.send("secret").status, 202)
        [notice] = self.got  # what alice is told; bob got nothing
        self.assertTrue(notice.startswith("Failed to establish session, error: "), notice)
        lines = "\n".join(self.log.lines)
        for each in words:
            self.assertIn(each, lines)
        failed = self.town.sink.named("E_MSRP_GW_SETUP_FAILED")
        self.assertIn("TLS: the certificate", failed[0]["reason"])
        self.assertNothingInClear()

    def test_another_fingerprint(self) -> None:
        self.build()
        assert self.endpoint.secure is not None
        self.endpoint.secure._tls = make_tls(self.mktemp(), issue(), host=BOB)
        self.assertRefused("the certificate has another fingerprint, from 10.0.0.2: MSRPS")

    def test_another_name(self) -> None:
        self.build(bob_sip=issue("evil.example", issuer=CA))
        self.assertRefused("the certificate has another name, from 10.0.0.2: SIP client")

    def test_another_authority(self) -> None:
        self.build(bob_sip=issue(ips=(BOB,), issuer=make_authority("Other")))
        self.assertRefused("the certificate is of an unknown authority, from 10.0.0.2: SIP client")
