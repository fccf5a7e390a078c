"""The torture messages of RFC 4475 and RFC 5118: what the parser must say of each.

Those of ``tests/torture/sip`` come with the reaction that the RFC wants; ``fixtures`` has the
others of the two RFCs' archives, with line ends and Content-Length of RFC 5118's put right.
"""

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Limits, Malformed, Pong, StreamParser, parse_datagram
from tests.wire_cases import picture, three_ways

LIMITS = Limits()
FIXTURES = Path(__file__).parent / "fixtures"
TORTURE = Path(__file__).parent.parent / "torture" / "sip"

WELL_FORMED = "request"
RESPONSE = "response"
DROPPED = "dropped"  # a response that is not understood

#: what a datagram gives; a reason for those that are refused
DATAGRAMS: dict[str, tuple[str | int, str]] = {
    "badaspec": (400, "Bad To: space in a URI"),
    "badbranch": (WELL_FORMED, ""),
    "baddate": (WELL_FORMED, ""),  # §3.1.2.12: not refused by who doesn't use it
    "baddn": (400, "Bad From: URI without a scheme"),
    "badinv01": (400, "Bad Via: no parameter name"),
    "badvers": (505, "Version Not Supported"),
    "bcast": (RESPONSE, ""),
    "bext01": (WELL_FORMED, ""),
    "bigcode": (DROPPED, "Malformed Status-Line"),
    "clerr": (400, "Content-Length larger than the datagram"),
    "cparam01": (WELL_FORMED, ""),
    "cparam02": (WELL_FORMED, ""),
    "dblreq": (WELL_FORMED, ""),
    "esc01": (WELL_FORMED, ""),
    "esc02": (WELL_FORMED, ""),
    "escnull": (WELL_FORMED, ""),
    "escruri": (400, "Bad Request-URI: headers are not allowed"),
    "insuf": (400, "Missing From"),
    "intmeth": (WELL_FORMED, ""),
    "inv2543": (WELL_FORMED, ""),
    "invut": (WELL_FORMED, ""),
    "ipv4-mapped-ipv6": (WELL_FORMED, ""),
    "ipv6-bad": (400, "Bad Request-URI: Malformed SIP URI"),
    "ipv6-bug-abnf-3-colons": (WELL_FORMED, ""),
    "ipv6-correct-abnf-2-colons": (WELL_FORMED, ""),
    "ipv6-good": (WELL_FORMED, ""),
    "ipv6-in-sdp": (WELL_FORMED, ""),
    "longreq": (WELL_FORMED, ""),
    "ltgtruri": (400, "Bad Request-URI: angle bracket in a URI"),
    "lwsdisp": (WELL_FORMED, ""),
    "lwsruri": (400, "Malformed Request-Line: one space between its three parts"),
    "lwsstart": (400, "Malformed Request-Line: one space between its three parts"),
    "mcl01": (400, "More than one Content-Length"),
    "mismatch01": (400, "CSeq method is not that of the request"),
    "mismatch02": (400, "CSeq method is not that of the request"),
    "mpart01": (WELL_FORMED, ""),
    "mult-ip-in-header": (WELL_FORMED, ""),
    "mult-ip-in-sdp": (WELL_FORMED, ""),
    "multi01": (400, "More than one Call-ID"),
    "ncl": (400, "Bad Content-Length"),
    "noreason": (RESPONSE, ""),
    "novelsc": (WELL_FORMED, ""),
    "port-ambiguous": (WELL_FORMED, ""),
    "port-unambiguous": (WELL_FORMED, ""),
    "quotbal": (400, "Bad To: quotes not closed"),
    "regaut01": (WELL_FORMED, ""),
    "regbadct": (400, "Bad Contact: URI with a question mark needs angle brackets"),
    "regescrt": (WELL_FORMED, ""),
    "scalar02": (400, "Bad CSeq: number too large"),
    "scalarlg": (DROPPED, "Bad CSeq: number too large"),
    "sdp01": (WELL_FORMED, ""),
    "semiuri": (WELL_FORMED, ""),
    "transports": (WELL_FORMED, ""),
    "trws": (400, "Malformed Request-Line: one space between its three parts"),
    "unkscm": (WELL_FORMED, ""),
    "unksm2": (WELL_FORMED, ""),
    "unreason": (RESPONSE, ""),
    "via-received-param-no-delim": (WELL_FORMED, ""),
    "via-received-param-with-delim": (WELL_FORMED, ""),
    "wsinv": (WELL_FORMED, ""),
    "zeromf": (WELL_FORMED, ""),
}

