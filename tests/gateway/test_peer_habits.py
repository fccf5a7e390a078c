"""Habits of real peers seen on the wire, each as a test of the whole gateway."""

from msrpgw.msrp import frame
from msrpgw.sip.message import Request, Response
from tests.gateway.meeting import MeetingTestCase
from tests.gateway.support import GATEWAY, Town
from tests.gateway.wire import Segments, WireMsrp


class MessageSideTests(MeetingTestCase):
    """Habits of baresip and linphone."""

    def test_each_message_with_new_call_id_and_tag(self) -> None:
        """One conversation all the same; tags and branches with ``~`` and ``.``."""
        self.start()
        for number in range(3):
            request = self.alice.make("MESSAGE", self.bob.uri, b"hi", "text/plain")
            request.headers.set("From", f"<{self.alice.uri}>;tag=~a.b~{number}")
            request.headers.set("Call-ID", f"c~.{number}")
            request.headers.set(
                "Via", f"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK.x~{number};rport"
            )
            self.assertEqual(self.alice.ask(request).status, 200)
        self.assertEqual(len(self.town.gateway.sessions), 1)

    def test_without_angle_brackets_and_without_port(self) -> None:
        """linphone drops the port of its partner's URI, and the brackets."""
        self.start()
        for to in ("sip:bob@192.0.2.2", "<sip:bob@192.0.2.2:5060>", '"Bob" <SIP:bob@192.0.2.2>'):
            request = self.alice.make("MESSAGE", self.bob.uri, b"hi", "text/plain")
            request.headers.set("To", to)
            self.assertEqual(self.alice.ask(request).status, 200)
        self.assertEqual(len(self.town.gateway.sessions), 1)

    def test_gateway_as_outbound_proxy(self) -> None:
        """A loose Route that names us is taken off, and comes up nowhere."""
        route = [("Route", f"<sip:{GATEWAY};lr>")]
        self.assertEqual(self.alice.message(self.bob.uri, "hi", headers=route).status, 202)
        self.town.run(0.1)
        self.assertEqual(self.bob.bodies(), ["hi"])
        self.assertNotIn("Route", self.bob.requests("INVITE")[0].headers)

    def test_texts_as_they_are(self) -> None:
        """UTF-8 without a charset, no CRLF at the end, empty, emoji: not an octet changes."""
        self.start()
        for text in ("grüß dich", "👍", "", " ", "line\nline\r\n"):
            self.assertEqual(self.alice.message(self.bob.uri, text).status, 200)
            self.bob.send(text)
            self.assertEqual(self.alice.texts()[-1], text)
        self.assertEqual(self.bob.bodies(), ["grüß dich", "👍", " ", "line\nline\r\n"])
        (empty,) = (
            each
            for each in self.bob.frames
            if isinstance(each, frame.Request) and each.body == b"" and each.content_type
        )
        self.assertEqual(empty.content_type, "text/plain")

    def test_imdn_of_linphone(self) -> None:
        """Sent unasked, compressed: it opens nothing and breaks nothing."""
        headers = [("Content-Encoding", "deflate"), ("Priority", "non-urgent")]
        for with_session in (False, True):
            if with_session:
                self.start()
            refused = self.alice.message(self.bob.uri, "x\x9c", "message/imdn+xml", headers)
            self.assertEqual(refused.status, 415)
            self.assertEqual(refused.headers.get("Accept-Encoding"), "identity")
        self.assertEqual(self.bob.requests("INVITE"), [])
        self.check_both_ways()

    def test_imdn_that_the_page_user_refuses(self) -> None:
        """baresip answers 415 to each: texts go on."""
        self.start()
        self.alice.status = 415
        self.bob.send("<imdn/>", content_type="message/imdn+xml")
        self.alice.status = 200
        self.check_both_ways()

    def test_eleven_copies(self) -> None:
        """No answer from the page user: 11 copies in 32 s, and no more."""
        self.start()
        self.alice.status = 0
        self.bob.send("hi")
        self.town.run(60, step=0.05)
        copies = [each for each in self.alice.received if isinstance(each, Request)]
        self.assertEqual(len(copies), 11)
        self.assertEqual(self.bob.reports(), [408])

    def test_302_of_the_page_user(self) -> None:
        """3xx to 6xx are final: shown as failed, never tried again."""
        self.start()
        for status in (302, 401, 407, 500, 606):
            self.alice.received.clear()
            self.bob.frames.clear()
            self.alice.status = status
            self.bob.send("hi")
            self.town.run(3)
            self.assertEqual(len(self.alice.requests("MESSAGE")), 1)
            self.assertEqual(len(self.bob.reports()), 1)


