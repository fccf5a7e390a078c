"""Nonces that nobody else can make, and that count how often they were used (RFC 7616 §3.3).

A nonce proves itself: what is remembered is only how often each was used by somebody who knew a
password, so that a flood of challenges costs no memory.
"""

import enum
import hashlib
import hmac
from collections.abc import Callable

#: nonces whose counts are remembered; what is older than the one forgotten last is stale
_REMEMBERED = 100_000

#: counts that may arrive late, behind higher ones: datagrams overtake each other
_WINDOW = 64


class Verdict(enum.Enum):
    """What a nonce is worth, of somebody who knew the password."""

    GOOD = "good"
    STALE = "stale"  #: not of ours, too old, or used before: ask again


class Nonces:
    """One for the program."""

    def __init__(
        self, random: Callable[[int], bytes], seconds: Callable[[], float], lifetime: float
    ) -> None:
        """``lifetime``: seconds that a nonce is good for."""
        self._random = random
        self._seconds = seconds
        self.lifetime = lifetime
        self._key = random(32)
        self._used: dict[str, tuple[int, int]] = {}  # highest count, and those seen below it
        self._forgotten = -1  # when the youngest nonce was made that is not remembered any more

    def make(self) -> str:
        """A new one."""
        return self._signed(f"{int(self._seconds()):010x}{self._random(8).hex()}")

    def _signed(self, text: str) -> str:
        data = text.encode("utf-8", "surrogateescape")
        return text + hashlib.blake2b(data, digest_size=12, key=self._key).hexdigest()

    def use(self, nonce: str, count: str) -> Verdict:
        """Somebody has proven that he knows a password, with this nonce and nonce-count."""
        made, number = _hex(nonce[:10]), _hex(count)
        ours = self._signed(nonce[:26]).encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(ours, nonce.encode("utf-8", "surrogateescape")):
            return Verdict.STALE
        if self._seconds() - made > self.lifetime or number < 1 or len(count) != 8:
            return Verdict.STALE
        used = self._used.get(nonce)
        if used is None:
            if made <= self._forgotten:
                return Verdict.STALE
            self._forget()
            self._used[nonce] = (number, 1)
            return Verdict.GOOD
        highest, seen = used
        if number > highest:
            seen = (seen << min(number - highest, _WINDOW) | 1) & (1 << _WINDOW) - 1
            self._used[nonce] = (number, seen)
            return Verdict.GOOD
        bit = 1 << (highest - number) if highest - number < _WINDOW else 0
        if not bit or seen & bit:
            return Verdict.STALE
        self._used[nonce] = (highest, seen | bit)
        return Verdict.GOOD

    def _forget(self) -> None:
        """Let go of nonces that are too old; of the oldest, if there are too many."""
        old = self._seconds() - self.lifetime
        while self._used:
            first = next(iter(self._used))
            made = _hex(first[:10])
            if made >= old and len(self._used) < _REMEMBERED:
                break
            self._forgotten = max(self._forgotten, made)
            del self._used[first]


def _hex(text: str) -> int:
    try:
        return int(text, 16) if text.isalnum() and text.isascii() else -1
    except ValueError:
        return -1
