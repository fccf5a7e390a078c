"""Where log lines go, and from which level on.

``twistd`` offers the places (standard output, a file, syslog) but no level, so its choice is
made here again with a filter before it.  What peers say is made visible on the way, wherever it is
logged: they must not write lines of their own, nor talk to the terminal.  Imports nothing
of msrpgw.
"""

import signal
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import IO, Any

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    InvalidLogLevelError,
    LegacyLogObserverWrapper,
    LogEvent,
    LogLevel,
    formatEventAsClassicLogText,
    formatTime,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer


class Threshold:
    """The least level that is logged; may be changed at any time."""

    def __init__(self, level: str) -> None:
        self._use(level)

    @property
    def level(self) -> str:
        """Name of the level.  Setting one that there is not raises ValueError."""
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        try:
            self._use(level)
        except InvalidLogLevelError:
            known = ", ".join(each.name for each in LogLevel.iterconstants())
            raise ValueError(f"{level!r} is no log level; there are: {known}") from None

    def _use(self, level: str) -> None:
        least = LogLevel.levelWithName(level)
        self._passing = {each.name for each in LogLevel.iterconstants() if each >= least}
        self._level = level

    def passes(self, event: LogEvent) -> bool:
        """Whether an event reaches the threshold.  One without a level or a source does not."""
        level = event.get("log_level")
        return level is not None and level.name in self._passing and "log_namespace" in event

    def filtered(self, observer: ILogObserver) -> ILogObserver:
        """An observer that gets only what reaches the threshold."""
        return _Filter(self, observer)


@implementer(ILogObserver)
class _Filter:
    """Hands on what reaches the threshold.

    Twisted's looks the level up by the namespace and its parents: as much as writing the line.
    """

    def __init__(self, threshold: Threshold, observer: ILogObserver) -> None:
        self._threshold = threshold
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        """One event."""
        if self._threshold.passes(event):
            self._observer(event)


def observer_factory(
    threshold: Threshold, twistd: Mapping[str, object]
) -> Callable[[], ILogObserver]:
    """What makes the observer when logging starts.

    ``twistd`` holds twistd's own options: ``nodaemon``, ``logfile``, ``syslog``, ``prefix``.
    """

    def observer() -> ILogObserver:
        return threshold.filtered(_place(twistd))

    return observer


def visible(text: str, *, lines: bool = False) -> str:
    """A text without anything that can't be seen: escaped, but for line ends if ``lines``."""
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)


def _cleaned(event: LogEvent) -> LogEvent:
    """An event whose values are one line each; Twisted's own, a traceback among them, stay."""
    return {
        key: visible(value) if isinstance(value, str) and not key.startswith("log_") else value
        for key, value in event.items()
    }


@implementer(ILogObserver)
class _Cleaning:
    """Hands on cleaned events."""

    def __init__(self, observer: ILogObserver) -> None:
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        """One event."""
        self._observer(_cleaned(event))


@lru_cache(maxsize=2)
def _time(second: int) -> str:
    return formatTime(second)


def _usual_text(event: LogEvent) -> str | None:
    """A line of ours as ``formatEventAsClassicLogText`` has it; None for all that is not so simple.

    Each session writes two lines: Twisted's way took 15 % of what setting it up costs, this takes
    a third of that.
    """
    format = event.get("log_format")
    if type(format) is not str or "()" in format or "log_failure" in event or "log_system" in event:
        return None
    try:
        said = format.format_map(event)
        level = event["log_level"].name
        line = f"{_time(int(event['log_time']))} [{event['log_namespace']}#{level}] {said}"
    except Exception:
        return None  # Twisted says what is wrong with it
    return f"{line}\n" if said and line.isprintable() else None


def _text(event: LogEvent) -> str | None:
    text = _usual_text(event)
    if text is not None:
        return text
    text = formatEventAsClassicLogText(_cleaned(event))
    return visible(text, lines=True) if text is not None else None


def _to_file(file: IO[Any] | LogFile) -> ILogObserver:
    return FileLogObserver(file, _text)  # type: ignore[arg-type]  # a LogFile will do


def _place(twistd: Mapping[str, object]) -> ILogObserver:
    if twistd.get("syslog"):
        from twisted.python.syslog import SyslogObserver  # not on every platform

        syslog = SyslogObserver(str(twistd.get("prefix")))
        legacy = LegacyLogObserverWrapper(syslog.emit)  # type: ignore[arg-type]  # a method will do
        return _Cleaning(legacy)
    path = str(twistd.get("logfile") or "")
    if twistd.get("nodaemon") and path in ("", "-"):
        return _to_file(sys.stdout)
    if path == "-":
        raise SystemExit("msrpgw: a daemon can't log to standard output; see --logfile")
    file = LogFile.fromFullPath(path or "twistd.log")
    if signal.getsignal(signal.SIGUSR1) in (None, signal.SIG_DFL):
        # As twistd does: the log is rotated on SIGUSR1.
        signal.signal(signal.SIGUSR1, lambda number, frame: file.rotate())
    return _to_file(file)