class MsrpSideTests(MeetingTestCase):
    """Habits of msrplib, msrp-node-lib, msrp-java, OpenSIPS and relays."""

    def test_offer_without_setup(self) -> None:
        """The offerer connects; we say so."""
        self.bob.setup = None
        self.start()
        self.assertIn("a=setup:passive", self.bob.received[-1].body.decode())
        self.assertEqual(self.bob.connections, [])
        self.bob.connect()
        self.assertEqual(self.bob.send(None), [200])
        self.check_both_ways()

    def test_answer_without_setup(self) -> None:
        """OpenSIPS never writes it: we made the offer, so we connect."""
        self.bob.setup = None
        self.assertEqual(self.alice.message(self.bob.uri, "hi").status, 202)
        self.town.run(0.1)
        self.assertEqual(len(self.bob.connections), 1)
        self.check_both_ways()

    def test_passive_peer(self) -> None:
        """We connect."""
        self.bob.setup = "passive"
        self.start()
        self.assertIn("a=setup:active", self.bob.received[-1].body.decode())
        self.assertEqual(len(self.bob.connections), 1)
        self.check_both_ways()

    def test_passive_peer_that_connects(self) -> None:
        """OpenSIPS ignores our ``passive`` and its own."""
        self.bob.setup = None
        self.assertEqual(self.alice.message(self.bob.uri, "hi").status, 202)
        own = self.bob.connect()
        self.bob.send(None, over=own, Failure_Report="no")
        self.town.run(0.1)
        self.assertEqual(self.bob.bodies(), ["hi"])

    def test_first_send_of_the_connecting_side(self) -> None:
        """Empty, with ``1-0/0``, without Byte-Range, with Content-Type, with Failure-Report no."""
        for text, fields, answers in (
            (None, {"Byte_Range": "1-0/0"}, [200]),
            (None, {}, [200]),
            ("", {"Byte_Range": "1-0/0"}, [200]),
            (None, {"Failure_Report": "no"}, []),
        ):
            self.found(Town())
            self.bob.setup = "active"
            self.start()
            self.bob.connect()
            self.assertEqual(self.bob.send(text, **fields), answers)
            if text is None:
                self.assertEqual(self.alice.texts(), [])
            self.check_both_ways()

    def test_texts_at_once(self) -> None:
        """OpenSIPS sends its texts in one go with the first SEND, or instead of it."""
        self.bob.setup = "active"
        self.start()
        self.bob.connect()
        self.assertEqual(self.bob.send("hi"), [200])
        self.assertEqual(self.alice.texts(), ["hi"])
        self.check_both_ways()

    def test_no_text_before_the_first_send_has_its_200(self) -> None:
        """msrplib tears the session down otherwise: whoever connects."""
        waiting: list[tuple[Segments, frame.Request]] = []
        self.bob.on_send = lambda connection, request: waiting.append((connection, request))
        self.assertEqual(self.alice.message(self.bob.uri, "hi").status, 202)
        self.town.run(1)
        ((connection, request),) = waiting
        self.assertFalse(request.body)
        connection.answer(request)
        self.town.run(0.1)
        self.assertEqual(self.bob.bodies(), ["hi"])
        self.found(Town())
        self.bob.setup = "active"
        self.assertEqual(self.alice.message(self.bob.uri, "hi").status, 202)
        self.bob.connect()
        self.bob.send(None)
        self.assertIsInstance(self.bob.frames[0], frame.Response)
        self.assertEqual(self.bob.bodies(), ["hi"])

    def test_byte_ranges(self) -> None:
        """Trust the payload: ``1-*/5``, missing, or plainly wrong."""
        self.start()
        for number, byte_range in enumerate(("1-*/5", "1-5/5", "1-*/*", "", "1-5/*")):
            fields = {"Byte_Range": byte_range} if byte_range else {}
            self.assertEqual(self.bob.send("hello", Success_Report="yes", **fields), [200])
            self.assertEqual(len(self.alice.texts()), number + 1, byte_range)
        reported = [
            (each.byte_range.start, each.byte_range.end, each.byte_range.total)
            for each in self.bob.frames
            if isinstance(each, frame.Request) and each.status and each.byte_range
        ]
        self.assertEqual(reported, [(1, 5, 5)] * 5)

    def test_odd_ids(self) -> None:
        """Transaction ids with dots, session ids with ``+ / =``; a Status without a comment."""

        class Odd(WireMsrp):
            """A user whose MSRP URI looks like a path."""

            @property
            def path(self) -> str:
                """Our MSRP URI."""
                return "msrp://192.0.2.7:2855/a+b/c==;tcp"

        self.bob = Odd(self.town, "odd", "192.0.2.7")
        self.start()
        self.assertEqual(self.bob.send("hi", tid="a.b+c-d%e="), [200])
        self.check_both_ways()
        self.assertEqual(self.bob.sends()[-1].to_path_text, self.bob.path)

    def test_our_from_path(self) -> None:
        """Exactly the a=path of our SDP; responses go to the previous hop."""
        self.start()
        self.check_both_ways()
        for each in self.bob.frames:
            self.assertEqual(each.from_path_text, self.bob.gateway_path())
            self.assertEqual(each.to_path_text, self.bob.path)

    def test_keep_alives(self) -> None:
        """Answered, never a MESSAGE: the empty SEND, and the heartbeat of msrp-node-lib."""
        self.start()
        self.assertEqual(self.bob.send(None, Keep_Alive="yes", Byte_Range="1-0/0"), [200])
        for kind in ("text/x-msrp-heartbeat", "Text/X-MSRP-Heartbeat"):
            self.assertEqual(self.bob.send("HEARTBEAT", content_type=kind), [200])
        self.assertEqual(self.alice.texts(), [])
        self.check_both_ways()

    def test_auth_and_nickname(self) -> None:
        """We are no relay and no chat room: 501."""
        self.start()
        for method in ("AUTH", "NICKNAME", "NOSUCH"):
            self.assertEqual(self.bob.send(None, method=method), [501])
        self.check_both_ways()

    def test_responses_without_a_phrase(self) -> None:
        """``MSRP tid 200``, and with one."""
        self.start()
        self.bob.on_send = lambda connection, request: connection.write(
            f"MSRP {request.transaction_id} 200 OK\r\nTo-Path: {request.from_path_text}\r\n"
            f"From-Path: {request.to_path_text}\r\n-------{request.transaction_id}$\r\n".encode()
        )
        self.assertEqual(self.alice.message(self.bob.uri, "hi").status, 200)
        self.bob.on_send = self.bob.take_send
        self.check_both_ways()


