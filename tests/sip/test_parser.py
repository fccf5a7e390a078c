"""From bytes to messages: datagrams, streams, limits (RFC 3261 §7, §18.3; RFC 5626 §3.5.1)."""

import itertools
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Limits, Malformed, Ping, Pong, StreamParser, parse_datagram
from tests.sip.strategies import requests, responses
from tests.wire_cases import picture, three_ways

LIMITS = Limits()
SMALL = Limits(max_message_size=400, max_headers=8, max_line_length=100)

START = b"MESSAGE sip:b@c SIP/2.0\r\n"
VIA = b"Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\n"
FROM = b"From: <sip:d@e>;tag=f\r\n"
TO = b"To: <sip:b@c>\r\n"
CALL_ID = b"Call-ID: g\r\n"
CSEQ = b"CSeq: 1 MESSAGE\r\n"
FIELDS = VIA + FROM + TO + CALL_ID + CSEQ
HEAD = START + FIELDS


def whole(body: bytes = b"", more: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def shapes(found: list[object]) -> list[str]:
    return [type(item).__name__ for item in found]


class Case(SynchronousTestCase):
    def request(self, data: bytes, limits: Limits = LIMITS) -> Request:
        found = parse_datagram(data, limits)
        assert isinstance(found, Request), found
        return found

    def malformed(
        self, data: bytes, reason: str, status: int = 400, limits: Limits = LIMITS
    ) -> Malformed:
        found = parse_datagram(data, limits)
        assert isinstance(found, Malformed), found
        self.assertEqual((found.status, found.reason), (status, reason))
        return found

    def answered(self, *arguments: object, **more: object) -> Request:
        """The request in a refusal that can be sent."""
        found = self.malformed(*arguments, **more)  # type: ignore[arg-type]
        assert found.request is not None
        answer = found.request.response(found.status, found.reason, to_tag="t").render()
        self.assertTrue(
            answer.startswith(b"SIP/2.0 %d %s\r\nVia: " % (found.status, found.reason.encode()))
        )
        return found.request


class DatagramTests(Case):
    def test_a_body_without_content_length_is_all_that_follows(self) -> None:
        self.assertEqual(self.request(HEAD + b"\r\nhello\r\n").body, b"hello\r\n")

    def test_what_follows_the_body_is_cut(self) -> None:
        self.assertEqual(self.request(whole(b"hello") + b"rest").body, b"hello")
        self.assertEqual(self.request(HEAD + b"L:0\r\n\r\nrest").body, b"")

    def test_a_body_that_is_not_all_there(self) -> None:
        request = self.answered(whole(b"hello")[:-1], "Content-Length larger than the datagram")
        self.assertEqual(request.method, "MESSAGE")

    def test_a_response_that_is_not_all_there(self) -> None:
        data = b"SIP/2.0 200 OK\r\n" + FIELDS + b"Content-Length: 1\r\n\r\n"
        found = self.malformed(data, "Content-Length larger than the datagram")
        self.assertIsNone(found.request)

    def test_bodies_are_octets(self) -> None:
        body = bytes(range(256)) + b"\r\n\r\n"
        self.assertEqual(self.request(whole(body)).body, body)

    def test_leading_line_ends_are_skipped(self) -> None:
        self.assertEqual(self.request(b"\r\n\r\n" + whole(b"x")).body, b"x")
        self.assertEqual(self.request(b"\r\n" + whole()).method, "MESSAGE")

    def test_keep_alives(self) -> None:
        self.assertIsInstance(parse_datagram(b"\r\n\r\n", LIMITS), Ping)
        for nothing in (b"", b"\r\n", b"\0", b"\0\0\0\0", b"\r\n\0"):
            self.assertIsNone(parse_datagram(nothing, LIMITS), nothing)

    def test_stun_is_left_alone(self) -> None:
        binding_request = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(range(12))
        self.assertIsNone(parse_datagram(binding_request, LIMITS))
        self.assertIsNone(parse_datagram(b"\x01\x01" + binding_request[2:], LIMITS))

    def test_rubbish_is_not_answered(self) -> None:
        for data in (
            b"hello",
            b"hello\r\n\r\n",
            b"\xff" * 100,
            b"GET / HTTP/1.1\r\n\r\n",
            b"a\r\nb",
        ):
            found = parse_datagram(data, LIMITS)
            assert isinstance(found, Malformed), data
            self.assertIsNone(found.request)
            self.assertTrue(found.fatal or b"SIP" in data)

    def test_no_empty_line(self) -> None:
        self.answered(HEAD, "No empty line after the headers")
        self.answered(HEAD[:-2], "No empty line after the headers")
        self.malformed(START + TO, "Missing Via")

    def test_responses(self) -> None:
        for line, status, reason in (
            (b"SIP/2.0 200 OK", 200, "OK"),
            (b"SIP/2.0 100 ", 100, ""),
            (b"SIP/2.0 699", 699, ""),
            (b"sip/2.0 404 Not  Found ", 404, "Not  Found "),
        ):
            found = parse_datagram(line + b"\r\n" + FIELDS + b"\r\n", LIMITS)
            assert isinstance(found, Response), found
            self.assertEqual((found.status, found.reason), (status, reason))
            self.assertFalse(found.local)

    def test_a_bad_status_line(self) -> None:
        for line in (
            b"SIP/2.0 99 x",
            b"SIP/2.0 700 x",
            b"SIP/2.0  200 OK",
            b"SIP/3.0 200 OK",
            b"SIP/2.0 2000",
        ):
            found = self.malformed(line + b"\r\n" + FIELDS + b"\r\n", "Malformed Status-Line")
            self.assertIsNone(found.request)

    def test_a_bad_contact_costs_no_answer_where_it_means_nothing(self) -> None:
        fields = b"SIP/2.0 200 OK\r\n" + FIELDS + b"Contact: <\r\n"
        self.assertIsInstance(parse_datagram(fields + b"\r\n", LIMITS), Response)
        invited = fields.replace(b"1 MESSAGE", b"1 INVITE")
        self.assertIsInstance(parse_datagram(invited + b"\r\n", LIMITS), Malformed)


class HeadTests(Case):
    def test_folding(self) -> None:
        more = b"Subject: a\r\n b \t\r\n\t c\r\nX:\r\n y\r\n"
        request = self.request(whole(more=more))
        self.assertEqual(request.headers.get("Subject"), "a b \t c")
        self.assertEqual(request.headers.get("X"), "y")

    def test_white_space_around_the_colon(self) -> None:
        request = self.request(whole(more=b"A \t:\t 1 \t\r\nx:2\r\nY:   3\r\nZ:\r\n"))
        self.assertEqual(
            request.headers.items()[5:9], [("A", "1"), ("x", "2"), ("Y", "3"), ("Z", "")]
        )

    def test_names_stay_as_received(self) -> None:
        names = [
            name
            for name, _ in self.request(whole(more=b"SUBJECT: a\r\nx-Y: b\r\n")).headers.items()
        ]
        self.assertEqual(names[5:], ["SUBJECT", "x-Y", "Content-Length"])

    def test_compact_forms(self) -> None:
        data = (
            START
            + b"v:SIP/2.0/TCP a\r\nF: <sip:d@e>\r\nt:<sip:b@c>\r\ni:g\r\nCSeq:1 MESSAGE\r\n"
            + b"l:2\r\n\r\nabc"
        )
        request = self.request(data)
        self.assertEqual(
            (request.via.transport, request.call_id, request.body), ("TCP", "g", b"ab")
        )

    def test_octets_that_are_no_utf8(self) -> None:
        request = self.request(whole(more=b"Subject: \xff\xfe\r\n"))
        self.assertIn(b"Subject: \xff\xfe\r\n", request.render())

    def test_what_is_missing(self) -> None:
        for field, name in ((FROM, "From"), (TO, "To"), (CALL_ID, "Call-ID"), (CSEQ, "CSeq")):
            self.answered(HEAD.replace(field, b"") + b"\r\n", f"Missing {name}")
        found = self.malformed(HEAD.replace(VIA, b"") + b"\r\n", "Missing Via")
        self.assertIsNone(found.request)

    def test_what_may_be_there_once(self) -> None:
        for line, name in (
            (b"f: <sip:x>", "From"),
            (TO[:-2], "To"),
            (b"i: h", "Call-ID"),
            (CSEQ[:-2], "CSeq"),
            (b"Max-Forwards: 1\r\nMax-Forwards: 1", "Max-Forwards"),
            (b"Content-Type: a/b\r\nc: a/b", "Content-Type"),
            (b"Content-Length: 0\r\nl: 0", "Content-Length"),
        ):
            self.answered(HEAD + line + b"\r\n\r\n", f"More than one {name}")

    def test_bad_values(self) -> None:
        for more, reason in (
            (b"Max-Forwards: 256\r\n", "Bad Max-Forwards: number too large"),
            (b"Max-Forwards: x\r\n", "Bad Max-Forwards: not a number"),
            (b"Contact: \r\n", "Bad Contact: no URI"),
            (b"Contact: <sip:a>\r\nm: <\r\n", "Bad Contact: no URI in angle brackets"),
            (b"Route: x\r\n", "Bad Route: URI without a scheme"),
            (b"Record-Route: <sip:a>;;\r\n", "Bad Record-Route: no parameter name"),
            (b"v: SIP/2.0/UDP\r\n", "Bad Via: no space before the host"),
            (b"v: SIP/2.0/UDP a, b\r\n", "Bad Via: no slash"),
            (b"l: x\r\n", "Bad Content-Length"),
            (b"l: -1\r\n", "Bad Content-Length"),
            (b"l: \xd9\xa1\r\n", "Bad Content-Length"),
            (b"l: 99999999999999\r\n", "Bad Content-Length"),
            (b"no colon\r\n", "Malformed header line"),
            (b": no name\r\n", "Malformed header line"),
            (b"a b: c\r\n", "Malformed header line"),
            (b"X: a\rb\r\n", "CR or LF alone in the headers"),
            (b"X: a\nb\r\n", "CR or LF alone in the headers"),
            (b"X: a\0b\r\n", "NUL in the headers"),
        ):
            self.answered(HEAD + more + b"\r\n", reason)

    def test_long_numbers_of_zeros(self) -> None:
        self.assertEqual(self.request(HEAD + b"l: 0000000000000000002\r\n\r\nab").body, b"ab")

    def test_bad_call_id(self) -> None:
        for value in (b"", b"a b"):
            self.answered(HEAD.replace(b"ID: g", b"ID: " + value) + b"\r\n", "Bad Call-ID")

    def test_request_lines(self) -> None:
        rest = FIELDS + b"\r\n"
        self.assertEqual(
            self.request(b"MESSAGE urn:service:sos sip/2.0\r\n" + rest).uri, "urn:service:sos"
        )
        wrong = "Malformed Request-Line: one space between its three parts"
        for line, reason in (
            (b"MESSAGE  sip:a SIP/2.0", wrong),
            (b"MESSAGE sip:a  SIP/2.0", wrong),
            (b"MESSAGE sip:a SIP/2.0 ", wrong),
            (b"MESSAGE SIP/2.0", wrong),
            (b"MESSAGE a SIP/2.0", "Bad Request-URI: URI without a scheme"),
            (b"MESSAGE sip: SIP/2.0", "Bad Request-URI: Malformed SIP URI"),
            (b"MESSAGE <sip:a> SIP/2.0", "Bad Request-URI: angle bracket in a URI"),
            (b"MESSAGE sip:a?b=c SIP/2.0", "Bad Request-URI: headers are not allowed"),
        ):
            self.answered(line + b"\r\n" + rest, reason)
        for line, reason in (
            (b"MES(SAGE sip:a SIP/2.0", "Malformed method"),
            (b"MESSAGE sip:a HTTP/1.1", "Malformed Request-Line"),
            (b"MESSAGE", "Malformed Request-Line"),
            (b" MESSAGE sip:a SIP/2.0", wrong),
        ):
            self.assertIsNone(self.malformed(line + b"\r\n" + rest, reason).request)

    def test_other_versions(self) -> None:
        for version in (b"SIP/1.0", b"SIP/3.0", b"sip/2.1", b"SIP/20.0"):
            data = b"MESSAGE sip:a " + version + b"\r\n" + FIELDS + b"\r\n"
            self.answered(data, "Version Not Supported", 505)

    def test_the_method_of_cseq(self) -> None:
        data = HEAD.replace(b"1 MESSAGE", b"1 INVITE") + b"\r\n"
        self.answered(data, "CSeq method is not that of the request")

    def test_a_malformed_via(self) -> None:
        data = HEAD.replace(VIA, b"Via: SIP/2.0/TCP h:7;;x; BRANCH = z9b ,,\r\n") + b"\r\n"
        request = self.answered(data, "Bad Via: no parameter name")
        self.assertEqual((request.via.host, request.via.port, request.via.branch), ("h", 7, "z9b"))
        hopeless = HEAD.replace(VIA, b"Via: ;branch=z9b\r\n") + b"\r\n"
        self.assertIsNone(self.malformed(hopeless, "Bad Via: no protocol").request)

    def test_what_goes_back_is_clean(self) -> None:
        request = self.answered(
            HEAD.replace(b"ID: g", b"ID: g\nX: y\0") + b"\r\n", "CR or LF alone in the headers"
        )
        self.assertEqual(request.call_id, "g X: y ")

    def test_repr_holds_nothing_of_the_peer(self) -> None:
        found = parse_datagram(START + b"secret\r\n\r\n", LIMITS)
        self.assertEqual(repr(found), "<Malformed 400 'Malformed header line'>")


class LimitTests(Case):
    def test_size(self) -> None:
        self.answered(whole(b"x" * 300), "Message Too Large", 513, SMALL)
        self.assertEqual(len(self.request(whole(b"x" * 200), SMALL).body), 200)

    def test_header_count(self) -> None:
        self.request(HEAD + b"X: y\r\n" * 3 + b"\r\n", SMALL)
        self.answered(HEAD + b"X: y\r\n" * 4 + b"\r\n", "Too many header fields", limits=SMALL)

    def test_line_length(self) -> None:
        self.request(HEAD + b"X: " + b"y" * 97 + b"\r\n\r\n", SMALL)
        long = b"X: " + b"y" * 98 + b"\r\n\r\n"
        self.answered(HEAD + long, "Header line too long", limits=SMALL)
        folded = b"X: " + b"y" * 60 + b"\r\n " + b"y" * 60 + b"\r\n\r\n"
        self.answered(HEAD + folded, "Header line too long", limits=SMALL)

    def test_hostile_datagrams_take_linear_time(self) -> None:
        start = time.process_time()
        for filler in (b" ", b"\r\n ", b"(", b"<,", b'"', b"\\", b";", b",", b"\t", b"\r\n\t\r\n "):
            data = HEAD + b"X:" + filler * (60_000 // len(filler)) + b"\r\n\r\n"
            parse_datagram(data, LIMITS)
            parse_datagram(data.replace(b"X:", b"Contact: <sip:a>"), LIMITS)
        self.assertLess(time.process_time() - start, 3.0)


class StreamTests(Case):
    def parser(self) -> StreamParser:
        return StreamParser(LIMITS)

    def small(self) -> StreamParser:
        return StreamParser(SMALL)

    def test_messages_in_a_row(self) -> None:
        data = whole(b"one") + whole() + whole(b"\r\n\r\n")
        found = three_ways(self.parser, data, whole())
        self.assertEqual([item.body for item in found], [b"one", b"", b"\r\n\r\n"])

    def test_ping_and_pong(self) -> None:
        self.assertEqual(shapes(three_ways(self.parser, b"\r\n", whole())), ["Pong"])
        self.assertEqual(shapes(three_ways(self.parser, b"\r\n\r\n", whole())), ["Pong", "Ping"])
        found = three_ways(
            self.parser, b"\r\n\r\n" + whole() + b"\r\n" + whole() + b"\r\n", whole()
        )
        self.assertEqual(shapes(found), ["Pong", "Ping", "Request", "Pong", "Request", "Pong"])
        self.assertIsInstance(found[0], Pong)
        self.assertIsInstance(found[1], Ping)

    def test_half_a_line_end(self) -> None:
        parser = self.parser()
        self.assertEqual(parser.feed(b"\r"), [])
        self.assertEqual(shapes(parser.feed(b"\n")), ["Pong"])

    def test_cr_before_something_else(self) -> None:
        found = three_ways(self.parser, b"\r" + whole())
        self.assertEqual(shapes(found), ["Malformed"])

    def test_no_content_length_and_no_body(self) -> None:
        found = three_ways(self.parser, HEAD + b"\r\n", whole())
        self.assertEqual([item.body for item in found], [b""])

    def test_no_content_length_but_a_body(self) -> None:
        data = HEAD + b"Content-Type: text/plain\r\n\r\n"
        (found,) = three_ways(self.parser, data, b"hello")
        self.assertEqual((found.status, found.reason), (400, "Missing Content-Length"))
        self.assertTrue(found.fatal)
        self.assertIsNotNone(found.request)

    def test_nothing_after_a_fatal_one(self) -> None:
        for data in (HEAD + b"l: -1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
            parser = self.parser()
            found = parser.feed(data + whole())
            self.assertEqual(shapes(list(found)), ["Malformed"])
            self.assertEqual(parser.feed(whole()), [])

    def test_the_body_of_a_refused_one_is_skipped(self) -> None:
        bad = whole(b"x" * 50, b"To: <sip:again>\r\n")
        found = three_ways(self.parser, bad, whole(b"next"))
        self.assertEqual(shapes(found), ["Malformed"])
        self.assertFalse(found[0].fatal)
        later = self.parser().feed(bad + whole(b"next"))[-1]
        assert isinstance(later, Request)
        self.assertEqual(later.body, b"next")

    def test_a_body_too_large_is_skipped(self) -> None:
        large = whole(b"x" * 5000)
        found = three_ways(self.small, large, whole(b"next"))
        self.assertEqual([(item.status, item.fatal) for item in found], [(513, False)])
        self.assertIsNotNone(found[0].request)
        parser = self.small()
        parser.feed(large)
        self.assertEqual(shapes(list(parser.feed(whole()))), ["Request"])

    def test_headers_without_end(self) -> None:
        for data, answerable in (
            (HEAD + b"X: y\r\n" * 100, True),
            (HEAD + b"X: " + b"y" * 500, True),
            (HEAD + b"X: " + b"y" * 500 + b"\r\n\r\n", True),
            (b"x" * 500, False),
            (b"SIP/2.0 200 OK\r\n" + FIELDS + b"X: y\r\n" * 100, False),
        ):
            (found,) = three_ways(self.small, data, whole())
            self.assertEqual((found.status, found.fatal), (513, True))
            self.assertEqual(found.request is not None, answerable, data)

    def test_time_is_linear(self) -> None:
        data = whole(b"x" * 60_000) + HEAD + b"X: y\r\n" * 150 + b"\r\n"
        start = time.process_time()
        parser = self.parser()
        found = [item for octet in data for item in parser.feed(bytes([octet]))]
        self.assertEqual(len(found), 2)
        many = whole() * 2000
        self.assertEqual(len(self.parser().feed(many)), 2000)
        self.assertLess(time.process_time() - start, 3.0)

    @given(
        st.lists(st.one_of(requests(), responses()), min_size=1, max_size=4),
        st.lists(st.integers(0, 3000), max_size=8),
    )
    @settings(deadline=None, derandomize=True, max_examples=50)
    def test_any_split(self, messages: list[Request | Response], cuts: list[int]) -> None:
        data = b"".join(message.render() for message in messages)
        edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
        parser = self.parser()
        found = [
            item
            for start, end in itertools.pairwise(edges)
            for item in parser.feed(data[start:end])
        ]
        wanted = [parse_datagram(message.render(), LIMITS) for message in messages]
        self.assertEqual(picture(found), picture(wanted))

    @given(st.binary(max_size=300), st.integers(0, 300))
    @settings(deadline=None, derandomize=True)
    def test_rubbish_never_raises(self, rubbish: bytes, at: int) -> None:
        parse_datagram(rubbish, LIMITS)
        data = whole(b"body", b"Contact: <sip:a>;q=1\r\nRoute: <sip:b;lr>\r\n")
        damaged = data[:at] + rubbish[:5] + data[at + 1 :]
        for found in (parse_datagram(damaged, LIMITS), *self.parser().feed(damaged)):
            if isinstance(found, Request):
                found.response(200, to_tag="t").render()
            elif isinstance(found, Malformed) and found.request is not None:
                found.request.response(found.status, found.reason, to_tag="t").render()
