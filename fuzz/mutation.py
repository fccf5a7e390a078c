"""Spoils good and bad messages in the ways that break parsers.

The corpus is what the tests already have from RFC 4475, RFC 5118 and RFC 4975, and what stands in
``fuzz/corpus``: there every input that ever broke something is kept.
"""

import random
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: directories of each wire's corpus
PLACES = {
    "sip": ("tests/torture/sip", "tests/sip/fixtures", "fuzz/corpus/sip"),
    "msrp": ("tests/torture/msrp", "fuzz/corpus/msrp"),
    "sdp": ("fuzz/corpus/sdp",),
}

#: what means something to one of the parsers
TOKENS = (
    *(b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\0", b"\t", b" ", b"\r\n ", b";", b",", b":", b"="),
    *(b'"', b"\\", b"<", b">", b"(", b")", b"%", b"%00", b"%0d%0a", b"[", b"]", b"@", b"?", b"*"),
    *(b"-------", b"$", b"+", b"#", b"-1", b"0", b"4294967296", b"9" * 30, b"\xff", b"\xc3\xa9"),
    *(b"\xed\xa0\x80", b"\xe2\x80\xa8", b"Content-Length: 0\r\n", b"l:99999\r\n", b"Via: x\r\n"),
    *(b"MSRP a786hjs2 SEND\r\n", b"SIP/2.0", b"sip:", b"msrp://", b";tcp", b"z9hG4bK", b";tag="),
    *(
        b"Byte-Range: 1-*/*\r\n",
        b"To-Path: ",
        b"m=message 0 TCP/MSRP *\r\n",
        b"a=path:",
        b"A" * 9000,
    ),
)

#: a mutated input is never longer
MAX_INPUT = 40_000


def load_corpus(wire: str) -> list[bytes]:
    """All inputs of ``sip``, ``msrp`` or ``sdp``, in a fixed order."""
    files = [
        path
        for place in PLACES[wire]
        for path in sorted((ROOT / place).glob("*"))
        if path.is_file() and path.suffix not in (".json", ".md", ".py")
    ]
    return [path.read_bytes()[:MAX_INPUT] for path in files]


class Mutator:
    """An endless row of inputs, the same for the same seed."""

    def __init__(self, corpus: list[bytes], seed: int) -> None:
        self._corpus = corpus
        self._random = random.Random(seed)

    def next(self) -> bytes:
        """One input: one of the corpus with up to eight wounds."""
        chance = self._random
        data = bytearray(chance.choice(self._corpus))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 5, 8))):
            self._wound(data)
        return bytes(data[:MAX_INPUT])

    def _wound(self, data: bytearray) -> None:
        chance = self._random
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 64, 512)))
        kind = chance.randrange(8)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = chance.randrange(256)
        elif kind == 2:
            data[at:at] = chance.choice(TOKENS)
        elif kind == 3:
            data[at:end] = chance.choice(TOKENS)
        elif kind == 4:
            del data[at:end]
        elif kind == 5:
            data[at:at] = data[at:end] * chance.choice((1, 2, 8))
        elif kind == 6:
            other = chance.choice(self._corpus)
            start = chance.randrange(len(other) + 1)
            data[at:end] = other[start : start + chance.choice((4, 32, 256))]
        else:
            del data[at:]
