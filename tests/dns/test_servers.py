"""Asking name servers over real sockets of the loopback, against a server of the tests' own."""

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.names import dns
from twisted.trial.unittest import TestCase

from msrpgw.dns.records import Answer, Kind, Naptr, Srv
from msrpgw.dns.servers import DnsError, NameServers
from msrpgw.dns.settings import DnsSettings
from msrpgw.timers import Timers
from tests.dns.server import NameServer
from tests.interop.peers import stop_wheels
from tests.support import CountingRandom


class NameServersTests(TestCase):
    """``NameServers``."""

    def setUp(self) -> None:
        self.addCleanup(stop_wheels)
        self.server = NameServer(reactor)
        self.addCleanup(self.server.stop)

    def make(self, *servers: str, timeout: float = 0.6, conf: str = "/nowhere") -> NameServers:
        """Name servers to ask; by default the one of the test."""
        made = NameServers(
            reactor,
            Timers(reactor),
            CountingRandom(),
            DnsSettings(servers=servers or (self.server.address,), timeout=timeout),
            conf,
        )
        self.addCleanup(made.close)
        return made

    @inlineCallbacks
    def test_kinds(self):
        """Each kind of record, with its TTL."""
        self.server.add("a.example", dns.Record_A("192.0.2.1", ttl=60))
        self.server.add("a.example", dns.Record_AAAA("2001:DB8::1", ttl=70))
        self.server.add("_sip._udp.a.example", dns.Record_SRV(1, 2, 5070, "P.example", ttl=80))
        self.server.add(
            "a.example",
            dns.Record_NAPTR(10, 20, b"s", b"sip+d2u", b"", b"_sip._udp.a.example", ttl=90),
        )
        servers = self.make()
        for kind, name, wanted in (
            (Kind.A, "a.example", Answer(("192.0.2.1",), 60)),
            (Kind.AAAA, "a.example", Answer(("2001:db8::1",), 70)),
            (Kind.SRV, "_sip._udp.a.example", Answer((Srv(1, 2, 5070, "p.example"),), 80)),
            (
                Kind.NAPTR,
                "a.example",
                Answer((Naptr(10, 20, "s", "SIP+D2U", "_sip._udp.a.example"),), 90),
            ),
        ):
            self.assertEqual((yield servers.ask(name, kind)), wanted)

    @inlineCallbacks
    def test_alias(self):
        """A CNAME is followed; the least TTL of the way counts."""
        self.server.add("www.example", dns.Record_CNAME("A.example", ttl=5))
        self.server.add("a.example", dns.Record_A("192.0.2.1", ttl=60))
        self.server.chase = True
        answer = yield self.make().ask("www.example", Kind.A)
        self.assertEqual(answer, Answer(("192.0.2.1",), 5))

    @inlineCallbacks
    def test_nothing(self):
        """No such name: for as long as the zone's SOA says (RFC 2308)."""
        self.server.soa = dns.Record_SOA(minimum=7, ttl=60)
        answer = yield self.make().ask("nowhere.example", Kind.A)
        self.assertEqual(answer, Answer((), 7))

    @inlineCallbacks
    def test_too_large(self):
        """What does not fit into a datagram is fetched over TCP."""
        self.server.truncate = True
        self.server.add("a.example", dns.Record_A("192.0.2.1", ttl=60))
        answer = yield self.make().ask("a.example", Kind.A)
        self.assertEqual(answer.values, ("192.0.2.1",))
        self.assertEqual(self.server.asked, [("udp", "a.example"), ("tcp", "a.example")])

    @inlineCallbacks
    def test_refused(self):
        """A server that is not there is passed over at once, thanks to ICMP."""
        gone = NameServer(reactor)
        yield gone.stop()
        self.server.add("a.example", dns.Record_A("192.0.2.1", ttl=60))
        servers = self.make(gone.address, self.server.address, timeout=30)
        began = reactor.seconds()
        answer = yield servers.ask("a.example", Kind.A)
        self.assertEqual(answer.values, ("192.0.2.1",))
        self.assertLess(reactor.seconds() - began, 5)

    @inlineCallbacks
    def test_trouble(self):
        """A server with trouble of its own is passed over; when all have it, that is the answer."""
        broken = NameServer(reactor)
        self.addCleanup(broken.stop)
        broken.code = dns.ESERVER
        self.server.add("a.example", dns.Record_A("192.0.2.1", ttl=60))
        answer = yield self.make(broken.address, self.server.address).ask("a.example", Kind.A)
        self.assertEqual(answer.values, ("192.0.2.1",))
        yield self.assertFailure(self.make(broken.address).ask("a.example", Kind.A), DnsError)

    @inlineCallbacks
    def test_silence(self):
        """Three times unanswered, and it is over."""
        self.server.silent = True
        yield self.assertFailure(self.make().ask("a.example", Kind.A), DnsError)
        self.assertEqual(len(self.server.asked), 3)

    @inlineCallbacks
    def test_what_is_no_answer(self):
        """Garbage, another's answer and an answer to another question are not heard."""
        self.server.noise = True
        self.server.add("a.example", dns.Record_A("192.0.2.1", ttl=60))
        answer = yield self.make().ask("a.example", Kind.A)
        self.assertEqual(answer.values, ("192.0.2.1",))

    @inlineCallbacks
    def test_search(self):
        """The search list of resolv.conf counts for addresses, not for services."""
        conf = self.mktemp()
        with open(conf, "w", encoding="ascii") as file:
            file.write("nameserver 192.0.2.99\nsearch nowhere.example lan.example\n")
        self.server.add("proxy.lan.example", dns.Record_A("192.0.2.1", ttl=60))
        servers = self.make(conf=conf)
        answer = yield servers.ask("proxy", Kind.A)
        self.assertEqual(answer.values, ("192.0.2.1",))
        yield servers.ask("proxy", Kind.SRV)
        names = [name for _, name in self.server.asked]
        self.assertEqual(names, ["proxy.nowhere.example", "proxy.lan.example", "proxy"])

    @inlineCallbacks
    def test_close(self):
        """What is under way fails, its socket closed."""
        self.server.silent = True
        servers = self.make(timeout=30)
        asking = servers.ask("a.example", Kind.A)
        servers.close()
        yield self.assertFailure(asking, DnsError)


class IPv6Tests(TestCase):
    """A server of the other family."""

    @inlineCallbacks
    def test_ipv6(self):
        self.addCleanup(stop_wheels)
        server = NameServer(reactor, "::1")
        self.addCleanup(server.stop)
        server.truncate = True
        server.add("a.example", dns.Record_A("192.0.2.1", ttl=60))
        servers = NameServers(
            reactor,
            Timers(reactor),
            CountingRandom(),
            DnsSettings(servers=(server.address,), timeout=3),
        )
        self.addCleanup(servers.close)
        answer = yield servers.ask("a.example", Kind.A)
        self.assertEqual(answer.values, ("192.0.2.1",))
