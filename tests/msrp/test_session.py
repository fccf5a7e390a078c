"""One session: what is sent, what is received, what is reported, and how it ends."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import NotAcceptable
from msrpgw.msrp.frame import Request
from msrpgw.msrp.session import SendResult, Session
from tests.msrp.support import PEER_PATH, Listener, Rig, sdp

OFFER_WITHOUT_MSRP = b"v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"


class SessionTestCase(SynchronousTestCase):
    """A session that is up, its peer having connected."""

    settings: dict[str, object] = {}

    def setUp(self) -> None:
        self.rig = Rig(**self.settings)
        self.listener = Listener()
        self.peer = self.rig.accept()
        self.session = self.rig.passive(self.listener, self.peer)

    @property
    def results(self) -> list[tuple[int, bool]]:
        """Status and lost of each message, in the order in which they ended."""
        return [(result.status, result.lost) for _, result in self.listener.results]


class Sending(SessionTestCase):
    """RFC 4975 §7.1."""

    def test_short(self) -> None:
        """One SEND, written at once, done with its 200."""
        self.listener.send(self.session, "grüße".encode(), "m1")
        [request] = self.peer.requests()
        self.assertEqual(request.to_path_text, PEER_PATH)
        self.assertEqual(request.from_path_text, self.session.path_text)
        self.assertEqual(request.message_id, "m1")
        self.assertEqual(request.content_type, "text/plain")
        self.assertEqual(request.body, "grüße".encode())
        self.assertEqual(request.continuation, "$")
        self.assertEqual(request.failure_report, "yes")
        self.assertFalse(request.success_report)
        assert request.byte_range is not None
        self.assertEqual(
            (request.byte_range.start, request.byte_range.end, request.byte_range.total), (1, 7, 7)
        )
        self.assertEqual(self.results, [])
        self.peer.answer(request)
        self.assertEqual(self.results, [(200, False)])
        self.assertGreaterEqual(len(request.transaction_id), 16)

    def test_empty_body(self) -> None:
        """An empty text is a message."""
        self.listener.send(self.session, b"")
        [request] = self.peer.answer_all()
        self.assertEqual((request.body, request.content_type), (b"", "text/plain"))
        self.assertEqual(self.results, [(200, False)])

    def test_transaction_id_not_in_body(self) -> None:
        """§7.1: ids are drawn until one does not occur in the body."""
        octets = [b"\x01" * 16, b"\x01" * 16, b"\x02" * 16]
        ids = [octets[0].hex(), octets[0][:8].hex(), octets[0][:12].hex()]
        self.session._sender._random = lambda count: octets.pop(0)[:count]
        body = b" ".join(one.encode() for one in ids)
        self.listener.send(self.session, body)
        [request] = self.peer.requests()
        self.assertEqual(request.body, body)
        self.assertNotIn(request.transaction_id.encode(), body)

    def test_pipelined(self) -> None:
        """SENDs don't wait for each other's response; responses may come in any order."""
        for number in range(5):
            self.listener.send(self.session, message_id=f"m{number}")
        requests = self.peer.requests()
        self.assertEqual(
            [request.message_id for request in requests], ["m0", "m1", "m2", "m3", "m4"]
        )
        for request in reversed(requests):
            self.peer.answer(request)
        self.assertEqual(
            [message_id for message_id, _ in self.listener.results], ["m4", "m3", "m2", "m1", "m0"]
        )

    def test_chunks(self) -> None:
        """A long message goes out in chunks of 2048 octets, done when all have their 200."""
        body = bytes(range(256)) * 20
        self.listener.send(self.session, body)
        requests = self.peer.requests()
        self.assertEqual([len(request.body or b"") for request in requests], [2048, 2048, 1024])
        self.assertEqual([request.continuation for request in requests], ["+", "+", "$"])
        self.assertEqual(b"".join(request.body or b"" for request in requests), body)
        self.assertEqual(
            [
                (one.byte_range.start, one.byte_range.end, one.byte_range.total)
                for one in requests
                if one.byte_range is not None
            ],
            [(1, 2048, 5120), (2049, 4096, 5120), (4097, 5120, 5120)],
        )
        self.assertEqual(len({request.transaction_id for request in requests}), 3)
        for request in reversed(requests):
            self.assertEqual(self.results, [])
            self.peer.answer(request)
        self.assertEqual(self.results, [(200, False)])

    def test_chunk_sizes(self) -> None:
        """One octet below, at and above the chunk size."""
        for size, count in ((2047, 1), (2048, 1), (2049, 2), (4096, 2), (4097, 3)):
            self.listener.send(self.session, b"x" * size)
            requests = self.peer.answer_all()
            self.assertEqual(
                [request.continuation for request in requests], ["+"] * (count - 1) + ["$"]
            )
        self.assertEqual(self.results, [(200, False)] * 5)

    def test_large_chunks_look_interruptible(self) -> None:
        """§7.1.1: a chunk above 2048 octets has * for its range-end."""
        rig = Rig(chunk_size=10_000)
        peer = rig.accept()
        self.listener.send(rig.passive(self.listener, peer), b"x" * 5000)
        [request] = peer.requests()
        assert request.byte_range is not None
        self.assertEqual((request.byte_range.end, request.byte_range.total), (None, 5000))

    def test_very_long(self) -> None:
        """A megabyte keeps few chunks under way, and arrives whole."""
        body = bytes(range(256)) * 4096
        self.listener.send(self.session, body)
        first = self.peer.requests()
        self.assertEqual(len(first), 32)
        for request in first:
            self.peer.answer(request)
        whole = b"".join(request.body or b"" for request in [*first, *self.peer.answer_all()])
        self.assertEqual(whole, body)
        self.assertEqual(self.results, [(200, False)])

    def test_short_of_another_session(self) -> None:
        """A long message doesn't block a short one of another session on the connection."""
        other = Listener()
        session = self.rig.passive(other, self.peer)
        self.listener.send(self.session, b"x" * 1_000_000, "long")
        other.send(session, b"short", "short")
        requests = self.peer.requests()
        self.assertEqual(requests[-1].message_id, "short")
        self.assertLess(len(requests), 40)

    def test_order_in_session(self) -> None:
        """A short message waits for a long one of its own session."""
        self.listener.send(self.session, b"x" * 100_000, "long")
        self.listener.send(self.session, b"short", "short")
        requests = self.peer.answer_all()
        self.assertEqual([request.message_id for request in requests], ["long"] * 49 + ["short"])
        self.assertEqual([message_id for message_id, _ in self.listener.results], ["long", "short"])

    def test_before_up(self) -> None:
        """What is sent before the session is up goes out when it is, in order."""
        listener = Listener()
        session = self.rig.passive(listener)
        for number in range(3):
            listener.send(session, message_id=f"m{number}")
        tid = self.peer.send(session, None)
        frames = self.peer.read()
        # Some peers hang up on a SEND before the 200 to their own first one.
        self.assertEqual(getattr(frames[0], "transaction_id", ""), tid)
        self.assertEqual(
            [getattr(frame, "message_id", "") for frame in frames[1:]], ["m0", "m1", "m2"]
        )

    def test_refused(self) -> None:
        """Any error is the message's, with the peer's status."""
        for status in (400, 403, 408, 413, 415, 423, 501, 599):
            self.listener.send(self.session)
            [request] = self.peer.requests()
            self.peer.answer(request, status, "No")
        self.assertEqual(
            [status for status, _ in self.results], [400, 403, 408, 413, 415, 423, 501, 599]
        )
        self.assertEqual(self.listener.results[0][1].comment, "No")
        self.assertIn("400", repr(self.listener.results[0][1]))

    def test_session_unknown(self) -> None:
        """§10.8, §10.10: after 481 and 506 there is no session any more."""
        for status in (481, 506):
            with self.subTest(status=status):
                self.setUp()
                for number in range(3):
                    self.listener.send(self.session, message_id=f"m{number}")
                self.peer.answer(self.peer.requests()[0], status, "Gone")
                self.assertEqual(
                    self.listener.events,
                    ["up", f"m0: {status}", "m1: 0", "m2: 0", f"lost: peer answered {status} Gone"],
                )

    def test_chunk_refused(self) -> None:
        """The first refusal ends the message; what follows is aborted with #."""
        self.listener.send(self.session, b"x" * 200_000)
        requests = self.peer.requests()
        self.peer.answer(requests[3], 403, "Enough")
        self.assertEqual(self.results, [(403, False)])
        [abort] = self.peer.requests()
        self.assertEqual((abort.continuation, abort.message_id), ("#", "out1"))
        for request in [*requests, abort]:
            self.peer.answer(request)
        self.assertEqual(self.peer.raw(), b"")
        self.assertEqual(self.results, [(403, False)])
        self.listener.send(self.session)
        self.assertEqual(len(self.peer.answer_all()), 1)

    def test_chunk_too_much(self) -> None:
        """§10.5: after a 413 not one chunk more."""
        self.listener.send(self.session, b"x" * 200_000)
        self.peer.answer(self.peer.requests()[0], 413)
        self.assertEqual(self.peer.raw(), b"")
        self.assertEqual(self.results, [(413, False)])

    def test_timeout(self) -> None:
        """No response for 30 s: 408; the session lives on."""
        self.listener.send(self.session, message_id="m1")
        self.rig.clock.advance(20)
        self.listener.send(self.session, message_id="m2")
        [first, second] = self.peer.requests()
        self.rig.clock.advance(9.9)
        self.assertEqual(self.results, [])
        self.rig.clock.advance(0.2)
        self.assertEqual(self.results, [(408, False)])
        self.peer.answer(first)
        self.peer.answer(second)
        self.assertEqual(self.results, [(408, False), (200, False)])
        self.rig.clock.advance(60)
        self.assertEqual(self.rig.pending(), 0)

    def test_timeout_of_a_chunk(self) -> None:
        """The rest of a long message is stopped."""
        self.listener.send(self.session, b"x" * 200_000)
        self.assertEqual(len(self.peer.requests()), 32)
        self.rig.clock.advance(30.1)
        [abort] = self.peer.requests()
        self.assertEqual(abort.continuation, "#")
        self.assertEqual(self.results, [(408, False)])
        self.rig.clock.advance(60)
        self.assertEqual(self.rig.pending(), 0)

    def test_timeout_sends_again(self) -> None:
        """Whoever sends again at a time-out gets a full 30 s, and the next oldest its own."""

        def again(result: SendResult) -> None:
            self.listener.send(self.session, message_id="again")

        self.session.send("m1", "text/plain", b"x", again)
        self.rig.clock.advance(10)
        self.listener.send(self.session, message_id="m2")
        self.rig.clock.advance(20.1)
        self.rig.clock.advance(10)
        self.assertEqual(self.listener.events[1:], ["m2: 408"])
        self.rig.clock.advance(20.1)
        self.assertEqual(self.listener.events[1:], ["m2: 408", "again: 408"])

    def test_lost(self) -> None:
        """With the connection, messages without their answer are lost, in order."""
        for number in range(3):
            self.listener.send(self.session, message_id=f"m{number}")
        self.listener.send(self.session, b"x" * 200_000, "long")
        self.listener.send(self.session, message_id="last")
        self.peer.answer(self.peer.requests()[1])
        self.peer.hang_up()
        self.assertEqual(
            self.listener.events[:-1], ["up", "m1: 200", "m0: 0", "m2: 0", "long: 0", "last: 0"]
        )
        self.assertEqual(self.listener.events[-1][:6], "lost: ")
        self.assertEqual(self.rig.pending(), 0)
        self.listener.send(self.session)
        self.assertEqual(self.results[-1], (0, True))
        self.session.close()
        self.assertEqual(len(self.listener.events), 8)

    def test_closed(self) -> None:
        """``close`` gives up what has no answer, and tells nothing else."""
        self.listener.send(self.session)
        self.session.close()
        self.session.close()
        self.assertEqual(self.listener.events, ["up", "out1: 0"])
        self.assertEqual(self.rig.pending(), 1)  # the connection, which nothing is bound to now

    def test_window(self) -> None:
        """Only so many SENDs wait for their response."""
        rig = Rig(window=3)
        peer = rig.accept()
        session = rig.passive(self.listener, peer)
        for number in range(10):
            self.listener.send(session, message_id=f"m{number}")
        first = peer.requests()
        self.assertEqual(len(first), 3)
        peer.answer(first[0])
        self.assertEqual([request.message_id for request in peer.requests()], ["m3"])
        for request in first[1:]:
            peer.answer(request)
        peer.answer_all()
        self.assertEqual(len(self.listener.results), 9)  # m3 has no answer yet

    def test_what_the_peer_takes(self) -> None:
        """Too large or of a wrong type: refused here, nothing is written."""
        session = self.rig.passive(
            self.listener, self.peer, accept_types="text/* message/cpim", max_size="100"
        )
        self.assertTrue(session.accepts("Text/Plain; charset=utf-8"))
        self.assertTrue(session.accepts("message/CPIM"))
        self.assertFalse(session.accepts("image/png"))
        self.assertFalse(session.accepts("rubbish"))
        self.assertFalse(session.accepts('text/plain; x="a\r\nb"'))
        self.listener.send(session, b"x" * 101)
        self.listener.send(session, b"x" * 100, content_type="image/png")
        self.assertEqual(self.results, [(413, False), (415, False)])
        self.assertEqual(self.peer.raw(), b"")
        self.listener.send(session, b"x" * 100, content_type="TEXT/html")
        self.assertEqual(len(self.peer.answer_all()), 1)


