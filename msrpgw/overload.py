"""Whether there is more to do than can be done (RFC 6357 in spirit).

    CALM ──average delay above the limit──► OVERLOADED
      └◄──────── below half of it ─────────────┘

Pure: imports nothing of msrpgw.
"""

import enum

#: seconds from one look at the delay to the next
INTERVAL = 0.1
#: weight of the newest look in the average: one long turn of the reactor is no overload
WEIGHT = 0.3
#: no look counts more than so many times the limit, so that it is soon over when it is over
WORST = 4.0


class OverloadState(enum.Enum):
    """What new sessions get."""

    CALM = "calm"  #: served
    OVERLOADED = "overloaded"  #: 503


class Overload:
    """Decides by the reactor's delay, looked at every ``INTERVAL``.  Owned by the watch."""

    def __init__(self, limit: float) -> None:
        """``limit``: seconds of average delay that are too much."""
        self._limit = limit
        self._average = 0.0
        self.state = OverloadState.CALM

    @property
    def active(self) -> bool:
        """Whether new sessions are refused."""
        return self.state is OverloadState.OVERLOADED

    def observe(self, delay: float) -> bool:
        """The reactor was so late, in seconds.  Returns whether the state has changed."""
        worst = min(max(delay, 0.0), WORST * self._limit)
        self._average += WEIGHT * (worst - self._average)
        before = self.state
        if self._average > self._limit:
            self.state = OverloadState.OVERLOADED
        elif self._average < self._limit / 2:
            self.state = OverloadState.CALM
        return self.state is not before
