"""503 made of a datagram's bytes: the same that a message would get, or nothing."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Limits, parse_datagram
from msrpgw.sip.refusal import STEP, EarlyRefusal
from tests.sip.test_usual import REQUEST, replaced, without

SOURCE = ("198.51.100.7", 40000)


class RefusalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.known: set[tuple[str, str, int | None, str]] = set()
        self.refusal = EarlyRefusal(lambda *one: one in self.known, "msrpgw", "t1")
        self.refusal.retry_after = 7

    def ask(self, head: str, source: tuple[str, int] = SOURCE) -> bytes:
        return self.refusal.answer_to(f"{head}\r\n\r\nhello".encode(), source)

    def answer(self, head: str, source: tuple[str, int] = SOURCE) -> Response:
        response = parse_datagram(self.ask(head, source), Limits())
        assert isinstance(response, Response), response
        return response

    def test_answer(self) -> None:
        proxied = REQUEST.replace("\r\nMax-", "\r\nVia: SIP/2.0/TCP p;branch=z9hG4bK2\r\nMax-")
        response = self.answer(proxied)
        self.assertEqual((response.status, response.reason), (503, "Service Unavailable"))
        self.assertEqual(
            response.headers.get_all("Via"),
            [
                "SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK1;rport=40000;received=198.51.100.7",
                "SIP/2.0/TCP p;branch=z9hG4bK2",
            ],
        )
        self.assertEqual(response.to.tag, "t1")
        self.assertEqual(response.from_.tag, "a1")
        self.assertEqual(response.call_id, "c1@192.0.2.1")
        self.assertEqual(response.cseq.render(), "20 MESSAGE")
        self.assertEqual(response.retry_after, 7)
        self.assertEqual(response.headers.get("Server"), "msrpgw")
        self.assertEqual(response.body, b"")

    def test_length(self) -> None:
        """Answers differ in a few lengths only, whatever they repeat, and in nothing else."""
        for more in range(STEP + 1):
            call_id = "c" * (1 + more)
            head = replaced(REQUEST, "Call-ID", call_id)
            self.assertEqual(len(self.ask(head)) % STEP, 0)
            response = self.answer(head)
            self.assertEqual(response.call_id, call_id)
            self.assertEqual(response.headers.get("Server"), "msrpgw")

    def test_as_others_write_it(self) -> None:
        """Any order, ``rport`` before the branch, fields that don't matter, an address alone."""
        head = replaced(REQUEST, "Via", "SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK1")
        self.assertEqual(
            self.answer(head).headers.get("Via"),
            "SIP/2.0/UDP 192.0.2.1;rport=40000;branch=z9hG4bK1;received=198.51.100.7",
        )
        start, *lines = REQUEST.split("\r\n")
        backwards = self.answer("\r\n".join([start, *reversed(lines)]))
        self.assertEqual(backwards.render(), self.answer(REQUEST).render())
        more = f"{REQUEST}\r\nP-Asserted-Identity: <tel:1>\r\nRequire: x\r\nPriority: normal"
        for head in (
            more,
            f"{more}\r\nRecord-Route: <sip:a;lr>\r\nRecord-Route: <sip:b;lr>",
            f"{more}\r\nSubject: {'x' * 2000} \u00e4\t",
            replaced(REQUEST, "To", "sip:bob@example.com"),
            replaced(REQUEST, "To", "<sip:bob@example.com;tag=x>"),
        ):
            quick = self.answer(head)
            request = parse_datagram(f"{head}\r\n\r\nhello".encode(), Limits())
            assert isinstance(request, Request), request
            request.stamp_via(*SOURCE)
            usual = request.response(503, to_tag="t1")
            self.assertEqual(
                [each.render() for each in quick.vias], [each.render() for each in usual.vias]
            )
            for name in ("From", "To", "Call-ID", "CSeq"):
                self.assertEqual(quick.headers.get_all(name), usual.headers.get_all(name))

    def test_without_rport(self) -> None:
        head = replaced(REQUEST, "Via", "SIP/2.0/UDP 198.51.100.7:40000;branch=z9hG4bK1")
        self.assertEqual(self.answer(head).via.parameters, (("branch", "z9hG4bK1"),))
        head = replaced(REQUEST, "Via", "SIP/2.0/UDP phone.example;branch=z9hG4bK1")
        response = self.answer(head, ("198.51.100.7", 5060))
        self.assertEqual(response.via.received, "198.51.100.7")
        self.assertEqual(self.ask(head, SOURCE), b"")

    def test_what_is_known_is_not_refused(self) -> None:
        self.assertTrue(self.ask(REQUEST))
        self.known.add(("z9hG4bK1", "192.0.2.1", 5062, "MESSAGE"))
        self.assertEqual(self.ask(REQUEST), b"")

    def test_what_is_taken_the_usual_way(self) -> None:
        for head in (
            REQUEST.replace("sip:bob@192.0.2.2:5061", "urn:service:sos"),
            REQUEST.replace("sip:bob@192.0.2.2:5061", "urn:Service:SOS.police"),
            f"{REQUEST}\r\nPriority: emergency",
            f"{REQUEST}\r\nPRIORITY:  Emergency",
            f"{REQUEST}\r\nPriority: \temergency",
            f"{REQUEST}\r\nPriority:\r\n emergency",
            replaced(REQUEST, "To", "<sip:bob@example.com>;tag=b1"),
            replaced(REQUEST, "To", "sip:bob@example.com;TAG=b1"),
            replaced(REQUEST, "To", '"<" <sip:bob@example.com>;tag=b1'),
            replaced(REQUEST, "To", ""),
            replaced(REQUEST, "Via", "SIP/2.0/UDP 192.0.2.1;branch=1;rport"),
            replaced(REQUEST, "Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport;maddr=192.0.2.9"),
            replaced(REQUEST, "Via", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1;rport"),
            f"{REQUEST}\r\nv: SIP/2.0/UDP p;branch=z9hG4bK2",
            f"{REQUEST}\r\nVIA: SIP/2.0/UDP p;branch=z9hG4bK2",
            f"{REQUEST}\r\nVia : SIP/2.0/UDP p;branch=z9hG4bK2",
            f"{REQUEST}\r\nTo: <sip:carol@example.com>",
            REQUEST.replace("MESSAGE", "BYE"),
            REQUEST.replace("MESSAGE sip", "BYE sip"),
            without(REQUEST, "Call-ID"),
            "",
        ):
            self.assertEqual(self.ask(head), b"", head)
        self.assertEqual(self.refusal.answer_to(REQUEST.encode(), SOURCE), b"")