class Reports(SessionTestCase):
    """REPORTs about what we sent (§7.3.2)."""

    def report(self, message_id: str = "out1", **fields: str) -> None:
        """The peer reports."""
        self.peer.send(self.session, None, method="REPORT", Message_ID=message_id, **fields)
        self.assertEqual(self.peer.raw(), b"")

    def test_success(self) -> None:
        """Told once, after the response."""
        self.listener.send(self.session, success_report=True)
        [request] = self.peer.answer_all()
        self.assertTrue(request.success_report)
        for _ in range(2):
            self.report(Byte_Range="1-5/5", Status="000 200 OK")
        self.assertEqual(self.listener.reports, [("out1", 200, "OK")])

    def test_overtakes_response(self) -> None:
        """A REPORT that comes before the response settles the SEND, too."""
        self.listener.send(self.session, success_report=True)
        [request] = self.peer.requests()
        self.report(Byte_Range="1-5/5", Status="000 200")
        self.peer.answer(request)
        self.assertEqual(self.listener.events, ["up", "out1: 200", "report"])

    def test_in_parts(self) -> None:
        """Success of parts is told when they make up the whole, whatever their order."""
        self.listener.send(self.session, b"x" * 5000, success_report=True)
        self.peer.answer_all()
        for byte_range in ("4097-5000/5000", "1-2048/5000", "100-2048/5000"):
            self.report(Byte_Range=byte_range, Status="000 200 OK")
        self.assertEqual(self.listener.reports, [])
        self.report(Byte_Range="2049-4096/5000", Status="000 200 OK")
        self.assertEqual(self.listener.reports, [("out1", 200, "OK")])

    def test_odd_ranges(self) -> None:
        """Without a range, or with a * in it, the whole message is meant."""
        for number, fields in enumerate(({}, {"Byte_Range": "1-*/*"})):
            self.listener.send(self.session, message_id=f"m{number}", success_report=True)
            self.peer.answer_all()
            self.report(f"m{number}", Status="000 200", **fields)
        self.assertEqual(self.listener.reports, [("m0", 200, ""), ("m1", 200, "")])

    def test_not_asked_for(self) -> None:
        """A success that nobody asked for is ignored."""
        self.listener.send(self.session)
        self.peer.answer_all()
        self.report(Byte_Range="1-5/5", Status="000 200 OK")
        self.assertEqual(self.listener.reports, [])

    def test_failure(self) -> None:
        """A failure after the 200 is told; 408 and 481 concern the message alone."""
        for number, status in enumerate((403, 408, 413, 481)):
            self.listener.send(self.session, message_id=f"m{number}")
            self.peer.answer_all()
            self.report(f"m{number}", Byte_Range="1-5/5", Status=f"000 {status} No")
        self.assertEqual(
            self.listener.reports,
            [("m0", 403, "No"), ("m1", 408, "No"), ("m2", 413, "No"), ("m3", 481, "No")],
        )
        self.assertNotIn("lost", " ".join(self.listener.events))

    def test_failure_while_sending(self) -> None:
        """A failure of a message that is still being sent aborts it; it is told once."""
        self.listener.send(self.session, b"x" * 200_000)
        self.assertEqual(len(self.peer.requests()), 32)
        self.peer.send(self.session, None, method="REPORT", Message_ID="out1", Status="000 403 No")
        [abort] = self.peer.requests()
        self.assertEqual(abort.continuation, "#")
        self.assertEqual(self.results, [(403, False)])
        self.assertEqual(self.listener.reports, [])

    def test_about_nothing(self) -> None:
        """Unknown Message-ID, another namespace, no Status, wrong status: ignored."""
        self.listener.send(self.session, success_report=True)
        self.peer.answer_all()
        self.report("nobody", Status="000 200 OK")
        self.report(Status="001 500 what")
        self.report()
        self.report(Status="rubbish")
        self.assertEqual(self.listener.reports, [])

    def test_remembered(self) -> None:
        """Only the youngest messages are remembered."""
        self.session._sender._remembered = 2
        for number in range(3):
            self.listener.send(self.session, message_id=f"m{number}", success_report=True)
        self.peer.answer_all()
        for number in range(3):
            self.report(f"m{number}", Status="000 200")
        self.assertEqual([one[0] for one in self.listener.reports], ["m1", "m2"])


