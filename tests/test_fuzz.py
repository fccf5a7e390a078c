"""The codecs against spoilt messages: ``make fuzz`` in short, and what Hypothesis thinks of."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fuzz.codecs import CODECS, run
from fuzz.mutation import TOKENS, Mutator, load_corpus
from msrpgw.errors import RenderError
from msrpgw.msrp.frame import FrameParser, Malformed, Request
from msrpgw.msrp.render import render_response, render_send
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request as SipRequest
from msrpgw.sip.message import Response
from msrpgw.sip.parser import Limits, parse_datagram

#: texts that want to be more than one line
TEXTS = st.lists(
    st.sampled_from(("\r\n", "\r", "\n", "\0", "\x0b", "\x85", "\u2028", "a", " ", ":", "é"))
    | st.text(max_size=5),
    max_size=6,
).map("".join)
NAMES = st.sampled_from(("Subject", "X-Name", "To", "Contact")) | TEXTS


def _heads(data: bytes) -> list[bytes]:
    return data.partition(b"\r\n\r\n")[0].split(b"\r\n")


class Mutations(SynchronousTestCase):
    """The fuzzer itself."""

    def test_all_codecs_hold(self) -> None:
        """A few thousand inputs each; ``make fuzz`` tries a million."""
        for name in CODECS:
            self.assertIsNone(run(name, 3000, 7), name)

    def test_same_seed_same_inputs(self) -> None:
        """What failed once can be had again."""
        corpus = load_corpus("msrp")
        rows = [Mutator(corpus, seed) for seed in (3, 3, 4)]
        first, again, other = ([row.next() for _ in range(50)] for row in rows)
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_corpora_are_there(self) -> None:
        """Each wire has something to spoil."""
        for wire in ("sip", "msrp", "sdp"):
            self.assertGreater(len(load_corpus(wire)), 2, wire)


class Pieces(SynchronousTestCase):
    """Hypothesis puts what parsers mind in any order."""

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.sampled_from(TOKENS) | st.binary(max_size=8), max_size=30).map(b"".join))
    def test_any_bytes(self, data: bytes) -> None:
        """Nothing but what the codecs say they raise."""
        for _, codec in CODECS.values():
            codec(data)
            codec(b"MESSAGE sip:a@b SIP/2.0\r\n" + data)
            codec(b"MSRP a786hjs2 SEND\r\n" + data + b"\r\n-------a786hjs2$\r\n")
            codec(b"v=0\r\n" + data)


class Injection(SynchronousTestCase):
    """No text that we are given becomes a line of its own on a wire."""

    @settings(max_examples=300, deadline=None)
    @given(NAMES, TEXTS)
    def test_sip_request(self, name: str, value: str) -> None:
        """A header of ours is one line, or is not written."""
        with contextlib.suppress(RenderError):
            headers = Headers([("Call-ID", "a"), (name, value)])
            lines = _heads(SipRequest("MESSAGE", "sip:a@b", headers).render())
            self.assertEqual(len(lines), 4, lines)  # with Content-Length
            self.assertFalse(any(b"\r" in line or b"\n" in line for line in lines))

    @settings(max_examples=300, deadline=None)
    @given(TEXTS, TEXTS)
    def test_sip_start_lines(self, method: str, text: str) -> None:
        """Neither is a request URI, a method or a reason phrase."""
        for message in (
            SipRequest(method, text, Headers.of_request([("Call-ID", "a")])),
            Response(400, text, Headers.of_request([("Call-ID", "a")])),
        ):
            with contextlib.suppress(RenderError):
                lines = _heads(message.render())
                self.assertEqual(len(lines), 3, lines)
                self.assertFalse(any(b"\r" in line or b"\n" in line for line in lines))

    @settings(max_examples=300, deadline=None)
    @given(TEXTS)
    def test_sip_answer(self, reason: str) -> None:
        """An answer's reason phrase and header, as peers' words may get into them."""
        data = (
            b"MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\n"
            b"From: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: x\r\n"
            b"CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
        )
        request = parse_datagram(data, Limits())
        assert isinstance(request, SipRequest)
        with contextlib.suppress(RenderError):
            lines = _heads(request.response(480, reason, to_tag="t").render())
            self.assertEqual(len(lines), 7, lines)
        with contextlib.suppress(RenderError):
            lines = _heads(request.response(480, headers=(("Warning", reason),)).render())
            self.assertEqual(len(lines), 8, lines)

    @settings(max_examples=300, deadline=None)
    @given(TEXTS)
    def test_msrp(self, text: str) -> None:
        """A comment and a Content-Type."""
        data = (
            b"MSRP abcd SEND\r\nTo-Path: msrp://a:1/b;tcp\r\nFrom-Path: msrp://c:1/d;tcp\r\n"
            b"Message-ID: 1\r\n-------abcd$\r\n"
        )
        (request,) = FrameParser().feed(data)
        assert isinstance(request, (Request, Malformed))
        answer = render_response(request, 400, text)
        self.assertEqual((answer.count(b"\r"), answer.count(b"\n")), (4, 4), answer)
        with contextlib.suppress(RenderError):
            sent = render_send("abcd", "t", "f", "1", 1, 1, 1, text, b"x")
            self.assertEqual((sent.count(b"\r"), sent.count(b"\n")), (9, 9), sent)

    def test_malformed_msrp_is_not_echoed(self) -> None:
        """What the fuzzer found: paths with a bare line feed, and no transaction id."""
        for head in (
            b"MSRP abcd SEND\r\nTo-Path: msrp://a:1/b;tcp\nX: y\r\nFrom-Path: f\r\n",
            b"MSRP  abcd SEND\r\nTo-Path: t\r\nFrom-Path: f\r\n",
        ):
            frames = FrameParser().feed(head + b"Message-ID: 1\r\n-------abcd$\r\n")
            self.assertEqual(frames, [])
