"""Where requests go (RFC 3263)."""

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.dns.records import Answer, Kind, Naptr, Srv
from msrpgw.sip.locate import Locator
from msrpgw.sip.routing import goes_over_tls
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transport import Target
from msrpgw.sip.uri import parse_uri
from msrpgw.timers import Timers
from tests.support import (
    CountingRandom,
    NameServersInMemory,
    Network,
    check_no_timers,
    make_resolver,
)

BOTH = ("udp:10.0.0.1:5060", "tcp:10.0.0.1:5060", "udp:[2001:db8::1]:5060")
IPV4 = ("udp:10.0.0.1:5060", "tcp:10.0.0.1:5060")
SECURE = (*IPV4, "tls:10.0.0.1:5061")


class LocatorTestCase(SynchronousTestCase):
    """``Locator`` on a network in memory."""

    def setUp(self) -> None:
        """A locator that listens on IPv4."""
        self.network = Network()
        self.found: list[list[Target]] = []
        self.make(*IPV4)

    def make(self, *listen: str, **dns: object) -> None:
        """A locator with these listeners."""
        host = self.network.host("10.0.0.1")
        self.timers = Timers(host)
        self.servers = NameServersInMemory(self.network)
        self.resolver = make_resolver(self.network, self.timers, self.servers, **dns)
        self.locator = Locator(
            self.resolver, self.timers, CountingRandom(), SipSettings(listen=listen)
        )

    def locate(self, uri: str, *, secure: bool = False) -> list[Target]:
        """Look a URI up, and wait."""
        self.locator.locate(parse_uri(uri), self.found.append, secure=secure)
        self.network.run()
        return self.found.pop()

    def srv(self, name: str, *records: tuple[int, int, int, str]) -> None:
        """SRV records: priority, weight, port, host."""
        self.network.records[Kind.SRV, name] = [Srv(*each) for each in records]

    def naptr(self, name: str, *records: tuple[int, int, str, str, str]) -> None:
        """NAPTR records: order, preference, flags, service, replacement."""
        self.network.records[Kind.NAPTR, name] = [Naptr(*each) for each in records]


class AddressTests(LocatorTestCase):
    """No SRV and no NAPTR."""

    def test_addresses(self) -> None:
        """An address needs no look-up."""
        self.make(*BOTH)
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
        self.assertEqual(self.servers.asked, [])

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
        """A name with a port has all its addresses, IPv6 first, of the families we have."""
        self.make(*BOTH)
        self.network.names["proxy.example"] = ["10.0.0.2", "2001:db8::2", "10.0.0.3"]
        uri = "sip:bob@Proxy.Example.:5070;transport=tcp"
        self.assertIsNone(self.locator.locate_now(parse_uri(uri)))
        wanted = [
            Target("TCP", "2001:db8::2", 5070),
            Target("TCP", "10.0.0.2", 5070),
            Target("TCP", "10.0.0.3", 5070),
        ]
        self.assertEqual(self.locate(uri), wanted)
        self.assertEqual(self.locator.locate_now(parse_uri(uri)), wanted)
        self.assertEqual({kind for kind, _ in self.servers.asked}, {Kind.A, Kind.AAAA})
        self.make(*IPV4)
        self.assertEqual(
            self.locate("sip:proxy.example"),
            [Target("UDP", "10.0.0.2", 5060), Target("UDP", "10.0.0.3", 5060)],
        )
        self.assertNotIn((Kind.AAAA, "proxy.example"), self.servers.asked)
        check_no_timers(self, self.network.clock, self.timers)

    def test_names_that_end_like_addresses(self) -> None:
        """A name may end with a digit or a letter of hexadecimal."""
        self.network.names["host1"] = ["10.0.0.2"]
        self.network.names["cafe"] = ["10.0.0.3"]
        self.assertEqual(self.locate("sip:host1"), [Target("UDP", "10.0.0.2", 5060)])
        self.assertEqual(self.locate("sip:cafe"), [Target("UDP", "10.0.0.3", 5060)])

    def test_hosts_file(self) -> None:
        """A name of the hosts file is looked up there and nowhere else, the families we have."""
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write("10.0.0.7 proxy.example\n::7 proxy.example\n")
        self.make(*IPV4, hosts=path)
        self.srv("_sip._udp.proxy.example", (1, 0, 5070, "10.0.0.8"))
        self.assertEqual(self.locate("sip:proxy.example"), [Target("UDP", "10.0.0.7", 5060)])
        self.assertEqual(self.servers.asked, [])

    def test_localhost(self) -> None:
        """RFC 6761 §6.3: never asked for."""
        self.make(*BOTH)
        self.assertEqual(
            self.locate("sip:localhost:5070"),
            [Target("UDP", "127.0.0.1", 5070), Target("UDP", "::1", 5070)],
        )
        self.assertEqual(self.servers.asked, [])


