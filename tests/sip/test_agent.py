"""The user agent core: who answers a request, and how (RFC 3261 §8.2, §9.2)."""

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import RenderError, SipError
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.dialog import DialogId
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from msrpgw.sip.server_transaction import InviteServerTransaction
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transaction import ServerTransaction
from msrpgw.timers import Timers
from tests.sip.agent_cases import PEER, US, AgentTestCase, parse, wire
from tests.support import CountingRandom, Network, make_agent


class ReceivingTests(AgentTestCase):
    """§8.2: who answers a request, and how."""

    def test_handed_over_and_answered(self) -> None:
        """A request goes to the receiver of its method; the answer gets To tag and Server."""
        self.assertEqual(self.deliver(wire()), [])
        transaction = self.received[0]
        self.agent.respond(transaction, 202, "Taken", [("X-Y", "z")], b"body")
        answer = parse(self.network.datagrams[-1].data)
        assert isinstance(answer, Response)
        self.assertEqual((answer.status, answer.reason, answer.body), (202, "Taken", b"body"))
        self.assertEqual(answer.headers.get("Server"), "msrpgw")
        self.assertEqual(answer.headers.get("X-Y"), "z")
        self.assertEqual(answer.to.tag, transaction.to_tag)
        self.assertTrue(transaction.to_tag)
        self.finish()

    def test_three_copies_one_call(self) -> None:
        """A MESSAGE sent three times with one branch, or without any, is one message."""
        for branch in ("z9hG4bK1", None):
            self.setUp()
            for _ in range(3):
                self.assertEqual(self.deliver(wire(branch=branch)), [])
            self.agent.respond(self.received[0], 200)
            self.assertEqual(self.ask(wire(branch=branch)).status, 200)
            self.assertEqual(len(self.received), 1)

    def test_to_tag_is_stable(self) -> None:
        """All responses of a transaction have one To tag, 100 has none."""
        self.deliver(wire("INVITE"))
        for status in (100, 180, 200):
            self.agent.respond(self.received[0], status)
        tags = [parse(one.data).to.tag for one in self.network.datagrams if one.source[0] == US]
        self.assertEqual(tags, [None, self.received[0].to_tag, self.received[0].to_tag])

    def test_unwritable_answer(self) -> None:
        """A reason phrase that can't be written becomes a 500, not an injection."""
        self.deliver(wire())
        self.agent.respond(self.received[0], 480, "a\r\nContact: <sip:x>")
        answer = parse(self.network.datagrams[-1].data)
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(RenderError)), 1)

    def test_method_not_allowed(self) -> None:
        """§8.2.1: 405 with Allow, known method or not."""
        for method in ("PUBLISH", "NEWMETHOD"):
            answer = self.ask(wire(method))
            self.assertEqual(answer.status, 405)
            self.assertEqual(
                answer.headers.get("Allow"), "INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE"
            )

    def test_allow_of_a_page_agent(self) -> None:
        """Without INVITE there are no ACK, BYE and CANCEL; other methods follow."""
        agent = make_agent(self.network, "10.0.0.7")
        for method in ("MESSAGE", "SUBSCRIBE", "PUBLISH"):
            agent.on(method, self.received.append)
        self.assertEqual(agent.allow, "OPTIONS, MESSAGE, PUBLISH, SUBSCRIBE")

    def test_options(self) -> None:
        """§11.2: OPTIONS is answered with what we can, unless somebody took it over."""
        self.agent.accept_types = ["text/plain", "application/sdp"]
        self.agent.extensions = frozenset({"timer"})
        answer = self.ask(wire("OPTIONS"))
        self.assertEqual(answer.status, 200)
        for name, value in (
            ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE"),
            ("Accept", "text/plain, application/sdp"),
            ("Accept-Encoding", "identity"),
            ("Supported", "timer"),
        ):
            self.assertEqual(answer.headers.get(name), value)
        self.agent.on("OPTIONS", self.received.append)
        self.deliver(wire("OPTIONS", branch="z9hG4bK2", cseq="2 OPTIONS"))
        self.assertEqual(len(self.received), 1)

    def test_scheme(self) -> None:
        """§8.2.2.1: 416 for a scheme of which nothing can be made."""
        for number, (uri, status) in enumerate(
            (
                ("http://example.com", 416),
                ("unknown:bob", 416),
                ("SIP:bob@example.com", 200),
                ("sips:bob@example.com", 200),
                ("tel:+15551234", 200),
                ("urn:service:sos", 200),
            )
        ):
            data = wire("OPTIONS", uri=uri, branch=f"z9hG4bK{number}", cseq=f"{number} OPTIONS")
            self.assertEqual(self.ask(data).status, status, uri)

    def test_require(self) -> None:
        """§8.2.2.3: 420 with the extensions that we lack; not for CANCEL."""
        answer = self.ask(wire(headers="Require: foo, 100rel\r\nRequire: bar\r\n"))
        self.assertEqual(answer.status, 420)
        self.assertEqual(answer.headers.get("Unsupported"), "foo, 100rel, bar")
        self.agent.extensions = frozenset({"100rel"})
        self.deliver(wire(branch="z9hG4bK2", cseq="2 MESSAGE", headers="Require: 100rel\r\n"))
        self.assertEqual(len(self.received), 1)
        self.assertEqual(self.ask(wire("CANCEL", headers="Require: foo\r\n")).status, 481)

    def test_require_in_dialog(self) -> None:
        """The same inside a dialog."""
        data = wire("INFO", to_tag="t", headers="Require: foo\r\n")
        self.assertEqual(self.ask(data).status, 420)

    def test_merged(self) -> None:
        """§8.2.2.2: the same request by another way gets 482."""
        self.deliver(wire())
        self.assertEqual(self.ask(wire(branch="z9hG4bK2")).status, 482)
        self.assertEqual(self.agent.counters.merged, 1)
        self.assertEqual(len(self.received), 1)

    def test_max_forwards_0(self) -> None:
        """An endpoint processes a request that may not go further (§8.2.2)."""
        self.deliver(wire().replace("Max-Forwards: 70", "Max-Forwards: 0"))
        self.assertEqual(len(self.received), 1)

    def test_own_route(self) -> None:
        """A Route that names us is taken off; what follows it stays."""
        for number, (routes, left) in enumerate(
            (
                (f"Route: <sip:{US};lr>\r\n", []),
                (f"Route: <sip:{US}:5060;lr>, <sip:x.example;lr>\r\n", ["<sip:x.example;lr>"]),
                (f"Route: <sip:{US};lr>\r\nRoute: <sip:y>\r\n", ["<sip:y>"]),
                ("Route: <sip:x.example;lr>\r\n", ["<sip:x.example;lr>"]),
                (f"Route: <sip:{US}:5999;lr>\r\n", [f"<sip:{US}:5999;lr>"]),
                ("Route: <tel:+1>\r\n", ["<tel:+1>"]),
            )
        ):
            self.deliver(wire(branch=f"z9hG4bK{number}", cseq=f"{number} MESSAGE", headers=routes))
            self.assertEqual(self.received[-1].request.headers.get_all("Route"), left)

    def test_error_of_the_receiver(self) -> None:
        """A SipError becomes the answer, any other exception a 500; the agent goes on."""

        def refuse(transaction: ServerTransaction) -> None:
            raise SipError("No such thing", status=404, headers=(("X-Why", "gone"),))

        self.agent.on("MESSAGE", refuse)
        answer = self.ask(wire())
        self.assertEqual((answer.status, answer.reason), (404, "No such thing"))
        self.assertEqual(answer.headers.get("X-Why"), "gone")

        def fail(transaction: ServerTransaction) -> None:
            raise ZeroDivisionError

        self.agent.on("MESSAGE", fail)
        self.assertEqual(self.ask(wire(branch="z9hG4bK2", cseq="2 MESSAGE")).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_pending_message_is_absorbed_then_100(self) -> None:
        """RFC 4320: nothing before 3.5 s, then 100; never 408."""
        self.deliver(wire())
        self.network.run(3.4)
        self.assertEqual(len(self.network.datagrams), 1)
        self.network.run(0.2)
        self.assertIn(b"SIP/2.0 100 Trying", self.network.datagrams[-1].data)
        self.agent.respond(self.received[0], 408)
        self.network.run(30)
        self.assertEqual(len(self.network.datagrams), 2)
        self.finish()

    def test_overload(self) -> None:
        """Above ``max_transactions``: 503 with Retry-After; the same answer for each copy."""
        self.start_other(max_transactions=1)
        self.deliver(wire())
        first = self.deliver(wire(branch="z9hG4bK2", cseq="2 MESSAGE"))
        again = self.deliver(wire(branch="z9hG4bK2", cseq="2 MESSAGE"))
        self.assertEqual(first, again)
        answer = parse(first[0])
        assert isinstance(answer, Response)
        self.assertEqual((answer.status, answer.headers.get("Retry-After")), (503, "5"))
        self.assertEqual(self.agent.counters.overloaded, 2)
        self.assertEqual(len(self.received), 1)

    def start_other(self, **settings: object) -> None:
        """An agent with other settings, on the same addresses."""
        self.network = Network()
        self.start(**settings)

    def test_refused_source(self) -> None:
        """Requests from elsewhere get 403, well-formed or not; an ACK gets nothing."""
        self.start_other(allow_source=lambda address: address != PEER)
        self.assertEqual(self.ask(wire()).status, 403)
        refused = self.deliver(wire().replace("1 MESSAGE", "x MESSAGE"))
        self.assertTrue(refused[0].startswith(b"SIP/2.0 403 Forbidden\r\n"))
        self.assertEqual(self.deliver(wire("ACK")), [])
        self.assertEqual(self.deliver(wire(), ("10.0.0.3", 5060)), [])
        self.assertEqual(len(self.received), 1)
        self.assertEqual(self.agent.counters.refused_sources, 3)

    def test_malformed(self) -> None:
        """What can be answered gets its 400, statelessly; what can't is counted."""
        bad = wire().replace("1 MESSAGE", "1 INVITE")
        first, second = self.deliver(bad), self.deliver(bad)
        self.assertEqual(first, second)
        answer = parse(first[0].replace(b"1 INVITE", b"1 MESSAGE"))
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 400)
        self.assertTrue(answer.to.tag)
        self.assertEqual(self.deliver(b"\xff\xfe rubbish \x00"), [])
        self.assertEqual(self.deliver(wire("ACK").replace("1 ACK", "1 INVITE")), [])
        self.assertEqual(self.agent.counters.malformed, 4)

    def test_stray_response(self) -> None:
        """A response to nothing is dropped and counted."""
        request = parse(wire().encode())
        assert isinstance(request, Request)
        self.assertEqual(self.deliver(request.response(200).render()), [])
        self.assertEqual(self.agent.counters.stray_responses, 1)

    def test_unmatchable(self) -> None:
        """What the parser lets through but the table can't match is answered 400."""
        request = Request(
            "MESSAGE", "sip:x@y", Headers([("Via", f"SIP/2.0/UDP {PEER};branch=z9hG4bK1")])
        )
        source = self.agent.transports._datagrams[0]
        source.datagramReceived(wire().encode(), (PEER, 5060))
        self.agent._message_received(request, self.received[0].source)
        self.assertIn(b"SIP/2.0 400 ", self.network.datagrams[-1].data)
        self.assertEqual(self.agent.counters.malformed, 1)

    def test_failure_in_the_core(self) -> None:
        """A bug is logged, and the next message is processed."""
        self.agent.transactions.receive = lambda message, source: 1 // 0
        self.deliver(wire())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class LoggingTests(AgentTestCase):
    """Complaints don't flood the log, and carry no bytes of the peer's choice."""

    def test_rate_and_escaping(self) -> None:
        """Of each kind one line in ten seconds, with the number of those left out."""
        events: list[dict[str, object]] = []
        observer = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for _ in range(50):
            self.deliver(b"OPTIONS \x1b[31m\nX: y SIP/2.0\r\n\r\n")
        lines = [one for one in events if one.get("log_namespace") == "msrpgw.sip"]
        self.assertEqual(len(lines), 1)
        self.network.run(11, step=1)
        self.deliver(wire().replace("1 MESSAGE", "1 \x07MESSAGE"))
        lines = [one for one in events if one.get("log_namespace") == "msrpgw.sip"]
        self.assertEqual(len(lines), 2)
        self.assertIn("49 more", str(lines[1]["more"]))
        for line in lines:
            self.assertTrue(str(line["what"]).isprintable())
            self.assertEqual(line["peer"], PEER)


