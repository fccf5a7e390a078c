"""What senders are told: answers, REPORTs, notices; and that MESSAGEs wait for their turn."""

import itertools
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.gateway import session as session_module
from msrpgw.gateway.session import MANY_PAGES
from msrpgw.gateway.settings import PolicySettings
from msrpgw.sip.message import Request, Response
from tests.gateway.support import Town
from tests.gateway.wire import Wire, WireMsrp

BOB = "sip:bob@192.0.2.2"


class AnswerTestCase(SynchronousTestCase):
    """Alice has MESSAGE, Bob has MSRP, and their session is up."""

    def setUp(self) -> None:
        self.found(Town())

    def found(self, town: Town, accept_types: str = "*", relay: str = "") -> None:
        """They have met."""
        self.town = town
        self.alice = Wire(town, "alice", "192.0.2.1")
        self.bob = WireMsrp(town, "bob", "192.0.2.2")
        self.bob.accept_types = accept_types
        self.bob.relay = relay
        self.assertEqual(self.bob.call(self.alice.uri).status, 200)
        town.run(0.1)

    def tearDown(self) -> None:
        """No MESSAGE ever gets 408 (RFC 4320 §4.2), and no message two outcomes."""
        for message in self.alice.received:
            if isinstance(message, Response):
                self.assertNotEqual(message.status, 408)
        self.assertEqual(self.town.gateway.custody.repeated_outcomes, 0)


