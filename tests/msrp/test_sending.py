"""What a session sends: chunks, transactions, REPORTs about it."""

from msrpgw.msrp.outgoing import ANSWERED_KNOWN
from msrpgw.msrp.session import SendResult
from tests.msrp.session_cases import SessionTestCase
from tests.msrp.support import PEER_PATH, Listener, Rig


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

    def test_answered(self) -> None:
        """Of what was answered less is remembered, unless its success is to be reported."""
        for wanted, first in ((False, "1"), (True, "0")):
            self.listener.reports.clear()
            for number in range(ANSWERED_KNOWN + 1):
                message_id = f"{wanted}{number}"
                self.listener.send(self.session, message_id=message_id, success_report=wanted)
                self.peer.answer_all()
            for number in range(ANSWERED_KNOWN + 1):
                self.report(f"{wanted}{number}", Status="000 500")
            self.assertEqual(self.listener.reports[0][0], f"{wanted}{first}")