#: after these the start of the next message on a stream is not known
FATAL = {"inv2543", "mcl01", "ncl"}
#: these are never complete on a stream
ENDLESS = {"baddn", "clerr"}

NORMAL = (
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bKn\r\nFrom: <sip:d@e>;tag=f\r\n"
    b"To: <sip:a@b>\r\nCall-ID: g\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


def cases() -> dict[str, bytes]:
    return {
        path.stem: path.read_bytes()
        for folder in (FIXTURES, TORTURE)
        for path in sorted(folder.glob("*.dat"))
    }


def touch(message: Request | Response) -> None:
    """Ask for all that is typed: none of it may raise."""
    for name in ("via", "vias", "from_", "to", "call_id", "cseq", "max_forwards", "contact"):
        getattr(message, name)
    for name in ("routes", "record_routes", "content_type", "require"):
        getattr(message, name)
    if isinstance(message, Request):
        message.target.canonical()
        message.from_.uri.canonical()


class DatagramTests(SynchronousTestCase):
    def test_every_case_is_listed(self) -> None:
        self.assertEqual(sorted(cases()), sorted(DATAGRAMS))

    def test_reactions(self) -> None:
        for name, data in cases().items():
            wanted, reason = DATAGRAMS[name]
            found = parse_datagram(data, LIMITS)
            if wanted == WELL_FORMED:
                assert isinstance(found, Request), (name, found)
                touch(found)
                answer = found.response(200, to_tag="t")
                self.assertIsInstance(parse_datagram(answer.render(), LIMITS), Response, name)
            elif wanted == RESPONSE:
                assert isinstance(found, Response), (name, found)
                touch(found)
            else:
                assert isinstance(found, Malformed), (name, found)
                self.assertEqual(found.reason, reason, name)
                self.assertEqual(found.request is None, wanted == DROPPED, name)
                if found.request is not None:
                    self.assertEqual(found.status, wanted, name)
                    self.assertTrue(found.request.via.host)
                    answer = found.request.response(found.status, found.reason, to_tag="t")
                    self.assertTrue(answer.render().startswith(b"SIP/2.0 %d " % found.status))

    def test_the_index_agrees(self) -> None:
        for case in json.loads((TORTURE / "index.json").read_text())["messages"]:
            wanted, _ = DATAGRAMS[case["name"]]
            welcome = {*case["expect"], *case["allow"]}
            if isinstance(wanted, int):
                self.assertTrue(welcome & {str(wanted), "4xx"}, case["name"])
            elif wanted == WELL_FORMED:
                self.assertTrue(welcome - {"400", "505", "none"}, case["name"])
            else:
                self.assertIn("none", welcome, case["name"])

    def test_parse_render_parse(self) -> None:
        for name, data in cases().items():
            found = parse_datagram(data, LIMITS)
            if not isinstance(found, Request | Response):
                continue
            again = parse_datagram(found.render(), LIMITS)
            assert isinstance(again, Request | Response), name
            fields = [
                [item for item in message.headers.items() if item[0] != "Content-Length"]
                for message in (found, again)
            ]
            self.assertEqual(fields[0], fields[1], name)
            self.assertEqual(again.body, found.body, name)
            self.assertEqual(again.start_line(), found.start_line(), name)


class StreamTests(SynchronousTestCase):
    def test_reactions_three_ways(self) -> None:
        for name, data in cases().items():
            found = three_ways(lambda: StreamParser(LIMITS), data, NORMAL)
            if name in ENDLESS:
                self.assertEqual(found, [], name)
                continue
            first = found[0]
            datagram = parse_datagram(data, LIMITS)
            if name in FATAL:
                assert isinstance(first, Malformed), name
                self.assertTrue(first.fatal, name)
                self.assertIsNotNone(first.request, name)
            elif name == "dblreq":
                self.assertIsInstance(first, Request)
            else:
                self.assertEqual(picture(first), picture(datagram), name)
                self.assertEqual(len(found), 1, name)

    def test_a_normal_request_follows(self) -> None:
        for name, data in cases().items():
            if name in FATAL | ENDLESS | {"dblreq"}:
                continue
            last = StreamParser(LIMITS).feed(data + b"\r\n\r\n" + NORMAL)[-1]
            assert isinstance(last, Request), (name, last)
            self.assertEqual(last.call_id, "g", name)

    def test_two_requests_in_a_row(self) -> None:
        """RFC 4475 §3.1.1.8: on a stream they are two, with a CRLF before the second."""
        found = StreamParser(LIMITS).feed(cases()["dblreq"])
        self.assertEqual(
            [item.method if isinstance(item, Request) else type(item) for item in found[:3]],
            ["REGISTER", Pong, "INVITE"],
        )


class DetailTests(SynchronousTestCase):
    def request(self, name: str) -> Request:
        found = parse_datagram(cases()[name], LIMITS)
        assert isinstance(found, Request), found
        return found

    def test_wsinv(self) -> None:
        """§3.1.1.1."""
        request = self.request("wsinv")
        self.assertEqual(request.to.tag, "1918181833n")
        self.assertEqual(request.from_.display_name, 'J Rosenberg \\"')
        self.assertEqual(request.from_.tag, "98asjd8")
        self.assertEqual(request.max_forwards, 68)
        self.assertEqual((request.cseq.number, request.cseq.method), (9, "INVITE"))
        self.assertEqual(
            [(via.transport, via.host, via.branch) for via in request.vias],
            [
                ("UDP", "192.0.2.2", "390skdjuw"),
                ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
                ("UDP", "192.168.255.111", "z9hG4bK30239"),
            ],
        )
        self.assertEqual(request.headers.get("Subject"), "")
        self.assertEqual(
            request.headers.get("NewFangledHeader"), "newfangled value continued newfangled value"
        )
        self.assertEqual(request.headers.get("UnknownHeaderWithUnusualValue"), ";;,,;;,;")
        self.assertIn("MaX-fOrWaRdS", [name for name, _ in request.headers.items()])
        assert request.contact is not None
        self.assertEqual(request.contact.parameter("secondparam"), "")

    def test_intmeth(self) -> None:
        """§3.1.1.2."""
        request = self.request("intmeth")
        self.assertEqual(request.to.display_name, "BEL:\x07 NUL:\x00 DEL:\x7f")
        self.assertEqual(request.from_.display_name, "token1~` token2'+_ token3*%!.-")
        self.assertEqual(request.from_.tag, "_token~1'+`*%!-.")
        self.assertEqual(request.from_.parameter("fromparam''~+*_!.-%"), "работающий")
        self.assertEqual(request.headers.get("extensionHeader-!.%*+_`'~"), "\ufeff大停電")

    def test_esc02(self) -> None:
        """§3.1.1.5: % is no escape in names and methods."""
        request = self.request("esc02")
        self.assertEqual(request.method, "RE%47IST%45R")
        self.assertEqual(len(request.headers.get_all("Contact")), 2)
        self.assertEqual(request.to.display_name, "%Z%45")

    def test_longreq(self) -> None:
        """§3.1.1.7."""
        self.assertEqual(len(self.request("longreq").vias), 34)

    def test_mpart(self) -> None:
        """§3.1.1.11: the body is octets."""
        request = self.request("mpart01")
        self.assertIn(b"\0", request.body)
        self.assertEqual(len(request.body), 553)

    def test_unreason(self) -> None:
        """§3.1.1.12."""
        found = parse_datagram(cases()["unreason"], LIMITS)
        assert isinstance(found, Response)
        self.assertTrue(found.reason.startswith("= 2**3 * 5**2 но сто"))

    def test_malformed_via_keeps_its_host(self) -> None:
        """§3.1.2.1: answered all the same."""
        found = parse_datagram(cases()["badinv01"], LIMITS)
        assert isinstance(found, Malformed) and found.request is not None
        self.assertEqual(found.request.via.host, "192.0.2.15")
