"""Where requests go (RFC 3263, A and AAAA only)."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.locate import Locator, goes_over_tls
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transport import Target
from msrpgw.sip.uri import parse_uri
from msrpgw.timers import Timers
from tests.support import Network, check_no_timers

BOTH = ("udp:10.0.0.1:5060", "tcp:10.0.0.1:5060", "udp:[2001:db8::1]:5060")


class LocatorTests(SynchronousTestCase):
    """``Locator`` on a network in memory."""

    def setUp(self) -> None:
        """A locator that listens on both families."""
        self.network = Network()
        self.found: list[list[Target]] = []
        self.make(*BOTH)

    def make(self, *listen: str) -> None:
        """A locator with these listeners."""
        host = self.network.host("10.0.0.1")
        self.timers = Timers(host)
        self.locator = Locator(host, self.timers, SipSettings(listen=listen))

    def locate(self, uri: str) -> list[Target]:
        """Look a URI up, and wait."""
        self.locator.locate(parse_uri(uri), self.found.append)
        self.network.run()
        return self.found.pop()

    def test_addresses(self) -> None:
        """An address needs no look-up."""
        for uri, wanted in (
            ("sip:bob@10.0.0.2", Target("UDP", "10.0.0.2", 5060)),
            ("sip:bob@10.0.0.2:5070", Target("UDP", "10.0.0.2", 5070)),
            ("sip:10.0.0.2;transport=TCP", Target("TCP", "10.0.0.2", 5060)),
            ("sip:10.0.0.2;transport=udp", Target("UDP", "10.0.0.2", 5060)),
            ("sip:bob@[2001:DB8:0::2]:5061", Target("UDP", "2001:db8::2", 5061)),
            ("sip:bob@example.com;maddr=10.0.0.9", Target("UDP", "10.0.0.9", 5060)),
        ):
            self.assertEqual(self.locator.locate_now(parse_uri(uri)), [wanted])
            self.assertEqual(self.locate(uri), [wanted])
        self.assertEqual(self.network.look_ups, [])

    def test_nowhere(self) -> None:
        """What we have no transport for, and what has no host, leads nowhere, at once."""
        for uri in (
            "sips:bob@10.0.0.2",
            "sip:bob@10.0.0.2;transport=tls",
            "sip:bob@example.com;transport=sctp",
            "tel:+15551234",
            "urn:service:sos",
        ):
            self.assertEqual(self.locator.locate_now(parse_uri(uri)), [])
            self.assertEqual(self.locate(uri), [])

    def test_only_tcp(self) -> None:
        """Without a UDP listener a URI that names no transport means TCP."""
        self.make("tcp:10.0.0.1:5060")
        self.assertEqual(self.locate("sip:10.0.0.2"), [Target("TCP", "10.0.0.2", 5060)])

    def test_names(self) -> None:
        """A name gives all its addresses, in the resolver's order, of the families we have."""
        self.network.names["proxy.example"] = ["10.0.0.2", "2001:db8::2", "10.0.0.2", "10.0.0.3"]
        self.assertIsNone(self.locator.locate_now(parse_uri("sip:proxy.example")))
        self.assertEqual(
            self.locate("sip:bob@Proxy.Example:5070;transport=tcp"),
            [
                Target("TCP", "10.0.0.2", 5070),
                Target("TCP", "2001:db8::2", 5070),
                Target("TCP", "10.0.0.3", 5070),
            ],
        )
        self.make("udp:10.0.0.1:5060")
        self.assertEqual(
            self.locate("sip:proxy.example"),
            [Target("UDP", "10.0.0.2", 5060), Target("UDP", "10.0.0.3", 5060)],
        )
        check_no_timers(self, self.network.clock, self.timers)

    def test_names_that_end_like_addresses(self) -> None:
        """A name may end with a digit or a letter of hexadecimal."""
        self.network.names["host1"] = ["10.0.0.2"]
        self.network.names["cafe"] = ["10.0.0.3"]
        self.assertEqual(self.locate("sip:host1"), [Target("UDP", "10.0.0.2", 5060)])
        self.assertEqual(self.locate("sip:cafe"), [Target("UDP", "10.0.0.3", 5060)])

    def test_kept(self) -> None:
        """Answers are kept for 30 s; then the name is looked up again."""
        self.network.names["a.example"] = ["10.0.0.2"]
        self.locate("sip:a.example")
        self.network.names["a.example"] = ["10.0.0.9"]
        self.assertEqual(self.locate("sip:a.example"), [Target("UDP", "10.0.0.2", 5060)])
        self.assertIsNotNone(self.locator.locate_now(parse_uri("sip:a.example")))
        self.network.run(31, step=1)
        self.assertEqual(self.locate("sip:a.example"), [Target("UDP", "10.0.0.9", 5060)])
        self.assertEqual(len(self.network.look_ups), 2)

    def test_unknown(self) -> None:
        """An unknown name leads nowhere, and is not asked for again at once."""
        self.assertEqual(self.locate("sip:nowhere.example"), [])
        self.assertEqual(self.locate("sip:nowhere.example"), [])
        self.assertEqual(len(self.network.look_ups), 1)
        self.network.run(6, step=1)
        self.locate("sip:nowhere.example")
        self.assertEqual(len(self.network.look_ups), 2)

    def test_one_look_up_for_many(self) -> None:
        """Those who ask while a look-up runs wait for it."""
        self.network.names["a.example"] = ["10.0.0.2"]
        for _ in range(3):
            self.locator.locate(parse_uri("sip:a.example"), self.found.append)
        self.network.run()
        self.assertEqual(self.found, [[Target("UDP", "10.0.0.2", 5060)]] * 3)
        self.assertEqual(len(self.network.look_ups), 1)

    def test_silent_resolver(self) -> None:
        """A look-up that does not end counts as unknown after 5 s; other names don't wait."""
        self.network.silent_names.add("slow.example")
        self.network.names["a.example"] = ["10.0.0.2"]
        self.locator.locate(parse_uri("sip:slow.example"), self.found.append)
        self.assertEqual(self.locate("sip:a.example"), [Target("UDP", "10.0.0.2", 5060)])
        self.network.run(4.9)
        self.assertEqual(self.found, [])
        self.network.run(0.2)
        self.assertEqual(self.found, [[]])
        check_no_timers(self, self.network.clock, self.timers)

    def test_late_resolver(self) -> None:
        """An answer after that is ignored."""
        self.network.silent_names.add("slow.example")
        self.locator.locate(parse_uri("sip:slow.example"), self.found.append)
        look_up = self.locator._pending["slow.example"]
        self.network.run(5.1)
        look_up.resolutionComplete()
        self.assertEqual(self.found, [[]])

    def test_broken_resolver(self) -> None:
        """A resolver that raises leads nowhere."""

        class Broken:
            def resolveHostName(self, *args: object) -> None:
                """Fail."""
                raise ValueError("label too long")

        host = self.network.host("10.0.0.1")
        host.installNameResolver(Broken())
        self.locator = Locator(host, Timers(host), SipSettings())
        self.assertEqual(self.locate("sip:a.example"), [])

    def test_failing_callback(self) -> None:
        """One who fails does not keep the answer from the others."""
        self.network.names["a.example"] = ["10.0.0.2"]

        def fail(targets: list[Target]) -> None:
            raise ZeroDivisionError

        self.locator.locate(parse_uri("sip:a.example"), fail)
        self.assertEqual(len(self.locate("sip:a.example")), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_close(self) -> None:
        """Nobody hears anything after the end, and no timer is left."""
        self.network.silent_names.add("slow.example")
        self.locator.locate(parse_uri("sip:slow.example"), self.found.append)
        self.locator.close()
        self.network.run(6, step=1)
        self.assertEqual(self.found, [])
        check_no_timers(self, self.network.clock, self.timers)

    def test_bounded(self) -> None:
        """Many names don't fill the memory."""
        for number in range(1100):
            self.locate(f"sip:n{number}.example")
        self.assertLessEqual(len(self.locator._known), 1024)


class TlsTests(SynchronousTestCase):
    """What goes over TLS is known before it is sent: it decides what SDP offers."""

    def test_first_hop(self) -> None:
        tls, udp = "tls:10.0.0.1:5061", "udp:10.0.0.1:5060"
        for uri, proxy, listen, wanted in (
            ("sips:bob@b.example", None, (udp, tls), True),
            ("sip:bob@b.example;transport=TLS", None, (udp, tls), True),
            ("sip:bob@b.example", None, (udp, tls), False),
            ("sip:bob@b.example", None, (tls,), True),
            ("sip:bob@b.example;transport=tcp", None, (tls,), False),
            ("sips:bob@b.example", None, (udp,), False),
            ("sip:bob@b.example", "sips:p.example;lr", (udp, tls), True),
            ("sip:bob@b.example", "sip:p.example;lr;transport=tls", (udp, tls), True),
            ("sips:bob@b.example", "sip:p.example;lr", (udp, tls), True),
            ("sip:bob@b.example;transport=tls", "sip:p.example;lr", (udp, tls), False),
            ("tel:+1", None, (udp, tls), False),
            ("sip:", None, (udp, tls), False),
        ):
            settings = SipSettings(listen=listen, outbound_proxy=proxy)
            self.assertEqual(goes_over_tls(uri, settings), wanted, (uri, proxy, listen))
