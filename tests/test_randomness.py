"""Randomness that is read ahead."""

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.randomness import Randomness


class RandomnessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reads: list[int] = []
        self.given = 0
        self.random = Randomness(self.read)

    def read(self, size: int) -> bytes:
        self.reads.append(size)
        start = self.given
        self.given += size
        return bytes((start + n) // 256 % 256 if n % 2 else (start + n) % 256 for n in range(size))

    def test_sizes(self) -> None:
        for size in (0, 1, 8, 16, 4096, 5000):
            self.assertEqual(len(self.random(size)), size)

    def test_reads_ahead(self) -> None:
        for _ in range(256):
            self.random(16)
        self.assertEqual(self.reads, [4096])
        self.random(1)
        self.assertEqual(self.reads, [4096, 4096])

    def test_no_byte_twice(self) -> None:
        pieces = [self.random(4) for _ in range(1024)]
        self.assertEqual(len(set(pieces)), len(pieces))

    def test_more_than_is_read_ahead(self) -> None:
        self.random(8)
        self.assertEqual(len(self.random(10_000)), 10_000)
        self.assertEqual(self.reads, [4096, 10_000])