class SrvTests(LocatorTestCase):
    """§4.2: SRV records."""

    def test_priorities(self) -> None:
        """By priority; each host with its port and all its addresses."""
        self.srv(
            "_sip._udp.example.com",
            (20, 0, 5062, "c.example.com"),
            (5, 0, 5060, "a.example.com"),
            (10, 0, 5061, "b.example.com"),
        )
        self.network.names["a.example.com"] = ["10.0.0.2", "10.0.0.3"]
        self.network.names["b.example.com"] = ["10.0.0.4"]
        self.network.names["c.example.com"] = ["10.0.0.5"]
        self.assertEqual(
            self.locate("sip:bob@example.com"),
            [
                Target("UDP", "10.0.0.2", 5060),
                Target("UDP", "10.0.0.3", 5060),
                Target("UDP", "10.0.0.4", 5061),
                Target("UDP", "10.0.0.5", 5062),
            ],
        )

    def test_weights(self) -> None:
        """Of those with one priority each request takes its chance, in proportion to weights."""
        self.srv("_sip._udp.example.com", (1, 30, 5060, "10.0.0.2"), (1, 10, 5060, "10.0.0.3"))
        first = [self.locate("sip:example.com")[0].host for _ in range(400)]
        self.assertTrue(260 < first.count("10.0.0.2") < 340, first.count("10.0.0.2"))
        self.assertEqual(len(self.locate("sip:example.com")), 2)
        # Asked once, though chance decides each time anew.
        asked = [name for kind, name in self.servers.asked if name == "_sip._udp.example.com"]
        self.assertEqual(len(asked), 1)

    def test_not_with_a_port(self) -> None:
        """A URI with a port is for that very host."""
        self.srv("_sip._udp.example.com", (1, 0, 5070, "10.0.0.8"))
        self.network.names["example.com"] = ["10.0.0.9"]
        self.assertEqual(self.locate("sip:example.com:5060"), [Target("UDP", "10.0.0.9", 5060)])

    def test_transport_of_the_uri(self) -> None:
        """Only the records of that transport count, and NAPTR is not asked for."""
        self.srv("_sip._udp.example.com", (1, 0, 5070, "10.0.0.8"))
        self.srv("_sip._tcp.example.com", (1, 0, 5071, "10.0.0.8"))
        self.assertEqual(
            self.locate("sip:example.com;transport=tcp"), [Target("TCP", "10.0.0.8", 5071)]
        )
        self.assertNotIn(Kind.NAPTR, [kind for kind, _ in self.servers.asked])

    def test_the_transport_that_is_there(self) -> None:
        """Without NAPTR the records say which transport it is."""
        self.srv("_sip._tcp.example.com", (1, 0, 5071, "10.0.0.8"))
        self.network.names["example.com"] = ["10.0.0.9"]
        self.assertEqual(self.locate("sip:example.com"), [Target("TCP", "10.0.0.8", 5071)])

    def test_not_to_be_had(self) -> None:
        """RFC 2782: the root as host says no; the address of the domain is no substitute."""
        self.srv("_sip._udp.example.com", (0, 0, 0, ""))
        self.network.names["example.com"] = ["10.0.0.9"]
        self.assertEqual(self.locate("sip:example.com"), [])

    def test_without_addresses(self) -> None:
        """A host that does not exist is passed over."""
        self.srv("_sip._udp.example.com", (1, 0, 5060, "gone.example"), (2, 0, 5060, "10.0.0.8"))
        self.assertEqual(self.locate("sip:example.com"), [Target("UDP", "10.0.0.8", 5060)])

    def test_bounded(self) -> None:
        """Many records are no way to make us knock at many doors."""
        self.srv(
            "_sip._udp.example.com", *((1, 1, 5060, f"10.0.1.{number}") for number in range(60))
        )
        self.assertEqual(len(self.locate("sip:example.com")), 16)


