"""How late the reactor is: a timer says when it was due and when it came."""

from collections import deque
from collections.abc import Callable

from msrpgw.histogram import Histogram
from msrpgw.timers import Timer, Timers

#: seconds from one look to the next
INTERVAL = 1.0

#: looks that the latest figure is the worst of
LOOKS = 10

#: seconds, bounds of the histogram
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Lag:
    """Looks once a second.  Owned by the management."""

    def __init__(self, timers: Timers, seconds: Callable[[], float]) -> None:
        """``seconds``: a clock that goes on while the reactor is busy."""
        self._timers = timers
        self._seconds = seconds
        self._timer: Timer | None = None
        self._due = 0.0
        self._latest: deque[float] = deque(maxlen=LOOKS)
        self.histogram = Histogram(BOUNDS)  #: seconds

    def start(self) -> None:
        """Look from now on."""
        self._due = self._seconds() + INTERVAL
        self._timer = self._timers.call_later(INTERVAL, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def worst(self) -> int:
        """The longest delay lately, in milliseconds."""
        return round(1000 * max(self._latest, default=0.0))

    def _look(self) -> None:
        late = max(0.0, self._seconds() - self._due)
        self._latest.append(late)
        self.histogram.add(late)
        self.start()
