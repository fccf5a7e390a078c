"""What one user, one source and all together may ask of us: the table ``[limits]``.

Pure: imports nothing of msrpgw; time is handed in.
"""

import math
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Rate = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of what peers may ask for.  Times in seconds, rates a second."""

    #: what holds for one user or source does not hold for ``trusted_sources`` and loopback
    exempt_trusted: bool = True
    #: MESSAGEs a second from one user, and how many may come at once; a rate of 0 is no limit
    user_rate: Rate = 20.0
    user_burst: Count = 100
    #: the same from one address
    source_rate: Rate = 200.0
    source_burst: Count = 1000
    #: most sessions of one user, and of one address
    user_sessions: Count = 100
    source_sessions: Count = 1000
    #: most SIP connections from one address, and as many of MSRP
    source_connections: Count = 100
    #: most sessions being set up in all; more get 503
    half_open: Count = 10_000
    #: most sessions being set up that one address asked for
    source_half_open: Count = 100
    #: most users, and most addresses, whose rates are remembered
    remembered: Count = 50_000
    #: a message must be whole after so long, and a second for each ``slowest`` bytes of it
    progress_timeout: Seconds = 20.0
    slowest: Count = 1024
    #: over UDP, an address that proved nothing gets at most so many times what it sent
    amplification: Count = 3
    #: from this average delay of the reactor on, a share of new sessions gets 503
    overload_delay: Seconds = 0.1
    #: longest that a message of a session that is up may wait for its turn while the gateway is
    #: overloaded; more get 503 or 413.  0: no limit
    overload_wait: Rate = 0.1
    #: what Retry-After says to who is refused
    retry_after: Count = 5


class LimitCounters:
    """What was refused, by reason; plain numbers since the start."""

    __slots__ = (
        "amplification",
        "half_open",
        "overload",
        "overload_dropped",
        "overload_late",
        "overload_live",
        "rested",
        "slow",
        "source_connections",
        "source_half_open",
        "source_rate",
        "source_sessions",
        "user_rate",
        "user_sessions",
    )

    def __init__(self) -> None:
        self.amplification = 0  #: UDP responses not sent to addresses that proved nothing
        self.half_open = 0  #: sessions refused because too many were being set up
        self.overload = 0  #: sessions refused because the gateway was overloaded
        #: MESSAGEs over UDP let go of without an answer, as there were too many to be refused
        self.overload_dropped = 0
        self.overload_late = 0  #: SENDs refused because they would have had to wait too long
        #: MESSAGEs refused for the same reason, those to sessions that were up included
        self.overload_live = 0
        self.rested = 0  #: times that an MSRP user was not heard, for page users to catch up
        self.slow = 0  #: connections closed because a message took too long to arrive
        self.source_connections = 0  #: connections refused because the address had too many
        self.source_half_open = 0  #: sessions refused, too many of the address being set up
        self.source_rate = 0  #: MESSAGEs refused because the address sent too many
        self.source_sessions = 0  #: sessions refused because the address had too many
        self.user_rate = 0  #: MESSAGEs refused because the user sent too many
        self.user_sessions = 0  #: sessions refused because the user had too many

    @property
    def overload_waits(self) -> int:
        """Messages refused, or let go of, because they would have had to wait too long."""
        return self.overload_dropped + self.overload_late + self.overload_live

    @property
    def overloads(self) -> int:
        """All that was refused because the gateway was overloaded."""
        return self.overload + self.overload_waits


class Buckets:
    """Token buckets by key, ``size`` of them at most: the one longest unused is forgotten first.

    Forgotten is as good as full, so what fills the table locks nobody out.
    """

    def __init__(self, rate: float, burst: int, size: int) -> None:
        """``rate`` in tokens a second, 0 for no limit; ``burst`` is what a full bucket has."""
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and when there were so many
        self.configure(rate, burst, size)

    def configure(self, rate: float, burst: int, size: int) -> None:
        """Use these from now on."""
        self._rate = rate
        self._burst = float(burst)
        self._size = size

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._buckets)

    def take(self, key: str, now: float) -> bool:
        """Take a token; False if there is none."""
        if not self._rate:
            return True
        tokens, since = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        enough = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if enough else tokens, now)
        while len(self._buckets) > self._size:
            del self._buckets[next(iter(self._buckets))]
        return enough


class Shares:
    """How many of something each key has.  Remembers only keys that have one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        """How many keys have one."""
        return len(self._counts)

    def full(self, key: str) -> bool:
        """Whether a key has all it may have."""
        return self._counts.get(key, 0) >= self.limit

    def enter(self, key: str) -> None:
        """One more."""
        self._counts[key] = self._counts.get(key, 0) + 1

    def leave(self, key: str) -> None:
        """One less."""
        left = self._counts.get(key, 0) - 1
        if left > 0:
            self._counts[key] = left
        else:
            self._counts.pop(key, None)


def _everybody(host: str) -> bool:
    return True


class Limits:
    """The limits of one program: settings, counters, and who is exempt.  Made by the service."""

    def __init__(
        self, settings: LimitSettings | None = None, trusted: Callable[[str], bool] = _everybody
    ) -> None:
        """``trusted`` says whether an IP address is one of those named as trusted."""
        self.settings = settings or LimitSettings()
        self.trusted = trusted
        self.counters = LimitCounters()
        self._heeding: list[Callable[[LimitSettings], None]] = []
        self.overloaded = False  #: whether there is more to do than can be done

    def heed(self, use: Callable[[LimitSettings], None]) -> None:
        """Have somebody use the settings, now and whenever they change."""
        self._heeding.append(use)
        use(self.settings)

    def configure(self, settings: LimitSettings) -> None:
        """Use these from now on; who has more than they allow keeps it."""
        self.settings = settings
        for use in self._heeding:
            use(settings)

    def exempt(self, host: str) -> bool:
        """Whether what holds for one user or source does not hold for an IP address."""
        return self.settings.exempt_trusted and self.trusted(host)

    @property
    def longest_wait(self) -> float:
        """For how many seconds requests may wait for their turn before more are refused.

        Endless unless there is too much to do: one page user who is slow is no reason.
        """
        return self.settings.overload_wait or math.inf if self.overloaded else math.inf

    def connections(self) -> "Connections":
        """A count of the connections of one wire."""
        return Connections(self)


class Connections:
    """How many connections each address has on one wire."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._shares = Shares(0)
        limits.heed(self._use)

    def _use(self, settings: LimitSettings) -> None:
        self._shares.limit = settings.source_connections

    def full(self, host: str) -> bool:
        """Whether an address may not have another connection; counted if so."""
        if not self._shares.full(host) or self._limits.exempt(host):
            return False
        self._limits.counters.source_connections += 1
        return True

    def enter(self, host: str) -> None:
        """A connection is made."""
        self._shares.enter(host)

    def leave(self, host: str) -> None:
        """It is gone."""
        self._shares.leave(host)


class Progress:
    """How long the message that is arriving on one connection has taken."""

    __slots__ = ("_began", "_limits", "_size")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._began = 0.0
        self._size = 0  # bytes that came since

    def began(self, now: float) -> None:
        """A message has begun, or another one."""
        self._began = now
        self._size = 0

    def received(self, size: int) -> None:
        """More of it came."""
        self._size += size

    def left(self, now: float) -> float:
        """Seconds that it may still take; counted if there are none."""
        settings = self._limits.settings
        left = self._began + settings.progress_timeout + self._size / settings.slowest - now
        if left <= 0:
            self._limits.counters.slow += 1
        return left
