"""Whether there is more to do than can be done (RFC 6357 in spirit).

    CALM ──average delay above the limit──► OVERLOADED, the share that is refused grows
      └◄──────── share is 0 again ◄──────── below half of the limit, it shrinks

A delay is that of the reactor, or the time since which it has not read all that came, whichever is
longer.  Of new sessions any share may be refused.  Of MESSAGEs to sessions that are up only those
that come faster than they are read.

Pure: imports nothing of msrpgw.
"""

import enum

#: seconds from one look at the delay to the next
INTERVAL = 0.1
#: weight of the newest look in the average: one long turn of the reactor is no overload
WEIGHT = 0.3
#: no look counts more than so many times the limit, so that it is soon over when it is over
WORST = 4.0


#: how much of what is still taken is refused in addition, at each look above the limit
HARDER = 0.2
#: by how much the share shrinks at each look below half of the limit
SOFTER = 0.1

#: the most that is refused of MESSAGEs to sessions that are up: most of what the kernel drops
#: unread beyond that is a copy of what was refused
MOST_OF_LIVE = 0.9
#: by how much that share grows and shrinks at each look, at most and at least: by half as much when
#: the direction changes, so that it comes to rest where as much is refused as is too much.  By the
#: same all the time it swung between half and all, and a third of what could be delivered was not;
#: slowly, as it takes a while until the kernel's buffer shows what came of it
LIVE_HARDER, LIVE_SOFTER, LIVE_LEAST = 0.04, 0.1, 0.01
LIVE_FASTER = 1.3


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
        self._live_due = 0.5
        self.share = 0.0  #: of new sessions that are refused
        self._live_step = LIVE_HARDER  # less than nothing: the share shrinks
        self.live_share = 0.0  #: of MESSAGEs to sessions that are up, where they come too fast

    @property
    def state(self) -> OverloadState:
        """Whether anything is refused."""
        return OverloadState.OVERLOADED if self.share else OverloadState.CALM

    @property
    def active(self) -> bool:
        """Whether new sessions are refused."""
        return self.share > 0.0

    def observe(self, delay: float, backlog: float = 0.0) -> bool:
        """The reactor was so late, and for so long it has not read all that came, in seconds.

        Returns whether the state has changed.
        """
        worst = min(max(delay, backlog, 0.0), WORST * self.limit)
        self._average += WEIGHT * (worst - self._average)
        before = self.state
        if self._average > self.limit:
            self.share += HARDER * (1.0 - self.share)
        elif self._average < self.limit / 2:
            self.share = max(0.0, self.share - SOFTER)
        if backlog > self.limit and self.share:
            self._move(1.0)
        elif not backlog and self.live_share:
            self._move(-1.0)
        return self.state is not before

    def _move(self, direction: float) -> None:
        most = LIVE_HARDER if direction > 0.0 else LIVE_SOFTER
        step = self._live_step * direction
        step = max(-step / 2, LIVE_LEAST) if step < 0.0 else min(step * LIVE_FASTER, most)
        self._live_step = step * direction
        self.live_share = min(max(self.live_share + self._live_step, 0.0), MOST_OF_LIVE)
        if not self.live_share:
            self._live_step = LIVE_HARDER

    def refuses(self) -> bool:
        """Whether the next new session is one of the share."""
        self._due += self.share
        if self._due < 1.0:
            return False
        self._due -= 1.0
        return True

    def refuses_live(self) -> bool:
        """The same of the next MESSAGE to a session that is up, where they come too fast."""
        self._live_due += self.live_share
        if self._live_due < 1.0:
            return False
        self._live_due -= 1.0
        return True
