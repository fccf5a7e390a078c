"""Session timers (RFC 4028), and UPDATE, which they are refreshed by (RFC 3311)."""

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.invite import UsageState
from msrpgw.sip.message import Response
from msrpgw.sip.settings import SipSettings
from tests.sip.fake_agent import ANSWER, OFFER, Call, Sent, make_request, responses

CONTACT = ("Contact", "<sip:bob@192.0.2.7>")
SECOND = OFFER.replace(b"1 1", b"1 2")
TIMER = ("Supported", "100rel, timer")
UPDATES = ("Allow", "INVITE, ACK, BYE, UPDATE")
OVER = [("ended", "The session was not refreshed in time")]


class TimerTests(SynchronousTestCase):
    """What both roles share."""

    def call(self, *headers: tuple[str, str], settings: SipSettings | None = None) -> Call:
        """A call of ours, answered with these headers."""
        call = Call(settings)
        call.dial()
        call.agent.sent[0].answer(200, headers=[CONTACT, *headers], body=ANSWER)
        self.assertIs(call.usage.state, UsageState.ESTABLISHED)
        call.listener.told.clear()
        return call

    def wait(self, call: Call, seconds: float) -> None:
        call.agent.clock.pump([0.5] * round(seconds * 2))

    def refresh(self, call: Call, method: str) -> Sent:
        """The refresh that we sent last."""
        sent = call.agent.sent[-1]
        self.assertEqual(sent.request.method, method)
        return sent

    def came(
        self, call: Call, method: str, *headers: tuple[str, str], body: bytes = b""
    ) -> Response:
        """A request of the peer's in the dialog; our last answer to it."""
        request = call.request(method, body=body)
        for name, value in headers:
            request.headers.add(name, value)
        transaction, path = call.agent.receive(request)
        call.usage.request_received(transaction)
        found = responses(path)
        self.assertTrue(found)
        return found[-1]