class MessageTests(AnswerTestCase):
    """The answer to a MESSAGE."""

    def test_delivered(self) -> None:
        """200 when Bob has it; one transmission, no provisional answer."""
        request = self.alice.make("MESSAGE", BOB, b"hi", "text/plain")
        self.assertEqual(self.alice.ask(request).status, 200)
        self.assertEqual(len(self.alice.responses(request)), 1)
        self.assertEqual(self.bob.bodies(), ["hi"])

    def test_not_before_bob_has_it(self) -> None:
        """Nothing is said until Bob's 200 comes."""
        self.bob.send_status = 0
        request = self.alice.make("MESSAGE", BOB, b"hi", "text/plain")
        self.alice.write(request)
        self.town.run(0.2)
        self.assertEqual(self.alice.responses(request), [])
        self.bob.connections[0].answer(self.bob.sends()[0])
        self.town.run(0.05)
        self.assertEqual([answer.status for answer in self.alice.responses(request)], [200])

    def test_refused(self) -> None:
        """What Bob says, in SIP's terms."""
        for msrp, sip in ((400, 400), (403, 403), (408, 504), (413, 413), (415, 415), (501, 501)):
            self.bob.send_status = msrp
            self.assertEqual(self.alice.message(BOB).status, sip)
            self.town.check_settled(self, sessions=1)
        self.assertEqual(self.alice.texts(), [])
        self.bob.send_status = 200
        self.assertEqual(self.alice.message(BOB).status, 200)

    def test_hold(self) -> None:
        """202 when Bob takes his time, before a retransmission; nothing more when he has it."""
        self.bob.send_status = 0
        request = self.alice.make("MESSAGE", BOB, b"hi", "text/plain")
        self.alice.write(request)
        self.town.run(0.29)
        self.assertEqual(self.alice.responses(request), [])
        self.town.run(0.03)
        self.assertEqual([answer.status for answer in self.alice.responses(request)], [202])
        self.bob.connections[0].answer(self.bob.sends()[0])
        self.town.run(1)
        self.assertEqual(len(self.alice.responses(request)), 1)
        self.assertEqual(self.alice.texts(), [])
        self.town.check_settled(self, sessions=1)

    def test_refused_after_the_hold(self) -> None:
        """A notice tells."""
        self.bob.send_status = 0
        self.assertEqual(self.alice.message(BOB, seconds=0.5).status, 202)
        self.bob.connections[0].answer(self.bob.sends()[0], 403)
        self.town.run(0.1)
        self.assertEqual(len(self.alice.texts()), 1)
        self.assertRegex(self.alice.texts()[0], "^Message not delivered, error: 403 ")

    def test_never_answered(self) -> None:
        """Our time-out is 504, by notice since the hold is long over."""
        self.bob.send_status = 0
        self.assertEqual(self.alice.message(BOB, seconds=0.5).status, 202)
        self.town.run(31, step=0.1)
        self.assertEqual(
            self.alice.texts(),
            [
                "Message not delivered, error: 504 No MSRP response;"
                ' it was "hi" of 2023-11-14 22:13:20 UTC'
            ],
        )
        self.town.check_settled(self, sessions=1)

    def test_many_failures_one_notice(self) -> None:
        """Alice is not flooded."""
        self.bob.send_status = 0
        for _ in range(5):
            self.assertEqual(self.alice.message(BOB, seconds=0.5).status, 202)
        self.town.run(35, step=0.1)
        self.assertEqual(len(self.alice.texts()), 1)
        self.town.check_settled(self, sessions=1)

    def test_retransmitted(self) -> None:
        """Three copies make one SEND, also after 8 s and with RFC 2543's matching."""
        old = self.alice.make("MESSAGE", BOB, b"old", "text/plain")
        old.headers.set("Via", "SIP/2.0/UDP 192.0.2.1:5060")
        for number, request in enumerate((self.alice.make("MESSAGE", BOB, b"new"), old), 1):
            request.headers.set("Content-Type", "text/plain")
            for seconds in (0.1, 8, 20):
                self.alice.write(request)
                self.town.run(seconds, step=0.05)
            self.assertEqual(len(self.bob.sends()), number)
            self.assertEqual([answer.status for answer in self.alice.responses(request)], [200] * 3)

    def test_retransmitted_while_held(self) -> None:
        """The copy waits for the same answer."""
        self.bob.send_status = 0
        request = self.alice.make("MESSAGE", BOB, b"hi", "text/plain")
        self.alice.write(request)
        self.town.run(0.1)
        self.alice.write(request)
        self.town.run(0.1)
        self.bob.connections[0].answer(self.bob.sends()[0])
        self.town.run(0.1)
        self.assertEqual(len(self.bob.sends()), 1)
        self.assertEqual({answer.status for answer in self.alice.responses(request)}, {200})

    def test_order(self) -> None:
        """SENDs leave in the order of the MESSAGEs, without waiting for answers."""
        self.bob.send_status = 0
        wanted = [str(number) for number in range(20)]
        for text in wanted:
            self.alice.write(self.alice.make("MESSAGE", BOB, text.encode(), "text/plain"))
        self.town.run(0.1)
        self.assertEqual(self.bob.bodies(), wanted)

    def test_long(self) -> None:
        """Several chunks, one answer."""
        text = "long " * 2000
        request = self.alice.make("MESSAGE", BOB, text.encode(), "text/plain")
        self.assertEqual(self.alice.ask(request).status, 200)
        self.assertEqual("".join(self.bob.bodies()), text)
        self.assertGreater(len(self.bob.sends()), 1)
        self.assertEqual(len({send.message_id for send in self.bob.sends()}), 1)
        self.assertEqual(len(self.alice.responses(request)), 1)

    def test_larger_than_bob_takes(self) -> None:
        """413, and not one chunk goes out."""
        self.town = Town()
        self.alice = Wire(self.town, "alice", "192.0.2.1")
        self.bob = WireMsrp(self.town, "bob", "192.0.2.2")
        sdp = self.bob.sdp() + b"a=max-size:10\r\n"
        self.bob.call(self.alice.uri, offer=sdp)
        self.town.run(0.1)
        self.assertEqual(self.alice.message(BOB, "12345678901").status, 413)
        self.assertEqual(self.alice.message(BOB, "1234567890").status, 200)
        self.assertEqual(self.bob.bodies(), ["1234567890"])


