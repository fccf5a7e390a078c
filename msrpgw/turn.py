"""A turn of the reactor, and what is to be done at its end.

Imports nothing of msrpgw.
"""

from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

_log = Logger()


class Ending(Protocol):
    """Has something to do at the end of a turn."""

    def turn_ended(self) -> None:
        """Now."""


class Turn:
    """Who has something to do at its end, each once.  One for a reactor."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._call_later = reactor.callLater
        self._waiting: dict[Ending, None] = {}
        self._open = False  # whether somebody will say that it is over
        self._ending = False

    def at_end(self, ending: Ending) -> bool:
        """Call it when the turn is over; False, and nothing happens, while that is so."""
        if self._ending:
            return False
        if not self._waiting and not self._open:
            self._call_later(0, self.end)
        self._waiting[ending] = None
        return True

    def begin(self) -> None:
        """``end`` will be called."""
        self._open = True

    def end(self) -> None:
        """It is over."""
        self._open = False
        waiting, self._waiting = self._waiting, {}
        self._ending = True
        for each in waiting:
            try:
                each.turn_ended()
            except Exception:
                _log.failure("something failed at the end of a turn; the rest goes on")
        self._ending = False


def never(ending: Ending) -> bool:
    """What stands for ``Turn.at_end`` where nobody knows when a turn is over."""
    return False
