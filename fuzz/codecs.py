"""Feeds the codecs: ``python -m fuzz.codecs [--count N] [--seed N] [codec ...]``.

A codec fails when an exception comes out that is none of its own, when what it renders has lines
that nobody put there, or when the result depends on how the bytes were split.  The input is then
written to ``fuzz/corpus``, so that it is tried for ever after.
"""

import argparse
import contextlib
import hashlib
import sys
import time
import traceback
from collections.abc import Callable

from fuzz.mutation import ROOT, Mutator, load_corpus
from msrpgw.errors import FramingError, MsrpgwError, MsrpSyntaxError, RenderError, SipError
from msrpgw.gateway.facts import (
    address_of,
    hops_left,
    is_urgent,
    keyed_hash,
    message_id_of,
    text_of,
)
from msrpgw.msrp.frame import FrameParser
from msrpgw.msrp.frame import Limits as FrameLimits
from msrpgw.msrp.frame import Malformed as MalformedFrame
from msrpgw.msrp.frame import Request as Frame
from msrpgw.msrp.frame import Response as MsrpResponse
from msrpgw.msrp.render import render_report, render_response
from msrpgw.msrp.sdp import LocalMedia, make_answer, parse_message_media
from msrpgw.msrp.uri import parse_msrp_uri
from msrpgw.sip.dialog import DialogId
from msrpgw.sip.fields import parse_via, split_list
from msrpgw.sip.head import read_long
from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Limits, Malformed, StreamParser, parse_datagram
from msrpgw.sip.refusal import EarlyRefusal
from msrpgw.sip.usual import MOST, read_usual

SIP_LIMITS = Limits(max_message_size=20_000, max_headers=100, max_line_length=4096)
MSRP_LIMITS = FrameLimits(max_header_size=4096, max_body=20_000)
LOCAL = LocalMedia(parse_msrp_uri("msrp://127.0.0.1:2855/abcdefgh;tcp"), ("text/plain",), 1_048_576)


class Broken(Exception):
    """What was promised of a codec does not hold."""


_SOURCE = ("192.0.2.9", 5099)
_EARLY = EarlyRefusal(lambda *key: False, "msrpgw", "abc")


def _use(message: Request | Response) -> None:
    """Read all that the gateway reads, and write all that it writes."""
    for read in (
        lambda: message.vias,
        lambda: message.contact,
        lambda: message.routes,
        lambda: message.record_routes,
        lambda: message.content_type,
        lambda: message.max_forwards,
    ):
        with contextlib.suppress(SipError):
            read()
    try:
        message.via, message.from_, message.to, message.call_id, message.cseq  # noqa: B018
    except SipError:
        if isinstance(message, Request):
            raise  # promised of every request that the parser lets through
        return
    try:
        data = message.render()
    except RenderError:
        return
    again = parse_datagram(data, Limits(2**30, 2**30, 2**30))
    if type(again) is not type(message) or again.body != message.body:
        raise Broken("what was rendered reads otherwise")
    if isinstance(message, Response):
        message.retry_after  # noqa: B018
        return
    DialogId.of_request(message)
    message_id_of(message, keyed_hash(b"k" * 32))
    for use in (text_of, hops_left, lambda one: address_of(one.from_.uri_text)):
        with contextlib.suppress(SipError):
            use(message)
    _answer(message)


def _read_both_ways(data: bytes) -> None:
    """What is read in one go reads the same the long way."""
    text = data.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape")
    quick = read_usual(text) if len(text) <= MOST else None
    if quick is None:
        return
    long = read_long(text, SIP_LIMITS)
    if _details(*quick) != _details(*long):
        raise Broken("read in one go it is something else")


def _details(message: Request | Response | Malformed, length: int) -> object:
    if isinstance(message, Malformed):
        return message.reason
    headers = message.headers
    told: list[object] = [length, message.start_line(), message.cseq.render()]
    if isinstance(message, Request):
        told += [message.via.render(), message.from_.render(), message.to.render()]
    return told, headers.get_all("Via"), headers.get("Contact"), headers.items(), headers.firsts()


def _refuse_early(data: bytes, request: Request) -> None:
    """A refusal made of the bytes of a datagram says what the usual one says."""
    quick = parse_datagram(_EARLY.answer_to(data, _SOURCE), SIP_LIMITS)
    if not isinstance(quick, Response):
        return
    priority = request.headers.get("Priority") or ""
    if is_urgent(request.uri) or priority.lower() == "emergency" or request.to.tag is not None:
        raise Broken("what must not be refused early is")
    request.stamp_via(*_SOURCE)
    usual = request.response(503, to_tag="abc")
    if _echoed(quick) != _echoed(usual):
        raise Broken("an early refusal says something else")


def _echoed(response: Response) -> object:
    vias = [(via.host, via.port, dict(via.parameters)) for via in response.vias]
    return vias, [response.headers.get_all(name) for name in ("From", "To", "Call-ID", "CSeq")]


def _answer(request: Request) -> None:
    request.stamp_via("192.0.2.9", 5099)
    stamped = split_list(request.headers.get_all("Via")[0])[0]
    if parse_via(stamped).render() != request.via.render():
        raise Broken("the stamped Via reads otherwise")
    for reason in (None, request.uri, request.headers.get("Call-ID")):
        try:
            data = request.response(
                400, reason, to_tag="abc", headers=(("Server", request.headers.get("From") or ""),)
            ).render()
        except RenderError:
            continue
        head = data.partition(b"\r\n\r\n")[0]
        own = sum(1 for _ in request.headers.items()) + 4
        if head.count(b"\r\n") > own or b"\r" in head.replace(b"\r\n", b""):
            raise Broken("a response has lines that nobody put there")


