"""Heads that are read in one go: which they are, and that they read the same the long way."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.head import Limits, read_head, read_long
from msrpgw.sip.message import Request, Response
from msrpgw.sip.usual import IGNORED, LEAST_LINE, LONGEST, MOST, NO_LENGTH, read_usual

LIMITS = Limits()

REQUEST = (
    "MESSAGE sip:bob@192.0.2.2:5061 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK1;rport\r\n"
    "Max-Forwards: 70\r\n"
    'From: "Alice A." <sip:alice@example.com;user=phone>;tag=a1\r\n'
    "To: Bob <sip:bob@example.com>\r\n"
    "Call-ID: c1@192.0.2.1\r\n"
    "CSeq: 20 MESSAGE\r\n"
    "Contact: <sip:alice@192.0.2.1:5062>\r\n"
    "User-Agent: Phone/1.0 (like others)\r\n"
    "Supported: replaces, outbound\r\n"
    "Content-Type: text/plain;charset=UTF-8\r\n"
    "Content-Length: 5"
)
RESPONSE = (
    "SIP/2.0 200 All right\r\n"
    "Via: SIP/2.0/UDP 192.0.2.1:5062;rport=5062;received=192.0.2.1;branch=z9hG4bK1\r\n"
    "From: <sip:alice@example.com>;tag=a1\r\n"
    "To: <sip:bob@example.com>;tag=b1\r\n"
    "Call-ID: c1\r\n"
    "CSeq: 1 MESSAGE\r\n"
    "Server: Phone/1.0\r\n"
    "Content-Length: 0"
)


def without(text: str, name: str) -> str:
    """A head without a header."""
    return "\r\n".join(line for line in text.split("\r\n") if not line.startswith(f"{name}:"))


def replaced(text: str, name: str, value: str) -> str:
    """A head with another value of a header."""
    assert f"\r\n{name}: " in text
    return "\r\n".join(
        f"{name}: {value}" if line.startswith(f"{name}:") else line for line in text.split("\r\n")
    )


class UsualTests(SynchronousTestCase):
    def assertSame(self, text: str) -> Request | Response:
        quick, long = read_usual(text), read_long(text, LIMITS)
        assert quick is not None, text
        message, length = quick
        other, other_length = long
        assert type(message) is type(other) and isinstance(other, (Request, Response)), other
        self.assertEqual(length, other_length)
        self.assertEqual(message.start_line(), other.start_line())
        for name in ("via", "from_", "to", "cseq"):
            self.assertEqual(getattr(message, name).render(), getattr(other, name).render())
        self.assertEqual(
            [via.render() for via in message.vias], [via.render() for via in other.vias]
        )
        for name in ("User-Agent", "Server", "Supported", "Contact", "Require", "Max-Forwards"):
            self.assertEqual(message.headers.get_all(name), other.headers.get_all(name), name)
        self.assertEqual(message.headers.firsts(), other.headers.firsts())
        self.assertEqual(message.headers.items(), other.headers.items())
        self.assertEqual(message.render(), other.render())
        return message

    def test_a_long_contact(self) -> None:
        """It is left to the long way, and in no cache."""
        user = "a" * (LONGEST - len("<sip:@b>"))
        self.assertSame(replaced(REQUEST, "Contact", f"<sip:{user}@b>"))
        self.assertIsNone(read_usual(replaced(REQUEST, "Contact", f"<sip:{user}a@b>")))

    def test_request(self) -> None:
        message = self.assertSame(REQUEST)
        self.assertEqual(message.from_.display_name, "Alice A.")
        self.assertEqual(message.from_.tag, "a1")
        self.assertEqual(message.via.parameters, (("branch", "z9hG4bK1"), ("rport", None)))

    def test_response(self) -> None:
        self.assertSame(RESPONSE)

    def test_what_else_is_usual(self) -> None:
        proxied = REQUEST.replace("\r\nMax-", "\r\nVia: SIP/2.0/TCP p;branch=z9hG4bK2\r\nMax-")
        twice = proxied.replace("\r\nMax-", "\r\nVia: SIP/2.0/TLS [::1]:5;received=1.2.3.4\r\nMax-")
        for text in (
            proxied,
            twice,
            replaced(REQUEST, "Via", "SIP/2.0/TCP phone.example;branch=z9hG4bK1"),
            replaced(REQUEST, "From", "<tel:+12015550123>;tag=x"),
            replaced(REQUEST, "From", "alice <sip:a@b>;tag=x"),
            replaced(REQUEST, "To", "<sip:b@x>;tag=b"),
            replaced(REQUEST, "Contact", "*"),
            *(REQUEST.replace("MESSAGE", method) for method in ("BYE", "ACK")),
            *(without(REQUEST, name) for name in ("Contact", "Max-Forwards", "Content-Type")),
            "\r\n".join([*REQUEST.split("\r\n")[:1], *REQUEST.split("\r\n")[:0:-1]]),
            *(f"{REQUEST}\r\n{name}: a b\r\n{name}: c" for name in IGNORED),
            replaced(RESPONSE, "CSeq", "2 BYE"),
            without(RESPONSE, "Content-Length"),
        ):
            self.assertSame(text)

    def test_length(self) -> None:
        for text in (REQUEST, RESPONSE):
            usual = read_usual(without(text, "Content-Length"))
            assert usual is not None
            self.assertEqual(usual[1], NO_LENGTH)

    def test_an_ignored_field_is_found_when_asked_for(self) -> None:
        usual = read_usual(REQUEST)
        assert usual is not None
        headers = usual[0].headers
        self.assertNotIn("user-agent", headers.usual())
        self.assertIn("User-Agent", headers)
        self.assertEqual(headers.get("supported"), "replaces, outbound")

    def test_what_is_left_to_the_long_way(self) -> None:
        mandatory = ("Via", "From", "To", "Call-ID", "CSeq")
        single = (*mandatory[1:], "Content-Length")
        for text in (
            *(without(head, name) for head in (REQUEST, RESPONSE) for name in mandatory),
            *(f"{head}\r\n{name}: 1" for head in (REQUEST, RESPONSE) for name in single),
            f"{REQUEST}\r\nMax-Forwards: 70",
            f"{REQUEST}\r\nContent-Type: text/plain",
            f"{REQUEST}\r\nRequire: x",
            REQUEST.replace("MESSAGE", "INVITE"),
            replaced(REQUEST, "CSeq", "1 BYE"),
            f"{REQUEST}\r\nRoute: <sip:a;lr>",
            f"{REQUEST}\r\nVia: SIP/2.0/UDP later;branch=z9hG4bK2",
            f"{REQUEST}\r\nv: SIP/2.0/UDP later;branch=z9hG4bK2",
            f"{REQUEST}\r\nSubject:no space",
            f"{REQUEST}\r\nSubject: to spare ",
            f"{REQUEST}\r\nSubject: folded\r\n here",
            f"{REQUEST}\r\nSubject: Grüße",
            f"{REQUEST}\r\nSubject: \0",
            f"{REQUEST}\r\n",
            REQUEST.replace("MESSAGE", "message"),
            REQUEST.replace("20 MESSAGE", "20 INFO"),
            REQUEST.replace("\r\n", "\n"),
            replaced(REQUEST, "Max-Forwards", "256"),
            replaced(REQUEST, "Contact", "<sip:a@b"),
            replaced(REQUEST, "To", "bob@example.com"),
            replaced(REQUEST, "From", "<sip:a@b:99999>;tag=1"),
            replaced(REQUEST, "From", "<sip:a@b>"),
            replaced(REQUEST, "Via", "SIP/2.0/UDP a:66000;branch=z9hG4bK1"),
            replaced(REQUEST, "Via", "SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b"),
            replaced(REQUEST, "CSeq", "4294967295 MESSAGE"),
            replaced(REQUEST, "Call-ID", "a b"),
            replaced(RESPONSE, "CSeq", "1 INVITE"),
            RESPONSE.replace("200", "700"),
            f"{RESPONSE}\r\nRetry-After: 5",
            REQUEST.replace("bob@192.0.2.2:5061", "bob@192.0.2.2?x=y"),
            "",
        ):
            self.assertIsNone(read_usual(text), text)

    def test_small_limits_are_obeyed(self) -> None:
        for limits in (
            Limits(max_headers=MOST // LEAST_LINE // 10),
            Limits(max_headers=3),
            Limits(max_line_length=20),
        ):
            self.assertEqual(
                repr(read_head(REQUEST.encode(), limits)[0]), repr(read_long(REQUEST, limits)[0])
            )
        many = REQUEST + "\r\nDate: x" * 300
        self.assertEqual(
            repr(read_head(many.encode(), LIMITS)[0]), repr(read_long(many, LIMITS)[0])
        )