class RelayTests(MeetingTestCase):
    """A peer behind a relay: its 200 says only that the relay has the message."""

    def setUp(self) -> None:
        """Bob's relay stands at Bob's own address."""
        super().setUp()
        self.bob.relay = "msrp://192.0.2.2:2855;tcp"
        self.start()

    def ask(self) -> tuple[Response, frame.Request]:
        """Alice sends a text; the relay takes it."""
        response = self.alice.message(self.bob.uri, "hi")
        return response, self.bob.sends()[-1]

    def test_paths(self) -> None:
        """To-Path carries all; a success REPORT is asked for; 202 meanwhile."""
        response, send = self.ask()
        self.assertEqual(response.status, 202)
        self.assertEqual(send.to_path_text, f"{self.bob.relay} {self.bob.path}")
        self.assertTrue(send.success_report)

    def test_delivered(self) -> None:
        """The REPORT is what counts."""
        _, send = self.ask()
        self.assertEqual(self.town.gateway.room.used, 1)
        self.bob.send(None, method="REPORT", Message_ID=send.message_id, Status="000 200")
        self.town.check_settled(self, sessions=1)
        self.assertEqual(self.alice.texts(), [])

    def test_refused_behind_the_relay(self) -> None:
        _, send = self.ask()
        self.bob.send(None, method="REPORT", Message_ID=send.message_id, Status="000 408 Gone")
        self.town.run(0.1)
        self.assertEqual(
            self.alice.texts(),
            ['Message not delivered, error: 504 Gone; it was "hi" of 2023-11-14 22:13:20 UTC'],
        )
        self.town.check_settled(self, sessions=1)

    def test_no_report(self) -> None:
        self.ask()
        self.town.run(121, step=0.1)
        self.assertEqual(len(self.alice.texts()), 1)
        self.town.check_settled(self, sessions=1)

    def test_refused_by_the_relay(self) -> None:
        self.bob.send_status = 403
        response, _ = self.ask()
        self.assertEqual(response.status, 403)
        self.town.check_settled(self, sessions=1)
