"""What the user agent counts, and how it complains without flooding the log.

Imports nothing of this room but is used by its Twisted part only.
"""

from twisted.logger import Logger, LogLevel

from msrpgw.timers import Timers

_log = Logger(namespace="msrpgw.sip")

#: seconds in which complaints of one kind make one line
_INTERVAL = 10.0
#: most characters of a peer's text in a line
_SHOWN = 200


class SipCounters:
    """Plain numbers since the start; whoever shows them reads them here."""

    __slots__ = (
        "fail_overs",
        "malformed",
        "merged",
        "overloaded",
        "refused_connections",
        "refused_sources",
        "stray_responses",
        "undeliverable",
    )

    def __init__(self) -> None:
        self.fail_overs = 0  #: requests of ours that were sent to another target
        self.malformed = 0  #: messages that could not be understood
        self.merged = 0  #: requests answered 482 because they came by two ways
        self.overloaded = 0  #: requests answered 503 for lack of room
        self.refused_connections = 0  #: connections above ``max_connections``
        self.refused_sources = 0  #: requests answered 403 for where they came from
        self.stray_responses = 0  #: responses to nothing that we still know of
        self.undeliverable = 0  #: datagrams that the network gave back (ICMP)


class Complaints:
    """Logs what peers do wrong: of each kind one line in ten seconds, the others counted."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._kinds: dict[str, tuple[float, int]] = {}  # last line's time, lines left out since

    def add(self, kind: str, peer: str, what: str) -> None:
        """Log, or only count.

        ``kind`` is ours and one of few; ``peer`` and ``what`` may be the peer's own words.
        """
        now = self._timers.seconds()
        last, skipped = self._kinds.get(kind, (now - _INTERVAL, 0))
        if now - last < _INTERVAL:
            self._kinds[kind] = (last, skipped + 1)
            return
        self._kinds[kind] = (now, 0)
        _log.emit(
            LogLevel.warn,
            "{kind} from {peer}: {what}{more}",
            kind=kind,
            peer=_escaped(peer),
            what=_escaped(what),
            more=f" ({skipped} more since the last such line)" if skipped else "",
        )


def _escaped(text: str) -> str:
    """Visible ASCII only: a peer must not write lines of its own into our log."""
    return ascii(text[:_SHOWN])[1:-1]
