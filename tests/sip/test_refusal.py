"""503 made of a datagram's bytes: the same that a message would get, or nothing."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.message import Response
from msrpgw.sip.parser import Limits, parse_datagram
from msrpgw.sip.refusal import EarlyRefusal
from tests.sip.test_usual import REQUEST, replaced, without

SOURCE = ("198.51.100.7", 40000)


class RefusalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.known: set[tuple[str, str, int | None, str]] = set()
        self.refusal = EarlyRefusal(lambda *one: one in self.known, "msrpgw", "t1")

    def ask(self, head: str, source: tuple[str, int] = SOURCE) -> bytes:
        return self.refusal.answer_to(f"{head}\r\n\r\nhello".encode(), source, 7)

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
            replaced(REQUEST, "To", "<sip:bob@example.com>;tag=b1"),
            REQUEST.replace("MESSAGE", "BYE"),
            REQUEST.replace("MESSAGE sip", "BYE sip"),
            without(REQUEST, "Call-ID"),
            f"{REQUEST}\r\nRequire: x",
            f"{REQUEST}\r\nSubject: {'x' * 2000}",
            "",
        ):
            self.assertEqual(self.ask(head), b"", head)
        self.assertEqual(self.refusal.answer_to(REQUEST.encode(), SOURCE, 7), b"")