class CallerTests(TimerTests):
    """§7: we are the UAC."""

    def test_asked_for(self) -> None:
        call = Call()
        call.dial()
        headers = call.agent.sent[0].request.headers
        self.assertEqual(headers.get("Session-Expires"), "1800")
        self.assertEqual(headers.get("Supported"), "timer")
        self.assertNotIn("Min-SE", headers)

    def test_not_asked_for(self) -> None:
        """Nor is it wanted from a peer that has none."""
        call = self.call(settings=SipSettings(session_expires=0))
        self.assertNotIn("Session-Expires", call.agent.sent[0].request.headers)
        self.wait(call, 4000)
        self.assertEqual((len(call.agent.sent), call.listener.told), (1, []))

    def test_peer_without_timers(self) -> None:
        """§7.2: we refresh, for ourselves."""
        call = self.call()
        for _ in range(3):
            sent = len(call.agent.sent)
            self.wait(call, 899)
            self.assertEqual(len(call.agent.sent), sent)
            self.wait(call, 1)
            again = self.refresh(call, "INVITE")
            self.assertEqual(again.request.body, OFFER, "nothing has changed")
            self.assertEqual(
                again.request.headers.get("Session-Expires"), "1800;refresher=uac", "§7.4"
            )
            again.answer(200, body=ANSWER)
        self.assertEqual(call.listener.told, [("refreshed", ANSWER)] * 3)

    def test_peer_that_promises_to_refresh(self) -> None:
        """§10: a bit before the end we give up, unless it keeps its promise."""
        call = self.call(("Session-Expires", "300;refresher=uas"), ("Require", "timer"))
        self.wait(call, 200)
        asked = ("Session-Expires", "300;refresher=uac")
        answer = self.came(call, "UPDATE", TIMER, asked)
        self.assertEqual(answer.headers.get("Session-Expires"), "300;refresher=uac")
        self.wait(call, 267)
        self.assertEqual(call.agent.methods(), ["INVITE"])
        self.wait(call, 1.5)
        self.assertEqual(call.agent.methods(), ["INVITE", "BYE"])
        self.assertEqual(call.listener.told, [("refreshed", b""), *OVER])

    def test_no_expiry(self) -> None:
        """A peer that knows timers, and wants none."""
        call = self.call(TIMER)
        self.wait(call, 4000)
        self.assertEqual(len(call.agent.sent), 1)

    def test_update(self) -> None:
        """§7.4: rather than a re-INVITE, and without an offer."""
        call = self.call(("Session-Expires", "100;refresher=uac"), UPDATES, TIMER)
        self.wait(call, 50)
        update = self.refresh(call, "UPDATE")
        self.assertEqual(update.request.body, b"")
        self.assertEqual(update.request.headers.get("Contact"), "<sip:192.0.2.1:5060>")
        self.assertEqual(update.request.headers.get("Session-Expires"), "100;refresher=uac")
        answer = [("Contact", "<sip:bob@192.0.2.9>"), ("Session-Expires", "200;refresher=uac")]
        update.answer(200, headers=answer)
        self.assertEqual(call.listener.told, [("refreshed", b"")])
        self.wait(call, 100)
        again = self.refresh(call, "UPDATE").request
        self.assertEqual(again.uri, "sip:bob@192.0.2.9", "the target is refreshed as well")
        self.assertEqual(again.headers.get("Session-Expires"), "200;refresher=uac")

    def test_update_refused(self) -> None:
        """By one that said it takes it: then by re-INVITE."""
        for status in (405, 501):
            call = self.call(("Session-Expires", "100;refresher=uac"), UPDATES, TIMER)
            self.wait(call, 50)
            self.refresh(call, "UPDATE").answer(status)
            self.refresh(call, "INVITE").answer(
                200, headers=[CONTACT, ("Session-Expires", "100;refresher=uac")], body=ANSWER
            )
            self.wait(call, 50)
            self.refresh(call, "INVITE")

    def test_peer_is_gone(self) -> None:
        for headers in ((UPDATES,), ()):
            for status in (408, 481):
                call = self.call(*headers)
                self.wait(call, 900)
                call.agent.sent[-1].answer(status)
                self.assertEqual(call.agent.methods()[-1], "BYE")
                self.assertEqual([name for name, *_ in call.listener.told], ["ended"])

    def test_refused_for_a_while(self) -> None:
        """§10: again while there is time, but not for ever, and the call ends when it is over."""
        for headers in ((UPDATES,), ()):
            call = self.call(("Session-Expires", "100;refresher=uac"), TIMER, *headers)
            self.wait(call, 50)
            while call.usage.state is UsageState.ESTABLISHED:
                sent = call.agent.sent[-1]
                if sent.request.method != "INVITE" or sent is not call.agent.sent[0]:
                    sent.answer(488)
                self.wait(call, 0.5)
            self.assertEqual(call.listener.told, OVER)
            self.assertGreater(len(call.agent.sent), 3)
            self.assertLess(len(call.agent.sent), 8)
            self.assertLess(call.agent.clock.seconds(), 70)

    def test_refused_once(self) -> None:
        call = self.call(("Session-Expires", "100;refresher=uac"), TIMER, UPDATES)
        self.wait(call, 50)
        self.refresh(call, "UPDATE").answer(503)
        self.wait(call, 9)
        answer = [CONTACT, ("Session-Expires", "100;refresher=uac")]
        self.refresh(call, "UPDATE").answer(200, headers=answer)
        self.wait(call, 49)
        self.assertEqual(call.listener.told, [("refreshed", b"")])

    def test_never_answered(self) -> None:
        call = self.call(("Session-Expires", "100;refresher=uac"), TIMER, UPDATES)
        self.wait(call, 68.5)
        self.assertEqual(call.listener.told, OVER)

    def test_too_short(self) -> None:
        """§7.3: the INVITE goes out again, in the same call."""
        call = Call()
        call.dial()
        first = call.agent.sent[0]
        first.answer(422, headers=[("Min-SE", "3600")])
        again = self.refresh(call, "INVITE")
        self.assertEqual(again.request.headers.get("Session-Expires"), "3600")
        self.assertEqual(again.request.headers.get("Min-SE"), "3600")
        self.assertEqual(again.request.call_id, first.request.call_id)
        self.assertEqual(again.request.cseq.number, 2)
        again.answer(200, body=ANSWER)
        self.assertEqual(call.listener.told, [("established", ANSWER)])

    def test_too_short_in_the_call(self) -> None:
        for headers, method in ((UPDATES, "UPDATE"), (TIMER, "INVITE")):
            call = self.call(("Session-Expires", "100;refresher=uac"), headers)
            self.wait(call, 50)
            self.refresh(call, method).answer(422, headers=[("Min-SE", "500")])
            again = self.refresh(call, method)
            self.assertEqual(again.request.headers.get("Session-Expires"), "500;refresher=uac")
            self.assertEqual(again.request.headers.get("Min-SE"), "500")

    def test_422_without_end(self) -> None:
        """It must say something new, and not for ever."""
        for values in (["x"] * 9, ["90"] * 9, [str(value) for value in range(100, 120)]):
            call = Call()
            call.dial()
            for value in values:
                call.agent.sent[-1].answer(422, headers=[("Min-SE", value)])
            self.assertEqual(
                call.listener.told, [("failed", 422, "Session Interval Too Small")], values
            )
            self.assertLess(len(call.agent.sent), 8)

    def test_a_move_refreshes(self) -> None:
        """What is offered anyway needs no refresh beside it."""
        call = self.call()
        self.wait(call, 800)
        call.usage.reinvite(SECOND)
        self.wait(call, 100)
        self.assertEqual(len(call.agent.sent), 2)
        self.assertEqual(
            call.agent.sent[-1].request.headers.get("Session-Expires"), "1800;refresher=uac"
        )
        call.agent.sent[-1].answer(200, body=ANSWER)
        self.wait(call, 899)
        self.assertEqual(len(call.agent.sent), 2)
        self.wait(call, 1.5)
        self.assertEqual(self.refresh(call, "INVITE").request.body, SECOND, "what is in force")

    def test_a_move_that_fails_does_not(self) -> None:
        call = self.call()
        self.wait(call, 899)
        call.usage.reinvite(SECOND)
        self.wait(call, 2)
        call.agent.sent[-1].answer(488)
        self.wait(call, 450)
        self.refresh(call, "INVITE").answer(200, body=ANSWER)
        self.assertEqual(call.listener.told[-1], ("refreshed", ANSWER))

    def test_answer_of_a_refresh(self) -> None:
        """It is not taken for the answer to an offer that waits behind it."""
        call = self.call()
        self.wait(call, 900)
        call.usage.reinvite(SECOND)
        call.agent.sent[-1].answer(200, body=ANSWER)
        call.agent.sent[-1].answer(200, body=ANSWER)
        self.assertEqual(call.listener.told, [("refreshed", ANSWER), ("reanswered", ANSWER)])

    def test_nonsense(self) -> None:
        """It is as if it was not there: we refresh for ourselves."""
        for value in ("", "soon", "-5", "1e3", "99999999999", "300 refresher=uas"):
            call = self.call(("Session-Expires", value))
            self.wait(call, 900)
            self.refresh(call, "INVITE")

    def test_nothing_is_left(self) -> None:
        call = self.call()
        call.usage.end()
        call.agent.sent[-1].answer(200)
        self.wait(call, 40)
        self.assertEqual(len(call.agent.timers), 0)


