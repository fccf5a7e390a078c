"""Whose turn it is to write on a connection that several sessions share (RFC 4975 §7.1.1)."""

from collections import deque
from typing import Protocol


class Speaker(Protocol):
    """Writes requests on a connection, in turns with others."""

    def take_turn(self) -> bool:
        """Write one request at most.  Returns whether another could follow now."""


class Turns:
    """Who wants to write, each once, in order."""

    __slots__ = ("_queue", "_waiting")

    def __init__(self) -> None:
        self._queue: deque[Speaker] = deque()
        self._waiting: set[Speaker] = set()  # who is in the queue

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, speaker: Speaker) -> None:
        """Put a speaker at the end, unless it waits already."""
        if speaker not in self._waiting:
            self._waiting.add(speaker)
            self._queue.append(speaker)

    def remove(self, speaker: Speaker) -> None:
        """Take a speaker out; it need not be there."""
        if speaker in self._waiting:
            self._waiting.discard(speaker)
            self._queue.remove(speaker)

    def next(self) -> Speaker:
        """Whose turn it is; that one waits no more."""
        speaker = self._queue.popleft()
        self._waiting.discard(speaker)
        return speaker
