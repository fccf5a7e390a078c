"""INVITEs inside a call: ours, the peer's, both at once (RFC 3261 §14)."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.invite import UsageState
from tests.sip.fake_agent import ANSWER, OFFER, Call, make_request, responses

SECOND = OFFER.replace(b"1 1", b"1 2")
THIRD = OFFER.replace(b"1 1", b"1 3")


class ReinviteTests(SynchronousTestCase):
    """A call that is up; we are the caller unless a test says otherwise."""

    def setUp(self) -> None:
        self.call = self.established("caller")

    def established(self, side: str) -> Call:
        call = Call()
        call.make(side, UsageState.ESTABLISHED)
        call.listener.told.clear()
        call.agent.acks.clear()
        return call


class SentTests(ReinviteTests):
    """§14.1."""

    def test_answered(self) -> None:
        self.call.usage.reinvite(SECOND)
        sent = self.call.agent.sent[-1]
        self.assertEqual(sent.request.cseq.number, 2)
        self.assertEqual(sent.request.to.tag, "theirs")
        self.assertEqual(sent.request.uri, "sip:bob@192.0.2.7")
        self.assertEqual(sent.request.headers.get("Contact"), "<sip:192.0.2.1:5060>")
        self.assertEqual(sent.request.body, SECOND)
        sent.answer(100)
        sent.answer(180)
        sent.answer(200, headers=[("Contact", "<sip:bob@192.0.2.9>")], body=ANSWER)
        sent.answer(200, headers=[("Contact", "<sip:bob@192.0.2.9>")], body=ANSWER)
        self.assertEqual(self.call.listener.told, [("reanswered", ANSWER)])
        self.assertEqual([ack.cseq.number for ack in self.call.agent.acks], [2, 2])
        # §12.2.1.2: the target is refreshed, for the ACK too.
        self.assertEqual({ack.uri for ack in self.call.agent.acks}, {"sip:bob@192.0.2.9"})
        self.call.usage.end()
        self.assertEqual(self.call.agent.sent[-1].request.uri, "sip:bob@192.0.2.9")

    def test_from_a_callee(self) -> None:
        call = self.established("callee")
        call.usage.reinvite(SECOND)
        request = call.agent.sent[-1].request
        self.assertEqual(request.headers.get("Contact"), "<sip:192.0.2.1:5060;transport=tcp>")
        self.assertEqual(request.from_.uri_text, "sip:gw@example.com")
        self.assertEqual(request.to.tag, "theirs")

    def test_one_after_the_other(self) -> None:
        self.call.usage.reinvite(SECOND)
        self.call.usage.reinvite(THIRD)
        self.assertEqual(len(self.call.agent.sent), 2)
        self.call.agent.sent[1].answer(488)
        self.assertEqual(self.call.agent.sent[2].request.body, THIRD)
        self.call.agent.sent[2].answer(200, body=ANSWER)
        self.assertEqual(
            self.call.listener.told,
            [("reinvite failed", 488, "Not Acceptable Here"), ("reanswered", ANSWER)],
        )

    def test_asked_for_before_the_call_is_up(self) -> None:
        call = Call()
        call.make("callee", UsageState.ACCEPTED)
        call.usage.reinvite(SECOND)
        self.assertEqual(call.agent.sent, [])
        call.acknowledge(1)
        self.assertEqual(call.agent.methods(), ["INVITE"])

    def test_a_2xx_without_sdp(self) -> None:
        self.call.usage.reinvite(SECOND)
        self.call.agent.sent[-1].answer(200)
        self.assertEqual(self.call.listener.told, [("reinvite failed", 488, "No SDP in the 2xx")])
        self.assertEqual(len(self.call.agent.acks), 1)

    def test_the_dialog_is_gone(self) -> None:
        """§12.2.1.2."""
        for status in (481, 408):
            call = self.established("caller")
            call.usage.reinvite(SECOND)
            call.usage.reinvite(THIRD)
            call.agent.sent[-1].answer(status)
            self.assertEqual(call.agent.methods(), ["INVITE", "INVITE", "BYE"])
            ((name, reason),) = call.listener.told
            self.assertEqual(name, "ended")
            self.assertIn(str(status), str(reason))
            call.answer_byes(481)
            self.assertEqual(call.listener.ends, 1)
            self.assertEqual(call.agent.dialogs, {})

    def test_no_answer_for_ever(self) -> None:
        self.call.usage.reinvite(SECOND)
        for _ in range(20):
            self.call.agent.clock.pump([1.0] * 10)
            if not self.call.listener.told:
                self.call.agent.sent[1].answer(180)
        self.assertEqual(self.call.agent.sent[1].cancelled, 1)
        self.assertEqual([told[0] for told in self.call.listener.told], ["ended"])

    def test_bye_while_it_is_under_way(self) -> None:
        for ours in (True, False):
            call = self.established("caller")
            call.usage.reinvite(SECOND)
            if ours:
                call.usage.end()
                call.answer_byes(200)
            else:
                call.receive("BYE")
            self.assertEqual(call.listener.ends, 1)
            call.agent.sent[1].answer(200, body=ANSWER)
            self.assertEqual(len(call.agent.acks), 1)
            self.assertEqual([told[0] for told in call.listener.told], ["ended"])

    def test_ended_in_the_callback(self) -> None:
        for status, body in ((200, ANSWER), (200, b""), (488, b"")):
            call = self.established("caller")
            call.usage.reinvite(SECOND)
            call.usage.reinvite(THIRD)
            call.listener.then = lambda name, call=call: call.usage.end()  # type: ignore[misc]
            call.agent.sent[-1].answer(status, body=body)
            self.assertEqual(call.agent.methods(), ["INVITE", "INVITE", "BYE"])


class GlareTests(ReinviteTests):
    """Both at once."""

    def test_theirs_meets_ours(self) -> None:
        self.call.usage.reinvite(SECOND)
        self.assertEqual(self.call.receive("INVITE", body=OFFER), 491)
        self.assertEqual(self.call.listener.told, [])

    def back_off(self, side: str, random: bytes) -> float:
        call = self.established(side)
        call.agent.random_bytes = random
        call.usage.reinvite(SECOND)
        before = len(call.agent.sent)
        call.agent.sent[-1].answer(491)
        self.assertEqual(len(call.agent.sent), before)
        ticks = 0
        while len(call.agent.sent) == before:
            call.agent.clock.advance(0.01)
            ticks += 1
            self.assertLess(ticks, 1000)
        self.assertEqual(call.agent.sent[-1].request.body, SECOND)
        call.agent.sent[-1].answer(200, body=ANSWER)
        self.assertEqual(call.listener.told, [("reanswered", ANSWER)])
        return ticks / 100

    def test_back_off_of_the_callers(self) -> None:
        """§14.1: the owner of the Call-ID waits 2.1 to 4 seconds."""
        self.assertEqual(round(self.back_off("caller", b"\0\0"), 1), 2.1)
        self.assertEqual(round(self.back_off("caller", b"\0\xbe"), 1), 4.0)

    def test_back_off_of_the_callees(self) -> None:
        """§14.1: the other waits 0 to 2 seconds."""
        self.assertEqual(round(self.back_off("callee", b"\0\0"), 1), 0.0)
        self.assertEqual(round(self.back_off("callee", b"\0\xc8"), 1), 2.0)

    def test_theirs_during_the_back_off(self) -> None:
        self.call.usage.reinvite(SECOND)
        self.call.agent.sent[-1].answer(491)
        self.call.receive("INVITE", body=OFFER)
        self.call.usage.answer(ANSWER)
        self.call.agent.clock.pump([1.0] * 5)
        self.assertEqual(len(self.call.agent.sent), 2)  # the ACK is still awaited
        self.call.acknowledge(2)
        self.assertEqual(self.call.agent.sent[-1].request.body, SECOND)

    def test_the_call_ends_during_the_back_off(self) -> None:
        self.call.usage.reinvite(SECOND)
        self.call.agent.sent[-1].answer(491)
        self.call.receive("BYE")
        self.call.agent.clock.pump([1.0] * 5)
        self.assertEqual(len(self.call.agent.sent), 2)

    def test_not_for_ever(self) -> None:
        self.call.usage.reinvite(SECOND)
        for _ in range(20):
            self.call.agent.sent[-1].answer(491)
            self.call.agent.clock.pump([1.0] * 5)
        self.assertEqual(len(self.call.agent.sent), 9)
        self.assertEqual(self.call.listener.told, [("reinvite failed", 491, "Request Pending")])

    def test_the_peer_was_busy(self) -> None:
        """§14.2: 500 with Retry-After."""
        self.call.usage.reinvite(SECOND)
        self.call.agent.sent[-1].answer(500, headers=[("Retry-After", "3 (busy);duration=9")])
        self.call.agent.clock.pump([1.0] * 2)
        self.assertEqual(len(self.call.agent.sent), 2)
        self.call.agent.clock.pump([1.0] * 2)
        self.assertEqual(len(self.call.agent.sent), 3)

    def test_a_500_that_is_final(self) -> None:
        for headers in ([], [("Retry-After", "11")], [("Retry-After", "soon")]):
            call = self.established("caller")
            call.usage.reinvite(SECOND)
            call.agent.sent[-1].answer(500, headers=headers)
            self.assertEqual(
                call.listener.told, [("reinvite failed", 500, "Server Internal Error")]
            )


class ReceivedTests(ReinviteTests):
    """§14.2."""

    def test_answered(self) -> None:
        contact = ("Contact", "<sip:bob@192.0.2.9>")
        dialog = self.call.usage.dialog
        assert dialog is not None
        request = make_request(
            "INVITE", cseq=5, to_tag=dialog.id.local_tag, headers=[contact], body=SECOND
        )
        transaction, path = self.call.agent.receive(request)
        self.call.usage.request_received(transaction)
        self.assertEqual(self.call.listener.told, [("offered", SECOND)])
        self.assertEqual(dialog.remote_target, "sip:bob@192.0.2.7")  # RFC 6141 §4.6
        self.call.usage.answer(ANSWER)
        self.assertEqual(dialog.remote_target, "sip:bob@192.0.2.9")
        (accepted,) = responses(path)
        self.assertEqual((accepted.status, accepted.body), (200, ANSWER))
        self.assertEqual(accepted.headers.get("Contact"), "<sip:192.0.2.1:5060;transport=tcp>")
        self.assertEqual(accepted.to.tag, dialog.id.local_tag)
        self.call.agent.clock.pump([0.25] * 8)
        self.assertEqual(len(path.sent), 3)
        self.call.acknowledge(5)
        self.call.agent.clock.pump([1.0] * 40)
        self.assertEqual(len(path.sent), 3)
        self.assertEqual(len(self.call.listener.told), 1)
        self.assertIs(self.call.usage.state, UsageState.ESTABLISHED)

    def test_ours_waits_for_its_ack(self) -> None:
        self.call.receive("INVITE", body=SECOND)
        self.call.usage.reinvite(THIRD)
        self.call.usage.answer(ANSWER)
        self.assertEqual(len(self.call.agent.sent), 1)
        self.call.acknowledge(2)
        self.assertEqual(self.call.agent.sent[-1].request.body, THIRD)

    def test_refused(self) -> None:
        self.call.receive("INVITE", body=SECOND)
        self.call.usage.reinvite(THIRD)
        self.call.usage.refuse_offer(488, [("Warning", '305 gw "no"')])
        (refusal,) = responses(self.call.received[-1][1])
        self.assertEqual(refusal.headers.get("Warning"), '305 gw "no"')
        self.assertEqual(len(self.call.agent.sent), 2)
        self.call.usage.answer(ANSWER)
        self.assertEqual(len(self.call.received[-1][1].sent), 1)

    def test_our_offer_and_the_answer_in_the_ack(self) -> None:
        self.call.receive("INVITE")
        self.assertEqual(self.call.listener.told, [("offered", b"")])
        self.call.usage.answer(SECOND)
        self.assertEqual(self.call.receive("INVITE", body=THIRD), 491)
        self.call.acknowledge(2, ANSWER)
        self.assertEqual(self.call.listener.told[1:], [("reanswered", ANSWER)])
        self.assertEqual(self.call.receive("INVITE", body=THIRD), 0)

    def test_an_ack_without_the_answer_changes_nothing(self) -> None:
        self.call.receive("INVITE")
        self.call.usage.answer(SECOND)
        self.call.acknowledge(2)
        self.assertEqual(self.call.listener.told, [("offered", b"")])
        self.assertIs(self.call.usage.state, UsageState.ESTABLISHED)

    def test_two_at_once(self) -> None:
        self.call.receive("INVITE", body=SECOND)
        self.call.agent.random_bytes = b"\x0a"
        self.assertEqual(self.call.receive("INVITE", body=THIRD), 500)
        (busy,) = responses(self.call.received[-1][1])
        self.assertEqual(busy.headers.get("Retry-After"), "10")
        self.assertEqual(len(self.call.listener.told), 1)
        self.call.usage.answer(ANSWER)
        self.assertEqual(responses(self.call.received[-2][1])[-1].status, 200)

    def test_before_the_first_invite_is_answered(self) -> None:
        call = Call()
        call.make("callee", UsageState.OFFERED)
        self.assertEqual(call.receive("INVITE", body=SECOND), 500)
        self.assertIn("Retry-After", responses(call.received[-1][1])[-1].headers)

    def test_before_the_ack_of_the_last(self) -> None:
        """The next INVITE shows that our 2xx arrived; the ACK was lost, or is late."""
        self.call.receive("INVITE", body=SECOND)
        self.call.usage.answer(ANSWER)
        self.call.receive("INVITE", body=THIRD)
        self.assertEqual([told[1] for told in self.call.listener.told], [SECOND, THIRD])
        self.call.usage.answer(ANSWER)
        self.call.acknowledge(2)
        self.call.acknowledge(3)
        sent = [len(path.sent) for _, path in self.call.received]
        self.call.agent.clock.pump([1.0] * 40)
        self.assertEqual([len(path.sent) for _, path in self.call.received], sent)
        self.assertEqual(self.call.listener.ends, 0)

    def test_before_the_ack_of_the_first(self) -> None:
        call = Call()
        call.make("callee", UsageState.ACCEPTED)
        call.receive("INVITE", body=SECOND)
        self.assertEqual(call.listener.told, [("established", b""), ("offered", SECOND)])

    def test_before_the_ack_of_the_first_and_the_listener_hangs_up(self) -> None:
        call = Call()
        call.make("callee", UsageState.ACCEPTED)
        call.listener.then = lambda name: call.usage.end()
        self.assertEqual(call.receive("INVITE", body=SECOND), 481)
        self.assertEqual(call.agent.methods(), ["BYE"])

    def test_before_the_ack_of_the_first_and_ours_goes_out(self) -> None:
        call = Call()
        call.make("callee", UsageState.ACCEPTED)
        call.usage.reinvite(THIRD)
        self.assertEqual(call.receive("INVITE", body=SECOND), 491)

    def test_before_the_ack_that_has_the_answer(self) -> None:
        call = Call()
        call.come_in(make_request("INVITE"))
        call.usage.accept(OFFER)
        self.assertEqual(call.receive("INVITE", body=SECOND), 491)
        call.acknowledge(1, ANSWER)
        self.assertEqual(call.listener.told, [("established", ANSWER)])

    def test_cancelled(self) -> None:
        self.call.receive("INVITE", body=SECOND)
        self.call.usage.reinvite(THIRD)
        self.call.cancel()
        (answer,) = responses(self.call.received[-1][1])
        self.assertEqual(answer.status, 487)
        self.call.usage.answer(ANSWER)
        self.call.usage.refuse_offer(488)
        self.assertEqual(len(self.call.received[-1][1].sent), 1)
        self.assertEqual(self.call.agent.sent[-1].request.body, THIRD)

    def test_no_ack(self) -> None:
        self.call.receive("INVITE", body=SECOND)
        self.call.usage.answer(ANSWER)
        self.call.agent.clock.pump([1.0] * 33)
        self.assertEqual(self.call.agent.methods(), ["INVITE", "BYE"])
        self.assertEqual([told[0] for told in self.call.listener.told], ["offered", "ended"])

    def test_bye_while_it_is_pending(self) -> None:
        """§15.1.2."""
        for ours in (True, False):
            call = self.established("caller")
            call.receive("INVITE", body=SECOND)
            if ours:
                call.usage.end()
            else:
                call.receive("BYE")
            self.assertEqual(responses(call.received[0][1])[-1].status, 487)
            call.usage.answer(ANSWER)
            self.assertEqual(len(call.received[0][1].sent), 1)

    def test_another_body(self) -> None:
        request = self.call.request("INVITE")
        request.headers.add("Content-Type", "text/html")
        request.body = b"<p>"
        transaction, path = self.call.agent.receive(request)
        self.call.usage.request_received(transaction)
        (refusal,) = responses(path)
        self.assertEqual(refusal.status, 415)
        self.assertEqual(refusal.headers.get("Accept"), "application/sdp")
        self.assertEqual(self.call.listener.told, [])


class OtherRequestTests(ReinviteTests):
    """Whatever else comes in a dialog is answered and harms nothing."""

    def test_answers(self) -> None:
        for side in ("caller", "callee"):
            call = self.established(side)
            for method, status in (
                ("OPTIONS", 200), ("INFO", 405), ("PUBLISH", 405), ("MESSAGE", 405),
                ("REFER", 405), ("PRACK", 405), ("NOTIFY", 405), ("NONSENSE", 405),
            ):  # fmt: skip
                self.assertEqual(call.receive(method, body=OFFER), status)
                self.assertIn("Allow", responses(call.received[-1][1])[-1].headers)
            self.assertEqual(call.listener.told, [])

    def test_out_of_order(self) -> None:
        """§12.2.2."""
        self.assertEqual(self.call.receive("OPTIONS", cseq=9), 200)
        for method in ("OPTIONS", "INVITE", "BYE"):
            self.assertEqual(self.call.receive(method, cseq=8), 500)
        self.assertEqual(self.call.listener.told, [])
        self.assertEqual(self.call.receive("BYE", cseq=10), 200)

    def test_after_our_bye(self) -> None:
        self.call.usage.end("enough")
        for method in ("OPTIONS", "INVITE", "INFO"):
            self.assertEqual(self.call.receive(method), 481)
        self.assertEqual(self.call.receive("BYE"), 200)
        self.assertEqual(self.call.listener.told, [("ended", "enough")])
        self.call.answer_byes(481)
        self.assertEqual(self.call.listener.ends, 1)

    def test_after_the_end(self) -> None:
        self.call.receive("BYE")
        self.assertEqual(self.call.agent.dialogs, {})
        self.assertEqual(self.call.receive("BYE"), 481)
        self.assertEqual(self.call.listener.told, [("ended", "Ended by the peer")])
