"""How a session comes about, and how it does not: the INVITE that a MESSAGE causes."""

from msrpgw.gateway.leg import LegState
from msrpgw.gateway.settings import NoticeSettings
from msrpgw.interfaces import IPageSender
from msrpgw.sip.message import Request, Response
from msrpgw.types import Event
from tests.gateway.meeting import AliceTestCase
from tests.gateway.support import Town
from tests.gateway.wire import Wire, WireMsrp

FAILED = "E_MSRP_GW_SETUP_FAILED"


class SetupTestCase(AliceTestCase):
    """What came of a MESSAGE to Bob."""

    def check_failed(self, code: int, reason: str) -> None:
        """One event told it, Alice was told it once, and nothing is left of it."""
        (event,) = self.town.sink.named(FAILED)
        self.assertEqual(
            event,
            {
                "key": "sip:bob@192.0.2.2:sip:alice@192.0.2.1",
                "from_uri": "sip:bob@192.0.2.2",
                "to_uri": "sip:alice@192.0.2.1",
                "ruri": "sip:alice@192.0.2.1",
                "code": code,
                "reason": reason,
            },
        )
        (notice,) = self.alice.requests("MESSAGE")
        self.assertEqual(
            notice.body.decode(), f"Failed to establish session, error: {code} {reason}"
        )
        self.assertEqual(notice.uri, self.alice.uri)
        self.assertEqual(notice.from_.uri_text, "sip:bob@192.0.2.2")
        self.assertEqual(notice.to.uri_text, self.alice.uri)
        self.assertEqual(notice.content_type, "text/plain")
        self.town.check_settled(self)


