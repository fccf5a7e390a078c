"""Calls that we make: answered, refused, cancelled, forked, redirected (RFC 3261 §13.2)."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.dialog import DialogId
from msrpgw.sip.invite import UsageState
from msrpgw.sip.settings import SipSettings
from tests.sip.fake_agent import ANSWER, OFFER, Call, last_status, make_request


class CallingTests(SynchronousTestCase):
    """§13.2: calls that we make."""

    def setUp(self) -> None:
        self.call = Call()

    def test_the_invite(self) -> None:
        self.call.dial("sip:bob@example.com;transport=tcp", headers=[("Subject", "x")])
        (sent,) = self.call.agent.sent
        request = sent.request
        self.assertEqual(request.method, "INVITE")
        self.assertEqual(request.uri, "sip:bob@example.com;transport=tcp")
        self.assertEqual(request.headers.get("Contact"), "<sip:192.0.2.1:5060;transport=tcp>")
        self.assertEqual(request.headers.get("Subject"), "x")
        self.assertEqual(request.headers.get("Content-Type"), "application/sdp")
        self.assertEqual(request.body, OFFER)
        self.assertEqual(request.call_id, self.call.usage.call_id)
        self.assertTrue(request.from_.tag)
        self.assertIsNone(request.to.tag)
        self.assertIs(self.call.usage.state, UsageState.CALLING)
        self.assertIsNone(self.call.usage.dialog)

    def test_established(self) -> None:
        self.call.dial()
        self.call.answer_invite(100)
        self.call.answer_invite(180)
        self.call.answer_invite(200, body=ANSWER)
        self.assertEqual(
            self.call.listener.told, [("progress", 180, "Ringing"), ("established", ANSWER)]
        )
        (ack,) = self.call.agent.acks
        self.assertEqual(ack.uri, "sip:bob@192.0.2.7")
        self.assertEqual((ack.cseq.number, ack.cseq.method), (1, "ACK"))
        self.assertEqual(ack.to.tag, "theirs")
        dialog = self.call.usage.dialog
        assert dialog is not None
        self.assertEqual(self.call.agent.dialogs, {dialog.id: self.call.usage})

    def test_a_repeated_2xx_is_acknowledged_again(self) -> None:
        self.call.dial()
        for _ in range(3):
            self.call.answer_invite(200, body=ANSWER)
        self.assertEqual(len(self.call.agent.acks), 3)
        self.assertEqual(len(self.call.listener.told), 1)
        self.assertEqual({ack.cseq.number for ack in self.call.agent.acks}, {1})

    def test_a_2xx_without_contact_and_tag(self) -> None:
        self.call.dial()
        self.call.agent.sent[0].answer(
            200, tag="", headers=[("Content-Type", "application/sdp")], body=ANSWER
        )
        self.assertEqual(self.call.listener.told, [("established", ANSWER)])
        self.call.usage.end()
        bye = self.call.agent.sent[-1].request
        self.assertEqual(bye.uri, "sip:bob@example.com")
        self.assertIsNone(bye.to.tag)

    def test_a_2xx_without_sdp(self) -> None:
        html = [("Contact", "<sip:bob@192.0.2.7>"), ("Content-Type", "text/html")]
        for headers, body in (([], b""), (html, b"<p>")):
            call = Call()
            call.dial()
            call.agent.sent[0].answer(200, headers=headers, body=body)
            self.assertEqual(call.agent.methods(), ["INVITE", "BYE"])
            self.assertEqual(len(call.agent.acks), 1)
            self.assertEqual(call.listener.told, [("failed", 488, "No SDP in the 2xx")])
            call.answer_byes(200)
            self.assertIs(call.usage.state, UsageState.ENDED)
            self.assertEqual(call.listener.ends, 1)

    def test_refused(self) -> None:
        self.call.dial()
        self.call.answer_invite(603)
        self.assertEqual(self.call.listener.told, [("failed", 603, "Decline")])
        self.assertEqual(self.call.agent.acks, [])

    def test_what_can_not_be_sent(self) -> None:
        self.call.dial("bob")
        self.assertEqual([told[:2] for told in self.call.listener.told], [("failed", 400)])
        call = Call(SipSettings(outbound_proxy="sip:proxy;lr"))
        call.dial(from_uri="sip:b>ob@h", timeout=5.0)
        self.assertEqual([told[:2] for told in call.listener.told], [("failed", 400)])
        call = Call()
        call.dial(headers=[("Subject", "x\r\ny: z")], timeout=5.0)
        self.assertEqual([told[:2] for told in call.listener.told], [("failed", 500)])
        self.assertIs(call.usage.state, UsageState.ENDED)
        self.assertEqual((call.agent.sent, len(call.agent.timers)), ([], 0))

    def test_the_route_set(self) -> None:
        self.call.dial()
        self.call.agent.sent[0].answer(
            200,
            headers=[("Contact", "<sip:b@h>"), ("Record-Route", "<sip:p1;lr>, <sip:p2;lr>")],
            body=ANSWER,
        )
        self.call.usage.end()
        for request in (self.call.agent.acks[0], self.call.agent.sent[-1].request):
            self.assertEqual(request.headers.get_all("Route"), ["<sip:p2;lr>", "<sip:p1;lr>"])
            self.assertEqual(request.uri, "sip:b@h")


class PatienceTests(SynchronousTestCase):
    """How long it may ring."""

    def test_the_callers_own_time_out(self) -> None:
        call = Call()
        call.dial(timeout=5.0)
        call.agent.clock.pump([1.0] * 4)
        call.answer_invite(180)
        self.assertEqual(call.listener.ends, 0)
        call.agent.clock.pump([1.0] * 2)
        self.assertEqual(call.listener.told[-1], ("failed", 408, "No final answer in time"))
        self.assertEqual(call.agent.sent[0].cancelled, 1)
        call.answer_invite(487)
        self.assertEqual(call.listener.ends, 1)
        self.assertEqual(call.agent.dialogs, {})

    def test_a_2xx_that_comes_too_late_is_hung_up(self) -> None:
        call = Call()
        call.dial(timeout=5.0)
        call.agent.clock.pump([1.0] * 6)
        call.answer_invite(200, body=ANSWER)
        self.assertEqual(len(call.agent.acks), 1)
        self.assertEqual(call.agent.methods(), ["INVITE", "BYE"])
        self.assertEqual([told[0] for told in call.listener.told], ["failed"])

    def test_timer_c(self) -> None:
        """§16.6: counted from the last provisional response."""
        call = Call(SipSettings(timer_c=10.0))
        call.dial()
        for _ in range(3):
            call.agent.clock.pump([1.0] * 8)
            call.answer_invite(180)
        self.assertEqual(call.listener.ends, 0)
        call.agent.clock.pump([1.0] * 11)
        self.assertEqual(call.listener.told[-1][:2], ("failed", 408))
        self.assertEqual(call.agent.sent[0].cancelled, 1)

    def test_without_timer_c_it_may_ring(self) -> None:
        call = Call(SipSettings(timer_c=0.0))
        call.dial()
        call.answer_invite(180)
        call.agent.clock.pump([10.0] * 100)
        self.assertEqual(call.listener.ends, 0)


class CancelTests(SynchronousTestCase):
    """§9.1 and its races."""

    def setUp(self) -> None:
        self.call = Call()
        self.call.dial()

    def test_cancelled(self) -> None:
        self.call.answer_invite(180)
        self.call.usage.end("changed my mind")
        self.call.usage.end()
        self.assertEqual(self.call.agent.sent[0].cancelled, 1)
        self.assertEqual(self.call.listener.ends, 0)
        self.call.answer_invite(487)
        self.assertEqual(self.call.listener.told[-1], ("failed", 487, "Request Terminated"))

    def test_a_2xx_crosses_cancel(self) -> None:
        self.call.usage.end()
        self.call.answer_invite(180)
        self.call.answer_invite(200, body=ANSWER)
        self.assertEqual(len(self.call.agent.acks), 1)
        self.assertEqual(self.call.agent.methods(), ["INVITE", "BYE"])
        self.assertEqual(self.call.listener.told, [])
        self.call.answer_byes(200)
        self.assertEqual(self.call.listener.told, [("failed", 487, "Cancelled")])
        self.assertEqual(self.call.agent.dialogs, {})

    def test_the_time_out_ends_the_wait(self) -> None:
        call = Call()
        call.dial(timeout=5.0)
        call.usage.end()
        call.agent.clock.pump([1.0] * 6)
        self.assertEqual(call.listener.told, [("failed", 487, "Cancelled")])


class ForkTests(SynchronousTestCase):
    """§13.2.2.4 and §12.1.2."""

    def setUp(self) -> None:
        self.call = Call()
        self.call.dial()

    def test_the_second_callee_is_hung_up(self) -> None:
        self.call.answer_invite(200, tag="one", body=ANSWER)
        for _ in range(2):
            self.call.answer_invite(200, tag="two", body=ANSWER)
        self.assertEqual([ack.to.tag for ack in self.call.agent.acks], ["one", "two", "two"])
        (bye,) = [sent for sent in self.call.agent.sent if sent.request.method == "BYE"]
        self.assertEqual(bye.request.to.tag, "two")
        bye.answer(481)
        self.assertEqual(self.call.listener.told, [("established", ANSWER)])
        self.assertIs(self.call.usage.state, UsageState.ESTABLISHED)

    def test_forks_have_a_bound(self) -> None:
        for number in range(100):
            self.call.answer_invite(200, tag=f"t{number}", body=ANSWER)
        self.assertEqual(len(self.call.agent.acks), 32)

    def test_early_dialogs(self) -> None:
        ours = self.call.agent.sent[0].request.from_.tag or ""
        for tag in ("one", "two", "one"):
            self.call.answer_invite(180, tag=tag)
        call_id = self.call.usage.call_id
        early = [DialogId(call_id, ours, "one"), DialogId(call_id, ours, "two")]
        self.assertEqual(sorted(self.call.agent.dialogs), early)
        for method, status in (("OPTIONS", 200), ("UPDATE", 405), ("INVITE", 491)):
            self.assertEqual(self.call.receive(method), status)
        bye = make_request("BYE", call_id=call_id, from_tag="two", to_tag=ours)
        transaction, path = self.call.agent.receive(bye)
        self.call.agent.dialogs[early[1]].request_received(transaction)  # type: ignore[attr-defined]
        self.assertEqual(last_status(path), 200)
        self.assertEqual(list(self.call.agent.dialogs), early[:1])
        self.call.answer_invite(200, tag="three", body=ANSWER)
        self.assertEqual(list(self.call.agent.dialogs), [DialogId(call_id, ours, "three")])

    def test_early_dialogs_have_a_bound(self) -> None:
        for number in range(100):
            self.call.answer_invite(183, tag=f"t{number}")
        self.assertEqual(len(self.call.agent.dialogs), 32)
        self.call.answer_invite(404)
        self.assertEqual(self.call.agent.dialogs, {})

    def test_no_early_dialog_without_a_tag(self) -> None:
        self.call.answer_invite(180, tag="")
        self.assertEqual(self.call.agent.dialogs, {})


class RedirectTests(SynchronousTestCase):
    """§8.1.3.4."""

    def redirect(self, call: Call, contact: str) -> None:
        call.agent.sent[-1].answer(302, headers=[("Contact", contact)])

    def test_not_followed_unless_wanted(self) -> None:
        call = Call()
        call.dial()
        self.redirect(call, "<sip:bob@elsewhere>")
        self.assertEqual(call.listener.told, [("failed", 302, "Moved Temporarily")])

    def test_followed(self) -> None:
        call = Call(SipSettings(follow_redirects=True))
        call.dial(timeout=10.0, headers=[("Subject", "x")])
        call.agent.clock.advance(4.0)
        self.redirect(call, "<sip:bob@elsewhere;method=INVITE?Subject=evil>, <sip:other>")
        first, second = (sent.request for sent in call.agent.sent)
        self.assertEqual(second.uri, "sip:bob@elsewhere")
        self.assertEqual(second.cseq.number, 2)
        for name in ("From", "To", "Call-ID", "Subject", "Contact", "Content-Type"):
            self.assertEqual(second.headers.get_all(name), first.headers.get_all(name))
        self.assertEqual(second.body, OFFER)
        call.agent.clock.advance(5.9)
        self.assertEqual(call.listener.ends, 0)
        call.agent.clock.advance(0.2)  # the time-out counts from the first INVITE
        self.assertEqual(call.listener.told[-1][:2], ("failed", 408))

    def test_answered_there(self) -> None:
        call = Call(SipSettings(follow_redirects=True))
        call.dial()
        self.redirect(call, "<sip:bob@elsewhere>")
        call.agent.sent[-1].answer(200, body=ANSWER)
        self.assertEqual(call.listener.told, [("established", ANSWER)])
        self.assertEqual(call.agent.acks[0].cseq.number, 2)

    def test_not_in_circles_nor_for_ever(self) -> None:
        call = Call(SipSettings(follow_redirects=True))
        call.dial()
        self.redirect(call, "<sip:bob@example.com>")
        self.assertEqual(call.listener.told, [("failed", 302, "Moved Temporarily")])
        call = Call(SipSettings(follow_redirects=True))
        call.dial()
        for number in range(10):
            self.redirect(call, f"<sip:bob{number}@example.com>")
        self.assertEqual(len(call.agent.sent), 6)
        self.assertEqual(call.listener.ends, 1)

    def test_never_out_of_tls(self) -> None:
        """§26.2.2: who asked for ``sips:`` gets it, or nothing."""
        for contact, invites in (("<sip:bob@elsewhere>", 1), ("<sips:bob@elsewhere>", 2)):
            call = Call(SipSettings(follow_redirects=True))
            call.dial("sips:bob@example.com")
            self.redirect(call, contact)
            self.assertEqual(len(call.agent.sent), invites)

    def test_only_to_sip(self) -> None:
        for contact in ("<tel:+1234>", "<mailto:bob@example.com>"):
            call = Call(SipSettings(follow_redirects=True))
            call.dial()
            self.redirect(call, contact)
            self.assertEqual(call.listener.ends, 1)
        call = Call(SipSettings(follow_redirects=True))
        call.dial()
        call.agent.sent[-1].answer(300, headers=[])
        self.assertEqual(call.listener.ends, 1)

    def test_not_when_cancelled(self) -> None:
        call = Call(SipSettings(follow_redirects=True))
        call.dial()
        call.usage.end()
        self.redirect(call, "<sip:bob@elsewhere>")
        self.assertEqual(len(call.agent.sent), 1)
        self.assertEqual(call.listener.ends, 1)
