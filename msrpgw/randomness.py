"""Unpredictable bytes in small portions.  Imports nothing of msrpgw."""

import os
from collections.abc import Callable

_CHUNK = 4096


class Randomness:
    """``os.urandom``, read ahead: a message takes three or four small portions, and a system call
    for each would cost more than the rest of making its identifiers.

    No byte is given out twice.
    """

    __slots__ = ("_at", "_bytes", "_read")

    def __init__(self, read: Callable[[int], bytes] = os.urandom) -> None:
        self._read = read
        self._bytes = b""
        self._at = 0

    def __call__(self, size: int) -> bytes:
        """That many bytes."""
        at = self._at
        end = at + size
        if end > len(self._bytes):
            # What is left of the old ones is dropped.
            self._bytes = self._read(max(size, _CHUNK))
            at, end = 0, size
        self._at = end
        return self._bytes[at:end]
