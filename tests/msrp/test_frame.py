"""MSRP frames: parsed in every split, rendered, refused (RFC 4975 §7, §9)."""

import hashlib
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import FramingError, RenderError
from msrpgw.msrp.frame import (
    ByteRange,
    Frame,
    FrameParser,
    Limits,
    Malformed,
    Request,
    Response,
    Status,
)
from msrpgw.msrp.render import render_report, render_response, render_send
from msrpgw.msrp.uri import MsrpUri
from tests.msrp.strategies import BODIES, IDENTS, URIS
from tests.wire_cases import three_ways

TO = "msrp://127.0.0.1:2855/to;tcp"
FROM = "msrp://127.0.0.1:9/from;tcp"
TORTURE = Path(__file__).resolve().parents[1] / "torture" / "msrp"
TRAILING = b"MSRP zzzzzzzz 200 OK\r\nTo-Path: " + TO.encode() + b"\r\n"


def parse(data: bytes, limits: Limits | None = None) -> list[Any]:
    """All three ways."""
    return three_ways(lambda: FrameParser(limits), data, TRAILING)


def request(start: str = "MSRP abcd SEND", *headers: str, end: str = "-------abcd$") -> bytes:
    """A request by its lines."""
    lines = (start, f"To-Path: {TO}", f"From-Path: {FROM}", *headers, end, "")
    return "\r\n".join(lines).encode()


class RequestTests(SynchronousTestCase):
    def one(self, data: bytes) -> Any:
        [frame] = parse(data)
        return frame

    def test_all_headers(self) -> None:
        found = self.one(
            request(
                "MSRP abcd SEND",
                "message-id: m.1",
                "Success-Report: yes",
                "FAILURE-REPORT: partial",
                "Byte-Range: 1-*/7",
                "X-Other: one",
                "Content-Type: text/plain",
                "",
                "h\xe9llo",
            )
        )
        self.assertIsInstance(found, Request)
        self.assertEqual(found.transaction_id, "abcd")
        self.assertEqual(found.method, "SEND")
        self.assertEqual(found.to_path[0].session_id, "to")
        self.assertEqual(found.from_path[0].session_id, "from")
        self.assertEqual(found.message_id, "m.1")
        self.assertTrue(found.success_report)
        self.assertEqual(found.failure_report, "partial")
        self.assertEqual(found.byte_range, ByteRange(1, None, 7))
        self.assertEqual(found.headers, (("X-Other", "one"),))
        self.assertEqual(found.content_type, "text/plain")
        self.assertEqual(found.body, "h\xe9llo".encode())
        self.assertEqual(found.continuation, "$")
        self.assertFalse(found.truncated)

    def test_flags(self) -> None:
        for flag in "$+#":
            self.assertEqual(self.one(request(end=f"-------abcd{flag}")).continuation, flag)

    def test_no_body_is_not_an_empty_body(self) -> None:
        self.assertIsNone(self.one(request()).body)
        self.assertEqual(self.one(request("MSRP abcd SEND", "Content-Type: a/b", "", "")).body, b"")

    def test_binding(self) -> None:
        """The SEND without a body that nearly all peers bind a session with."""
        lines = ("MSRP abcd SEND", "Message-ID: m1", "Byte-Range: 1-0/0", "Failure-Report: no")
        for flag in "$+#":
            found = self.one(request(*lines, end=f"-------abcd{flag}"))
            self.assertEqual((found.message_id, found.byte_range), ("m1", ByteRange(1, 0, 0)))
            self.assertEqual((found.to_path_text, found.from_path_text), (TO, FROM))
            self.assertEqual((found.failure_report, found.success_report), ("no", False))
            self.assertEqual((found.continuation, found.truncated), (flag, False))
            self.assertIsNone(found.content_type)
            self.assertIsNone(found.body)
        with self.assertRaises(FramingError):
            parse(request(*lines), Limits(max_header_size=60))

    def test_report(self) -> None:
        found = self.one(request("MSRP abcd REPORT", "Message-ID: m1", "Status: 000 200"))
        self.assertEqual(found.status, Status("000", 200, ""))
        found = self.one(request("MSRP abcd REPORT", "Message-ID: m1", "Status: 000 408 Too late"))
        self.assertEqual(found.status, Status("000", 408, "Too late"))
        self.assertIsNone(self.one(request("MSRP abcd REPORT", "Status: x")).status)

    def test_blank_lines_between(self) -> None:
        found = parse(b"\r\n\r\n" + request() + b"\r\n" + request())
        self.assertEqual([frame.transaction_id for frame in found], ["abcd", "abcd"])

    def test_malformed(self) -> None:
        for lines, comment in (
            (("MSRP abcd SEND", "X"), "Malformed header line"),
            (("MSRP abcd SEND", "X: a\0b"), "Control character in a header"),
            (("MSRP abcd SEND", "Message-ID: a", "Message-ID: b"), "Message-ID twice"),
            (("MSRP abcd SEND", "Message-ID: <a>"), "Malformed Message-ID"),
            (("MSRP abcd SEND", "Success-Report: maybe"), "Malformed Success-Report"),
            (("MSRP abcd SEND", "Failure-Report: maybe"), "Malformed Failure-Report"),
            (("MSRP abcd S3ND",), "Malformed start line"),
        ):
            found = self.one(request(*lines))
            self.assertIsInstance(found, Malformed)
            self.assertEqual((found.status, found.comment), (400, comment))
            self.assertEqual((found.to_path_text, found.from_path_text), (TO, FROM))

    def test_not_to_be_answered(self) -> None:
        """A REPORT, and what wants no answer or can't get one, is dropped; the stream goes on."""
        for bad in (
            request("MSRP abcd REPORT", "X"),
            request("MSRP abcd SEND", "Failure-Report: no", "X"),
            b"MSRP abcd SEND\r\n-------abcd$\r\n",
            b"MSRP abcd 2000 OK\r\n-------abcd$\r\n",
        ):
            [found] = parse(bad + request())
            self.assertIsInstance(found, Request)


