"""Rates, shares and overload, as users and addresses meet them."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.gateway import session
from msrpgw.gateway.settings import PolicySettings
from msrpgw.limits import Limits, LimitSettings
from msrpgw.overload import INTERVAL
from msrpgw.sip.fields import Via
from msrpgw.sip.message import Request
from msrpgw.sip.stream_source import StreamSource
from tests.gateway.meeting import AliceTestCase
from tests.gateway.support import GATEWAY, Town
from tests.gateway.wire import Segments, Wire, WireMsrp

PROXY = "192.0.2.9"


def limits(**settings: object) -> Limits:
    """Limits of an open gateway that trusts a proxy."""
    return Limits(LimitSettings(**settings), lambda host: host == PROXY)  # type: ignore[arg-type]


class RateTests(AliceTestCase):
    """MESSAGEs a second."""

    def test_user(self) -> None:
        """Too many of one user: 480 with Retry-After, until time has passed; others go on."""
        self.found(Town(limits=limits(user_rate=1.0, user_burst=3, retry_after=7)))
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.assertEqual([self.send() for _ in range(3)], [202, 200, 200])
        refused = self.alice.message(bob.uri)
        self.assertEqual((refused.status, refused.headers.get("Retry-After")), (480, "7"))
        other = Wire(self.town, "dan", "192.0.2.4")
        self.assertIn(other.message(bob.uri).status, (200, 202))
        self.town.run(1.0)
        self.assertEqual(self.send(), 200)
        self.assertEqual(self.town.limits.counters.user_rate, 1)

    def test_source(self) -> None:
        """Too many of one address, whoever they say they are."""
        self.found(Town(limits=limits(source_rate=1.0, source_burst=2)))
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        statuses = []
        for number in range(4):
            request = self.alice.make("MESSAGE", bob.uri, b"x", "text/plain")
            request.headers.set("From", f"<sip:user{number}@192.0.2.1>;tag=1")
            statuses.append(self.alice.ask(request).status)
        self.assertEqual(statuses[2:], [480, 480])
        self.assertEqual(self.town.limits.counters.source_rate, 2)

    def test_trusted(self) -> None:
        """A proxy carries the messages of many."""
        self.found(Town(limits=limits(user_rate=1.0, user_burst=1, source_burst=1)))
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        proxy = Wire(self.town, "proxy", PROXY)
        for _ in range(5):
            self.assertIn(proxy.message(bob.uri).status, (200, 202))


class ShareTests(AliceTestCase):
    """Sessions of one user, of one address, and half open ones."""

    def test_user_sessions(self) -> None:
        """480 for the next; room again when one has ended."""
        self.found(Town(limits=limits(user_sessions=2)))
        users = [WireMsrp(self.town, f"u{n}", f"192.0.2.{20 + n}") for n in range(3)]
        statuses = [self.alice.message(user.uri, seconds=0.5).status for user in users]
        self.assertEqual(statuses, [202, 202, 480])
        users[0].in_dialog("BYE")
        self.town.run(0.5)
        self.assertEqual(self.alice.message(users[2].uri, seconds=0.5).status, 202)
        self.assertEqual(self.town.limits.counters.user_sessions, 1)

    def test_half_open(self) -> None:
        """An address with too many sessions that don't come up; all together get 503."""
        self.found(Town(limits=limits(half_open=3, source_half_open=2)))
        silent = [Wire(self.town, f"u{n}", f"192.0.2.{20 + n}", 0) for n in range(6)]
        self.assertEqual([self.alice.message(s.uri).status for s in silent[:3]], [202, 202, 480])
        dan = Wire(self.town, "dan", "192.0.2.4")
        self.assertEqual([dan.message(s.uri).status for s in silent[3:5]], [202, 503])
        counters = self.town.limits.counters
        self.assertEqual((counters.source_half_open, counters.half_open), (1, 1))
        silent[0].answer(silent[0].requests("INVITE")[0], 486)
        self.town.run(0.5)
        self.assertEqual(self.alice.message(silent[2].uri).status, 202)

    def test_invites_without_ack(self) -> None:
        """A flood of calls that nobody acknowledges takes no more than its share, and is over."""
        self.found(Town(limits=limits(source_half_open=5), setup_timeout=10.0))
        attacker = WireMsrp(self.town, "mallory", "192.0.2.66")
        attacker.setup = "active"  # and never connects
        attacker.acknowledge = lambda *arguments: None  # type: ignore[method-assign]
        statuses = [attacker.call(f"sip:victim{n}@192.0.2.1").status for n in range(9)]
        self.assertEqual(statuses, [200] * 5 + [480] * 4)
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.assertEqual(self.alice.message(bob.uri, seconds=0.5).status, 202)
        self.town.run(40.0, 0.1)
        self.assertEqual(len(self.town.gateway.sessions), 1)
        self.assertEqual(self.town.limits.counters.source_half_open, 4)