class OnlyTlsTests(LocatorTestCase):
    """Who listens on nothing but TLS."""

    def test_dns_cannot_say_otherwise(self) -> None:
        """SDP may hold keys then: records of other transports are not even asked for."""
        self.make("tls:10.0.0.1:5061")
        self.naptr("example.com", (1, 1, "s", "SIP+D2T", "_sip._tcp.example.com"))
        for transport in ("udp", "tcp"):
            self.srv(f"_sip._{transport}.example.com", (1, 0, 5070, "10.0.0.8"))
        self.network.names["example.com"] = ["10.0.0.9"]
        self.assertEqual(
            self.locate("sip:example.com"), [Target("TLS", "10.0.0.9", 5061, name="example.com")]
        )


class NaptrTests(LocatorTestCase):
    """§4.1: NAPTR records select the transport."""

    def setUp(self) -> None:
        """One domain with all services."""
        super().setUp()
        self.naptr(
            "example.com",
            (50, 50, "s", "SIPS+D2T", "_sips._tcp.example.com"),
            (90, 60, "s", "SIP+D2U", "udp.elsewhere.example"),
            (90, 50, "s", "SIP+D2T", "tcp.elsewhere.example"),
            (10, 10, "u", "E2U+SIP", "whatever.example"),
        )
        self.srv("_sips._tcp.example.com", (1, 0, 5061, "10.0.0.5"))
        self.srv("tcp.elsewhere.example", (1, 0, 5070, "10.0.0.6"))
        self.srv("udp.elsewhere.example", (1, 0, 5071, "10.0.0.7"))

    def test_order(self) -> None:
        """By order and preference, of the transports that we have."""
        self.assertEqual(self.locate("sip:example.com"), [Target("TCP", "10.0.0.6", 5070)])
        self.make(*SECURE)
        self.assertEqual(
            self.locate("sip:example.com"), [Target("TLS", "10.0.0.5", 5061, name="example.com")]
        )

    def test_next_when_one_leads_nowhere(self) -> None:
        """A service without hosts is passed over."""
        del self.network.records[Kind.SRV, "tcp.elsewhere.example"]
        self.assertEqual(self.locate("sip:example.com"), [Target("UDP", "10.0.0.7", 5071)])

    def test_secure(self) -> None:
        """sips, and whatever has to be as if it were, is TLS or nothing."""
        self.make(*SECURE)
        wanted = [Target("TLS", "10.0.0.5", 5061, name="example.com")]
        self.assertEqual(self.locate("sips:example.com"), wanted)
        self.assertEqual(self.locate("sip:example.com", secure=True), wanted)
        self.assertEqual(self.locate("sip:example.com;transport=udp", secure=True), [])
        del self.network.records[Kind.SRV, "_sips._tcp.example.com"]
        self.network.names["example.com"] = ["10.0.0.9"]
        self.make(*SECURE)
        self.assertEqual(
            self.locate("sips:example.com"), [Target("TLS", "10.0.0.9", 5061, name="example.com")]
        )

    def test_silence_on_naptr(self) -> None:
        """A server that keeps silent on NAPTR costs one time-out, no more."""

        class Picky(NameServersInMemory):
            def ask(self, name: str, kind: Kind) -> "Deferred[Answer]":
                """Never answer NAPTR."""
                return Deferred() if kind is Kind.NAPTR else super().ask(name, kind)

        self.servers = Picky(self.network)
        self.resolver = make_resolver(self.network, self.timers, self.servers)
        self.locator = Locator(
            self.resolver, self.timers, CountingRandom(), SipSettings(listen=IPV4)
        )
        self.network.names["example.com"] = ["10.0.0.9"]
        self.locator.locate(parse_uri("sip:example.com"), self.found.append)
        self.network.run(5.1)
        self.assertEqual(self.found, [[Target("UDP", "10.0.0.9", 5060)]])


