"""Where log lines go, and from which level on.

``twistd`` offers the places (standard output, a file, syslog) but no level, so its choice is
made here again with a filter before it.  Imports nothing of msrpgw.
"""

import signal
import sys
from collections.abc import Callable, Mapping

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    InvalidLogLevelError,
    LegacyLogObserverWrapper,
    LogLevel,
    LogLevelFilterPredicate,
    textFileLogObserver,
)
from twisted.python.logfile import LogFile


class Threshold:
    """The least level that is logged; may be changed at any time."""

    def __init__(self, level: str) -> None:
        self._predicate = LogLevelFilterPredicate(LogLevel.levelWithName(level))
        self._level = level

    @property
    def level(self) -> str:
        """Name of the level.  Setting one that there is not raises ValueError."""
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        try:
            constant = LogLevel.levelWithName(level)
        except InvalidLogLevelError:
            known = ", ".join(each.name for each in LogLevel.iterconstants())
            raise ValueError(f"{level!r} is no log level; there are: {known}") from None
        self._predicate.defaultLogLevel = constant
        self._predicate.clearLogLevels()
        self._level = level

    def filtered(self, observer: ILogObserver) -> ILogObserver:
        """An observer that gets only what reaches the threshold."""
        return FilteringLogObserver(observer, [self._predicate])


def observer_factory(
    threshold: Threshold, twistd: Mapping[str, object]
) -> Callable[[], ILogObserver]:
    """What makes the observer when logging starts.

    ``twistd`` holds twistd's own options: ``nodaemon``, ``logfile``, ``syslog``, ``prefix``.
    """

    def observer() -> ILogObserver:
        return threshold.filtered(_place(twistd))

    return observer


def _place(twistd: Mapping[str, object]) -> ILogObserver:
    if twistd.get("syslog"):
        from twisted.python.syslog import SyslogObserver  # not on every platform

        syslog = SyslogObserver(str(twistd.get("prefix")))
        return LegacyLogObserverWrapper(syslog.emit)  # type: ignore[arg-type]  # a method will do
    path = str(twistd.get("logfile") or "")
    if twistd.get("nodaemon") and path in ("", "-"):
        return textFileLogObserver(sys.stdout)
    if path == "-":
        raise SystemExit("msrpgw: a daemon can't log to standard output; see --logfile")
    file = LogFile.fromFullPath(path or "twistd.log")
    if signal.getsignal(signal.SIGUSR1) in (None, signal.SIG_DFL):
        # As twistd does: the log is rotated on SIGUSR1.
        signal.signal(signal.SIGUSR1, lambda number, frame: file.rotate())
    return textFileLogObserver(file)
