"""A file of JSON lines, written by a thread of its own: a slow or full disk slows nobody."""

import contextlib
import os
from collections import deque
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpgw.journal.worker import Worker
from msrpgw.manage.readable import encode
from msrpgw.manage.sinks.tally import Tally
from msrpgw.timers import Timer, Timers

_log = Logger()

#: most lines that wait for the disk
MAX_LINES = 10_000

#: most bytes that wait for the disk
MAX_BYTES = 16_777_216

#: seconds that lines are gathered for one write
GATHER = 0.05

#: seconds until a disk that failed is tried again
RETRY = 2.0

#: who may read the file
MODE = 0o640


class Disk(Protocol):
    """A file that grows.  All its methods but the constructor run in the worker's thread."""

    def write(self, data: bytes, reopen: bool) -> int:
        """Append; how many bytes there was room for.  Raises OSError."""

    def close(self) -> None:
        """Close the file."""


class AppendedFile:
    """A Disk: the file with a path, made anew when somebody moved or removed it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def write(self, data: bytes, reopen: bool) -> int:
        """Append; how many bytes there was room for.  Raises OSError."""
        if self._descriptor >= 0 and (reopen or self._moved()):
            self.close()
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._descriptor = os.open(self._path, flags, MODE)
        return os.write(self._descriptor, data)

    def _moved(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class LineFile:
    """Takes values, writes each as a line of JSON.  Owned by the Sinks."""

    def __init__(self, path: str, disk: Disk, worker: Worker, timers: Timers, tally: Tally) -> None:
        self.path = path
        self._disk = disk
        self._worker = worker
        self._timers = timers
        self._tally = tally
        self._lines: deque[bytes] = deque()
        self._bytes = 0  # in _lines
        self._rest = b""  # of a batch, for which there was no room
        self._writing = False
        self._timer: Timer | None = None
        self._reopen = False
        self._broken = False  # told in the log
        self._lost = 0  # since then
        self._closed: Deferred[None] | None = None

    def put(self, value: dict[str, Any]) -> None:
        """Write one line, soon.  Never waits; a line for which there is no room is counted."""
        if self._closed is not None or len(self._lines) >= MAX_LINES or self._bytes >= MAX_BYTES:
            self._tally.dropped += 1
            self._lost += 1
            return
        line = encode(value) + b"\n"
        self._lines.append(line)
        self._bytes += len(line)
        if not self._writing and self._timer is None:
            self._timer = self._timers.call_later(GATHER, self._write)

    def reopen(self) -> None:
        """Go on in the file that has the path now: the old one was moved away."""
        self._reopen = True

    def close(self) -> Deferred[None]:
        """Write what waits, if the disk takes it; fires when the file is closed."""
        if self._closed is None:
            self._closed = Deferred()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not self._writing:
                self._write()
        return self._closed if not self._closed.called else succeed(None)

    def _write(self) -> None:
        self._timer = None
        data = self._rest + b"".join(self._lines)
        count = len(self._lines)
        if not data:
            self._end()
            return
        reopen, self._reopen = self._reopen, False
        self._writing = True
        self._worker.run(
            lambda: self._disk.write(data, reopen),
            lambda result: self._written(data, count, result),
        )

    def _written(self, data: bytes, count: int, result: object) -> None:
        self._writing = False
        if isinstance(result, Failure):
            self._failed(result.getErrorMessage())
            return
        assert isinstance(result, int)
        for _ in range(count):
            self._bytes -= len(self._lines.popleft())
        self._tally.written += count
        self._rest = data[result:]
        if self._rest:
            self._failed("no room for all of it")
            return
        if self._broken:
            self._broken = False
            _log.warn(
                "{path} is written again; {lost} lines were lost", path=self.path, lost=self._lost
            )
        self._lost = 0
        if self._lines:
            self._write()
        elif self._closed is not None:
            self._end()

    def _failed(self, reason: str) -> None:
        if not self._broken:
            self._broken = True
            _log.error(
                "{path} can't be written: {reason}; trying again, up to {most} lines wait",
                path=self.path,
                reason=reason,
                most=MAX_LINES,
            )
        if self._closed is not None:
            self._tally.dropped += len(self._lines)
            self._lines.clear()
            self._end()
        elif self._timer is None:
            self._timer = self._timers.call_later(RETRY, self._write)

    def _end(self) -> None:
        if self._closed is not None and not self._closed.called:
            closed = self._closed
            self._worker.run(self._close_disk, lambda result: closed.callback(None))

    def _close_disk(self) -> None:
        with contextlib.suppress(OSError):
            self._disk.close()
