"""From one target to the next, and which not to ask (RFC 3263 §4.3)."""

from msrpgw.dns.records import Kind, Srv
from msrpgw.errors import ConfigError
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.message import Request
from msrpgw.sip.transaction import ServerTransaction
from msrpgw.sip.transport import Target
from tests.sip.agent_cases import PEER, US, SendingTestCase, parse
from tests.support import lose, make_agent

#: where nobody is: UDP is silent there
DEAD = "10.0.0.99"
SLOW = "10.0.0.3"


class FailOverTestCase(SendingTestCase):
    """A domain with two proxies: one that a test says, and the peer."""

    def setUp(self) -> None:
        super().setUp()
        self.down: list[tuple[str, str]] = []
        self.point_to(DEAD)

    def point_to(self, first: str, transport: str = "udp") -> None:
        """Have example.com lead to ``first``, then to the peer."""
        self.network.records[Kind.SRV, f"_sip._{transport}.example.com"] = [
            Srv(1, 0, 5060, first),
            Srv(2, 0, 5060, PEER),
        ]
        self.us.dead.on_dead = lambda target, reason: self.down.append((target.host, reason))

    def try_domain(self, method: str = "MESSAGE") -> None:
        """Send to the domain."""
        self.send(self.request(method, uri="sip:bob@example.com"))

    def targets(self) -> list[str]:
        """Hosts that our datagrams went to since the last call."""
        found = [
            one.target[0]
            for one in self.network.datagrams
            if one.source[0] == US and not one.data.startswith(b"OPTIONS")
        ]
        self.network.datagrams.clear()
        return found


class SilenceTests(FailOverTestCase):
    """A target over UDP that says nothing."""

    def test_next_in_time(self) -> None:
        """The next one is tried after 1.5 s, with a new branch; the first hears no more."""
        for method in ("MESSAGE", "INVITE"):
            self.setUp()
            self.try_domain(method)
            self.network.run(1.4)
            self.assertEqual(self.statuses(), [])
            first = self.network.datagrams[0].data
            self.targets()
            self.network.run(0.2)
            self.assertEqual(self.statuses(), [200])
            request = self.received[0].request
            self.assertEqual(len(request.vias), 1)
            self.assertNotIn(str(request.via.branch).encode(), first)
            self.assertEqual(self.us.counters.fail_overs, 1)
            self.targets()
            self.network.run(5)
            self.assertNotIn(DEAD, self.targets())

    def test_remembered(self) -> None:
        """Those that follow ask it last, for 30 s; then it is asked first again."""
        self.try_domain()
        self.network.run(2)
        self.assertEqual(self.down, [(DEAD, "no answer")])
        self.assertEqual(len(self.us.dead), 1)
        self.statuses()
        self.targets()
        self.try_domain()
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(self.targets(), [PEER])
        self.network.run(30, step=0.1)
        self.assertEqual(len(self.us.dead), 0)
        self.try_domain()
        self.assertEqual(self.targets(), [DEAD])
        self.network.run(2)
        self.assertEqual(len(self.down), 2)
        self.finish()

    def test_not_remembered(self) -> None:
        """``blacklist_time`` 0: each request finds out by itself."""
        self.make_us(blacklist_time=0.0)
        for _ in range(2):
            self.try_domain()
            self.network.run(1.4)
            self.assertEqual(self.statuses(), [])
            self.network.run(0.2)
            self.assertEqual(self.statuses(), [200])

    def test_all_dead(self) -> None:
        """When all are on the list they are tried, in order, as if none were."""
        self.peer.stop()
        self.try_domain()
        self.network.run(40, step=0.1)
        self.assertEqual(self.statuses(), [408])
        self.assertEqual(len(self.us.dead), 1)  # the second one's time is not over
        self.targets()
        self.make_peer(PEER)
        self.try_domain()
        self.network.run(2)
        self.assertEqual(self.statuses(), [200])
        self.network.run(40, step=0.1)
        self.finish()

    def test_one_target_only(self) -> None:
        """There is nobody else to ask: it has all its time, and the list is not touched."""
        self.send(self.request(uri=f"sip:bob@{DEAD}"))
        self.network.run(31.9, step=0.1)
        self.assertEqual(self.statuses(), [])
        self.network.run(0.3)
        self.assertEqual(self.statuses(), [408])
        self.assertEqual((len(self.us.dead), self.down), (0, []))

    def test_without_haste(self) -> None:
        """``failover_time`` 0: after timer F."""
        self.make_us(failover_time=0.0)
        self.try_domain()
        self.network.run(31.9, step=0.1)
        self.assertEqual(self.statuses(), [])
        self.network.run(0.3)
        self.assertEqual(self.statuses(), [200])

    def test_icmp(self) -> None:
        """What the network gives back is told at once, and remembered."""
        self.try_domain()
        self.us._undeliverable(self.network.datagrams[-1].data[:300], "Connection refused")
        self.network.run()
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(self.down, [(DEAD, "Connection refused")])
        self.finish()

    def test_hanging_connection(self) -> None:
        """A TCP connection that is not made in 1.5 s is not waited for."""
        self.point_to("10.0.0.4", "tcp")
        del self.network.records[Kind.SRV, "_sip._udp.example.com"]
        self.network.hung.add(("10.0.0.4", 5060))
        self.try_domain()
        self.network.run(1.6)
        self.assertEqual(self.statuses(), [200])
        self.network.run(10)
        self.assertEqual(self.statuses(), [])
        self.finish()

    def test_our_own_fault(self) -> None:
        """A target that we had no connection left for is not to blame."""
        self.make_us(max_connections=1)
        self.point_to(SLOW, "tcp")
        del self.network.records[Kind.SRV, "_sip._udp.example.com"]
        self.send(self.request(uri=f"sip:bob@{PEER};transport=tcp"))
        self.assertEqual(self.statuses(), [200])
        self.try_domain()
        self.assertEqual(self.statuses(), [200])
        self.assertEqual((self.us.counters.fail_overs, self.down), (1, []))

    def test_stopped_meanwhile(self) -> None:
        """After the end nothing goes out any more."""
        self.try_domain()
        self.us.stop()
        self.targets()
        self.network.run(5)
        self.assertEqual(self.targets(), [])