class Unheard:
    """A connection whose responses nobody looks at."""

    def send_response(self, data: bytes, via: Via) -> None:
        """It is lost."""


class OverloadTests(AliceTestCase):
    """The reactor is late."""

    def setUp(self) -> None:
        super().setUp()
        self.settle()

    def settle(self, policy: PolicySettings | None = None) -> None:
        """Alice and Bob have a session."""
        self.found(Town(limits=limits(), policy=policy))
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.assertEqual(self.alice.message(self.bob.uri, seconds=0.5).status, 202)
        self.admission = self.town.gateway.admission
        self.late = 0.0
        self.admission._seconds = self._seconds
        self.due = 0.0
        self.admission.start()
        self.addCleanup(self.admission.stop)

    def _seconds(self) -> float:
        # Each look finds itself late by so much.
        self.due += INTERVAL / 2 + self.late / 2
        return self.due

    def busy(self, late: float) -> None:
        """The reactor is so late for a while."""
        self.late = INTERVAL + 2 * late
        self.town.run(2.0)

    def rest(self) -> None:
        """From now on the reactor is in time."""
        self.admission.stop()
        self.admission._seconds = self.town.clock.seconds
        self.admission.start()

    def test_new_ones_wait(self) -> None:
        """New sessions get 503 with Retry-After, the one that is up goes on."""
        self.busy(0.5)
        self.assertTrue(self.admission.overload.active)
        refused = self.alice.message("sip:carol@192.0.2.3")
        self.assertEqual(refused.status, 503)
        self.assertIsNotNone(refused.headers.get("Retry-After"))
        before = len(self.town.agent.transactions)
        call = self.bob.make("INVITE", "sip:dan@192.0.2.4")
        refused = self.bob.ask(call)
        self.assertEqual((refused.status, refused.headers.get("Retry-After")), (503, "5"))
        self.assertEqual(len(self.town.agent.transactions), before)
        self.assertEqual(self.send(), 200)
        self.assertEqual(self.town.limits.counters.overload, 2)
        self.assertTrue(self.town.sink.named("E_MSRPGW_OVERLOAD"))

    def come_late(self, request: Request, silently: bool = False) -> bool:
        """A datagram has waited too long for its turn; whether it was refused or let go of."""
        (port,) = self.town.agent.transports._datagrams
        where = (self.alice.host, 5060)
        answer = port.refusal_of(request.render(), where, silently)
        if answer:
            port.write(answer, where)
        return answer is not None

    def asked(self, uri: str = "", priority: str = "") -> Request:
        """A MESSAGE of Alice's, to Bob if not to somebody else."""
        request = self.alice.make("MESSAGE", uri or self.bob.uri, b"x", "text/plain")
        if priority:
            request.headers.set("Priority", priority)
        return request

    def test_late_messages(self) -> None:
        """503 with Retry-After, also in the session that is up; without a transaction."""
        transactions = len(self.town.agent.transactions)
        request = self.asked()
        self.assertTrue(self.come_late(request))
        self.town.run(0.1)
        (refusal,) = self.alice.responses(request)
        self.assertEqual((refusal.status, refusal.headers.get("Retry-After")), (503, "5"))
        self.assertEqual(len(self.town.agent.transactions), transactions)
        self.assertEqual(self.town.limits.counters.overload_live, 1)
        self.town.run(0.2)
        (event,) = self.town.sink.named("E_MSRPGW_OVERLOAD")
        self.assertEqual(event["refused"], 1)

    def test_too_many_late_messages(self) -> None:
        """They get no answer, and are counted."""
        request = self.asked()
        self.assertTrue(self.come_late(request, silently=True))
        self.town.run(0.1)
        self.assertEqual(self.alice.responses(request), [])
        self.assertEqual(self.town.limits.counters.overload_dropped, 1)
        self.town.run(0.2)
        (event,) = self.town.sink.named("E_MSRPGW_OVERLOAD")
        self.assertEqual(event["refused"], 1)

    def test_late_but_not_to_be_refused(self) -> None:
        """A copy of what is under way; what is no MESSAGE is not let go of either."""
        self.bob.send_status = 0
        under_way = self.asked()
        self.alice.write(under_way)
        self.town.run(0.1)
        self.assertFalse(self.come_late(under_way))
        self.assertFalse(self.come_late(self.alice.make("OPTIONS", self.bob.uri)))
        self.assertFalse(self.come_late(self.alice.make("OPTIONS", self.bob.uri), silently=True))

    def test_late_over_tcp(self) -> None:
        """A MESSAGE over a stream is refused in its transaction's place, if it comes late."""
        self.busy(0.5)
        refuse = self.town.agent.transactions.refuse
        assert refuse is not None
        source = self.asked_source()
        self.assertFalse(refuse(self.asked(), source))
        source.late = True
        self.assertTrue(refuse(self.asked(), source))
        self.assertFalse(refuse(self.asked(priority="emergency"), source))
        self.assertEqual(self.town.limits.counters.overload_live, 1)

    def asked_source(self) -> StreamSource:
        """A connection of Alice's."""
        return StreamSource(Unheard(), self.alice.host, 5060, GATEWAY, 5060)

    def late_sends(self, to: str) -> list[int]:
        """Alice answers nothing for a while, and Bob goes on; what his SENDs got."""
        self.patch(session, "MANY_PAGES", 4)
        self.assertEqual(self.bob.call(to).status, 200)
        self.town.run(0.1)
        self.alice.status = 0
        self.busy(0.5)
        together: list[bytes] = []
        connection = self.bob.connections[-1]
        self.patch(connection, "write", together.append)
        for text in ("one", "two", "three", "four", "five", "six"):
            self.bob.send(text)
        Segments.write(connection, b"".join(together))
        self.town.run(0.8)
        self.alice.status = 200
        self.town.run(5.0)
        return [status for status in self.bob.statuses() if status]

    def test_late_sends(self) -> None:
        """413 for what waited too long, and an event that counts it; the others arrive."""
        self.assertEqual(sorted(self.late_sends(self.alice.uri)), [200] * 4 + [413] * 2)
        self.assertEqual(self.alice.texts(), ["one", "two", "three", "four"])
        counters = self.town.limits.counters
        self.assertEqual((counters.overload_late, counters.rested), (2, 1))
        events = self.town.sink.named("E_MSRPGW_OVERLOAD")
        self.assertEqual([event["refused"] for event in events], [2])

    def test_late_sends_of_a_call_for_help(self) -> None:
        """They are never refused, and arrive in order."""
        self.settle(PolicySettings(message_ruri=self.alice.uri))
        self.assertEqual(self.late_sends("urn:service:sos"), [200] * 6)
        self.assertEqual(self.alice.texts(), ["one", "two", "three", "four", "five", "six"])

    def test_calls_for_help(self) -> None:
        """They are never refused, whether there is a session or not, nor let go of."""
        self.busy(0.5)
        for uri, priority in (
            ("urn:service:sos", ""),
            ("URN:service:sos.police", ""),
            ("sip:carol@192.0.2.3", "emergency"),
            (self.bob.uri, "Emergency"),
        ):
            for _ in range(20):
                self.assertNotEqual(self.alice.ask(self.asked(uri, priority)).status, 503)
            self.assertFalse(self.come_late(self.asked(uri, priority)))
            self.assertFalse(self.come_late(self.asked(uri, priority), silently=True))

    def test_short_waits(self) -> None:
        """Refusing what would wait keeps waits short; that alone does not end it."""
        self.busy(0.5)
        self.rest()
        for _ in range(30):
            self.assertTrue(self.come_late(self.asked()))
            self.town.run(0.1)
        self.assertTrue(self.admission.overload.active)
        self.town.run(2.0)
        self.assertFalse(self.admission.overload.active)

    def test_over(self) -> None:
        self.busy(0.5)
        self.rest()
        self.town.run(2.0)
        self.assertFalse(self.admission.overload.active)
        carol = WireMsrp(self.town, "carol", "192.0.2.3")
        self.assertEqual(self.alice.message(carol.uri, seconds=0.5).status, 202)


