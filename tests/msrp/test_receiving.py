"""What a session receives: messages put together, answers, REPORTs of ours."""

from msrpgw.msrp.frame import Request
from tests.msrp.session_cases import SessionTestCase
from tests.msrp.support import PEER_PATH, Listener, Rig


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