class CalleeTests(TimerTests):
    """§9: we are the UAS."""

    def come(
        self, *headers: tuple[str, str], settings: SipSettings | None = None
    ) -> tuple[Call, Response]:
        """A call of the peer's, taken if we can; our answer."""
        call = Call(settings)
        path = call.come_in(make_request("INVITE", headers=[CONTACT, *headers], body=OFFER))
        call.usage.accept(ANSWER)
        answer = responses(path)[-1]
        if answer.status == 200:
            call.acknowledge(1)
            call.listener.told.clear()
        return call, answer

    def test_table_2(self) -> None:
        """Who refreshes, by what the caller supports and asks for; what it is told."""
        asked = "Session-Expires"
        rows: Iterable[tuple[list[tuple[str, str]], str | None, bool]] = [
            ([], None, False),
            ([(asked, "600")], "600;refresher=uas", False),
            ([TIMER], "1800;refresher=uas", True),
            ([TIMER, (asked, "600")], "600;refresher=uas", True),
            ([TIMER, (asked, "600;refresher=uac")], "600;refresher=uac", True),
            ([TIMER, (asked, "600;refresher=uas")], "600;refresher=uas", True),
            ([TIMER, (asked, "600; Refresher = UAC;x=y")], "600;refresher=uac", True),
            ([("k", "timer"), ("x", "600")], "600;refresher=uas", True),
            ([TIMER, (asked, "7200")], "1800;refresher=uas", True),
            ([TIMER, (asked, "7200"), ("Min-SE", "3600")], "3600;refresher=uas", True),
            ([TIMER, ("Min-SE", "3600")], "3600;refresher=uas", True),
        ]
        for headers, granted, required in rows:
            _, answer = self.come(*headers)
            self.assertEqual(answer.headers.get("Session-Expires"), granted, headers)
            self.assertEqual("timer" in answer.require, required, headers)
            self.assertEqual(answer.headers.get("Supported"), "timer")
            self.assertIn("UPDATE", answer.headers.get_list("Allow"))

    def test_off(self) -> None:
        """We ask for nothing; what the peer asks for is kept."""
        off = SipSettings(session_expires=0)
        self.assertNotIn("Session-Expires", self.come(TIMER, settings=off)[1].headers)
        _, answer = self.come(TIMER, ("Session-Expires", "7200"), settings=off)
        self.assertEqual(answer.headers.get("Session-Expires"), "7200;refresher=uas")

    def test_too_short(self) -> None:
        settings = SipSettings(min_se=200)
        call, answer = self.come(TIMER, ("Session-Expires", "199"), settings=settings)
        self.assertEqual((answer.status, answer.headers.get("Min-SE")), (422, "200"))
        self.assertEqual(call.listener.told[0][:2], ("failed", 422))
        # One that knows no 422 gets what the proxy before it asked for.
        _, answer = self.come(("Session-Expires", "199"), settings=settings)
        self.assertEqual(answer.headers.get("Session-Expires"), "199;refresher=uas")

    def test_we_refresh(self) -> None:
        call, _ = self.come(TIMER, ("Session-Expires", "600"), UPDATES)
        self.wait(call, 300)
        update = self.refresh(call, "UPDATE")
        self.assertEqual(update.request.headers.get("Session-Expires"), "600;refresher=uac")

    def test_we_refresh_by_invite(self) -> None:
        call, _ = self.come(("Session-Expires", "600"))
        self.wait(call, 300)
        self.assertEqual(self.refresh(call, "INVITE").request.body, ANSWER)

    def test_the_peer_refreshes(self) -> None:
        """By a re-INVITE, too."""
        call, _ = self.come(TIMER, ("Session-Expires", "600;refresher=uac"))
        self.wait(call, 500)
        call.listener.then = lambda name: call.usage.answer(ANSWER) if name == "offered" else None
        headers = (TIMER, ("Session-Expires", "600;refresher=uac"))
        answer = self.came(call, "INVITE", *headers, body=OFFER)
        self.assertEqual(answer.headers.get("Session-Expires"), "600;refresher=uac")
        call.acknowledge(call.cseq)
        self.wait(call, 567)
        self.assertEqual(call.agent.sent, [])
        self.wait(call, 2)
        self.assertEqual(call.listener.told[1:], OVER)

    def test_too_short_in_the_call(self) -> None:
        call, _ = self.come(TIMER, settings=SipSettings(min_se=200))
        for method in ("INVITE", "UPDATE"):
            answer = self.came(call, method, TIMER, ("Session-Expires", "100"), body=OFFER)
            self.assertEqual((answer.status, answer.headers.get("Min-SE")), (422, "200"))
        self.assertEqual(call.listener.told, [])