class SlowTests(FailOverTestCase):
    """A target that had kept silent, and answers after all."""

    def setUp(self) -> None:
        """Both proxies lead to users of this test."""
        super().setUp()
        self.held: list[tuple[UserAgent, ServerTransaction]] = []
        for made in (make_agent(self.network, SLOW), self.peer):
            made.on("MESSAGE", lambda transaction, made=made: self.held.append((made, transaction)))
            if made is not self.peer:
                self.slow = made
                # It is so busy that it does not even say that it is there.
                made.on("OPTIONS", lambda transaction: None)
        self.point_to(SLOW)
        self.try_domain()
        self.network.run(2)
        self.assertEqual([made for made, _ in self.held], [self.slow, self.peer])

    def statuses(self) -> list[int]:
        """Final answers; who takes long says 100 (RFC 4320)."""
        return [status for status in super().statuses() if status >= 200]

    def answer(self, number: int, status: int) -> None:
        """One of the two answers."""
        made, transaction = self.held[number]
        made.respond(transaction, status)
        self.network.run(0.5)

    def test_success_counts(self) -> None:
        """Whoever is first; the other one's answer is not heard any more."""
        for first, second in ((0, 1), (1, 0)):
            self.setUp()
            self.answer(first, 200)
            self.assertEqual(self.statuses(), [200])
            self.answer(second, 480)
            self.assertEqual(self.statuses(), [])
            self.assertEqual(len(self.us.dead), 1 - second)
            self.network.run(10, step=0.1)
            self.finish(self.slow)

    def test_merged(self) -> None:
        """482: the user has it by way of the first, whose answer is waited for."""
        self.answer(1, 482)
        self.assertEqual(self.statuses(), [])
        self.answer(0, 480)
        self.assertEqual(self.statuses(), [480])
        self.network.run(10, step=0.1)
        self.finish(self.slow)

    def test_merged_and_nothing_more(self) -> None:
        """It never comes: then 482 is what we know, when the first one's time is over."""
        self.answer(1, 482)
        self.network.run(29, step=0.1)
        self.assertEqual(self.statuses(), [])
        self.network.run(3, step=0.1)
        self.assertEqual(self.statuses(), [482])
        self.network.run(10, step=0.1)
        self.finish(self.slow)

    def test_refusal_waits(self) -> None:
        """A refusal of the first is not the end while the second may do better."""
        self.answer(0, 480)
        self.assertEqual(self.statuses(), [])
        self.answer(1, 200)
        self.assertEqual(self.statuses(), [200])
        self.network.run(10, step=0.1)
        self.finish(self.slow)

    def test_refusal_and_silence(self) -> None:
        """But it is more than a 408 of our own."""
        self.answer(0, 480)
        self.network.run(33, step=0.1)
        self.assertEqual(self.statuses(), [480])
        self.finish(self.slow)

    def test_both_silent(self) -> None:
        """One 408, when the last one's time is over."""
        self.network.run(30, step=0.1)
        self.assertEqual(self.statuses(), [])
        self.network.run(3, step=0.1)
        self.assertEqual(self.statuses(), [408])
        self.network.run(5, step=0.1)
        self.finish(self.slow)