class DialogTests(AgentTestCase):
    """Requests inside dialogs."""

    def setUp(self) -> None:
        """A dialog whose owner keeps what it gets."""
        super().setUp()
        self.acks: list[Request] = []
        self.inside: list[ServerTransaction] = []
        test = self

        class Owner:
            def request_received(self, transaction: ServerTransaction) -> None:
                """Keep it."""
                test.inside.append(transaction)

            def ack_received(self, request: Request) -> None:
                """Keep it."""
                test.acks.append(request)

        self.dialog = DialogId("c1", "ours", "f")
        self.agent.add_dialog(self.dialog, Owner())

    def test_to_its_owner(self) -> None:
        """Call-ID and both tags find the owner, whatever the method."""
        for number, method in enumerate(("BYE", "INFO", "MESSAGE", "NEWMETHOD"), 2):
            self.deliver(wire(method, to_tag="ours", branch=f"z9hG4bK{number}"))
            self.assertEqual(self.inside[-1].request.method, method)
        self.deliver(wire("ACK", to_tag="ours", branch="z9hG4bKack"))
        self.assertEqual([ack.method for ack in self.acks], ["ACK"])
        self.assertEqual(self.received, [])

    def test_no_such_dialog(self) -> None:
        """§12.2.2: 481; nothing for an ACK."""
        for number, tags in enumerate(
            ({"to_tag": "x"}, {"from_tag": "x"}, {"call_id": "x"}, {"method": "INVITE"})
        ):
            given = {"to_tag": "ours", "method": "BYE", "branch": f"z9hG4bK{number}", **tags}
            if tags.get("method"):
                self.agent.remove_dialog(self.dialog)
                self.agent.remove_dialog(self.dialog)
            self.assertEqual(self.ask(wire(**given)).status, 481)
        self.assertEqual(self.deliver(wire("ACK", to_tag="x", branch="z9hG4bKack")), [])

    def test_bye_outside(self) -> None:
        """§15.1.2: a BYE without a To tag belongs to no dialog."""
        self.assertEqual(self.ask(wire("BYE")).status, 481)


