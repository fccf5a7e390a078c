"""What answers say, and that no answer does harm."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.dns.records import Answer, Kind, is_name, read_answer
from msrpgw.dns.servers import _Question
from msrpgw.timers import Timers


def header(name: str, record: object, ttl: int = 60) -> dns.RRHeader:
    """A record as it stands in an answer."""
    return dns.RRHeader(name, record.TYPE, dns.IN, ttl, record)  # type: ignore[attr-defined]


def make_answer(*answers: dns.RRHeader, authority: tuple[dns.RRHeader, ...] = ()) -> dns.Message:
    """An answer to a question for a.example."""
    message = dns.Message(7, answer=1)
    message.queries = [dns.Query(b"a.example", dns.A, dns.IN)]
    message.answers = list(answers)
    message.authority = list(authority)
    return message


class RecordTests(SynchronousTestCase):
    """``read_answer``."""

    def read(self, *answers: dns.RRHeader, kind: Kind = Kind.A) -> Answer:
        """Values for a.example."""
        return read_answer(make_answer(*answers), "a.example", kind)

    def test_others_are_left_out(self) -> None:
        """Of another name, another type, or twice."""
        one = header("A.example", dns.Record_A("192.0.2.1"))
        found = self.read(
            header("b.example", dns.Record_A("192.0.2.2")),
            header("a.example", dns.Record_TXT(b"x")),
            one,
            one,
        )
        self.assertEqual(found, Answer(("192.0.2.1",), 60))

    def test_aliases(self) -> None:
        """In any order; in a circle they lead nowhere."""
        address = header("c.example", dns.Record_A("192.0.2.1"))
        aliases = [
            header("b.example", dns.Record_CNAME("c.example"), ttl=9),
            header("a.example", dns.Record_CNAME("b.example")),
        ]
        self.assertEqual(self.read(address, *aliases), Answer(("192.0.2.1",), 9))
        circle = [
            header("b.example", dns.Record_CNAME("a.example")),
            header("a.example", dns.Record_CNAME("b.example")),
        ]
        self.assertEqual(self.read(address, *circle).values, ())

    def test_naptr_with_an_expression(self) -> None:
        """RFC 3263 §4.1: those of SIP have a replacement."""
        record = dns.Record_NAPTR(1, 1, b"s", b"SIP+D2U", b"!x!y!", b"b.example")
        self.assertEqual(self.read(header("a.example", record), kind=Kind.NAPTR).values, ())

    def test_bounded(self) -> None:
        """A long answer is not read to its end."""
        many = [header("a.example", dns.Record_A(f"192.0.2.{number}")) for number in range(99)]
        self.assertEqual(len(self.read(*many).values), 64)

    def test_names(self) -> None:
        """What can be asked for."""
        for name in ("a", "_sip._udp.a.example", "x" * 63):
            self.assertTrue(is_name(name))
        for name in ("", ".", "a..b", "x" * 64, "é", "a." * 127 + "a"):
            self.assertFalse(is_name(name))


class GarbageTests(SynchronousTestCase):
    """Bytes that no server should send."""

    def question(self) -> tuple[_Question, list[object]]:
        """A question, and what becomes of it."""
        query = dns.Query(b"a.example", dns.A, dns.IN)
        made = _Question(query, 7, Timers(Clock()), 1.0)
        heard: list[object] = []
        made.done.addBoth(heard.append)
        return made, heard

    def take(self, data: bytes) -> None:
        """It is not heard, or can be read."""
        question, heard = self.question()
        question.received(data)
        for message in heard:
            assert isinstance(message, dns.Message)
            for kind in Kind:
                answer = read_answer(message, "a.example", kind)
                self.assertLessEqual(len(answer.values), 64)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        self.take(data)

    @given(st.data())
    def test_damaged_answers(self, data: st.DataObject) -> None:
        """An answer with some bytes replaced, cut off, or both."""
        whole = make_answer(
            header("a.example", dns.Record_CNAME("b.example")),
            header("b.example", dns.Record_A("192.0.2.1")),
            header("b.example", dns.Record_AAAA("2001:db8::1")),
            header("b.example", dns.Record_SRV(1, 2, 5060, "c.example")),
            header("b.example", dns.Record_NAPTR(1, 2, b"s", b"SIP+D2U", b"", b"c.example")),
            authority=(header("example", dns.Record_SOA("example", "example", 1)),),
        ).toStr()
        wire = bytearray(whole)
        places = st.integers(12, len(wire) - 1)
        for place in data.draw(st.lists(places, max_size=4)):
            wire[place] = data.draw(st.integers(0, 255))
        self.take(bytes(wire[: data.draw(st.integers(0, len(wire)))]))
        self.take(bytes(wire))

    def test_compression_loop(self) -> None:
        """A name that points to itself ends."""
        self.take(
            bytes.fromhex("00078180000100010000000001610765 78616d706c6500".replace(" ", ""))
            + bytes.fromhex("00010001c01bc01b")
        )
