"""Failures of other gateways and proxies seen on the wire: each is a test that we pass."""

from msrpgw.gateway.settings import PolicySettings
from msrpgw.sip.message import Request
from tests.gateway.meeting import MeetingTestCase
from tests.gateway.support import Town
from tests.gateway.wire import Wire, WireMsrp


class FallenOverTests(MeetingTestCase):
    """Others were seen to stop, as a whole process, on each of these."""

    def test_no_accept_types(self) -> None:
        """An INVITE, or a 2xx, with m=message but without a=accept-types."""
        self.bob.accept_types = None
        self.start()
        self.check_both_ways()
        self.found(Town())
        self.bob.accept_types = None
        self.assertEqual(self.alice.message(self.bob.uri).status, 202)
        self.town.run(0.2)
        self.check_both_ways()

    def test_reinvite_with_port_0(self) -> None:
        self.start()
        sdp = self.bob.sdp().replace(b"m=message 2855", b"m=message 0")
        self.assertEqual(self.bob.in_dialog("INVITE", sdp).status, 488)
        self.check_both_ways()

    def test_message_without_content_type(self) -> None:
        """With a body: 400; without one it is an empty text; with a session and without."""
        for with_session in (False, True):
            if with_session:
                self.start()
            self.assertEqual(self.alice.message(self.bob.uri, "hi", None).status, 400)
            self.assertEqual(len(self.town.gateway.sessions), int(with_session))
        self.assertEqual(self.alice.message(self.bob.uri, "", None).status, 200)
        self.check_both_ways()

    def test_reports(self) -> None:
        """About a message of ours, about none of ours, without Status; none is answered."""
        self.start()
        self.alice.message(self.bob.uri, "hi")
        known = self.bob.sends()[0].message_id
        for fields in (
            {"Message_ID": known, "Status": "000 200 OK", "Byte_Range": "1-2/2"},
            {"Message_ID": known, "Status": "000 413 Too much", "Byte_Range": "1-2/2"},
            {"Message_ID": known, "Byte_Range": "1-2/2"},
            {"Message_ID": "unknown", "Status": "000 200 OK"},
            {"Message_ID": "unknown", "Status": "000 403"},
            {"Message_ID": "unknown"},
            {"Status": "rubbish"},
        ):
            self.assertEqual(self.bob.send(None, method="REPORT", **fields), [])
        self.check_both_ways()
        self.assertEqual(self.bob.requests("BYE"), [])

    def test_requests_in_the_dialog(self) -> None:
        """OPTIONS and UPDATE get 200; INFO and others are refused without harm."""
        self.start()
        options = self.bob.in_dialog("OPTIONS")
        self.assertEqual(options.status, 200)
        self.assertEqual(self.bob.in_dialog("UPDATE").status, 200)
        self.assertIn("INVITE", options.headers.get("Allow") or "")
        for method in ("INFO", "PRACK", "MESSAGE", "REFER", "NOTIFY", "SUBSCRIBE", "PUBLISH"):
            self.assertIn(self.bob.in_dialog(method).status, (405, 415, 488, 501, 489))
        self.assertEqual(self.bob.in_dialog("INFO", b"rubbish").status, 405)
        self.check_both_ways()

    def test_message_to_a_host_that_does_not_resolve(self) -> None:
        """Others go on meanwhile, whether the resolver says no or nothing."""
        self.start()
        self.town.network.silent_names.add("silent.example")
        for host in ("nowhere.example", "silent.example"):
            self.assertEqual(self.alice.message(f"sip:bob@{host}").status, 202)
            self.assertEqual(self.alice.message(self.bob.uri, "to bob").status, 200)
        self.town.run(100, step=0.1)
        self.assertEqual(len(self.alice.texts()), 2)
        self.check_both_ways()

    def test_send_for_a_page_user_whose_host_does_not_resolve(self) -> None:
        """The REPORT tells."""
        self.bob.call("sip:alice@nowhere.example")
        self.town.run(0.1)
        self.assertEqual(self.bob.send("hi"), [200])
        self.assertEqual(self.bob.reports(), [408])

    def test_ending_while_the_invite_rings(self) -> None:
        """CANCEL; and a second end is harmless."""
        self.bob.on_request = lambda request: self.bob.answer(request, 180)
        self.alice.message(self.bob.uri)
        (session,) = self.town.gateway.sessions.values()
        self.bob.on_request = self.bob.take
        session.end("Ended by the operator")
        session.end("Ended by the operator")
        self.town.run(0.1)
        self.assertEqual(len(self.bob.requests("CANCEL")), 1)
        self.bob.answer(self.bob.requests("INVITE")[0], 487)
        self.town.run(0.1)
        self.town.check_settled(self)
        self.assertEqual(self.alice.message(self.bob.uri, "again").status, 202)
        self.town.run(0.1)
        self.assertEqual(self.bob.bodies(), ["again"])

    def test_msrp_response_after_the_bye(self) -> None:
        """It is about nothing any more, on a connection that another session uses."""
        self.start()
        dialog = self.bob.dialog
        erin = Wire(self.town, "erin", "192.0.2.5")
        self.bob.session = 2
        self.assertEqual(erin.message(self.bob.uri, "hi").status, 202)
        self.town.run(0.1)
        (connection,) = self.bob.connections
        self.bob.send_status = 0
        self.alice.write(self.alice.make("MESSAGE", self.bob.uri, b"late", "text/plain"))
        self.town.run(0.1)
        late = self.bob.sends()[-1]
        self.bob.dialog = dialog
        self.assertEqual(self.bob.in_dialog("BYE").status, 200)
        connection.answer(late)
        connection.answer(late, 481)
        self.town.run(0.1)
        self.bob.send_status = 200
        self.assertEqual(erin.message(self.bob.uri, "still here").status, 200)
        self.assertEqual(self.bob.bodies(), ["hi", "late", "still here"])
        self.town.check_settled(self, sessions=1)

    def test_msrp_start_line_without_a_method(self) -> None:
        """Whatever becomes of the connection, the gateway goes on."""
        for line in (b"MSRP abcd\r\n", b"MSRP abcd \r\n", b"MSRP\r\n", b"\r\n", b"MSRP  \r\n\r\n"):
            self.found(Town())
            self.start()
            self.bob.connections[0].write(line + b"To-Path: x\r\n\r\n-------abcd$\r\n")
            self.town.run(0.3)
            self.check_alive()

    def test_send_cut_short(self) -> None:
        """In every place, and then the connection is closed."""
        self.start()
        whole = (
            f"MSRP abcd1234 SEND\r\nTo-Path: {self.bob.gateway_path()}\r\n"
            f"From-Path: {self.bob.path}\r\nMessage-ID: 1\r\nByte-Range: 1-2/2\r\n"
            "Content-Type: text/plain\r\n\r\nhi\r\n-------abcd1234$\r\n"
        ).encode()
        for end in range(0, len(whole) - 4, 3):
            stranger = self.bob.connect()
            stranger.write(whole[:end])
            self.town.run(0.01)
            stranger.break_off()
            self.town.run(0.01)
            self.bob.connections.pop()
        self.assertEqual(self.alice.texts(), [])
        self.check_both_ways()

    def check_alive(self) -> None:
        """Somebody else finds the gateway as usual."""
        erin = Wire(self.town, "erin", "192.0.2.5")
        frank = WireMsrp(self.town, "frank", "192.0.2.6")
        self.assertEqual(erin.message(frank.uri, "hi").status, 202)
        self.town.run(0.2)
        self.assertEqual(frank.bodies(), ["hi"])