class ReflectionTests(SynchronousTestCase):
    """An address that proved nothing may be a victim's."""

    def sent_to(self, town: Town, host: str) -> int:
        """Bytes sent to a host."""
        return sum(len(one.data) for one in town.network.datagrams if one.target[0] == host)

    def test_invite(self) -> None:
        """A 200 without its ACK is repeated, but not for more than three times what came."""
        town = Town(limits=limits())
        mallory = WireMsrp(town, "mallory", "192.0.2.66")
        mallory.acknowledge = lambda *arguments: None  # type: ignore[method-assign]
        mallory.take = lambda request: None  # type: ignore[method-assign]
        mallory.call("sip:victim@192.0.2.1")
        town.run(100.0, 0.1)
        sent = sum(len(one.data) for one in town.network.datagrams if one.source[0] == mallory.host)
        self.assertLessEqual(self.sent_to(town, mallory.host), 3 * sent)
        self.assertGreater(town.limits.counters.amplification, 2)
        self.assertEqual(mallory.requests("BYE"), [])
        self.assertEqual(town.gateway.sessions, {})

    def test_short_requests(self) -> None:
        """However short a request is."""
        town = Town(limits=limits())
        mallory = Wire(town, "mallory", "192.0.2.66")
        data = (
            b"OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bKa\r\nf:sip:a;tag=1\r\n"
            b"t:sip:a\r\ni:1\r\nCSeq:1 OPTIONS\r\nl:0\r\n\r\n"
        )
        for _ in range(20):
            mallory.write(data)
        town.run(1.0)
        self.assertLessEqual(self.sent_to(town, mallory.host), 3 * 20 * len(data))

    def test_proven(self) -> None:
        """Who acknowledges a call is where it says it is."""
        town = Town(limits=limits(amplification=2))
        bob = WireMsrp(town, "bob", "192.0.2.2")
        self.assertEqual(bob.call("sip:alice@192.0.2.1").status, 200)
        sources = town.agent.transports._datagrams[0]._sources
        (source,) = [one for one in sources.values() if one.host == bob.host]
        self.assertIsNone(source.allowance)

    def test_trusted(self) -> None:
        town = Town(limits=limits())
        proxy = Wire(town, "proxy", PROXY)
        proxy.message("sip:nobody@192.0.2.77")
        (source,) = town.agent.transports._datagrams[0]._sources.values()
        self.assertIsNone(source.allowance)
        self.assertEqual(town.network.datagrams[-1].source[0], GATEWAY)