class AliveTests(FailOverTestCase):
    """A target that keeps silent on a request, but is there."""

    def setUp(self) -> None:
        super().setUp()
        self.slow = make_agent(self.network, SLOW)
        self.held: list[ServerTransaction] = []
        self.slow.on("MESSAGE", self.held.append)
        self.point_to(SLOW)

    def options(self) -> list[str]:
        """Whom we asked whether they are there."""
        return [
            one.target[0]
            for one in self.network.datagrams
            if one.source[0] == US and one.data.startswith(b"OPTIONS")
        ]

    def test_waited_for(self) -> None:
        """It has all its time; nobody else gets the request, and it is not on the list."""
        self.try_domain()
        self.network.run(3)
        self.assertEqual(self.options(), [SLOW])
        self.slow.respond(self.held[0], 200)
        self.network.run()
        self.assertEqual(self.statuses(), [200])
        self.assertEqual((self.received, self.down, self.us.counters.fail_overs), ([], [], 0))
        self.network.run(6, step=0.1)
        self.finish(self.slow)

    def test_question(self) -> None:
        """It may go no further than to the target itself."""
        self.try_domain()
        self.network.run(0.8)
        [data] = [one.data for one in self.network.datagrams if one.data.startswith(b"OPTIONS")]
        request = parse(data)
        assert isinstance(request, Request)
        self.assertEqual((request.max_forwards, request.uri), (0, f"sip:{SLOW}:5060;transport=udp"))

    def test_one_question_for_many(self) -> None:
        """However many requests wait."""
        for _ in range(5):
            self.try_domain()
        self.network.run(0.8)
        self.assertEqual(self.options(), [SLOW])

    def test_other_answers(self) -> None:
        """One that answered something else meanwhile is not asked."""
        self.slow.on("MESSAGE", lambda transaction: self.slow.respond(transaction, 200))
        self.network.lost = lose("x")
        self.try_domain()
        self.network.run(0.4)
        self.try_domain()
        self.network.run(3)
        self.assertEqual((self.options(), self.received), ([], []))
        self.assertEqual(self.statuses(), [200, 200])

    def test_last_target(self) -> None:
        """With nobody else to ask there is no question."""
        self.send(self.request(uri=f"sip:bob@{SLOW}"))
        self.network.run(3)
        self.assertEqual(self.options(), [])


class LostAckTests(FailOverTestCase):
    """The ACK of a 503 goes to where the 503 came from, also when it has to be repeated."""

    def test_repeated(self) -> None:
        busy = make_agent(self.network, SLOW)
        busy.on("INVITE", lambda transaction: busy.respond(transaction, 503))
        self.point_to(SLOW)
        self.network.lost = lose("..x")
        self.try_domain("INVITE")
        self.network.run(2)
        acks = [one.target[0] for one in self.network.datagrams if one.data.startswith(b"ACK")]
        self.assertEqual(acks, [SLOW, SLOW])


class BusyTests(FailOverTestCase):
    """A target that answers 503."""

    def busy(self, *headers: tuple[str, str]) -> None:
        """The first target is there, and busy."""
        made = make_agent(self.network, SLOW)
        made.on("MESSAGE", lambda transaction: made.respond(transaction, 503, None, headers))
        self.point_to(SLOW)
        self.try_domain()
        self.assertEqual(self.statuses(), [200])

    def test_with_a_time(self) -> None:
        """§21.5.4 of RFC 3261: leave it alone."""
        self.busy(("Retry-After", "10"))
        self.assertEqual(self.down, [(SLOW, "503")])

    def test_without(self) -> None:
        """It may be somebody behind it who is busy."""
        self.busy()
        self.assertEqual(self.down, [])
        self.assertEqual(len(self.us.dead), 0)

    def test_an_answer_takes_it_off_the_list(self) -> None:
        """The last resort answers: it is back."""
        for host in (DEAD, PEER):
            self.us.dead.add(Target("UDP", host, 5060), "test")
        self.try_domain()
        self.network.run(2)
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(len(self.us.dead), 1)