class Receiving(SessionTestCase):
    """RFC 4975 §7.3.1."""

    def take(self, status: int | None, body: bytes | None = b"hello", **fields: str) -> None:
        """A SEND gets this response at once."""
        tid = self.peer.send(self.session, body, **fields)
        self.assertEqual(self.peer.statuses(), [] if status is None else [(tid, status)])

    def test_held(self) -> None:
        """The 200 waits for ``accept``; a second one does nothing."""
        tid = self.peer.send(self.session, b"hi", content_type="text/plain;charset=utf-8")
        [incoming] = self.listener.messages
        self.assertEqual(
            (incoming.message_id, incoming.content_type, incoming.body),
            (f"m-{tid}", "text/plain;charset=utf-8", b"hi"),
        )
        self.assertEqual((incoming.success_report, incoming.failure_report), (False, "yes"))
        self.assertEqual(self.peer.raw(), b"")
        incoming.accept()
        incoming.accept()
        incoming.refuse(403, "Too late")
        [response] = self.peer.read()
        self.assertEqual(response.to_path_text, PEER_PATH)
        self.assertEqual(response.from_path_text, self.session.path_text)

    def test_refused(self) -> None:
        """The response is the error; the message may come again."""
        for _ in range(2):
            tid = self.peer.send(self.session, Message_ID="same")
            self.listener.messages[-1].refuse(413, "No room")
            self.listener.messages[-1].accept()
            self.assertEqual(self.peer.statuses(), [(tid, 413)])
        self.assertEqual(len(self.listener.messages), 2)

    def test_comment_from_elsewhere(self) -> None:
        """A comment never makes lines of its own."""
        tid = self.peer.send(self.session)
        self.listener.messages[0].refuse(403, "No\r\nX: y")
        self.assertEqual(self.peer.raw().count(b"\r\n"), 4)
        self.peer.send(self.session, Message_ID=f"m-{tid}")
        self.listener.messages[1].accept()
        self.peer.raw()
        self.listener.messages[1].report(403, "No\nX: y")
        self.assertNotIn(b"\n", self.peer.raw().replace(b"\r\n", b""))

    def test_failure_report(self) -> None:
        """§7.1.4: partial never gets a 200, errors yes; no gets neither."""
        for wanted, accepted, refused in (
            ("yes", [200], [403]),
            ("partial", [], [403]),
            ("no", [], []),
        ):
            self.peer.send(self.session, Failure_Report=wanted)
            self.listener.messages[-1].accept()
            self.assertEqual([status for _, status in self.peer.statuses()], accepted)
            self.peer.send(self.session, Failure_Report=wanted)
            self.listener.messages[-1].refuse(403, "No")
            self.assertEqual([status for _, status in self.peer.statuses()], refused)

    def test_failure_report_of_chunks(self) -> None:
        """The same holds for every chunk, and for empty SENDs."""
        for wanted, status in (("yes", 200), ("partial", None), ("no", None)):
            self.take(status, Failure_Report=wanted, flag="+", Byte_Range="1-5/9")
            self.take(status, None, Failure_Report=wanted)

    def test_chunks(self) -> None:
        """Chunks in any order, of several messages interleaved; the last one's 200 waits."""
        self.take(200, b"cd", Message_ID="one", Byte_Range="3-4/6", flag="+")
        self.take(200, b"34", Message_ID="two", Byte_Range="3-*/4", flag="$")
        self.take(200, b"ab", Message_ID="one", Byte_Range="1-*/6", flag="+")
        self.take(None, b"12", Message_ID="two", Byte_Range="1-2/*", flag="+")
        self.take(None, b"ef", Message_ID="one", Byte_Range="5-6/6", flag="$")
        self.assertEqual(self.listener.bodies, [b"1234", b"abcdef"])
        for incoming in self.listener.messages:
            incoming.accept()
        self.assertEqual([status for _, status in self.peer.statuses()], [200, 200])

    def test_multi_byte(self) -> None:
        """A chunk may end in the middle of a character."""
        text = "日本語".encode()
        self.take(200, text[:4], Message_ID="cut", Byte_Range="1-4/9", flag="+")
        self.take(None, text[4:], Message_ID="cut", Byte_Range="5-9/9")
        self.assertEqual(self.listener.bodies, [text])

    def test_aborted(self) -> None:
        """A message that ends with # is dropped; one with the same id may come later."""
        self.take(200, b"ab", Message_ID="gone", Byte_Range="1-*/6", flag="+")
        self.take(200, b"cd", Message_ID="gone", Byte_Range="3-*/6", flag="#")
        self.take(200, b"cd", Message_ID="never", flag="#")
        self.assertEqual(self.listener.messages, [])
        self.take(None, b"abcdef", Message_ID="gone", Byte_Range="1-6/6")

    def test_never_finished(self) -> None:
        """Chunks without an end are forgotten after assembly_timeout."""
        self.take(200, b"ab", Message_ID="slow", Byte_Range="1-*/4", flag="+")
        self.rig.clock.advance(61)
        self.assertEqual(self.rig.pending(), 0)
        self.take(200, b"cd", Message_ID="slow", Byte_Range="3-*/4")
        self.assertEqual(self.listener.messages, [])
        self.session.close()
        self.assertEqual(self.rig.endpoint.budget.used, 0)

    def test_bounds(self) -> None:
        """413 over a=max-size, over the number of half messages, over the budget of all."""
        self.rig = Rig(max_size=100, max_assemblies=3, assembly_budget=150)
        self.listener = Listener()
        self.peer = self.rig.accept()
        self.session = self.rig.passive(self.listener, self.peer)
        self.take(413, b"x" * 101)
        self.take(413, b"x" * 10, Byte_Range="1-*/101", flag="+")
        self.take(413, b"x" * 10, Byte_Range="1000000000000-*/*", flag="+")
        self.take(None, b"x" * 100)
        self.take(200, b"x" * 80, Message_ID="a", Byte_Range="1-*/*", flag="+")
        self.take(413, b"x" * 80, Message_ID="b", Byte_Range="1-*/*", flag="+")
        for message_id in ("c", "d"):
            self.take(200, b"x", Message_ID=message_id, Byte_Range="1-*/*", flag="+")
        self.take(413, b"x", Message_ID="e", Byte_Range="1-*/*", flag="+")
        self.take(None, b"x")
        self.session.close()
        self.assertEqual(self.rig.endpoint.budget.used, 0)

    def test_types(self) -> None:
        """415 for what we don't take; no 415 where no error is wanted; case doesn't matter."""
        self.take(415, content_type="image/png")
        self.take(415, content_type="image/png", Failure_Report="partial")
        self.take(None, content_type="image/png", Failure_Report="no")
        self.take(415, content_type="image/png", flag="+", Byte_Range="1-*/100")
        self.assertEqual(self.listener.messages, [])
        self.take(None, content_type='TEXT/PLAIN; charset="utf-8"')
        self.assertEqual(len(self.listener.messages), 1)
        for number in range(200):  # what is remembered of types is bounded
            self.take(415, content_type=f"image/x{number}")

    def test_nothing_said(self) -> None:
        """Empty SENDs and heartbeats are answered and no messages."""
        self.take(200, None)
        self.take(200, None, Byte_Range="1-0/0", Keep_Alive="yes")
        self.take(200, b"HEARTBEAT", content_type="text/x-msrp-heartbeat")
        self.assertEqual(self.listener.messages, [])

    def test_repeated(self) -> None:
        """A Message-ID that was had is acknowledged, not delivered again."""
        self.take(None, Message_ID="same")
        self.listener.messages[0].accept()
        self.assertEqual(len(self.peer.statuses()), 1)
        self.take(200, Message_ID="same")
        self.take(200, Message_ID="same", Byte_Range="1-*/5", flag="+")
        self.take(None, Message_ID="same", Failure_Report="no")
        self.assertEqual(len(self.listener.messages), 1)

    def test_repeated_while_held(self) -> None:
        """It gets the answer that the first one gets."""
        for verdict in (200, 480):
            message_id = f"id{verdict}"
            tids = [self.peer.send(self.session, Message_ID=message_id) for _ in range(3)]
            self.assertEqual(self.peer.raw(), b"")
            incoming = self.listener.messages[-1]
            if verdict == 200:
                incoming.accept()
            else:
                incoming.refuse(verdict, "No")
            self.assertEqual(self.peer.statuses(), [(tid, verdict) for tid in tids])
        self.assertEqual(len(self.listener.messages), 2)

    def test_repeated_too_often(self) -> None:
        """What waits for an answer is bounded."""
        for _ in range(70):
            self.peer.send(self.session, Message_ID="same")
        self.assertEqual([status for _, status in self.peer.statuses()], [403] * 5)
        self.listener.messages[0].accept()
        self.assertEqual(len(self.peer.statuses()), 65)

    def test_remembered_ids(self) -> None:
        """Only so many are remembered."""
        for number in range(1030):
            self.peer.send(self.session, Message_ID=f"id{number}")
            self.listener.messages[-1].accept()
        self.peer.raw()
        self.take(200, Message_ID="id1029")
        self.take(None, Message_ID="id0")