class RefusedTests(SetupTestCase):
    """The INVITE is refused."""

    def test_refused(self) -> None:
        """Each refusal is told as it came."""
        for status, phrase in (
            (403, "Forbidden"),
            (404, "Not Found"),
            (480, "Temporarily Unavailable"),
            (486, "Busy Here"),
            (488, "Not Acceptable Here"),
            (500, "Server Internal Error"),
            (503, "Service Unavailable"),
            (600, "Busy Everywhere"),
            (603, "Decline"),
        ):
            self.found(Town())
            bob = Wire(self.town, "bob", "192.0.2.2", status)
            self.assertEqual(self.send(), 202)
            self.town.run(0.5)
            self.check_failed(status, phrase)
            self.assertEqual(len(bob.requests("INVITE")), 1)
            self.assertEqual(len(bob.requests("ACK")), 1)

    def test_redirected(self) -> None:
        """A 3xx is a refusal, too."""
        Wire(self.town, "bob", "192.0.2.2", 302)
        self.assertEqual(self.send(), 202)
        self.town.run(0.5)
        self.check_failed(302, "Moved Temporarily")

    def test_all_queued_messages_are_accounted_for(self) -> None:
        """Five wait, the call fails: five outcomes, one notice."""
        bob = Wire(self.town, "bob", "192.0.2.2", 0)
        for number in range(5):
            self.assertEqual(self.send(f"text {number}"), 202)
        self.assertEqual(self.town.gateway.room.used, 5)
        (invite,) = bob.requests("INVITE")
        bob.answer(invite, 486)
        self.town.run(0.5)
        self.check_failed(486, "Busy Here")

    def test_the_next_message_tries_again(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.status = 486
        self.send("one")
        self.town.run(0.5)
        self.check_failed(486, "Busy Here")
        bob.status = 200
        self.assertEqual(self.send("two"), 202)
        self.town.run(0.5)
        self.assertEqual(bob.bodies(), ["two"])
        self.assertEqual(len(bob.requests("INVITE")), 2)
        self.town.check_settled(self, sessions=1)

    def test_the_invite_may_go_as_far_as_the_message_could(self) -> None:
        """Its Max-Forwards is the MESSAGE's less one; RFC 3261 §16.6."""
        for value, carried in (("70", 69), ("1", 0), (None, 70)):
            self.found(Town())
            bob = Wire(self.town, "bob", "192.0.2.2", 486)
            self.assertEqual(self.send_with_hops(bob.uri, value), 202)
            (invite,) = bob.requests("INVITE")
            self.assertEqual(invite.max_forwards, carried)

    def send_with_hops(self, to: str, value: str | None) -> int:
        """Alice sends a MESSAGE with this Max-Forwards; the status that it gets."""
        request = self.alice.make("MESSAGE", to, b"hi", "text/plain")
        request.headers.remove("Max-Forwards")
        if value is not None:
            request.headers.add("Max-Forwards", value)
        return self.alice.ask(request).status

    def test_a_message_that_may_go_no_further(self) -> None:
        """It can't cause an INVITE, but goes over a session that there is."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.assertEqual(self.send_with_hops(bob.uri, "0"), 483)
        self.assertEqual(bob.requests("INVITE"), [])
        self.send()
        self.town.run(0.5)
        self.assertEqual(self.send_with_hops(bob.uri, "0"), 200)

    def test_an_invite_that_comes_back_to_us(self) -> None:
        """A proxy takes Bob for one without MSRP: no call with ourselves."""
        bob = Wire(self.town, "bob", "192.0.2.2", 0)
        bob.on_request = lambda request: self.send_back(bob, request)
        self.assertEqual(self.send(), 202)
        self.town.run(0.5)
        self.check_failed(482, "Loop Detected")

    def send_back(self, proxy: Wire, request: Request) -> None:
        """What a proxy does: its Via on top, and the response without it."""
        if request.method == "ACK":
            return
        request.headers.insert_first("Via", f"SIP/2.0/UDP {proxy.host}:5060;branch=z9hG4bKp")
        response = proxy.ask(request)
        response.headers.remove_first("Via")
        proxy.write(response)

    def test_the_invite(self) -> None:
        """From, To and request URI are the policy's; the offer is ours."""
        bob = Wire(self.town, "bob", "192.0.2.2", 486)
        self.send()
        (invite,) = bob.requests("INVITE")
        self.assertEqual(invite.uri, "sip:bob@192.0.2.2")
        self.assertEqual(invite.from_.uri_text, self.alice.uri)
        self.assertEqual(invite.to.uri_text, bob.uri)
        self.assertIn(b"a=accept-types:text/plain\r\n", invite.body)
        self.assertIn(b"a=setup:actpass\r\n", invite.body)


class SilenceTests(SetupTestCase):
    """Nobody answers."""

    def test_nobody_there(self) -> None:
        """No answer at all to the INVITE (timer B)."""
        self.assertEqual(self.send(), 202)
        self.town.run(40, step=0.1)
        self.check_failed(408, "Request Timeout")

    def test_rings_for_ever(self) -> None:
        """setup_timeout ends it with CANCEL."""
        self.found(Town(setup_timeout=10))
        bob = self.town.msrp_user("bob", "192.0.2.2", ring=True)
        self.assertEqual(self.send(), 202)
        self.town.run(9)
        self.assertEqual(self.town.sink.named(FAILED), [])
        self.town.run(2)
        self.check_failed(480, "Set-up timed out waiting for an answer to the INVITE")
        self.assertEqual(bob.user.calls, {})

    def test_takes_the_call_too_late(self) -> None:
        """The 2xx crosses our CANCEL: ACK and BYE; the failure stays what it was."""
        self.found(Town(setup_timeout=10))
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.on_request = lambda request: bob.answer(request, 180)
        self.send()
        self.town.run(10.1)
        bob.on_request = bob.take
        bob.pick_up(bob.requests("INVITE")[0])
        self.town.run(0.5)
        self.check_failed(480, "Set-up timed out waiting for an answer to the INVITE")
        self.assertEqual(len(bob.requests("ACK")), 1)
        self.assertEqual(len(bob.requests("BYE")), 1)

    def test_no_msrp_after_the_answer(self) -> None:
        """An active peer that never connects."""
        self.found(Town(setup_timeout=10))
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.setup = "active"
        self.send()
        self.town.run(11)
        self.check_failed(480, "Set-up timed out waiting for MSRP")
        self.assertEqual(len(bob.requests("BYE")), 1)

    def test_a_host_that_does_not_resolve(self) -> None:
        self.assertEqual(self.alice.message("sip:bob@nowhere.example").status, 202)
        self.town.run(0.5)
        (event,) = self.town.sink.named(FAILED)
        self.assertEqual(event["code"], 503)
        self.assertEqual(len(self.alice.texts()), 1)
        self.town.check_settled(self)

    def test_a_uri_that_can_not_be_called(self) -> None:
        """The call fails before ``message_received`` returns; its message is told all the same."""
        self.assertEqual(self.alice.message("tel:+4930123456").status, 202)
        self.town.run(0.5)
        self.assertEqual(len(self.town.sink.named(FAILED)), 1)
        self.assertEqual(len(self.alice.texts()), 1)
        self.town.check_settled(self)


class AnswerTests(SetupTestCase):
    """The call is taken, but not in a way that we can use."""

    def fail(self, bob: WireMsrp, code: int, reason: str) -> None:
        """The set-up fails, and Bob is told by BYE."""
        self.assertEqual(self.send(), 202)
        self.town.run(0.5)
        self.check_failed(code, reason)
        self.assertEqual(len(bob.requests("ACK")), 1)
        self.assertEqual(len(bob.requests("BYE")), 1)

    def test_no_common_type(self) -> None:
        """Bob takes nothing of what waits for him."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.accept_types = "text/html message/cpim"
        self.fail(bob, 488, "The MSRP user takes none of the types that were to be sent")
        self.assertEqual(bob.connections, [])

    def test_one_common_type(self) -> None:
        """Bob takes something of it: the rest is refused one by one."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.accept_types = "TEXT/Plain"
        bob.status = 0
        self.assertEqual(self.send("<b>one</b>", "text/html"), 202)
        self.assertEqual(self.send("two", "text/PLAIN; charset=utf-8"), 202)
        bob.pick_up(bob.requests("INVITE")[0])
        self.town.run(0.5)
        self.assertEqual(bob.bodies(), ["two"])
        self.assertEqual(
            self.alice.texts(),
            [
                "Message not delivered, error: 415 The MSRP user takes other types;"
                ' it was "<b>one</b>" of 2023-11-14 22:13:20 UTC'
            ],
        )
        self.assertEqual(self.town.sink.named(FAILED), [])
        self.town.check_settled(self, sessions=1)

    def test_no_message_line(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.sdp = lambda: b"v=0\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"  # type: ignore[method-assign]
        self.fail(bob, 488, "Not Acceptable Here")

    def test_refused_line(self) -> None:
        """Port 0 in the answer refuses the m-line."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        sdp = bob.sdp().replace(b"m=message 2855", b"m=message 0")
        bob.sdp = lambda: sdp  # type: ignore[method-assign]
        self.fail(bob, 488, "Not Acceptable Here")

    def test_no_sdp(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.sdp = lambda: b""  # type: ignore[method-assign]
        self.fail(bob, 488, "No SDP in the 2xx")

    def test_msrp_connection_refused(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2", listens=False)
        self.assertEqual(self.send(), 202)
        self.town.run(0.5)
        (event,) = self.town.sink.named(FAILED)
        self.assertEqual(event["code"], 480)
        self.assertRegex(event["reason"], "^MSRP connection failed: connect failed: ")
        self.check_failed(480, event["reason"])
        self.assertEqual(len(bob.requests("BYE")), 1)

    def test_first_send_refused(self) -> None:
        """The peer does not know its own session."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.on_send = lambda connection, request: connection.answer(request, 481)
        self.assertEqual(self.send(), 202)
        self.town.run(0.5)
        (event,) = self.town.sink.named(FAILED)
        self.check_failed(480, event["reason"])
        self.assertIn("481", event["reason"])

    def test_hangs_up_before_msrp_is_there(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.setup = "active"
        self.send()
        self.assertEqual(bob.in_dialog("BYE").status, 200)
        self.check_failed(480, "Ended by the peer")


class NoticeTests(SetupTestCase):
    """What the page user is told."""

    def test_turned_off(self) -> None:
        """The event is all there is."""
        self.found(Town(notice=NoticeSettings(enabled=False)))
        Wire(self.town, "bob", "192.0.2.2", 486)
        self.send()
        self.town.run(0.5)
        self.assertEqual(len(self.town.sink.named(FAILED)), 1)
        self.assertEqual(self.alice.texts(), [])

    def test_templates(self) -> None:
        """From, To, request URI, content type and body are the configuration's."""
        self.found(
            Town(
                notice=NoticeSettings(
                    from_uri="sip:gateway@example.com",
                    to_uri="{from_uri}",
                    ruri="{from_uri}",
                    content_type="text/html",
                    setup_failed="<p>{to_uri} {code} {reason}, {from_uri}</p>",
                )
            )
        )
        Wire(self.town, "bob", "192.0.2.2", 486)
        self.send()
        self.town.run(0.5)
        (notice,) = self.alice.requests("MESSAGE")
        self.assertEqual(notice.from_.uri_text, "sip:gateway@example.com")
        self.assertEqual(notice.content_type, "text/html")
        self.assertEqual(
            notice.body, b"<p>sip:bob@192.0.2.2 486 Busy Here, sip:alice@192.0.2.1</p>"
        )

    def test_a_sink_sends_its_own(self) -> None:
        """An event sink may say it in its own words, through the gateway."""
        self.found(Town(notice=NoticeSettings(enabled=False)))
        self.town.hub.add(Courteous(self.town.gateway))
        Wire(self.town, "bob", "192.0.2.2", 486)
        self.send()
        self.town.run(0.5)
        (notice,) = self.alice.requests("MESSAGE")
        self.assertEqual(notice.body, b"Sorry: Busy Here")
        self.assertEqual(notice.content_type, "text/plain;charset=UTF-8")
        self.town.check_settled(self)

    def test_nobody_takes_the_notice(self) -> None:
        """A notice that fails causes no other."""
        Wire(self.town, "bob", "192.0.2.2", 486)
        self.alice.status = 480
        self.send()
        self.town.run(40, step=0.1)
        self.assertEqual(len(self.alice.requests("MESSAGE")), 1)
        self.town.check_settled(self)

    def test_none_for_a_failed_call_of_the_msrp_user(self) -> None:
        """There was no MESSAGE to be sorry for."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        self.assertEqual(bob.call(self.alice.uri, offer=b"v=0\r\ns=-\r\nt=0 0\r\n").status, 488)
        self.town.run(0.5)
        self.assertEqual(self.alice.texts(), [])
        self.assertEqual(self.town.sink.named(FAILED), [])
        self.town.check_settled(self)


class Courteous:
    """An event sink with manners."""

    def __init__(self, pages: IPageSender) -> None:
        self._pages = pages

    def event_raised(self, event: Event) -> None:
        """Tell the page user."""
        if event.name != FAILED:
            return
        told = event.parameters
        self._pages.send_page(
            told["from_uri"],
            told["to_uri"],
            told["ruri"],
            "text/plain;charset=UTF-8",
            f"Sorry: {told['reason']}".encode(),
        )


class OfferlessTests(SetupTestCase):
    """The MSRP user calls without an offer."""

    def test_our_offer(self) -> None:
        """Our 200 has the offer, the ACK brings the answer."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        response = bob.call(self.alice.uri, offer=b"")
        self.assertEqual(response.status, 200)
        self.assertIn(b"a=setup:actpass", response.body)
        self.town.run(0.5)
        self.assertEqual(bob.send("hello"), [200])
        self.assertEqual(self.alice.texts(), ["hello"])
        self.assertEqual(self.send("hi"), 200)
        self.assertEqual(bob.bodies(), ["hi"])

    def test_no_answer_in_the_ack(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.sdp = lambda: b""  # type: ignore[method-assign]
        self.assertEqual(bob.call(self.alice.uri, offer=b"").status, 200)
        self.town.run(0.5)
        self.assertEqual(len(bob.requests("BYE")), 1)
        self.town.check_settled(self)

    def test_an_answer_of_no_use(self) -> None:
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.sdp = lambda: b"v=0\r\ns=-\r\nt=0 0\r\nm=message 0 TCP/MSRP *\r\n"  # type: ignore[method-assign]
        self.assertEqual(bob.call(self.alice.uri, offer=b"").status, 200)
        self.town.run(0.5)
        self.assertEqual(len(bob.requests("BYE")), 1)
        self.town.check_settled(self)


class IncomingTests(SetupTestCase):
    """The MSRP user calls."""

    def test_not_acceptable(self) -> None:
        """488 with a Warning that says why."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        sdp = bob.sdp()
        for offer, why in (
            (b"v=0\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n", "No m=message line"),
            (sdp.replace(b"message 2855", b"message 0"), "m=message has port 0"),
            (sdp.replace(b"TCP/MSRP", b"TCP/TLS/MSRP"), "TCP/TLS/MSRP is not supported"),
            (sdp.replace(b"a=path", b"a=nopath"), "a=path is missing"),
        ):
            response = bob.call(self.alice.uri, offer=offer)
            self.assertEqual(response.status, 488)
            self.assertIn(f'"{why}"', response.headers.get("Warning") or "")
        self.town.check_settled(self)

    def test_answered_at_once(self) -> None:
        """By the 200, so there is no 100 (RFC 3261 §17.2.1)."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.call(self.alice.uri)
        found = [each.status for each in bob.received if isinstance(each, Response)]
        self.assertEqual(found, [200])

    def test_messages_meanwhile(self) -> None:
        """A MESSAGE finds the session that is being set up."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.setup = "active"
        self.assertEqual(bob.call(self.alice.uri).status, 200)
        self.assertEqual([self.send("one"), self.send("two")], [202, 202])
        bob.connect()
        bob.send(None)
        self.town.run(0.5)
        self.assertEqual(bob.bodies(), ["one", "two"])
        self.assertEqual(bob.requests("INVITE"), [])
        self.town.check_settled(self, sessions=1)

    def test_messages_that_waited_in_vain(self) -> None:
        """The MSRP user's call comes to nothing: who wrote meanwhile is told."""
        self.found(Town(setup_timeout=5))
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        bob.setup = "active"
        self.assertEqual(bob.call(self.alice.uri).status, 200)
        self.assertEqual([self.send("one"), self.send("two")], [202, 202])
        self.town.run(6)
        self.assertEqual(
            self.alice.texts(),
            ["Failed to establish session, error: 480 Set-up timed out waiting for MSRP"],
        )
        self.assertEqual(len(bob.requests("BYE")), 1)
        self.town.check_settled(self)

    def test_cancel_comes_too_late(self) -> None:
        """CANCEL for an INVITE that has its 200 changes nothing."""
        bob = WireMsrp(self.town, "bob", "192.0.2.2")
        request = bob.make("INVITE", self.alice.uri, bob.sdp(), "application/sdp")
        self.assertEqual(bob.ask(request).status, 200)
        cancel = Request("CANCEL", request.uri, request.headers.copy())
        cancel.headers.set("CSeq", "1 CANCEL")
        cancel.headers.remove("Content-Type")
        self.assertEqual(bob.ask(cancel).status, 200)
        (session,) = self.town.gateway.sessions.values()
        self.assertIs(session.leg.state, LegState.UP)
