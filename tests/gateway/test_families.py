"""IPv4, IPv6 and names, end to end over the sockets of the loopback."""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.names import dns
from twisted.trial.unittest import SkipTest, TestCase

from msrpgw.config import Config, StateSettings
from msrpgw.dns.settings import DnsSettings
from msrpgw.journal.settings import JournalSettings
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.service import make_service
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.settings import SipSettings
from msrpgw.timers import Timers
from msrpgw.ua.users import MsrpUser, PageUser, Received, Sent
from tests.dns.server import NameServer
from tests.interop.peers import stop_wheels
from tests.support import CountingRandom


def has_ipv6() -> bool:
    """Whether the loopback has IPv6."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def port_of(agent: UserAgent) -> int:
    """The UDP port of a user agent."""
    return int(agent.addresses()[0].rpartition(":")[2])


def closed_port(host: str) -> int:
    """A UDP port where nobody is."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as it:
        it.bind((host, 0))
        return int(it.getsockname()[1])


def everybody(address: str) -> bool:
    """All may send."""
    return True


class FamiliesTests(TestCase):
    """Alice with MESSAGE and Bob with MSRP, at addresses that the test says."""

    timeout = 20

    def setUp(self) -> None:
        if not has_ipv6():
            raise SkipTest("no IPv6 on the loopback")
        self.addCleanup(stop_wheels)
        self.names = NameServer(reactor)
        self.addCleanup(self.names.stop)
        self.texts: list[str] = []
        self.sent: list[int] = []
        self.agents: list[UserAgent] = []

    def start_gateway(self, *hosts: str, msrp: str, **more: Any) -> None:
        """The gateway: SIP at these addresses, MSRP at another."""
        directory = self.mktemp()
        os.mkdir(directory)
        listen = [f"{each}:{host}:0" for host in hosts for each in ("udp", "tcp")]
        config = Config(
            sip=SipSettings(listen=tuple(listen)),
            msrp=MsrpSettings(listen=msrp, **more),
            dns=DnsSettings(servers=(self.names.address,), hosts=""),
            journal=JournalSettings(backend="memory"),
            state=StateSettings(directory=directory),
        )
        self.service = make_service(config, reactor)  # type: ignore[arg-type]
        self.service.startService()
        self.addCleanup(self.service.stopService)

    def gateway_at(self, host: str) -> str:
        """Host and port of the gateway's UDP socket there."""
        [address] = [
            each for each in self.service._sip.addresses() if each.startswith(f"udp:{host}:")
        ]
        return address[4:]

    def user_agent(self, host: str) -> UserAgent:
        """One that sends all through the gateway."""
        timers = Timers(reactor)  # type: ignore[arg-type]
        agent = UserAgent(
            reactor,  # type: ignore[arg-type]
            timers,
            SipSettings(
                listen=(f"udp:{host}:0",),
                outbound_proxy=f"sip:{self.gateway_at(host)};lr",
            ),
            CountingRandom(f"user {len(self.agents)}"),
            allow_source=everybody,
        )
        agent.start()
        self.agents.append(agent)
        self.addCleanup(agent.stop)
        return agent

    def got(self, received: Received) -> None:
        """Somebody got a text."""
        self.texts.append(received.text)

    def on_sent(self, sent: Sent) -> None:
        """A text was answered."""
        self.sent.append(sent.status)

    def add_alice(self, host: str) -> None:
        """She has MESSAGE."""
        agent = self.user_agent(host)
        self.alice_uri = f"sip:alice@{host}:{port_of(agent)}"
        self.alice = PageUser(agent, agent.timers, self.alice_uri, self.got)

    def add_bob(self, host: str, msrp: str, my_name: str = "") -> None:
        """He has MSRP, behind a domain whose first server is dead."""
        agent = self.user_agent(host)
        endpoint = Endpoint(
            reactor,  # type: ignore[arg-type]
            agent.timers,
            CountingRandom("bob"),
            MsrpSettings(listen=f"{msrp}:0"),
            allow_source=everybody,
        )
        endpoint.listen()
        self.addCleanup(endpoint.close)
        if my_name:
            port = endpoint.address.rpartition(":")[2]
            endpoint.settings = MsrpSettings(my_uri=f"msrp://{my_name}:{port}")
        self.endpoint = endpoint
        self.bob = MsrpUser(agent, endpoint, agent.timers, "sip:bob@bob.example", self.got)
        plain = host.strip("[]")
        kind = dns.Record_AAAA if ":" in plain else dns.Record_A
        self.names.add("h.bob.example", kind(plain, ttl=60))
        for priority, port in ((1, closed_port(plain)), (2, port_of(agent))):
            self.names.add(
                "_sip._udp.bob.example", dns.Record_SRV(priority, 0, port, "h.bob.example", ttl=60)
            )

    def until(self, true: Callable[[], object]) -> "Deferred[None]":
        """Wait; the test's own time-out ends it."""

        @inlineCallbacks
        def wait() -> Iterator[Any]:
            while not true():
                yield deferLater(reactor, 0.02)  # type: ignore[arg-type]

        return wait()

    @inlineCallbacks
    def check_both_ways(self) -> Iterator[Any]:
        """Texts go from Alice to Bob, and back."""
        began = reactor.seconds()  # type: ignore[attr-defined]
        self.alice.send("sip:bob@bob.example", "to bob", self.on_sent)
        yield self.until(lambda: self.texts == ["to bob"])
        self.assertLess(reactor.seconds() - began, 2)  # type: ignore[attr-defined]
        self.bob.send(self.alice_uri, "to alice", self.on_sent)
        yield self.until(lambda: self.texts == ["to bob", "to alice"])
        yield self.until(lambda: len(self.sent) == 2)
        self.assertLessEqual(set(self.sent), {200, 202})

    @inlineCallbacks
    def test_ipv6_only(self) -> Iterator[Any]:
        """Nothing but IPv6."""
        self.start_gateway("[::1]", msrp="[::1]:0")
        self.add_alice("[::1]")
        self.add_bob("[::1]", "[::1]")
        yield self.check_both_ways()

    @inlineCallbacks
    def test_each_leg_its_own(self) -> Iterator[Any]:
        """Alice has IPv4 only and Bob IPv6 only; and the other way round."""
        self.start_gateway("127.0.0.1", "[::1]", msrp="[::1]:0")
        self.add_alice("127.0.0.1")
        self.add_bob("[::1]", "[::1]")
        yield self.check_both_ways()

    @inlineCallbacks
    def test_each_leg_its_own_other_way(self) -> Iterator[Any]:
        """Alice has IPv6 only and Bob IPv4 only."""
        self.start_gateway("127.0.0.1", "[::1]", msrp="127.0.0.1:0")
        self.add_alice("[::1]")
        self.add_bob("127.0.0.1", "127.0.0.1")
        yield self.check_both_ways()

    @inlineCallbacks
    def test_hanging_name_server(self) -> Iterator[Any]:
        """Texts to a domain that it does not answer for keep nobody else waiting."""
        self.names.silent_on = "slow.example"
        self.start_gateway("127.0.0.1", msrp="127.0.0.1:0")
        self.add_alice("127.0.0.1")
        self.add_bob("127.0.0.1", "127.0.0.1")
        for number in range(20):
            self.alice.send(f"sip:carol@{number}.slow.example", "?", [].append)
        yield self.until(lambda: len(self.names.asked) >= 20)
        yield self.check_both_ways()
        self.assertGreater(self.service._sip.resolver.pending, 20)

    @inlineCallbacks
    def test_names_in_paths(self) -> Iterator[Any]:
        """Bob's a=path has a name, which leads to an address where nobody is, and to him."""
        self.start_gateway("127.0.0.1", msrp="127.0.0.1:0")
        self.add_alice("127.0.0.1")
        self.add_bob("127.0.0.1", "127.0.0.1", my_name="msrp.bob.example")
        self.names.add("msrp.bob.example", dns.Record_AAAA("::1", ttl=60))
        self.names.add("msrp.bob.example", dns.Record_A("127.0.0.1", ttl=60))
        yield self.check_both_ways()
        [session] = self.endpoint.sessions()
        self.assertIn("msrp.bob.example", session.path_text)
        self.assertIn(("udp", "msrp.bob.example"), self.names.asked)

    @inlineCallbacks
    def test_name_of_ours(self) -> Iterator[Any]:
        """Our a=path has a name with both addresses; MSRP listens on both by one socket."""
        self.start_gateway(
            "127.0.0.1", "[::1]", msrp="[::]:0", my_uri="msrp://gw.example", reachable=True
        )
        self.names.add("gw.example", dns.Record_AAAA("::1", ttl=60))
        self.names.add("gw.example", dns.Record_A("127.0.0.1", ttl=60))
        self.add_alice("127.0.0.1")
        self.add_bob("127.0.0.1", "127.0.0.1")
        # So that Bob connects to us.
        self.endpoint.settings = MsrpSettings(reachable=False)
        self.bob.send(self.alice_uri, "to alice", self.on_sent)
        yield self.until(lambda: self.texts == ["to alice"])
        self.assertIn(("udp", "gw.example"), self.names.asked)
