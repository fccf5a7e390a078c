"""Messages put together from chunks (RFC 4975 §5.1, §7.3.1)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import MsrpError
from msrpgw.msrp.chunks import Assembler, Budget, new_transaction_id
from msrpgw.msrp.frame import ByteRange, Request
from msrpgw.msrp.settings import MsrpSettings
from tests.support import CountingRandom


def chunk(
    body: bytes,
    start: int | None = 1,
    flag: str = "+",
    *,
    total: int | None = None,
    message_id: str = "m1",
) -> Request:
    """One chunk."""
    request = Request("abcd", "SEND")
    request.message_id = message_id
    request.content_type = "text/plain"
    request.byte_range = None if start is None else ByteRange(start, None, total)
    request.body = body
    request.continuation = flag
    return request


class AssemblerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.budget = Budget(1000)
        self.assembler = self.make()

    def make(self) -> Assembler:
        settings = MsrpSettings(max_size=100, max_assemblies=3, assembly_timeout=60.0)
        return Assembler(self.budget, settings)

    def add(self, *chunks: Request) -> list[bytes | None]:
        found = []
        for each in chunks:
            whole = self.assembler.add(each, 0.0)
            found.append(None if whole is None else whole[1])
        return found

    def refused(self, request: Request) -> int:
        with self.assertRaises(MsrpError) as caught:
            self.assembler.add(request, 0.0)
        return caught.exception.status


class AddTests(AssemblerCase):
    def test_in_order(self) -> None:
        self.assertEqual(self.add(chunk(b"ab"), chunk(b"cd", 3, "$")), [None, b"abcd"])
        self.assertEqual((len(self.assembler), self.budget.used), (0, 0))

    def test_any_order(self) -> None:
        found = self.add(chunk(b"ef", 5, "$"), chunk(b"ab"), chunk(b"cd", 3))
        self.assertEqual(found, [None, None, b"abcdef"])

    def test_overlap_the_last_one_wins(self) -> None:
        self.assertEqual(self.add(chunk(b"abcd"), chunk(b"XYZ", 3, "$")), [None, b"abXYZ"])

    def test_repeated(self) -> None:
        self.assertEqual(self.add(chunk(b"ab"), chunk(b"ab"), chunk(b"c", 3, "$"))[-1], b"abc")

    def test_interleaved(self) -> None:
        found = self.add(
            chunk(b"a1"),
            chunk(b"b1", message_id="m2"),
            chunk(b"a2", 3, "$"),
            chunk(b"b2", 3, "$", message_id="m2"),
        )
        self.assertEqual(found, [None, None, b"a1a2", b"b1b2"])

    def test_without_ranges(self) -> None:
        self.assertEqual(self.add(chunk(b"ab", None), chunk(b"cd", None, "$")), [None, b"abcd"])

    def test_empty_chunks(self) -> None:
        self.assertEqual(self.add(chunk(b"ab"), chunk(b"", 3), chunk(b"", 3, "$"))[-1], b"ab")
        self.assertEqual(self.add(chunk(b"", 1, "$")), [b""])
        self.assertEqual(self.add(chunk(b"", 6, "$")), [None])

    def test_gap_never_filled(self) -> None:
        self.assertEqual(self.add(chunk(b"ab"), chunk(b"ef", 5, "$")), [None, None])
        self.assertIn("m1", self.assembler)

    def test_aborted(self) -> None:
        self.assertEqual(self.add(chunk(b"ab"), chunk(b"", 3, "#")), [None, None])
        self.assertEqual((len(self.assembler), self.budget.used), (0, 0))

    def test_characters_cut_in_two(self) -> None:
        text = "é€".encode()
        found = self.add(
            *(chunk(text[n : n + 1], n + 1) for n in range(4)), chunk(text[4:], 5, "$")
        )
        self.assertEqual(found[-1], text)


class BoundTests(AssemblerCase):
    def test_size(self) -> None:
        self.assertEqual(self.refused(chunk(b"x" * 101)), 413)
        self.assertEqual(self.refused(chunk(b"x", 10**12)), 413)
        self.assertEqual(self.refused(chunk(b"x", 1, total=101)), 413)
        self.assertEqual(self.budget.used, 0)

    def test_start_before_the_first_octet(self) -> None:
        self.assertEqual(self.refused(chunk(b"x", 0)), 400)

    def test_number(self) -> None:
        self.add(*(chunk(b"x", message_id=str(n)) for n in range(3)))
        self.assertEqual(self.refused(chunk(b"x", message_id="one more")), 413)

    def test_budget_is_shared(self) -> None:
        self.budget.limit = 150
        self.add(chunk(b"x" * 100))
        other = self.make()
        with self.assertRaises(MsrpError):
            other.add(chunk(b"x" * 51), 0.0)
        other.add(chunk(b"x" * 50), 0.0)
        self.assembler.clear()
        other.clear()
        self.assertEqual(self.budget.used, 0)

    def test_gaps(self) -> None:
        self.assembler = Assembler(Budget(1 << 20), MsrpSettings(max_size=1000))
        self.add(*(chunk(b"x", 1 + 2 * n) for n in range(64)))
        self.assertEqual(self.refused(chunk(b"x", 201)), 413)

    def test_expiry(self) -> None:
        self.assertIsNone(self.assembler.expire(0.0))
        self.assembler.add(chunk(b"x"), 0.0)
        self.assembler.add(chunk(b"x", message_id="m2"), 10.0)
        self.assertEqual(self.assembler.expire(59.0), 1.0)
        self.assertEqual(self.assembler.expire(60.0), 10.0)
        self.assertEqual(len(self.assembler), 1)
        self.assertIsNone(self.assembler.expire(70.0))
        self.assertEqual(self.budget.used, 0)


class PropertyTests(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=20), st.randoms())
    def test_any_cut_in_any_order(self, body: bytes, sizes: list[int], order: object) -> None:
        budget = Budget(1000)
        assembler = Assembler(budget, MsrpSettings(max_size=100))
        pieces, at = [], 0
        for size in sizes:
            if at + size < len(body):
                pieces.append(chunk(body[at : at + size], at + 1))
                at += size
        pieces.append(chunk(body[at:], at + 1, "$"))
        order.shuffle(pieces)  # type: ignore[attr-defined]
        found = [assembler.add(piece, 0.0) for piece in pieces]
        self.assertEqual(found[-1], ("text/plain", body))
        self.assertEqual([each for each in found[:-1] if each], [])
        self.assertEqual(budget.used, 0)


class TransactionIdTests(SynchronousTestCase):
    def test_not_in_the_body(self) -> None:
        first = new_transaction_id(CountingRandom("x"), b"")
        other = new_transaction_id(CountingRandom("x"), b"-------" + first.encode() + b"$")
        self.assertNotEqual(first, other)
        self.assertRegex(other, r"\A[0-9a-f]{16}\Z")
