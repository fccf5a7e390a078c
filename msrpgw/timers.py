"""Many cheap timers on one reactor clock.

Transactions come and go thousands a second, each with timers that nearly never fire.  A wheel
keeps them in slots of ``resolution`` seconds; the reactor carries one delayed call for the
earliest slot, however many timers wait.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()

_Item = TypeVar("_Item")

#: so many slots may all be empty
_FEW = 1024


def _nothing() -> None:
    """What a timer calls that was cancelled."""


class Timer:
    """One pending call.  Owned by whoever asked for it; ends when it fires or is cancelled."""

    __slots__ = ("_slot", "callback")

    def __init__(self, slot: "dict[Timer, None]", callback: Callable[[], object]) -> None:
        self._slot: dict[Timer, None] | None = slot
        self.callback = callback

    @property
    def active(self) -> bool:
        """Whether the call is still to come."""
        return self._slot is not None

    def cancel(self) -> None:
        """Forget the call.  Does nothing when it was made or cancelled before."""
        slot = self._slot
        if slot is not None:
            self._slot = None
            self.callback = _nothing  # it mostly belongs to who has the timer: no circle
            slot.pop(self, None)


class Timers:
    """The wheel.  One for the whole program; lives as long as its clock.

    A timer never fires early, and late by at most ``resolution`` seconds.
    """

    def __init__(self, clock: IReactorTime, resolution: float = 0.01) -> None:
        self._clock = clock
        self._resolution = resolution
        self._slots: dict[int, dict[Timer, None]] = {}
        self._ticks: list[int] = []  # heap of the keys of _slots
        self._many = _FEW  # slots; with so many, those that are empty go
        self._wakeup: IDelayedCall | None = None
        self._wakeup_tick = 0
        self.seconds = clock.seconds  #: the clock's time, in seconds

    def __len__(self) -> int:
        """How many calls are pending."""
        return sum(map(len, self._slots.values()))

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` once, ``delay`` seconds from now."""
        # The small slack keeps a delay that is a whole number of ticks from taking one more.
        tick = math.ceil((self.seconds() + delay) / self._resolution - 1e-6)
        slot = self._slots.get(tick)
        if slot is not None:
            timer = Timer(slot, callback)
            slot[timer] = None
            return timer
        slot = self._slots[tick] = {}
        timer = Timer(slot, callback)
        slot[timer] = None  # before _arm, which clears empty slots away
        heapq.heappush(self._ticks, tick)
        if len(self._slots) >= self._many:
            self._clear_away()
        if self._wakeup is None or tick < self._wakeup_tick:
            self._arm()
        return timer

    def _clear_away(self) -> None:
        """Forget empty slots before their time: timers of hours that nearly all are cancelled would
        leave a hundred of them a second."""
        self._slots = {tick: slot for tick, slot in self._slots.items() if slot}
        self._ticks = sorted(self._slots)
        self._many = max(_FEW, 2 * len(self._slots))

    def _arm(self) -> None:
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        while self._ticks and not self._slots[self._ticks[0]]:
            del self._slots[heapq.heappop(self._ticks)]  # all of them were cancelled
        if self._ticks:
            self._wakeup_tick = self._ticks[0]
            delay = self._wakeup_tick * self._resolution - self.seconds()
            self._wakeup = self._clock.callLater(max(0.0, delay), self._fire)

    def _fire(self) -> None:
        self._wakeup = None
        now = self.seconds() / self._resolution + 1e-6
        while self._ticks and self._ticks[0] <= now:
            slot = self._slots.pop(heapq.heappop(self._ticks))
            while slot:
                timer = next(iter(slot))
                del slot[timer]
                timer._slot = None
                callback, timer.callback = timer.callback, _nothing
                try:
                    callback()
                except Exception:
                    _log.failure("a timer's callback failed; other timers go on")
        if self._wakeup is None:
            self._arm()


class DelayLine(Generic[_Item]):
    """Things that all wait equally long, first in, first out.

    Cheaper than a timer for each where nothing needs to be cancelled: an item that does not
    matter any more is simply skipped by ``callback``.  At most one timer is pending.
    """

    __slots__ = ("_callback", "_due", "_line", "_timer", "_timers", "delay")

    def __init__(self, timers: Timers, delay: float, callback: Callable[[_Item], object]) -> None:
        self._timers = timers
        self.delay = delay  #: seconds; less than before takes effect when what waits is over
        self._callback = callback
        # Side by side, not in pairs: those would be the garbage collector's business.
        self._line: deque[_Item] = deque()
        self._due: deque[float] = deque()
        self._timer: Timer | None = None

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._line)

    def push(self, item: _Item) -> None:
        """Hand ``item`` to the callback once the delay is over."""
        self._line.append(item)
        self._due.append(self._timers.seconds() + self.delay)
        if self._timer is None:
            self._timer = self._timers.call_later(self.delay, self._fire)

    def pop(self) -> _Item:
        """Take out the item that waited longest, before its time.  Raises IndexError when empty."""
        item = self._line.popleft()
        self._due.popleft()
        return item

    def clear(self) -> None:
        """Forget all items."""
        self._line.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        # The timer that fired stays until the end: what a callback pushes must not arm another.
        line, due = self._line, self._due
        # A timer may come early by the slack of the wheel's rounding.
        now = self._timers.seconds() + 1e-6
        while due and due[0] <= now:
            due.popleft()
            item = line.popleft()
            try:
                self._callback(item)
            except Exception:
                _log.failure("a delay line's callback failed; the others go on")
        self._timer = self._timers.call_later(due[0] - now, self._fire) if due else None