class Reporting(SessionTestCase):
    """REPORTs of ours (§7.1.2 to §7.1.4)."""

    def report(self, status: int, comment: str = "", **fields: str) -> list[Request]:
        """The REPORTs that a message with these headers gets."""
        self.peer.send(self.session, b"hello", **fields)
        incoming = self.listener.messages[-1]
        incoming.accept()
        self.peer.raw()
        incoming.report(status, comment)
        incoming.report(status, comment)
        return self.peer.requests()

    def test_success(self) -> None:
        """Asked for: one REPORT, with computed numbers and no report headers of its own."""
        [report] = self.report(200, "Shown", Success_Report="yes", Byte_Range="1-*/*")
        self.assertEqual(report.method, "REPORT")
        self.assertEqual(report.to_path_text, PEER_PATH)
        self.assertEqual(report.from_path_text, self.session.path_text)
        self.assertEqual(report.message_id, self.listener.messages[0].message_id)
        assert report.byte_range is not None and report.status is not None
        self.assertEqual(
            (report.byte_range.start, report.byte_range.end, report.byte_range.total), (1, 5, 5)
        )
        self.assertEqual((report.status.namespace, report.status.code), ("000", 200))
        self.assertEqual(report.continuation, "$")
        self.assertIsNone(report.body)

    def test_who_wants_what(self) -> None:
        """Success only when asked for; failure unless Failure-Report is no."""
        self.assertEqual(self.report(200), [])
        self.assertEqual(len(self.report(200, Success_Report="yes", Failure_Report="no")), 1)
        self.assertEqual(self.report(408, Success_Report="yes", Failure_Report="no"), [])
        for wanted in ("yes", "partial"):
            [report] = self.report(408, "Nobody there", Failure_Report=wanted)
            assert report.status is not None
            self.assertEqual((report.status.code, report.status.comment), (408, "Nobody there"))

    def test_of_chunks(self) -> None:
        """One REPORT for the whole message."""
        self.peer.send(
            self.session, b"ab", flag="+", Message_ID="x", Success_Report="yes", Byte_Range="1-2/4"
        )
        self.peer.send(
            self.session, b"cd", Message_ID="x", Success_Report="yes", Byte_Range="3-4/4"
        )
        self.listener.messages[0].accept()
        self.peer.raw()
        self.listener.messages[0].report(200)
        [report] = self.peer.requests()
        assert report.byte_range is not None
        self.assertEqual((report.byte_range.start, report.byte_range.end), (1, 4))

    def test_repeated(self) -> None:
        """A repeated message is reported again, once the result is known (§5.4)."""
        self.assertEqual(len(self.report(200, Message_ID="x", Success_Report="yes")), 1)
        tid = self.peer.send(self.session, Message_ID="x", Success_Report="yes")
        [response, report] = self.peer.read()
        self.assertEqual(response.transaction_id, tid)
        assert isinstance(report, Request)
        self.assertEqual((report.method, report.message_id), ("REPORT", "x"))

    def test_session_over(self) -> None:
        """No REPORT for a session that is no longer valid."""
        self.peer.send(self.session, Success_Report="yes")
        self.session.close()
        self.listener.messages[0].accept()
        self.peer.raw()
        self.listener.messages[0].report(200)
        self.assertEqual(self.peer.raw(), b"")


