"""Requests and responses: typed headers, rendering, §8.2.6."""

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import RenderError, SipSyntaxError, UriError
from msrpgw.sip.fields import CSeq, NameAddr, Via
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import REASONS, Message, Request, Response
from msrpgw.sip.parser import Limits, parse_datagram
from tests.sip.strategies import requests, responses
from tests.wire_cases import picture

LIMITS = Limits()


def message(*headers: tuple[str, str], body: bytes = b"") -> Request:
    return Request(
        "MESSAGE",
        "sip:bob@example.com",
        Headers(
            [
                ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
                ("Max-Forwards", "70"),
                ("From", "<sip:alice@example.com>;tag=a"),
                ("To", "<sip:bob@example.com>"),
                ("Call-ID", "c@1"),
                ("CSeq", "1 MESSAGE"),
                *headers,
            ]
        ),
        body,
    )


class TypedTests(SynchronousTestCase):
    def test_values(self) -> None:
        request = message(("c", "text/plain"), ("Require", "a,b"), ("m", "<sip:x@y>, <sip:z>"))
        self.assertEqual(request.via.branch, "z9hG4bK1")
        self.assertEqual(request.from_.tag, "a")
        self.assertEqual(request.to.uri_text, "sip:bob@example.com")
        self.assertIsNone(request.to.tag)
        self.assertEqual(request.call_id, "c@1")
        self.assertEqual((request.cseq.number, request.cseq.method), (1, "MESSAGE"))
        self.assertEqual(request.max_forwards, 70)
        self.assertEqual(request.content_type, "text/plain")
        self.assertEqual(request.require, ["a", "b"])
        self.assertEqual(request.target.user, "bob")
        assert request.contact is not None
        self.assertEqual(request.contact.uri_text, "sip:x@y")

    def test_parsed_once(self) -> None:
        request = message(("Contact", "<sip:x@y>"))
        for name in ("via", "from_", "to", "cseq", "contact"):
            self.assertIs(getattr(request, name), getattr(request, name))

    def test_absent(self) -> None:
        request = Request("MESSAGE", "sip:b", Headers())
        for name in ("via", "from_", "to", "call_id", "cseq"):
            error = self.assertRaises(SipSyntaxError, getattr, request, name)
            self.assertIn("Missing", error.reason)
        for name in ("max_forwards", "contact", "content_type"):
            self.assertIsNone(getattr(request, name))
        for name in ("vias", "routes", "record_routes", "require"):
            self.assertEqual(getattr(request, name), [])

    def test_malformed(self) -> None:
        headers = [("Via", " "), ("From", "<"), ("To", "<"), ("CSeq", "x"), ("Contact", "<")]
        request = Request("MESSAGE", "b", Headers([*headers, ("Max-Forwards", "x")]))
        for name in ("via", "from_", "to", "cseq", "contact", "max_forwards"):
            self.assertRaises(SipSyntaxError, getattr, request, name)
        self.assertRaises(UriError, getattr, request, "target")

    def test_star_is_no_address(self) -> None:
        self.assertIsNone(message(("Contact", "*")).contact)

    def test_several_in_a_line_and_in_lines(self) -> None:
        request = message(
            ("Via", "SIP/2.0/TCP b, SIP/2.0/TLS c"),
            ("Route", "<sip:p1;lr>,<sip:p2;lr>"),
            ("Route", "<sip:p3;lr>"),
            ("Record-Route", "<sip:r1;lr>"),
        )
        self.assertEqual([via.transport for via in request.vias], ["UDP", "TCP", "TLS"])
        self.assertEqual([route.uri.host for route in request.routes], ["p1", "p2", "p3"])
        self.assertEqual([route.uri.host for route in request.record_routes], ["r1"])

    def test_stamp_via(self) -> None:
        request = message(("Via", "SIP/2.0/TCP below"))
        request.headers.set("Via", 'SIP/2.0/UDP a;x="1,2", SIP/2.0/UDP b')
        request.stamp_via("1.2.3.4", 5)
        self.assertEqual(
            request.headers.get_all("Via"),
            ['SIP/2.0/UDP a;x="1,2";received=1.2.3.4, SIP/2.0/UDP b'],
        )
        self.assertEqual(request.via.received, "1.2.3.4")

    def test_stamp_via_as_clients_write_it(self) -> None:
        for value in (
            "SIP/2.0/UDP a:5;branch=z9hG4bK1;rport",
            "SIP/2.0/UDP a:5;rport;branch=z9hG4bK1",
            "SIP/2.0/UDP a:5;x=1;branch=z9hG4bK1;rport",
        ):
            request = message(("Via", "SIP/2.0/TCP below"))
            request.headers.replace_first("Via", value)
            request.stamp_via("1.2.3.4", 5)
            stamped = value.replace(";rport", ";rport=5;received=1.2.3.4")
            self.assertEqual(request.headers.get_all("Via"), [stamped, "SIP/2.0/TCP below"])
            self.assertEqual(request.via.render(), stamped)


