"""Whose turn it is, where more requests come than can be served.

    read ──room in this turn──► served
      ├──► kept by whom it came to, who stands in line ──next turns──► served
      └──as many are kept as can be served in time──► refused

So many requests are served in one turn of the reactor, that others have theirs.  What comes is
read, or nobody knew for how long it has waited, and senders would repeat it.  What ends something,
as a response does, need not stand in line.

Pure: imports ``turn`` alone; turns come from the reactor handed in.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpgw.turn import Ending, never

_log = Logger()

#: requests served in one turn of the reactor
AT_ONCE = 64
#: of these, one by one, those of one who stands in line with others
SHARE = 16
#: requests refused in one turn, on average and at most.  A refusal costs less than a seventh of
#: what a service does
REFUSED, REFUSED_AT_ONCE = 12 * AT_ONCE, 2_048
#: who was held back and goes on in one turn: each brings some requests
RELEASED = 16

#: requests served in a second, while nobody knows better
_RATE = 5_000.0
#: weight of the newest turn in their average
_WEIGHT = 0.1


class Patience(Protocol):
    """Says what is too long."""

    @property
    def longest_wait(self) -> float:
        """For how many seconds requests may wait for their turn before more are refused."""


class Waiter(Protocol):
    """Has kept requests."""

    @property
    def waits_since(self) -> float:
        """When the first of them came, on the clock."""

    def serve(self) -> bool:
        """It is its turn: serve what ``Line.take`` allows.  Returns whether some are left."""


class Held(Protocol):
    """Is not read while there is too much to do."""

    def release(self) -> None:
        """Read again."""


class Line:
    """Who has kept requests, each once.  One for each wire, owned by who reads that wire."""

    __slots__ = (
        *("_at_turn_end", "_began", "_clock", "_held", "_kept", "_patience", "_rate", "_refusals"),
        *("_room", "_scheduled", "_waiters"),
    )

    def __init__(
        self,
        clock: IReactorTime,
        patience: Patience,
        at_turn_end: Callable[[Ending], bool] = never,
    ) -> None:
        """``at_turn_end``: as that of ``Turn``."""
        self._at_turn_end = at_turn_end
        self._clock = clock
        self._patience = patience
        self._waiters: dict[Waiter, int] = {}  # and how many requests each has kept
        self._held: dict[Held, None] = {}
        self._kept = 0  # requests of all in line
        self._room = AT_ONCE
        self._refusals = REFUSED_AT_ONCE
        self._rate = _RATE
        self._began = 0.0  # when the turn began, if somebody was left in line
        self._scheduled = False

    def __len__(self) -> int:
        """How many requests are kept."""
        return self._kept

    @property
    def waits(self) -> float:
        """For how long the first in line has waited, in seconds; 0 if nobody does."""
        for waiter in self._waiters:
            return max(0.0, self._clock.seconds() - waiter.waits_since)
        return 0.0

    @property
    def room(self) -> float:
        """How many more may be kept so that the last of them does not wait too long."""
        return self._patience.longest_wait * self._rate - self._kept

    def take(self) -> bool:
        """Whether another request may be served in this turn; it counts as served."""
        room = self._room
        if room <= 0:
            return False
        self._room = room - 1
        if room == AT_ONCE:
            self._at_turn_end(self)
        elif room == 1:
            self._schedule()
        return True

    def turn_ended(self) -> None:
        """The next one has room of its own; one that is scheduled already begins with that."""
        if not self._scheduled:
            self._room = AT_ONCE

    def take_refusal(self) -> bool:
        """Whether another request may be refused in this turn; it counts as refused."""
        if self._refusals <= 0:
            return False
        self._refusals -= 1
        return True

    def join(self, waiter: Waiter, requests: int = 1) -> None:
        """So many requests are kept: their turn comes."""
        self._kept += requests
        self._waiters[waiter] = self._waiters.get(waiter, 0) + requests
        self._schedule()

    def leave(self, waiter: Waiter) -> None:
        """What is kept is to have no turn, or not now."""
        self._kept -= self._waiters.pop(waiter, 0)

    def done(self, waiter: Waiter) -> None:
        """One that was kept has its turn; only of who stands in line."""
        self._kept -= 1
        self._waiters[waiter] -= 1

    def hold(self, held: Held) -> None:
        """Have somebody released when there is room for what that brings."""
        self._held[held] = None
        self._schedule()

    def forget(self, held: Held) -> None:
        """Somebody is not to be released any more."""
        self._held.pop(held, None)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._begin_turn)

    def _begin_turn(self) -> None:
        self._scheduled = False
        now = self._clock.seconds()
        if self._began and self._room <= 0 and now > self._began:
            self._rate += _WEIGHT * (AT_ONCE / (now - self._began) - self._rate)
        self._room = AT_ONCE
        self._refusals = min(self._refusals + REFUSED, REFUSED_AT_ONCE)
        self._serve()
        self._release()
        self._began = now if self._waiters else 0.0
        if self._waiters or (self._held and self.room > 0):
            self._schedule()

    def _serve(self) -> None:
        waiters = self._waiters
        for waiter in list(waiters):
            if self._room <= 0:
                break
            if waiter not in waiters:
                continue  # it left meanwhile
            try:
                left = waiter.serve()
            except Exception:
                _log.failure("a request that waited made trouble; going on")
                left = True
            kept = waiters.pop(waiter, 0)
            if left:
                waiters[waiter] = kept
            else:
                self._kept -= kept

    def _release(self) -> None:
        if self._held and self.room > 0:
            for held in list(self._held)[:RELEASED]:
                self._held.pop(held, None)
                held.release()
