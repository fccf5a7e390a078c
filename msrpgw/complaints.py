"""What peers do wrong, said in the log without letting them fill it.

Imports timers.
"""

from twisted.logger import Logger, LogLevel

from msrpgw.timers import Timers

#: seconds in which complaints of one kind make one line
_INTERVAL = 10.0
#: most characters of a peer's text in a line
_SHOWN = 200


class Complaints:
    """Logs what peers do wrong: of each kind one line in ten seconds, the others counted."""

    def __init__(self, timers: Timers, namespace: str) -> None:
        """``namespace``: of the log lines."""
        self._timers = timers
        self._log = Logger(namespace=namespace)
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
        self._log.emit(
            LogLevel.warn,
            "{kind} from {peer}: {what}{more}",
            kind=kind,
            peer=escaped(peer),
            what=escaped(what),
            more=f" ({skipped} more since the last such line)" if skipped else "",
        )


def escaped(text: str) -> str:
    """Visible ASCII only: a peer must not write lines of its own into our log."""
    return ascii(text[:_SHOWN])[1:-1]
