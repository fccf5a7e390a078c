"""Calls that we get: accepted, refused, cancelled, never acknowledged (RFC 3261 §13.3)."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.invite import UsageState
from msrpgw.sip.settings import SipSettings
from tests.sip.fake_agent import ANSWER, OFFER, Call, last_status, make_request, responses


class IncomingTests(SynchronousTestCase):
    """§13.3."""

    def setUp(self) -> None:
        self.call = Call()

    def test_accepted(self) -> None:
        route = ("Record-Route", "<sip:p1;lr>")
        contact = ("Contact", "<sip:bob@192.0.2.7:5070>")
        path = self.call.come_in(make_request("INVITE", headers=[route, contact], body=OFFER))
        self.assertEqual(self.call.usage.offer, OFFER)
        self.assertEqual(self.call.usage.call_id, "their-call")
        self.assertEqual([last_status(path)], [100])
        self.call.usage.ring()
        self.call.usage.accept(ANSWER)
        ringing, accepted = responses(path)[1:]
        self.assertEqual((ringing.status, accepted.status), (180, 200))
        self.assertEqual(ringing.to.tag, accepted.to.tag)
        for each in (ringing, accepted):
            self.assertEqual(each.headers.get_all("Record-Route"), ["<sip:p1;lr>"])
            self.assertEqual(each.headers.get("Contact"), "<sip:192.0.2.1:5060;transport=tcp>")
        self.assertEqual(accepted.body, ANSWER)
        self.assertEqual(accepted.content_type, "application/sdp")
        self.assertEqual(self.call.listener.told, [])
        self.call.acknowledge(1)
        self.assertEqual(self.call.listener.told, [("established", b"")])

    def test_the_2xx_is_repeated_until_its_ack(self) -> None:
        """§13.3.1.4: T1, doubled up to T2."""
        path = self.call.come_in()
        self.call.usage.accept(ANSWER)
        times = []
        for tick in range(1, 13 * 4):
            before = len(path.sent)
            self.call.agent.clock.advance(0.25)
            if len(path.sent) > before:
                times.append(tick / 4)
        self.assertEqual(times, [0.5, 1.5, 3.5, 7.5, 11.5])
        self.assertEqual(len(set(path.sent[1:])), 1)
        self.call.acknowledge(1)
        before = len(path.sent)
        self.call.agent.clock.pump([1.0] * 60)
        self.assertEqual(len(path.sent), before)
        self.call.acknowledge(1)
        self.assertEqual(len(self.call.listener.told), 1)

    def test_no_ack(self) -> None:
        self.call.come_in()
        self.call.usage.accept(ANSWER)
        self.call.agent.clock.pump([1.0] * 31)
        self.assertEqual(self.call.agent.sent, [])
        self.call.agent.clock.pump([1.0] * 2)
        self.assertEqual(self.call.agent.methods(), ["BYE"])
        self.assertEqual(self.call.listener.told, [("ended", "No ACK came for our 2xx")])
        self.call.answer_byes(408)
        self.assertEqual(self.call.listener.ends, 1)
        self.assertEqual(self.call.agent.dialogs, {})

    def test_our_offer_and_the_answer_in_the_ack(self) -> None:
        self.call.come_in(make_request("INVITE"))
        self.assertEqual(self.call.usage.offer, b"")
        self.call.usage.accept(OFFER)
        self.call.acknowledge(1, ANSWER)
        self.assertEqual(self.call.listener.told, [("established", ANSWER)])

    def test_an_ack_without_the_answer(self) -> None:
        self.call.come_in(make_request("INVITE"))
        self.call.usage.accept(OFFER)
        self.call.acknowledge(1)
        self.assertEqual(self.call.agent.methods(), ["BYE"])
        self.assertEqual(self.call.listener.told, [("ended", "The ACK came without an answer")])

    def test_rejected(self) -> None:
        path = self.call.come_in()
        self.call.usage.reject(488, None, [("Warning", '304 gw "no"')])
        refusal = responses(path)[-1]
        self.assertEqual(refusal.status, 488)
        self.assertEqual(refusal.headers.get("Warning"), '304 gw "no"')
        self.assertEqual(self.call.listener.told, [("failed", 488, "Refused")])
        self.assertEqual(self.call.agent.dialogs, {})

    def test_ended_before_it_was_answered(self) -> None:
        path = self.call.come_in()
        self.call.usage.end()
        self.assertEqual(last_status(path), 480)
        self.assertEqual(self.call.listener.told, [("failed", 480, "Refused")])

    def test_cancelled(self) -> None:
        path = self.call.come_in()
        self.call.usage.ring()
        self.call.cancel()
        self.assertEqual(last_status(path), 487)
        self.assertEqual(self.call.listener.told, [("failed", 487, "Request Terminated")])
        before = len(path.sent)
        self.call.usage.accept(ANSWER)
        self.assertEqual(len(path.sent), before)

    def test_cancel_crosses_the_2xx(self) -> None:
        path = self.call.come_in()
        self.call.usage.accept(ANSWER)
        self.call.cancel()
        self.assertEqual(last_status(path), 200)
        self.assertIs(self.call.usage.state, UsageState.ACCEPTED)

    def test_expires(self) -> None:
        """§13.3.1, first step."""
        contact = ("Contact", "<sip:bob@192.0.2.7>")
        path = self.call.come_in(make_request("INVITE", headers=[contact, ("Expires", "7")]))
        self.call.agent.clock.pump([1.0] * 8)
        self.assertEqual(last_status(path), 487)
        self.assertEqual(self.call.listener.told, [("failed", 487, "Request Expired")])

    def test_nobody_answers(self) -> None:
        for expires in ("x", "-1", "9" * 50, "³", "7200"):
            call = Call(SipSettings(timer_c=20.0))
            headers = [("Contact", "<sip:b@h>"), ("Expires", expires)]
            path = call.come_in(make_request("INVITE", headers=headers))
            call.agent.clock.pump([1.0] * 19)
            self.assertEqual(last_status(path), 100)
            call.agent.clock.pump([1.0] * 2)
            self.assertIn(last_status(path), (480, 487))
        call = Call(SipSettings(timer_c=0.0))
        path = call.come_in()
        call.agent.clock.pump([60.0] * 60)
        self.assertEqual(last_status(path), 100)

    def test_ringing_is_repeated_each_minute(self) -> None:
        """§13.3.1.1."""
        path = self.call.come_in()
        self.call.usage.ring()
        self.call.usage.ring(183, "Wait")
        self.call.agent.clock.pump([1.0] * 125)
        self.assertEqual([each.status for each in responses(path)], [100, 180, 183, 183, 183])

    def test_bye_before_the_answer(self) -> None:
        path = self.call.come_in()
        self.call.usage.ring()
        self.assertEqual(self.call.receive("BYE"), 200)
        self.assertEqual(last_status(path), 487)
        self.assertEqual(self.call.listener.told, [("failed", 487, "Ended by the peer")])

    def test_bye_before_the_ack(self) -> None:
        path = self.call.come_in()
        self.call.usage.accept(ANSWER)
        self.assertEqual(self.call.receive("BYE"), 200)
        self.assertEqual(self.call.listener.told, [("ended", "Ended by the peer")])
        self.call.acknowledge(1)
        before = len(path.sent)
        self.call.agent.clock.pump([1.0] * 60)
        self.assertEqual(len(path.sent), before)
        self.assertEqual(self.call.listener.ends, 1)

    def test_our_bye_waits_for_the_ack(self) -> None:
        """§15: the callee must not send BYE before."""
        self.call.come_in()
        self.call.usage.accept(ANSWER)
        self.call.usage.end("enough")
        self.assertEqual(self.call.agent.sent, [])
        self.call.acknowledge(1)
        self.assertEqual(self.call.agent.methods(), ["BYE"])
        self.assertEqual(self.call.listener.told, [])
        self.call.answer_byes(200)
        self.assertEqual(self.call.listener.told, [("ended", "enough")])

    def test_what_can_not_be_used_is_refused(self) -> None:
        html = [("Contact", "<sip:b@h>"), ("Content-Type", "text/html")]
        gzip = [
            ("Contact", "<sip:b@h>"),
            ("Content-Type", "Application/SDP;x=1"),
            ("Content-Encoding", "gzip"),
        ]
        optional = [*html, ("Content-Disposition", "render; handling = optional")]
        bare = [("Contact", "<sip:b@h>")]
        cases: list[tuple[list[tuple[str, str]], int, str]] = [
            ([], 400, ""),
            (html, 415, "Accept"),
            (gzip, 415, "Accept-Encoding"),
            (optional, 100, ""),
            (bare, 100, ""),
        ]
        for headers, status, header in cases:
            call = Call()
            request = make_request("INVITE", headers=headers)
            request.body = b"<p>"
            path = call.come_in(request)
            self.assertEqual(last_status(path), status)
            if header:
                self.assertIn(header, responses(path)[-1].headers)
            self.assertEqual(call.listener.ends, int(status > 100))
            call.usage.accept(ANSWER)
            self.assertEqual(last_status(path), status if status > 100 else 200)