class UpdateTests(TimerTests):
    """RFC 3311 §5.2: UPDATEs of the peer's."""

    def test_without_offer(self) -> None:
        call = self.call()
        request = call.request("UPDATE")
        request.headers.replace_first("Contact", "<sip:bob@192.0.2.99>")
        transaction, path = call.agent.receive(request)
        call.usage.request_received(transaction)
        (answer,) = responses(path)
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.headers.get("Contact"), "<sip:192.0.2.1:5060;transport=tcp>")
        self.assertEqual(call.listener.told, [("refreshed", b"")])
        call.usage.end()
        self.assertEqual(call.agent.sent[-1].request.uri, "sip:bob@192.0.2.99")

    def test_with_offer(self) -> None:
        """Answered at once, and no ACK comes: the next offer may go out."""
        call = self.call()
        call.listener.then = lambda name: call.usage.answer(ANSWER) if name == "offered" else None
        answer = self.came(call, "UPDATE", TIMER, body=OFFER)
        self.assertEqual((answer.status, answer.body), (200, ANSWER))
        self.assertEqual(answer.headers.get("Content-Type"), "application/sdp")
        self.assertEqual(call.listener.told, [("offered", OFFER)])
        call.usage.reinvite(SECOND)
        self.assertEqual(self.refresh(call, "INVITE").request.body, SECOND)

    def test_refused(self) -> None:
        call = self.call()
        call.listener.then = lambda name: call.usage.refuse_offer(488)
        self.assertEqual(self.came(call, "UPDATE", body=OFFER).status, 488)
        call.usage.reinvite(SECOND)
        self.assertEqual(self.refresh(call, "INVITE").request.body, SECOND)

    def test_meets_ours(self) -> None:
        call = self.call()
        call.usage.reinvite(SECOND)
        self.assertEqual(self.came(call, "UPDATE", body=OFFER).status, 491)
        self.assertEqual(self.came(call, "UPDATE").status, 200, "nothing to meet")

    def test_meets_another_of_theirs(self) -> None:
        call = self.call()
        request = call.request("INVITE", body=OFFER)
        transaction, path = call.agent.receive(request)
        call.usage.request_received(transaction)
        self.assertEqual(path.sent, [])
        answer = self.came(call, "UPDATE", body=OFFER)
        self.assertEqual(answer.status, 500)
        self.assertIn("Retry-After", answer.headers)

    def test_of_another_type(self) -> None:
        call = self.call()
        request = call.request("UPDATE", body=b"<x/>")
        request.headers.replace_first("Content-Type", "text/xml")
        transaction, path = call.agent.receive(request)
        call.usage.request_received(transaction)
        self.assertEqual(responses(path)[-1].status, 415)

    def test_undecided_at_the_end(self) -> None:
        call = self.call()
        transaction, path = call.agent.receive(call.request("UPDATE", body=OFFER))
        call.usage.request_received(transaction)
        call.usage.end()
        self.assertEqual(responses(path)[-1].status, 487)