class MediaTypeTests(AnswerTestCase):
    """Types that the other side does not take."""

    def test_to_msrp(self) -> None:
        """415 with Accept; compared without case and with parameters apart."""
        self.found(Town(), accept_types="text/plain message/*")
        for refused in ("text/html", "image/png", "rubbish", "text"):
            response = self.alice.message(BOB, "x", refused)
            self.assertEqual(response.status, 415)
            self.assertEqual(response.headers.get("Accept"), "text/plain, message/*")
        for taken in (
            "text/plain",
            "TEXT/Plain",
            "text/plain;charset=UTF-8",
            'text/plain ; charset="iso-8859-1"',
            "Message/CPIM",
        ):
            self.assertEqual(self.alice.message(BOB, "x", taken).status, 200)
            self.assertEqual(self.bob.sends()[-1].content_type, taken)
        self.town.check_settled(self, sessions=1)

    def test_to_page(self) -> None:
        """MSRP 415 for what the SDP does not list."""
        self.found(Town(policy=PolicySettings(content_types=("text/plain", "text/html"))))
        for refused in ("image/png", "rubbish"):
            (status,) = self.bob.send("x", content_type=refused)
            self.assertIn(status, (400, 415))
        self.assertEqual(self.bob.send("x", content_type="image/png"), [415])
        for taken in ("text/plain", "Text/HTML;charset=utf-8"):
            self.assertEqual(self.bob.send("x", content_type=taken), [200])
            self.assertEqual(self.alice.requests("MESSAGE")[-1].content_type, taken)

    def test_page_user_refuses(self) -> None:
        """Alice's 415 is told by REPORT."""
        self.alice.status = 415
        self.assertEqual(self.bob.send("x"), [200])
        self.assertEqual(self.bob.reports(), [415])

    def test_encoding(self) -> None:
        """415 with Accept-Encoding."""
        for encoding, status in (("deflate", 415), ("gzip", 415), ("identity", 200)):
            response = self.alice.message(BOB, headers=[("Content-Encoding", encoding)])
            self.assertEqual(response.status, status)
            if status == 415:
                self.assertEqual(response.headers.get("Accept-Encoding"), "identity")

    def test_require(self) -> None:
        """420 with Unsupported."""
        response = self.alice.message(BOB, headers=[("Require", "nosuch, other")])
        self.assertEqual(response.status, 420)
        self.assertEqual(response.headers.get("Unsupported"), "nosuch, other")
        self.assertEqual(self.bob.sends(), [])

    def test_no_type(self) -> None:
        """400 for a body without Content-Type; an empty MESSAGE needs none."""
        response = self.alice.message(BOB, "hi", None)
        self.assertEqual(response.status, 400)
        self.assertEqual(response.reason, "Missing Content-Type header field")
        self.assertEqual(self.alice.message(BOB, "", None).status, 200)

    def test_refused_by_policy(self) -> None:
        """Code and reason are the policy's."""
        self.found(Town(policy=PolicySettings(invite_from="{header[X-Caller]}")))
        response = self.alice.message(BOB)
        self.assertEqual((response.status, response.reason[:6]), (400, "No URI"))