class ProxyTests(FailOverTestCase):
    """Several proxies, and routes for single domains."""

    def test_list(self) -> None:
        """In order; each request has the Route of the proxy that it is sent to, and no other."""
        proxies = (f"sip:{DEAD};lr", f"sip:{SLOW};transport=tcp;lr", f"sip:{PEER};lr;x=1")
        self.make_us(outbound_proxy=proxies)
        self.send(self.request(uri="sip:bob@nowhere.example"))
        self.network.run(2)
        self.assertEqual(self.statuses(), [200])
        self.assertIn(f"Route: <{proxies[0]}>".encode(), self.network.datagrams[0].data)
        [last] = [one.data for one in self.network.datagrams if one.target[0] == PEER]
        request = parse(last)
        self.assertEqual(request.headers.get_all("Route"), [f"<{proxies[2]}>"])
        self.assertEqual([via.transport for via in request.vias], ["UDP"])
        self.assertEqual(len(self.us.dead), 2)

    def test_names_and_addresses(self) -> None:
        """The order is that of the list, however long a look-up takes."""
        self.network.names["proxy.example"] = [SLOW]
        self.make_us(outbound_proxy=("sip:proxy.example:5060;lr", f"sip:{PEER};lr"))
        self.make_peer(SLOW)
        self.send(self.request(uri="sip:bob@nowhere.example"))
        self.assertEqual(self.targets()[0], SLOW)

    def test_routes(self) -> None:
        """The domain of the request URI decides; the nearest entry counts."""
        self.make_us(
            outbound_proxy="sip:10.0.1.1",
            routes={
                "Example.COM": "sip:10.0.1.2",
                "*.example.com": ("sip:10.0.1.3", "sip:10.0.1.4"),
                "*.lab.example.com": (),
            },
        )
        self.network.names["x.lab.example.com"] = ["10.0.1.5"]
        for uri, wanted in (
            ("sip:bob@example.com", "10.0.1.2"),
            ("sip:bob@EXAMPLE.com.", "10.0.1.2"),
            ("sip:bob@a.b.example.com", "10.0.1.3"),
            ("sip:bob@x.lab.example.com", "10.0.1.5"),
            ("sip:bob@notexample.com", "10.0.1.1"),
            ("sip:bob@com", "10.0.1.1"),
            ("tel:+15551234", "10.0.1.1"),
        ):
            self.send(self.request(uri=uri))
            self.assertEqual(self.targets()[:1], [wanted], uri)

    def test_inside_dialogs(self) -> None:
        """They are for requests outside of dialogs."""
        self.make_us(routes={"10.0.0.3": "sip:10.0.1.2"})
        request = self.request(uri="sip:bob@10.0.0.3")
        request.headers.set("To", "<sip:bob@10.0.0.3>;tag=t")
        self.send(request)
        self.assertEqual(self.targets(), ["10.0.0.3"])

    def test_what_is_no_route(self) -> None:
        """It is refused at the start, naming the key."""
        for routes in ({"example.com": "tel:+1"}, {"a b": "sip:h"}, {"*": "sip:h"}, {"": "sip:h"}):
            with self.assertRaises(ConfigError) as caught:
                make_agent(self.network, "10.0.0.8", routes=routes)
            self.assertIn("[sip] routes", caught.exception.problems[0])

    def test_hanging_name_server(self) -> None:
        """Only who asks for the name waits, and not for ever."""
        for name in ("slow.example", "_sip._udp.slow.example", "_sip._tcp.slow.example"):
            self.network.silent_names.add(name)
        self.send(self.request(uri="sip:bob@slow.example"))
        self.send()
        self.assertEqual(self.statuses(), [200])
        self.network.run(4.9)
        self.assertEqual(self.statuses(), [])
        self.network.run(0.2)
        self.assertEqual(self.statuses(), [503])


class FamilyTests(SendingTestCase):
    """What we say of ourselves suits the peer's address family."""

    def test_via_and_contact(self) -> None:
        """Of a request to a name, too, once it is known where that leads."""
        from msrpgw.sip.invite import InviteUsage
        from tests.sip.fake_agent import OFFER, Listener

        self.make_us(
            listen=(f"udp:{US}:5060", "udp:[2001:db8::1]:5060"),
            advertised_contact=("192.0.2.1:5070", "[2001:db8::99]"),
        )
        other = make_agent(self.network, "2001:db8::2")
        got: list[ServerTransaction] = []
        other.on("INVITE", got.append)
        self.peer.on("INVITE", got.append)
        self.network.names["six.example"] = ["2001:db8::2"]
        self.network.names["four.example"] = [PEER]
        for name in ("six.example", "four.example"):
            InviteUsage.call(
                self.us,
                Listener(),
                ruri=f"sip:bob@{name}",
                from_uri="sip:gw@example.com",
                to_uri="sip:bob@example.com",
                offer=OFFER,
                timeout=10.0,
            )
        self.network.run(0.1)
        self.assertEqual(
            sorted((one.request.via.host, one.request.headers.get("Contact")) for one in got),
            [
                ("192.0.2.1", "<sip:192.0.2.1:5070>"),
                ("[2001:db8::99]", "<sip:[2001:db8::99]:5060>"),
            ],
        )