class LossesTests(MeetingTestCase):
    """Messages lost, doubled, cut, reordered or told wrongly by others."""

    def test_chunks_are_one_message(self) -> None:
        """Put together, whatever the ranges say; multi-byte characters cut by chunks stay whole."""
        self.start()
        data = "zwölf Böxkämpfer 🥊".encode()
        for total in (str(len(data)), "*"):
            self.alice.received.clear()
            for start in range(0, len(data), 3):
                chunk = data[start : start + 3]
                last = start + 3 >= len(data)
                head = (
                    f"MSRP tid0{start} SEND\r\nTo-Path: {self.bob.gateway_path()}\r\n"
                    f"From-Path: {self.bob.path}\r\nMessage-ID: m{total}\r\n"
                    f"Byte-Range: {start + 1}-*/{total}\r\nContent-Type: text/plain\r\n\r\n"
                )
                tail = f"\r\n-------tid0{start}{'$' if last else '+'}\r\n"
                self.bob.connections[-1].write(head.encode() + chunk + tail.encode())
            self.town.run(0.1)
            self.assertEqual(self.alice.texts(), [data.decode()])

    def test_aborted_message(self) -> None:
        """Never delivered; its first part neither."""
        self.start()
        self.bob.send("first", flag="+", Message_ID="m1", Byte_Range="1-5/10")
        self.bob.send("half", flag="#", Message_ID="m1", Byte_Range="6-9/10")
        self.assertEqual(self.alice.texts(), [])
        self.check_both_ways()

    def test_body_that_looks_like_an_end_line(self) -> None:
        """CRLF and seven dashes, both ways."""
        self.start()
        for text in ("a\r\n-------b", "\r\n-------", "-------abcd$\r\n", "\r\n-------x$\r\n\r\n"):
            self.assertEqual(self.bob.send(text), [200])
            self.assertEqual(self.alice.texts()[-1], text)
            self.assertEqual(self.alice.message(self.bob.uri, text).status, 200)
            self.assertEqual(self.bob.bodies()[-1], text)

    def test_send_in_pieces(self) -> None:
        """A SEND that comes in four TCP reads, and octet by octet."""
        self.start()
        for size in (60, 1):
            tid = f"piece{size:03d}"
            whole = (
                f"MSRP {tid} SEND\r\nTo-Path: {self.bob.gateway_path()}\r\n"
                f"From-Path: {self.bob.path}\r\nMessage-ID: {tid}\r\nByte-Range: 1-5/5\r\n"
                f"Content-Type: text/plain\r\n\r\nhello\r\n-------{tid}$\r\n"
            ).encode()
            for start in range(0, len(whole), size):
                self.bob.connections[-1].write(whole[start : start + size])
                self.town.run(0.02)
            self.town.run()
            self.assertEqual(self.alice.texts()[-1], "hello")
        self.assertEqual(self.bob.statuses(), [200, 200])

    def test_send_over_64_kib(self) -> None:
        """In one chunk; the MESSAGE goes over TCP, which Alice has."""
        town = Town(policy=PolicySettings(congestion_safe=True))
        alice = town.page_user("alice", "192.0.2.1", max_message_size=1 << 20)
        bob = WireMsrp(town, "bob", "192.0.2.2")
        bob.call(alice.uri)
        town.run(0.1)
        text = "0123456789" * 10_000
        self.assertEqual(bob.send(text), [200])
        self.assertEqual(alice.received, [text])

    def test_many_sends_at_once(self) -> None:
        """There is no limit of 32 queued writes: 300, each way, none waits for another's answer."""
        self.start()
        self.bob.send_status = 0
        wanted = [f"text {number}" for number in range(300)]
        for text in wanted:
            self.alice.write(self.alice.make("MESSAGE", self.bob.uri, text.encode(), "text/plain"))
        self.town.run(0.1)
        sent = self.bob.sends()
        self.assertGreaterEqual(len(sent), 256)
        for request in sent:
            self.bob.connections[0].answer(request)
        self.bob.send_status = 200
        self.town.run(0.1)
        self.assertEqual(self.bob.bodies(), wanted)
        for text in wanted:
            self.bob.send(text)
        self.assertEqual(self.alice.texts(), wanted)
        self.town.check_settled(self, sessions=1)

    def test_20_kb_message(self) -> None:
        """Over UDP, as some send it, and TCP, as it should be."""
        self.start()
        text = "20 kB in a single datagram" * 800
        self.assertEqual(self.alice.message(self.bob.uri, text).status, 200)
        self.assertEqual("".join(self.bob.bodies()), text)
        town = Town(policy=PolicySettings(congestion_safe=True))
        alice = town.page_user("alice", "192.0.2.1")
        bob = town.msrp_user("bob", "192.0.2.2")
        alice.send(bob.uri, text)
        town.run(1)
        bob.send(alice.uri, text)
        town.run(1)
        self.assertEqual((bob.received, alice.received), ([text], [text]))
        self.assertLess(max(len(sent.data) for sent in town.network.datagrams), 1400)

    def test_report_before_the_message_was_accepted(self) -> None:
        """Success only after Alice's 200, failure after her refusal."""
        self.start()
        held: list[Request] = []
        self.alice.on_request = held.append
        for status, report in ((200, 200), (480, 408)):
            self.bob.send("hi", Success_Report="yes")
            self.town.run(2)
            self.assertEqual(self.bob.reports(), [])
            self.alice.answer(held.pop(), status)
            held.clear()
            self.town.run(0.1)
            self.assertEqual(self.bob.reports(), [report])
            self.bob.frames.clear()

    def test_answered_200_and_lost_with_the_connection(self) -> None:
        """What was sent into a dead connection is no success, and goes out again."""
        self.start()
        self.bob.send_status = 0
        request = self.alice.make("MESSAGE", self.bob.uri, b"hi", "text/plain")
        self.alice.write(request)
        self.town.run(0.1)
        self.bob.connections[0].break_off()
        self.bob.send_status = 200
        self.bob.session = 2
        self.town.run(0.2)
        self.assertEqual(self.alice.responses(request)[0].status, 200)
        self.assertEqual(self.bob.bodies(), ["hi", "hi"])
        self.assertEqual(len({send.message_id for send in self.bob.sends()}), 1)

    def test_second_invite_for_a_key(self) -> None:
        """A client that was started anew comes back; no 500."""
        self.start()
        self.bob.session = 2
        self.start()
        self.check_both_ways()

    def test_retransmission_after_8_seconds(self) -> None:
        """Delivered once."""
        self.start()
        request = self.alice.make("MESSAGE", self.bob.uri, b"hi", "text/plain")
        for _ in range(3):
            self.alice.ask(request, seconds=8)
        self.assertEqual(self.bob.bodies(), ["hi"])
        answers = {answer.status for answer in self.alice.responses(request)}
        self.assertEqual(answers, {200})

    def test_foreign_connection_and_from_path(self) -> None:
        """Neither a second connection nor another From-Path speaks for Bob."""
        self.start()
        bobs = self.bob.connections[0]
        foreign = self.bob.connect()
        self.assertEqual(self.bob.send("from elsewhere", over=foreign), [506])
        path = "msrp://192.0.2.66:2855/mallory;tcp"
        self.assertEqual(self.bob.send("as another", over=bobs, From_Path=path), [403])
        self.assertEqual(self.bob.send("both", over=foreign, From_Path=path), [403])
        self.assertEqual(self.alice.texts(), [])
        self.bob.connections.reverse()
        self.check_both_ways()

    def test_content_types_compared_with_case(self) -> None:
        self.bob.accept_types = "Text/PLAIN"
        self.start()
        self.assertEqual(self.alice.message(self.bob.uri, "hi", "TEXT/plain").status, 200)
        self.assertEqual(self.bob.send("hi", content_type="tExt/plain"), [200])

    def test_idle_connection(self) -> None:
        """An hour of silence costs neither the connection nor a message."""
        self.start()
        self.town.run(3600, step=10)
        self.assertFalse(self.bob.connections[0].lost)
        self.check_both_ways()

    def test_hanging_connect(self) -> None:
        """One peer whose TCP connect hangs: the others don't notice."""
        self.start()
        frank = WireMsrp(self.town, "frank", "192.0.2.6", listens=False)
        self.town.network.hung.add(("192.0.2.6", 2855))
        self.assertEqual(self.alice.message(frank.uri).status, 202)
        for _ in range(5):
            self.check_both_ways_beside(1)
        self.town.run(15, step=0.1)
        self.assertEqual(len(self.town.gateway.sessions), 1)
        self.check_both_ways()

    def check_both_ways_beside(self, waiting: int) -> None:
        """Messages cross while others wait."""
        self.assertEqual(self.alice.message(self.bob.uri, "to bob").status, 200)
        self.assertEqual(self.bob.send("to alice"), [200])
        self.assertEqual(self.town.gateway.room.used, waiting)