class Replacing(SessionTestCase):
    """A session in place of a lost one (§5.4)."""

    def setUp(self) -> None:
        super().setUp()
        self.peer.send(self.session, Message_ID="held", Success_Report="yes")
        self.peer.send(self.session, Message_ID="had", Success_Report="yes")
        self.listener.messages[1].accept()
        self.peer.hang_up()
        self.path = "msrp://192.0.2.7:7654/fresh;tcp"
        self.next = self.rig.session(self.listener, replaces=self.session)
        self.next.answer(sdp(self.path))
        self.next.start()
        self.peer = self.rig.accept()
        self.again(None)

    def again(self, body: bytes | None = b"hello", **fields: str) -> str:
        """The peer sends on the new session."""
        return self.peer.send(self.next, body, From_Path=self.path, **fields)

    def test_fresh_uri(self) -> None:
        """The lost session's URI is spent."""
        self.assertNotEqual(self.session.path_text, self.next.path_text)
        self.peer.raw()
        tid = self.peer.send(self.session)
        self.assertEqual(self.peer.statuses(), [(tid, 481)])

    def test_repeated(self) -> None:
        """What the peer sends again is recognised; what was held gets its answer there."""
        self.peer.raw()
        had = self.again(Message_ID="had", Success_Report="yes")
        held = self.again(Message_ID="held", Success_Report="yes")
        self.assertEqual(self.peer.statuses(), [(had, 200)])
        self.listener.messages[0].accept()
        self.assertEqual(self.peer.statuses(), [(held, 200)])
        self.assertEqual(len(self.listener.messages), 2)

    def test_reports(self) -> None:
        """REPORTs that were owed go out on the new session."""
        self.peer.raw()
        self.listener.messages[1].report(200)
        [report] = self.peer.requests()
        self.assertEqual(report.message_id, "had")
        self.assertEqual(report.to_path_text, self.path)
        self.assertEqual(report.from_path_text, self.next.path_text)

    def test_reports_between(self) -> None:
        """Those that fall due while there is no session wait for the next."""
        self.peer.hang_up()
        self.listener.messages[1].report(200)
        later = self.rig.session(self.listener, replaces=self.next)
        later.answer(sdp(self.path))
        self.listener.messages[0].report(200)
        later.start()
        peer = self.rig.accept()
        tid = peer.send(later, None, From_Path=self.path)
        frames = peer.read()
        self.assertEqual(frames[0].transaction_id, tid)
        self.assertEqual(
            [getattr(frame, "message_id", "") for frame in frames[1:]], ["had", "held"]
        )