class KeepingTests(LocatorTestCase):
    """What is known, for how long, and who waits for what."""

    def test_ttl(self) -> None:
        """What was found is kept as long as the shortest of its records holds."""
        self.network.ttl = 100.0
        self.srv("_sip._udp.a.example", (1, 0, 5060, "h.example"))
        self.network.names["h.example"] = ["10.0.0.2"]
        self.locate("sip:a.example;transport=udp")
        self.network.names["h.example"] = ["10.0.0.9"]
        uri = parse_uri("sip:a.example;transport=udp")
        self.network.run(99, step=1)
        self.assertEqual(self.locator.locate_now(uri), [Target("UDP", "10.0.0.2", 5060)])
        self.network.run(2, step=1)
        self.assertIsNone(self.locator.locate_now(uri))
        self.assertEqual(
            self.locate("sip:a.example;transport=udp"), [Target("UDP", "10.0.0.9", 5060)]
        )
        self.assertEqual(self.network.look_ups, ["a.example", "h.example"] * 2)

    def test_unknown(self) -> None:
        """An unknown name leads nowhere, and is not asked for again before 30 s are over."""
        self.assertEqual(self.locate("sip:nowhere.example"), [])
        self.assertEqual(self.locate("sip:nowhere.example"), [])
        self.assertEqual(len(self.network.look_ups), 1)
        self.network.run(31, step=1)
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
        self.network.silent_names.update(
            ("slow.example", "_sip._udp.slow.example", "_sip._tcp.slow.example")
        )
        self.network.names["a.example"] = ["10.0.0.2"]
        self.locator.locate(parse_uri("sip:slow.example"), self.found.append)
        self.assertEqual(self.locate("sip:a.example"), [Target("UDP", "10.0.0.2", 5060)])
        self.network.run(4.9)
        self.assertEqual(self.found, [])
        self.network.run(0.2)
        self.assertEqual(self.found, [[]])
        check_no_timers(self, self.network.clock, self.timers)

    def test_broken_resolver(self) -> None:
        """An error of ours leads nowhere, and is told in the log."""
        self.resolver.hosts = lambda name: 1 / 0  # type: ignore[method-assign, assignment]
        self.assertEqual(self.locate("sip:a.example"), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_failing_servers(self) -> None:
        """Servers that fail lead nowhere."""
        self.servers.ask = lambda name, kind: fail(ValueError())  # type: ignore[method-assign]
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
        self.resolver.close()
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
            ("sip:bob@b.example", ("sips:p.example", "sip:q.example"), (udp, tls), False),
            ("sip:bob@b.example", ("sips:p.example", "sips:q.example"), (udp, tls), True),
            ("tel:+1", None, (udp, tls), False),
            ("sip:", None, (udp, tls), False),
        ):
            settings = SipSettings(listen=listen, outbound_proxy=proxy)
            self.assertEqual(goes_over_tls(uri, settings), wanted, (uri, proxy, listen))