class ReportTests(AnswerTestCase):
    """The answer to a SEND, and its REPORT."""

    def test_final_answers(self) -> None:
        """200 once the MESSAGE has its answer, REPORT with what it was."""
        for sip, report in ((200, 200), (202, 200), (404, 403), (480, 408), (486, 408), (603, 403)):
            self.bob.frames.clear()
            self.alice.status = sip
            self.assertEqual(self.bob.send("hi", Success_Report="yes"), [200])
            self.assertEqual(self.bob.reports(), [report])
            self.town.check_settled(self, sessions=1)

    def test_who_wants_to_know(self) -> None:
        """Success-Report and Failure-Report say which REPORTs come."""
        for sip, success, failure, statuses, reports in (
            (200, "no", "yes", [200], []),
            (200, "yes", "no", [], [200]),
            (200, "yes", "partial", [], [200]),
            (404, "yes", "yes", [200], [403]),
            (404, "no", "partial", [], [403]),
            (404, "yes", "no", [], []),
        ):
            self.bob.frames.clear()
            self.alice.status = sip
            answers = self.bob.send("hi", Success_Report=success, Failure_Report=failure)
            self.assertEqual(answers, statuses, (sip, success, failure))
            self.assertEqual(self.bob.reports(), reports, (sip, success, failure))

    def test_not_before_alice_has_it(self) -> None:
        """Neither 200 nor REPORT while the MESSAGE is under way."""
        held: list[Request] = []
        self.alice.on_request = held.append
        self.assertEqual(self.bob.send("hi", Success_Report="yes"), [])
        self.town.run(1)
        self.assertEqual(self.bob.frames[1:], [])
        self.alice.answer(held[0], 200)
        self.town.run(0.1)
        self.assertEqual(self.bob.statuses(), [200])
        self.assertEqual(self.bob.reports(), [200])

    def test_silence(self) -> None:
        """The SEND is accepted after the hold; its REPORT comes when all hope is gone."""
        self.alice.status = 0
        self.bob.send("hi", Success_Report="yes")
        self.town.run(4.9)
        self.assertEqual(self.bob.statuses(), [])
        self.town.run(0.2)
        self.assertEqual(self.bob.statuses(), [200])
        self.town.run(26, step=0.1)
        self.assertEqual(self.bob.reports(), [])
        self.town.run(2, step=0.1)
        self.assertEqual(self.bob.reports(), [408])
        self.town.check_settled(self, sessions=1)

    def test_more_than_page_users_answer(self) -> None:
        """The MSRP user is not heard for a while; nothing is refused, lost or out of order."""
        self.patch(session_module, "REST", 100.0)
        self.alice.status = 0
        texts = [f"{number:03}" for number in range(MANY_PAGES + 20)]
        for text in texts:
            self.bob.send(text)
        [session] = self.town.gateway.sessions.values()
        self.assertEqual(session.pages_waiting, MANY_PAGES)
        self.alice.status = 200
        self.town.run(10)
        self.assertEqual(self.alice.texts(), texts)
        self.assertEqual(self.bob.statuses(), [200] * len(texts))
        self.town.check_settled(self, sessions=1)

    def test_queue_limit(self) -> None:
        """A full queue: 413."""
        self.found(Town(queue_limit=2))
        self.alice.status = 0
        self.assertEqual([self.bob.send(text) for text in "abc"], [[], [], [413]])
        self.alice.status = 200
        self.town.run(5)
        self.assertEqual(self.alice.texts(), ["a", "b"])
        self.assertEqual(self.bob.send("d"), [200])

    def test_mirrored(self) -> None:
        """From, To and request URI of the MESSAGE are those of the INVITE, or of the MESSAGE."""
        self.bob.send("hi")
        dave = WireMsrp(self.town, "dave", "192.0.2.4")
        self.alice.message(dave.uri, "hi")
        self.town.run(0.1)
        dave.send("hi")
        for message, sender in zip(self.alice.requests("MESSAGE"), (self.bob, dave), strict=True):
            self.assertEqual(message.uri, self.alice.uri)
            self.assertEqual(message.from_.uri_text, sender.uri)
            self.assertEqual(message.to.uri_text, self.alice.uri)
            self.assertIsNone(message.to.tag)
            self.assertNotIn("Contact", message.headers)