class RenderTests(SynchronousTestCase):
    def test_bytes(self) -> None:
        request = message(("Content-Type", "text/plain"), ("x-ödd".encode().hex(), "Zoë \udcff"))
        request.body = "äöü".encode()
        self.assertEqual(
            request.render(),
            b"MESSAGE sip:bob@example.com SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
            b"Max-Forwards: 70\r\n"
            b"From: <sip:alice@example.com>;tag=a\r\n"
            b"To: <sip:bob@example.com>\r\n"
            b"Call-ID: c@1\r\n"
            b"CSeq: 1 MESSAGE\r\n"
            b"Content-Type: text/plain\r\n"
            b"782dc3b66464: Zo\xc3\xab \xff\r\n"
            b"Content-Length: 6\r\n"
            b"\r\n"
            b"\xc3\xa4\xc3\xb6\xc3\xbc",
        )

    def test_content_length_is_ours(self) -> None:
        request = message(("l", "999"))
        self.assertEqual(request.render().count(b"Content-Length: 0\r\n"), 1)
        self.assertNotIn(b"999", request.render())

    def test_line_ends_and_nul_are_refused(self) -> None:
        for bad in ("a\rb", "a\nb", "a\r\nb", "a\0b", "\ud800", "a\\\\\0"):
            self.assertRaises(RenderError, message(("Subject", bad)).render)
            self.assertRaises(RenderError, Response(200, bad, Headers()).render)
            self.assertRaises(RenderError, Request(bad, "sip:a", Headers()).render)
            self.assertRaises(RenderError, Request("X", bad, Headers()).render)
        self.assertRaises(RenderError, Request("X", "sip:a b", Headers()).render)
        self.assertRaises(RenderError, Request("X Y", "sip:a", Headers()).render)

    def test_nul_in_a_quoted_pair(self) -> None:
        """RFC 4475 §3.1.1.2 has one, and wants an answer."""
        self.assertIn(b"\\\0", message(("To", '"a\\\0" <sip:b>')).render())

    def test_a_bare_message_has_no_start_line(self) -> None:
        self.assertRaises(NotImplementedError, Message(Headers()).render)

    def test_repr_holds_no_body(self) -> None:
        self.assertEqual(repr(message(body=b"secret")), "<Request MESSAGE 'sip:bob@example.com'>")
        self.assertEqual(repr(Response(200, "OK", Headers())), "<Response 200 'OK'>")

    @given(requests())
    @settings(deadline=None, derandomize=True)
    def test_requests_come_back(self, request: Request) -> None:
        parsed = parse_datagram(request.render(), LIMITS)
        assert isinstance(parsed, Request), parsed
        self.assertEqual((parsed.method, parsed.uri), (request.method, request.uri))
        self.assertEqual(parsed.body, request.body)
        self.assertEqual(parsed.headers.items()[:-1], request.headers.items())
        self.assertEqual(parsed.render(), request.render())
        for name in ("via", "from_", "to", "cseq"):
            self.assertEqual(picture(getattr(parsed, name)), picture(getattr(request, name)))

    @given(responses())
    @settings(deadline=None, derandomize=True)
    def test_responses_come_back(self, response: Response) -> None:
        parsed = parse_datagram(response.render(), LIMITS)
        assert isinstance(parsed, Response), parsed
        self.assertEqual((parsed.status, parsed.reason), (response.status, response.reason))
        self.assertEqual(parsed.body, response.body)
        self.assertEqual(parsed.headers.items()[:-1], response.headers.items())
        self.assertFalse(parsed.local)


class ResponseTests(SynchronousTestCase):
    """§8.2.6.2."""

    def test_copied_headers(self) -> None:
        request = message(("Via", "SIP/2.0/TCP b"), ("Subject", "no"), ("Timestamp", "54"))
        response = request.response(200, to_tag="t", headers=[("s", "x")], body=b"hi")
        self.assertEqual(
            response.render(),
            b"SIP/2.0 200 OK\r\n"
            b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
            b"Via: SIP/2.0/TCP b\r\n"
            b"From: <sip:alice@example.com>;tag=a\r\n"
            b"To: <sip:bob@example.com>;tag=t\r\n"
            b"Call-ID: c@1\r\n"
            b"CSeq: 1 MESSAGE\r\n"
            b"Subject: x\r\n"
            b"Content-Length: 2\r\n"
            b"\r\n"
            b"hi",
        )
        self.assertFalse(response.local)
        self.assertEqual(response.to.tag, "t")

    def test_trying_carries_the_timestamp(self) -> None:
        response = message(("Timestamp", "54")).response(100)
        self.assertEqual(response.headers.get("Timestamp"), "54")
        self.assertIsNone(response.to.tag)

    def test_a_tag_stays(self) -> None:
        request = message()
        request.headers.set("To", '"x;tag=no" <sip:b;tag=no>;TAG=yes')
        self.assertEqual(request.response(200, to_tag="t").to.tag, "yes")
        request.headers.set("To", '"x;tag=no" <sip:b;tag=no>')
        self.assertEqual(request.response(200, to_tag="t").to.tag, "t")
        request.headers.set("To", "sip:b")
        self.assertEqual(request.response(200, to_tag="t").headers.get("To"), "sip:b;tag=t")

    def test_reasons(self) -> None:
        request = message()
        self.assertEqual(request.response(404).reason, "Not Found")
        self.assertEqual(request.response(404, "Nobody here").reason, "Nobody here")
        self.assertEqual(request.response(404, "").reason, "")
        self.assertEqual(request.response(499).reason, "Unknown")
        self.assertTrue(all(REASONS.values()))

    def test_a_request_that_lacks_much(self) -> None:
        request = Request("X", "y", Headers([("Via", "SIP/2.0/UDP a"), ("To", "<broken")]))
        response = request.response(400, "Missing From", to_tag="t")
        self.assertEqual(response.headers.items(), [("Via", "SIP/2.0/UDP a"), ("To", "<broken")])

    def test_local(self) -> None:
        self.assertTrue(Response(408, "Request Timeout", Headers(), local=True).local)

    def test_types(self) -> None:
        response = message().response(200)
        self.assertIsInstance(response.via, Via)
        self.assertIsInstance(response.from_, NameAddr)
        self.assertIsInstance(response.cseq, CSeq)
