"""What is known of names, and for how long."""

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from msrpgw.dns.records import Kind
from msrpgw.timers import Timers
from tests.support import NameServersInMemory, Network, check_no_timers, make_resolver


class Receiver:
    """Hears of the addresses, as an endpoint does."""

    def __init__(self) -> None:
        self.addresses: list[object] = []
        self.complete = False

    def resolutionBegan(self, resolutionInProgress: object) -> None:
        """Keep it."""
        self.resolution = resolutionInProgress

    def addressResolved(self, address: object) -> None:
        """Keep it."""
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        """That was all."""
        self.complete = True


class ResolverTests(SynchronousTestCase):
    """``Resolver`` with name servers in memory."""

    def setUp(self) -> None:
        """A resolver."""
        self.network = Network()
        self.make()

    def make(self, **settings: object) -> None:
        """A resolver with these settings."""
        self.timers = Timers(self.network.clock)
        self.servers = NameServersInMemory(self.network)
        self.resolver = make_resolver(self.network, self.timers, self.servers, **settings)

    def ask(self, name: str, kind: Kind = Kind.A) -> tuple[object, ...]:
        """Values of a name."""
        asking = self.resolver.ask(kind, name)
        self.network.run()
        return self.successResultOf(asking).values

    def test_kept(self) -> None:
        """As long as its TTL says, but not longer than ``max_ttl``."""
        self.network.names["a.example"] = ["10.0.0.2"]
        for longest, kept in ((3600.0, 30), (10.0, 10)):
            self.make(max_ttl=longest)
            self.assertEqual(self.ask("A.Example."), ("10.0.0.2",))
            self.network.run(kept - 1, step=1)
            self.ask("a.example")
            self.assertEqual(len(self.servers.asked), 1)
            self.network.run(2, step=1)
            self.ask("a.example")
            self.assertEqual(len(self.servers.asked), 2)

    def test_nothing(self) -> None:
        """That there is nothing is known for ``negative_ttl``; a failure counts for 5 s."""
        self.make(negative_ttl=8.0)
        self.assertEqual(self.ask("a.example"), ())
        self.network.run(7, step=1)
        self.ask("a.example")
        self.assertEqual(len(self.servers.asked), 1)
        self.network.run(2, step=1)
        self.servers.failing = True
        self.ask("a.example")
        self.network.run(4.9)
        self.ask("a.example")
        self.assertEqual(len(self.servers.asked), 2)
        self.assertEqual((self.resolver.counters.look_ups, self.resolver.counters.failures), (2, 1))
        self.network.run(0.2)
        self.ask("a.example")
        self.assertEqual(len(self.servers.asked), 3)

    def test_stale(self) -> None:
        """RFC 8767: what was known does while name servers fail, for a day."""
        self.network.names["a.example"] = ["10.0.0.2"]
        self.ask("a.example")
        self.network.run(31, step=1)
        self.servers.failing = True
        self.assertEqual(self.ask("a.example"), ("10.0.0.2",))
        self.network.run(29, step=1)
        self.ask("a.example")
        self.assertEqual(len(self.servers.asked), 2)
        self.network.run(2, step=1)
        self.assertEqual(self.ask("a.example"), ("10.0.0.2",))
        self.assertEqual(len(self.servers.asked), 3)
        self.network.run(87_000, step=1000)
        self.assertEqual(self.ask("a.example"), ())
        # That there is no such name any more is an answer.
        self.servers.failing = False
        self.network.run(6, step=1)
        self.assertEqual(self.ask("a.example"), ("10.0.0.2",))
        del self.network.names["a.example"]
        self.network.run(31, step=1)
        self.assertEqual(self.ask("a.example"), ())

    def test_gives_up(self) -> None:
        """When time is up the name servers are not asked any further."""
        cancelled: list[object] = []
        self.servers.ask = lambda name, kind: Deferred(cancelled.append)  # type: ignore[method-assign]
        asking = self.resolver.ask(Kind.A, "a.example")
        self.network.run(4.9)
        self.assertEqual(cancelled, [])
        self.network.run(0.2)
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.successResultOf(asking).values, ())

    def test_bounded(self) -> None:
        """The oldest answers go first."""
        self.make(max_kept=3)
        for number in range(5):
            self.ask(f"n{number}.example")
        self.ask("n4.example")
        self.assertEqual(len(self.servers.asked), 5)
        self.ask("n0.example")
        self.assertEqual(len(self.servers.asked), 6)
        self.assertEqual(len(self.resolver._kept), 3)

    def test_too_many_at_a_time(self) -> None:
        """Above ``max_look_ups`` a look-up fails at once, and may be made the moment after."""
        self.make(max_look_ups=2)
        self.network.silent_names.update(("a.example", "b.example"))
        self.network.names["c.example"] = ["10.0.0.2"]
        waiting = [self.resolver.ask(Kind.A, name) for name in ("a.example", "b.example")]
        self.assertEqual(self.ask("c.example"), ())
        self.assertEqual(self.resolver.counters.refused, 1)
        self.assertEqual(self.resolver.pending, 2)
        self.network.run(5.1)
        self.assertEqual([self.successResultOf(each).values for each in waiting], [(), ()])
        self.assertEqual(self.ask("c.example"), ("10.0.0.2",))
        check_no_timers(self, self.network.clock, self.timers)

    def test_what_is_no_name(self) -> None:
        """It is not asked for."""
        for name in ("", "a..example", "x" * 64, "a." * 130, "ä.example"):
            self.assertEqual(self.ask(name), ())
        self.assertEqual(self.servers.asked, [])

    def test_late_answer(self) -> None:
        """What comes after the time is over changes nothing."""
        late: Deferred[object] = Deferred()
        self.servers.ask = lambda name, kind: late  # type: ignore[method-assign, assignment]
        asking = self.resolver.ask(Kind.A, "a.example")
        self.network.run(5.1)
        self.assertEqual(self.successResultOf(asking).values, ())
        late.callback(None)
        self.assertEqual(self.ask("a.example"), ())

    def test_hosts_file_changes(self) -> None:
        """It is read again, without a restart."""
        path = self.mktemp()
        self.make(hosts=path)
        self.assertIsNone(self.resolver.hosts("a.example"))
        for address in ("10.0.0.2", "10.0.0.33"):
            with open(path, "w", encoding="ascii") as file:
                file.write(f"{address} a.example b # c\n")
            found = self.resolver.hosts("b")
            assert found is not None
            self.assertEqual(found.addresses, (address,))
        self.assertIsNone(self.resolver.hosts("c"))

    def resolve(self, name: str, *types: type) -> Receiver:
        """Resolve as an endpoint does."""
        receiver = Receiver()
        self.resolver.resolveHostName(receiver, name, 2855, types or None)  # type: ignore[arg-type]
        self.network.run()
        self.assertTrue(receiver.complete)
        return receiver

    def test_for_endpoints(self) -> None:
        """All addresses of the families wanted, each with the port."""
        verifyObject(IHostnameResolver, self.resolver)
        self.network.names["a.example"] = ["10.0.0.2", "2001:db8::2"]
        four, six = IPv4Address("TCP", "10.0.0.2", 2855), IPv6Address("TCP", "2001:db8::2", 2855)
        self.assertEqual(self.resolve("a.example").addresses, [six, four])
        self.assertEqual(self.resolve("a.example", IPv4Address).addresses, [four])
        self.assertEqual(self.resolve("2001:DB8::2").addresses, [six])
        self.assertEqual(self.resolve("nowhere.example").addresses, [])

    def test_endpoint_that_gives_up(self) -> None:
        """It hears no more."""
        self.network.names["a.example"] = ["10.0.0.2"]
        receiver = Receiver()
        self.resolver.resolveHostName(receiver, "a.example").cancel()  # type: ignore[arg-type]
        self.network.run()
        self.assertEqual((receiver.addresses, receiver.complete), ([], False))