def sip_datagram(data: bytes) -> None:
    """A SIP datagram, and the answer to it."""
    _read_both_ways(data)
    message = parse_datagram(data, SIP_LIMITS)
    if isinstance(message, Malformed):
        if message.request is not None:
            _answer(message.request)
    elif isinstance(message, (Request, Response)):
        _use(message)
        if isinstance(message, Request):
            _refuse_early(data, message)


def sip_stream(data: bytes) -> None:
    """A SIP stream, whole and in two pieces: the same comes out."""
    whole = [_kind(one) for one in StreamParser(SIP_LIMITS).feed(data)]
    parser = StreamParser(SIP_LIMITS)
    cut = int.from_bytes(hashlib.blake2b(data, digest_size=4).digest(), "big") % (len(data) + 1)
    pieces = [_kind(one) for piece in (data[:cut], data[cut:]) for one in parser.feed(piece)]
    if whole != pieces:
        raise Broken(f"cut at {cut}, the stream reads otherwise")


def _kind(one: object) -> tuple[object, ...]:
    if isinstance(one, (Request, Response)):
        return (type(one), one.start_line(), tuple(one.headers.items()), one.body)
    if isinstance(one, Malformed):
        return (type(one), one.status, one.fatal)
    return (type(one),)


def msrp(data: bytes) -> None:
    """An MSRP stream, whole and in two pieces, and the answers to it."""
    cut = int.from_bytes(hashlib.blake2b(data, digest_size=4).digest(), "big") % (len(data) + 1)
    if _frames((data,)) != _frames((data[:cut], data[cut:])):
        raise Broken(f"cut at {cut}, the stream reads otherwise")


def _told(frame: Frame | MsrpResponse | MalformedFrame) -> tuple[object, ...]:
    if isinstance(frame, Frame):
        return tuple(getattr(frame, name) for name in Frame.__slots__)
    if isinstance(frame, MsrpResponse):
        paths = frame.to_path_text, frame.from_path_text
        return frame.transaction_id, frame.status, frame.comment, *paths
    return frame.transaction_id, frame.comment


def _frames(pieces: tuple[bytes, ...]) -> tuple[list[tuple[object, ...]], bool]:
    parser = FrameParser(MSRP_LIMITS)
    found: list[tuple[object, ...]] = []
    for piece in (*pieces, b""):  # the error follows at the next call
        try:
            frames = parser.feed(piece)
        except FramingError:
            return found, True
        for frame in frames:
            found.append((type(frame), *_told(frame)))
            if isinstance(frame, (Frame, MalformedFrame)):
                answer = render_response(frame, 400, frame.to_path_text)
                if answer.count(b"\r\n") != 4 or answer.count(b"\n") != 4:
                    raise Broken("a response has lines that nobody put there")
            if isinstance(frame, Frame):
                for read in (lambda f=frame: f.to_path, lambda f=frame: f.from_path):
                    with contextlib.suppress(MsrpSyntaxError):
                        read()
                report = render_report("abcd", frame.from_path_text, "x", "y", 1, 400, "z\r\n")
                if report.count(b"\n") != 7:
                    raise Broken("a REPORT has lines that nobody put there")
    return found, False


def sdp(data: bytes) -> None:
    """An offer or answer in SDP, and our answer to it."""
    try:
        parse_message_media(data)
        answer, _ = make_answer(data, LOCAL)
    except MsrpgwError:
        return
    if b"\n" in answer.replace(b"\r\n", b"") or b"\r" in answer.replace(b"\r\n", b""):
        raise Broken("an answer has lines that nobody put there")


#: name -> wire of its corpus, and what an input goes to
CODECS: dict[str, tuple[str, Callable[[bytes], None]]] = {
    "sip-datagram": ("sip", sip_datagram),
    "sip-stream": ("sip", sip_stream),
    "msrp": ("msrp", msrp),
    "sdp": ("sdp", sdp),
}


def run(name: str, count: int, seed: int) -> bytes | None:
    """Try the corpus and then ``count`` inputs; returns the first that fails."""
    wire, codec = CODECS[name]
    corpus = load_corpus(wire)
    mutator = Mutator(corpus, seed)
    for number in range(-len(corpus), count):
        data = mutator.next() if number >= 0 else corpus[number]
        try:
            codec(data)
        except Exception:
            traceback.print_exc()
            return data
    return None


def main() -> int:
    """Run from the command line; 1 if something failed."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--count", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("codec", nargs="*", default=list(CODECS))
    chosen = options.parse_args()
    failed = 0
    for name in chosen.codec:
        start = time.monotonic()
        data = run(name, chosen.count, chosen.seed)
        took = time.monotonic() - start
        if data is None:
            print(f"{name}: {chosen.count} inputs, seed {chosen.seed}, {took:.0f} s: all well")
            continue
        failed = 1
        digest = hashlib.blake2b(data, digest_size=6).hexdigest()
        place = ROOT / "fuzz" / "corpus" / CODECS[name][0] / digest
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        print(f"{name}: FAILED, the input is in {place.relative_to(ROOT)}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
