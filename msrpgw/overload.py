"""Whether there is more to do than can be done (RFC 6357 in spirit).

    CALM ──average delay above the limit──► OVERLOADED, the share that is refused grows
      └◄──────── share is 0 again ◄──────── below half of the limit, it shrinks

A delay is that of the reactor, or the time that requests wait for their turn, whichever is longer.
Of new sessions any share may be refused.  Of messages in sessions that are up only those that
would have to wait for too long, while this is so (``Limits.longest_wait``).  As those keep delays
short that others would have, each look after such a refusal counts as one at a long delay.

Pure: imports nothing of msrpgw.
"""

import enum

#: seconds from one look at the delay to the next
INTERVAL = 0.1
#: weight of the newest look in the average
WEIGHT = 0.3
#: no look counts more than so many times the limit: one long turn of the reactor, or a host that
#: stood still, is no overload, and what was one is soon over
WORST = 3.0
#: a look after something was refused for its wait counts at least so many times the limit
REFUSED = 2.0

#: how much of what is still taken is refused in addition, at each look above the limit
HARDER = 0.2
#: by how much the share shrinks at each look below half of the limit
SOFTER = 0.1


class OverloadState(enum.Enum):
    """What new sessions get."""

    CALM = "calm"  #: served
    OVERLOADED = "overloaded"  #: 503, a share of them


class Overload:
    """Decides by what is looked at every ``INTERVAL``.  Owned by the watch."""

    def __init__(self, limit: float) -> None:
        """``limit``: seconds of average delay that are too much."""
        self.limit = limit  #: seconds of average delay that are too much
        self._average = 0.0
        self._due = 0.5  # what is to be refused, in requests
        self.share = 0.0  #: of new sessions that are refused

    @property
    def state(self) -> OverloadState:
        """Whether anything is refused."""
        return OverloadState.OVERLOADED if self.share else OverloadState.CALM

    @property
    def active(self) -> bool:
        """Whether new sessions are refused."""
        return self.share > 0.0

    def observe(self, delay: float, refused: bool = False) -> bool:
        """Something was so late, in seconds.  Returns whether the state has changed.

        ``refused``: whether, since the last look, something would have had to wait too long.
        """
        least = REFUSED * self.limit if refused else 0.0
        worst = min(max(delay, least), WORST * self.limit)
        self._average += WEIGHT * (worst - self._average)
        before = self.state
        if self._average > self.limit:
            self.share += HARDER * (1.0 - self.share)
        elif self._average < self.limit / 2:
            self.share = max(0.0, self.share - SOFTER)
        return self.state is not before

    def refuses(self) -> bool:
        """Whether the next new session is one of the share."""
        self._due += self.share
        if self._due < 1.0:
            return False
        self._due -= 1.0
        return True