class ResponseTests(SynchronousTestCase):
    def test_response(self) -> None:
        [found] = parse(request("MSRP abcd 481 No such session"))
        self.assertIsInstance(found, Response)
        self.assertEqual((found.transaction_id, found.status), ("abcd", 481))
        self.assertEqual(found.comment, "No such session")
        self.assertEqual((found.to_path_text, found.from_path_text), (TO, FROM))

    def test_without_comment(self) -> None:
        [found] = parse(request("MSRP abcd 200"))
        self.assertEqual((found.status, found.comment), (200, ""))

    def test_missing_path(self) -> None:
        [found] = parse(b"MSRP abcd 200\r\n-------abcd$\r\n")
        self.assertEqual(found.to_path_text, "")


class FramingTests(SynchronousTestCase):
    """Streams that can't be read."""

    def check(self, data: bytes, reason: str, limits: Limits | None = None) -> None:
        for size in (len(data), 1):
            parser = FrameParser(limits)
            with self.assertRaises(FramingError) as caught:
                for at in range(0, len(data), size):
                    parser.feed(data[at : at + size])
            self.assertIn(reason, str(caught.exception))
            self.assertRaises(FramingError, parser.feed, b"")

    def test_other_protocols(self) -> None:
        for data in (
            b"OPTIONS sip:a SIP/2.0\r\n",
            b"\x16\x03\x01",
            b"msrp abcd SEND\r\n",
            b"MSRPS",
        ):
            self.check(data, "not MSRP")

    def test_endless_start_line(self) -> None:
        self.check(b"MSRP " + b"x" * 5000, "start line too long")
        self.check(b"MSRP " + b"x" * 5000 + b"\r\n", "start line too long")
        self.check(b"MSRP  \r\n", "without a transaction id")

    def test_endless_headers(self) -> None:
        limits = Limits(max_header_size=100)
        self.check(request("MSRP abcd SEND", "X: " + "x" * 100), "header section", limits)
        self.check(request("MSRP abcd SEND", "X: " + "x" * 100, "", "y"), "header section", limits)

    def test_frames_before_the_break_are_given(self) -> None:
        parser = FrameParser()
        [found] = parser.feed(request() + b"rubbish")
        self.assertEqual(found.transaction_id, "abcd")
        self.assertRaises(FramingError, parser.feed, b"")

    def test_large_body_is_not_kept(self) -> None:
        limits = Limits(max_body=1000)
        data = request("MSRP abcd SEND", "Content-Type: a/b", "", "x" * 100_000) + request()
        for size in (len(data), 700, 1):
            parser = FrameParser(limits)
            found: list[Frame] = []
            for at in range(0, len(data), size):
                found += parser.feed(data[at : at + size])
                if size < 1000:
                    self.assertLess(len(parser.pending), 3000)
            first, second = found
            assert isinstance(first, Request) and isinstance(second, Request)
            self.assertTrue(first.truncated)
            self.assertIsNone(first.body)
            self.assertFalse(second.truncated)


