"""Nonces: whose they are, how old, and how often they were used."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.auth import nonces
from msrpgw.auth.nonces import Nonces, Verdict
from tests.support import CountingRandom


class NonceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.nonces = Nonces(CountingRandom("nonces"), lambda: self.now, 300)

    def use(self, nonce: str, count: int | str = 1) -> bool:
        text = count if isinstance(count, str) else f"{count:08x}"
        return self.nonces.use(nonce, text) is Verdict.GOOD

    def test_good(self) -> None:
        nonce = self.nonces.make()
        self.assertNotEqual(nonce, self.nonces.make())
        for count in (1, 2, 3, 16, 255):
            self.assertTrue(self.use(nonce, count), count)

    def test_used_before(self) -> None:
        """RFC 7616 §3.4: that is a replay."""
        nonce = self.nonces.make()
        self.assertTrue(self.use(nonce, 5))
        self.assertFalse(self.use(nonce, 5))
        self.assertTrue(self.use(nonce, 6))
        self.assertFalse(self.use(nonce, 5))
        self.assertFalse(self.use(nonce, 6))

    def test_out_of_order(self) -> None:
        """Datagrams overtake each other: each count once, none that is far behind."""
        nonce = self.nonces.make()
        self.assertTrue(self.use(nonce, 100))
        for count in (98, 99, 50):
            self.assertTrue(self.use(nonce, count), count)
            self.assertFalse(self.use(nonce, count), count)
        self.assertFalse(self.use(nonce, 100 - 64))
        self.assertTrue(self.use(nonce, 1000))
        self.assertFalse(self.use(nonce, 100))

    def test_expired(self) -> None:
        nonce = self.nonces.make()
        self.now += 300
        self.assertTrue(self.use(nonce))
        self.now += 2
        self.assertFalse(self.use(nonce, 2))

    def test_not_ours(self) -> None:
        nonce = self.nonces.make()
        other = Nonces(CountingRandom("others"), lambda: self.now, 300).make()
        flipped = nonce[:12] + ("0" if nonce[12] != "0" else "1") + nonce[13:]
        for text in ("", "x", other, flipped, nonce[:-1], nonce + "0", "\udcff" * 50, "é" * 50):
            self.assertFalse(self.use(text), text)

    def test_counts_that_are_none(self) -> None:
        nonce = self.nonces.make()
        for count in ("", "0", "00000000", "1", "000000001", "-0000001", "+0000001", "0000_001"):
            self.assertFalse(self.use(nonce, count), count)
        self.assertTrue(self.use(nonce, 1))

    def test_bounded(self) -> None:
        """What was forgotten can't be used once more."""
        self.patch(nonces, "_REMEMBERED", 10)
        made = []
        for _ in range(50):
            made.append(self.nonces.make())
            self.assertTrue(self.use(made[-1]))
            self.now += 1
        self.assertLessEqual(len(self.nonces._used), 11)
        for nonce in made:
            self.assertFalse(self.use(nonce), "a replay")
        self.assertTrue(self.use(made[-1], 2))

    def test_old_ones_are_let_go(self) -> None:
        for _ in range(20):
            self.use(self.nonces.make())
        self.now += 1000
        self.use(self.nonces.make())
        self.assertEqual(len(self.nonces._used), 1)