class Negotiating(SynchronousTestCase):
    """SDP, and the life before ``start``."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.listener = Listener()

    def session(self) -> Session:
        """A fresh one."""
        return self.rig.session(self.listener, "text/plain", "message/cpim")

    def test_offer(self) -> None:
        """What we offer (§8)."""
        session = self.session()
        offer = session.offer().decode()
        for line in (
            "m=message 2855 TCP/MSRP *",
            "a=accept-types:text/plain message/cpim",
            f"a=path:{session.path_text}",
            "a=setup:actpass",
            "a=max-size:1048576",
        ):
            self.assertIn(line + "\r\n", offer)

    def test_not_acceptable(self) -> None:
        """No usable m-line, in an offer or an answer."""
        session = self.session()
        self.assertFalse(session.accepts("text/plain\r\nX: y"))
        with self.assertRaises(NotAcceptable):
            session.answer(OFFER_WITHOUT_MSRP)
        session.offer()
        with self.assertRaises(NotAcceptable):
            session.apply_answer(OFFER_WITHOUT_MSRP)
        self.assertIsNone(session.peer)
        session.start()
        self.assertEqual(self.rig.clock.tcpClients, [])
        self.assertTrue(session.accepts("image/png"))
        self.assertFalse(session.behind_relay)

    def test_roles(self) -> None:
        """RFC 6135: who connects, when the peer offers and when it answers."""
        for number, (setup, we_connect) in enumerate(
            (("active", False), ("passive", True), ("actpass", False), (None, False))
        ):
            session = self.session()
            session.answer(sdp(f"msrp://192.0.2.7:{7000 + number}/s;tcp", setup))
            self.check_role(session, we_connect)
        for number, (setup, we_connect) in enumerate(
            (("active", False), ("passive", True), (None, True))
        ):
            session = self.session()
            session.offer()
            session.apply_answer(sdp(f"msrp://192.0.2.8:{7000 + number}/s;tcp", setup))
            self.check_role(session, we_connect)

    def check_role(self, session: Session, we_connect: bool) -> None:
        """Whether starting a session makes us connect."""
        before = len(self.rig.clock.tcpClients)
        session.start()
        self.assertEqual(len(self.rig.clock.tcpClients) - before, int(we_connect))

    def test_start_twice(self) -> None:
        """Only the first one counts."""
        session = self.rig.active(self.listener)
        session.start()
        self.assertEqual(len(self.rig.clock.tcpClients), 1)
        self.rig.dialled().answer_all()
        session.start()
        self.assertEqual(self.listener.events, ["up"])

    def test_closed_before_start(self) -> None:
        """A call that came to nothing leaves nothing."""
        session = self.session()
        session.offer()
        self.listener.send(session)
        session.close()
        session.start()
        self.assertEqual(self.listener.events, ["out1: 0"])
        self.assertEqual((self.rig.endpoint.sessions(), self.rig.pending()), ([], 0))

    def test_same_sdp_again(self) -> None:
        """A re-INVITE that changes nothing is told from one that moves the session."""
        session = self.rig.passive(self.listener)
        self.assertTrue(session.is_current(sdp()))
        self.assertFalse(session.is_current(sdp("msrp://192.0.2.7:7654/moved;tcp")))
        self.assertFalse(session.is_current(OFFER_WITHOUT_MSRP))
        self.assertFalse(session.is_current(b"rubbish"))
        for again in (session.answer(sdp(accept_types="text/plain")), session.offer()):
            self.assertIn(f"a=path:{session.path_text}\r\n".encode(), again)
        self.assertFalse(session.accepts("text/html"))