class CancelTests(AgentTestCase):
    """§9.2."""

    def test_cancel(self) -> None:
        """The CANCEL gets 200 with the INVITE's To tag, and the INVITE's user is told."""
        self.deliver(wire("INVITE"))
        invite = self.received[0]
        assert isinstance(invite, InviteServerTransaction)
        cancelled: list[int] = []
        invite.on_cancel = lambda: cancelled.append(1)
        answer = self.ask(wire("CANCEL"))
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.cseq.method, "CANCEL")
        self.assertEqual(cancelled, [1])
        self.agent.respond(invite, 487)
        final = parse(self.network.datagrams[-1].data)
        self.assertEqual(final.to.tag, answer.to.tag)
        # Its copies are absorbed, and a second one comes too late.
        self.assertEqual(self.ask(wire("CANCEL")).status, 200)
        self.assertEqual(cancelled, [1])

    def test_cancel_of_nothing(self) -> None:
        """481; also where the branch is that of another request."""
        self.assertEqual(self.ask(wire("CANCEL")).status, 481)
        self.deliver(wire("INVITE"))
        self.assertEqual(self.ask(wire("CANCEL", branch="z9hG4bKother")).status, 481)

    def test_cancel_of_a_message(self) -> None:
        """Only INVITEs can be cancelled: 200, without effect."""
        self.deliver(wire())
        self.assertEqual(self.ask(wire("CANCEL")).status, 200)
        self.assertFalse(self.received[0].answered)

    def test_rfc2543(self) -> None:
        """An RFC 2543 client cancels without a branch."""
        self.deliver(wire("INVITE", branch=None))
        invite = self.received[0]
        assert isinstance(invite, InviteServerTransaction)
        cancelled: list[int] = []
        invite.on_cancel = lambda: cancelled.append(1)
        self.assertEqual(self.ask(wire("CANCEL", branch=None)).status, 200)
        self.assertEqual(cancelled, [1])


class SettingsTests(SynchronousTestCase):
    """The agent as the service makes it."""

    def test_not_started(self) -> None:
        """An agent that was never started can be stopped."""
        network = Network()
        host = network.host()
        agent = UserAgent(
            host, Timers(host), SipSettings(), CountingRandom(), allow_source=lambda address: True
        )
        self.assertEqual(agent.addresses(), [])
        self.successResultOf(agent.stop())
        self.assertEqual(agent.contact_uri(), "sip:127.0.0.1:5060")