class RenderTests(SynchronousTestCase):
    def test_response_goes_to_the_previous_hop(self) -> None:
        [found] = parse(request())
        found.from_path_text = f"msrp://relay:1/;tcp {FROM}"
        [answer] = parse(render_response(found, 200, "OK"))
        self.assertEqual((answer.to_path_text, answer.from_path_text), ("msrp://relay:1/;tcp", TO))

    def test_response_to_another_method_goes_all_the_way(self) -> None:
        [found] = parse(request("MSRP abcd NICKNAME"))
        found.from_path_text = f"msrp://relay:1/;tcp {FROM}"
        [answer] = parse(render_response(found, 501))
        self.assertEqual(answer.to_path_text, found.from_path_text)

    def test_comments_stay_on_their_line(self) -> None:
        [found] = parse(request())
        [answer] = parse(render_response(found, 403, "a\r\nX: y"))
        self.assertEqual(answer.comment, "a??X: y")
        [report] = parse(render_report("abcd", TO, FROM, "m1", 5, 403, "a\nb"))
        self.assertEqual(report.status, Status("000", 403, "a?b"))
        self.assertEqual(report.byte_range, ByteRange(1, 5, 5))

    def test_content_type_that_breaks_out(self) -> None:
        with self.assertRaises(RenderError):
            render_send("abcd", TO, FROM, "m1", 1, 1, 1, "a/b\r\nX: y", b"x")

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(
        IDENTS,
        st.lists(URIS, min_size=1, max_size=3),
        URIS,
        IDENTS,
        BODIES,
        st.sampled_from("$+#"),
        st.booleans(),
        st.sampled_from(("yes", "no", "partial")),
        st.binary(max_size=30),
    )
    def test_round_trip(
        self,
        transaction_id: str,
        to_path: list[MsrpUri],
        from_path: MsrpUri,
        message_id: str,
        body: bytes,
        flag: str,
        success_report: bool,
        failure_report: str,
        cuts: bytes,
    ) -> None:
        if transaction_id.encode() in body:
            return
        to_text = " ".join(uri.render() for uri in to_path)
        data = render_send(
            transaction_id,
            to_text,
            from_path.render(),
            message_id,
            1,
            None,
            len(body),
            "text/plain",
            body,
            flag,
            success_report,
            failure_report,
        )
        parser = FrameParser()
        found: list[Frame] = []
        at = 0
        for cut in cuts:  # any split gives the same
            found += parser.feed(data[at : at + cut])
            at += cut
        found += parser.feed(data[at:])
        [frame] = found
        assert isinstance(frame, Request)
        self.assertEqual(frame.transaction_id, transaction_id)
        self.assertEqual(frame.to_path, tuple(to_path))
        self.assertEqual(frame.from_path, (from_path,))
        self.assertEqual(frame.message_id, message_id)
        self.assertEqual((frame.body, frame.continuation), (body, flag))
        self.assertEqual(
            (frame.success_report, frame.failure_report), (success_report, failure_report)
        )

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.lists(st.binary(max_size=40) | st.just(b"MSRP abcd SEND\r\n"), max_size=8))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        parser = FrameParser(Limits(max_header_size=200, max_body=200))
        try:
            for piece in pieces:
                parser.feed(piece)
        except FramingError:
            pass


class TortureTests(SynchronousTestCase):
    """What the parser must see of each case of the index."""

    def test_index(self) -> None:
        for case in json.loads((TORTURE / "index.json").read_text())["cases"]:
            messages = case["parse"].get("messages")
            if not case["parse"]["ok"] or messages is None:
                continue
            literal = (TORTURE / case["file"]).read_bytes()
            found = parse(
                literal.replace(b"@@TO@@", TO.encode()).replace(b"@@FROM@@", FROM.encode())
            )
            self.assertEqual(len(found), len(messages), case["name"])
            for frame, wanted in zip(found, messages, strict=True):
                self.check(
                    case["name"],
                    frame,
                    wanted,
                    exact=b"@@" not in literal.split(b"\r\n\r\n", 1)[-1],
                )

    def check(self, name: str, frame: Any, wanted: dict[str, Any], exact: bool) -> None:
        self.assertEqual(frame.transaction_id, wanted["tid"], name)
        if isinstance(frame, Response):
            self.assertEqual(str(frame.status), wanted["start"], name)
            return
        self.assertEqual(frame.method, wanted["start"], name)
        self.assertEqual(frame.continuation, wanted["flag"], name)
        if "body_len" in wanted and exact:
            self.assertEqual(
                None if frame.body is None else len(frame.body), wanted["body_len"], name
            )
        if wanted.get("body_sha256") and exact:
            self.assertEqual(hashlib.sha256(frame.body).hexdigest(), wanted["body_sha256"], name)