class TurnTests(AnswerTestCase):
    """At most one MESSAGE pending for each request URI (RFC 3428 §8)."""

    def setUp(self) -> None:
        """Two sessions that share Alice, who answers when she is told to."""
        super().setUp()
        self.carol = WireMsrp(self.town, "carol", "192.0.2.3")
        self.carol.call(self.alice.uri)
        self.town.run(0.1)
        self.pending: list[Request] = []
        self.most = 0
        self.alice.on_request = self.keep

    def keep(self, request: Request) -> None:
        """A MESSAGE waits for Alice's answer; retransmissions don't count."""
        if all(request.via.branch != known.via.branch for known in self.pending):
            self.pending.append(request)
            self.most = max(self.most, len(self.pending))

    def answer(self, status: int = 200) -> None:
        """Alice answers what is pending."""
        self.alice.answer(self.pending.pop(0), status)
        self.town.run(0.05)

    def test_turns(self) -> None:
        """One at a time; sessions take turns, each in its order."""
        for text in ("bob 1", "bob 2", "bob 3"):
            self.bob.send(text)
        for text in ("carol 1", "carol 2", "carol 3"):
            self.carol.send(text)
        self.town.run(3)
        while self.pending:
            self.answer()
        self.assertEqual(self.most, 1)
        self.assertEqual(
            self.alice.texts(), ["bob 1", "bob 2", "carol 1", "bob 3", "carol 2", "carol 3"]
        )
        self.assertEqual([len(self.bob.statuses()), len(self.carol.statuses())], [3, 3])
        self.town.check_settled(self, sessions=2)

    def test_notices_take_turns_as_well(self) -> None:
        """The gateway's own MESSAGEs wait like others."""
        Wire(self.town, "dave", "192.0.2.4", 486)
        self.bob.send("bob 1")
        self.bob.send("bob 2")
        self.assertEqual(self.alice.message("sip:dave@192.0.2.4").status, 202)
        self.town.run(1)
        self.assertEqual(len(self.pending), 1)
        while self.pending:
            self.answer()
        self.assertEqual(self.most, 1)
        self.assertEqual(
            self.alice.texts(),
            ["bob 1", "bob 2", "Failed to establish session, error: 486 Busy Here"],
        )

    def test_other_uris_do_not_wait(self) -> None:
        """Only Alice's MESSAGEs wait for Alice."""
        erin = Wire(self.town, "erin", "192.0.2.5")
        frank = WireMsrp(self.town, "frank", "192.0.2.6")
        frank.call(erin.uri)
        self.town.run(0.1)
        self.bob.send("to alice")
        self.assertEqual(frank.send("to erin"), [200])
        self.assertEqual(len(self.pending), 1)

    def test_refusal_of_one_does_not_stop_the_next(self) -> None:
        self.bob.send("one", Success_Report="yes")
        self.bob.send("two", Success_Report="yes")
        self.answer(486)
        self.answer(200)
        self.assertEqual(self.bob.reports(), [408, 200])

    def test_back_off(self) -> None:
        """A URI that timed out rests as a whole, longer each time."""
        times: list[float] = []
        branches: set[str | None] = set()

        def note(request: Request) -> None:
            if request.via.branch not in branches:
                branches.add(request.via.branch)
                times.append(self.town.clock.seconds())

        self.alice.on_request = note
        for text in ("bob 1", "bob 2"):
            self.bob.send(text)
        for text in ("carol 1", "carol 2"):
            self.carol.send(text)
        self.town.run(160, step=0.05)
        waits = [round(after - before - 32) for before, after in itertools.pairwise(times)]
        self.assertEqual(waits, [2, 4, 8])
        self.town.run(30, step=0.1)
        self.assertEqual(self.bob.reports() + self.carol.reports(), [408] * 4)
        self.town.check_settled(self, sessions=2)


def one_in_five(offset: int) -> Callable[[int], bool]:
    """Lose one datagram of each five in a row, each time another one of them."""
    return lambda index: index % 5 == (index // 5 * 3 + offset) % 5


class LossTests(SynchronousTestCase):
    """A network that loses 20 % of the datagrams."""

    def converse(self, lost: Callable[[int], bool]) -> None:
        """Twenty texts each way: none lost, none doubled, all in order."""
        town = Town(lost=lost)
        alice = town.page_user("alice", "192.0.2.1")
        bob = town.msrp_user("bob", "192.0.2.2", reports=True)
        wanted = [f"text {number}" for number in range(20)]
        alice.send(bob.uri, *wanted)
        town.run(10, step=0.05)
        bob.send(alice.uri, *wanted)
        town.run(120, step=0.05)
        self.assertEqual(bob.received, wanted)
        self.assertEqual(alice.received, wanted)
        self.assertTrue({202, 200}.issuperset(alice.statuses), alice.statuses)
        self.assertEqual([sent.status for sent in bob.sent if sent.final], [200] * 20)
        self.assertGreater(sum(datagram.lost for datagram in town.network.datagrams), 15)
        town.check_settled(self, sessions=1)

    def test_order(self) -> None:
        for offset in range(5):
            self.converse(one_in_five(offset))
