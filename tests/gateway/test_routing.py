"""Messages find their way past proxies that are dead and name servers that hang."""

from msrpgw.dns.records import Kind, Srv
from tests.gateway.meeting import AliceTestCase
from tests.gateway.support import Town
from tests.gateway.wire import Wire, WireMsrp

#: where nobody is
DEAD = "192.0.2.99"


class FailOverTests(AliceTestCase):
    """Domains whose first server is dead, over UDP: it says nothing at all."""

    def setUp(self) -> None:
        """Bob and Alice are both behind such a domain."""
        super().setUp()
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        for domain, host in (("bob.example", "192.0.2.2"), ("alice.example", "192.0.2.1")):
            self.town.network.records[Kind.SRV, f"_sip._udp.{domain}"] = [
                Srv(1, 0, 5060, DEAD),
                Srv(2, 0, 5060, host),
            ]

    def test_to_msrp(self) -> None:
        """The text is there within 2 s, and the next session comes at once."""
        began = self.town.clock.seconds()
        self.assertEqual(self.alice.message("sip:bob@bob.example", "hi").status, 202)
        while not self.bob.bodies():
            self.town.run(0.1)
            self.assertLess(self.town.clock.seconds() - began, 2)
        self.assertEqual(self.bob.bodies(), ["hi"])
        self.assertEqual(self.alice.message("sip:bob@bob.example", "2").status, 200)
        self.alice.message("sip:carol@bob.example", "3")
        self.town.run(0.2)
        self.assertEqual(self.bob.bodies(), ["hi", "2", "3"])

    def test_to_page(self) -> None:
        """The same the other way; the SEND is answered when the page user has the text."""
        self.assertEqual(self.bob.call("sip:alice@alice.example").status, 200)
        self.town.run(0.1)
        self.bob.send("hi")
        self.town.run(2)
        self.assertEqual(self.alice.texts(), ["hi"])
        self.assertEqual(self.bob.statuses(), [200])
        began = self.town.clock.seconds()
        self.assertEqual(self.bob.send("2"), [200])
        self.assertLess(self.town.clock.seconds() - began, 0.2)
        self.assertEqual(self.alice.texts(), ["hi", "2"])


class HangingTests(AliceTestCase):
    """A name server that does not answer for one domain."""

    def test_only_who_asked(self) -> None:
        """Others are served meanwhile; the message that had to wait has its one outcome."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        for name in ("slow.example", "_sip._udp.slow.example", "_sip._tcp.slow.example"):
            self.town.network.silent_names.add(name)
        self.assertEqual(self.alice.message("sip:carol@slow.example", "?").status, 202)
        began = self.town.clock.seconds()
        self.send("1")
        self.assertEqual(self.send("2"), 200)
        self.assertLess(self.town.clock.seconds() - began, 0.5)
        self.assertEqual(bob.bodies(), ["1", "2"])
        self.town.run(5)
        (failed,) = self.town.sink.named("E_MSRP_GW_SETUP_FAILED")
        self.assertEqual((failed["code"], failed["from_uri"]), (503, "sip:carol@slow.example"))
        self.town.check_settled(self, sessions=1)


class ProxyTests(AliceTestCase):
    """Proxies in a list, and by domain."""

    def test_routes(self) -> None:
        """The call goes through the domain's proxy, all else through the list."""
        self.found(
            Town(
                sip={
                    "outbound_proxy": (f"sip:{DEAD};lr", "sip:192.0.2.3;lr"),
                    "routes": {"bob.example": "sip:192.0.2.4;lr"},
                }
            )
        )
        any_proxy, bobs = (Wire(self.town, "p", host, 480) for host in ("192.0.2.3", "192.0.2.4"))
        self.alice.message("sip:bob@bob.example", "1")
        self.alice.message("sip:bob@elsewhere.example", "2")
        self.town.run(2)
        self.assertEqual(
            [request.uri for request in bobs.requests("INVITE")], ["sip:bob@bob.example"]
        )
        (invite,) = any_proxy.requests("INVITE")
        self.assertEqual(invite.uri, "sip:bob@elsewhere.example")
        self.assertEqual(invite.headers.get_all("Route"), ["<sip:192.0.2.3;lr>"])
