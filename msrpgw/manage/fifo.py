"""Management over a FIFO, as OpenSIPS's mi_fifo: ``:reply_fifo:`` and JSON-RPC in, JSON out.

The client makes the reply FIFO, writes its request, and only then opens the reply FIFO to read.
"""

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from msrpgw.manage.rpc import PARSE_ERROR, Dispatcher
from msrpgw.timers import Timer, Timers

_log = Logger()

#: largest request, and what may wait to be read
MAX_REQUEST = 1_048_576

#: seconds that the rest of a request may take
PATIENCE = 1.0

#: seconds in which a client must read its reply, and between attempts to write it
REPLY_TIMEOUT = 5.0
REPLY_INTERVAL = 0.02

#: the name of a reply FIFO; empty when no reply is wanted
_HEAD = re.compile(r"\s*:([^:/\0\s]{0,255}):")


class FifoManagement:
    """Reads where ``[manage] fifo`` says.  Owned by the service."""

    def __init__(
        self,
        reactor: Any,
        timers: Timers,
        path: str,
        reply_directory: str,
        dispatcher: Dispatcher,
    ) -> None:
        self._reactor = reactor
        self._timers = timers
        self._path = path
        self._reply_directory = reply_directory
        self._dispatcher = dispatcher
        self._fd: int | None = None
        self._buffer = b""
        self._patience: Timer | None = None

    # Life

    def start(self) -> None:
        """Make the FIFO, or use one that a crash left.  Raises CannotListenError."""
        try:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(self._path, 0o600)
            # Open for writing as well: else it would be at its end whenever no client is there.
            fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            status = os.fstat(fd)
            if not stat.S_ISFIFO(status.st_mode) or status.st_uid != os.geteuid():
                os.close(fd)
                raise OSError(errno.EEXIST, "there is something else, or somebody else's")
            os.fchmod(fd, 0o600)
        except OSError as error:
            raise CannotListenError(None, self._path, error) from error
        self._fd = fd
        self._reactor.addReader(self)

    def addresses(self) -> list[str]:
        """What is read."""
        return [f"fifo:{self._path}"] if self._fd is not None else []

    def stop(self) -> Deferred[None]:
        """Read no more, and remove the FIFO."""
        if self._fd is not None:
            self._reactor.removeReader(self)
            os.close(self._fd)
            self._fd = None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        return succeed(None)

    # What the reactor asks of a reader

    def fileno(self) -> int:
        """The FIFO's."""
        return -1 if self._fd is None else self._fd

    def logPrefix(self) -> str:
        """In the reactor's own log lines."""
        return "management FIFO"

    def connectionLost(self, reason: object) -> None:
        """The reactor gives up on it."""

    def doRead(self) -> None:
        """Take what there is."""
        assert self._fd is not None
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        self.received(data)

    # Requests

    def received(self, data: bytes) -> None:
        """Take some bytes: requests, whole or in parts, one or several."""
        self._buffer += data
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        while self._take_one():
            pass
        if len(self._buffer) > MAX_REQUEST:
            self._give_up()
        elif self._buffer:
            self._patience = self._timers.call_later(PATIENCE, self._give_up)

    def _take_one(self) -> bool:
        """Answer the first request in the buffer, if it is whole."""
        text = self._buffer.decode("utf-8", "replace")
        head = _HEAD.match(text)
        if head is None:
            if not text.strip():
                self._buffer = b""
            return False
        try:
            _, end = json.JSONDecoder().raw_decode(text, head.end())
        except (ValueError, RecursionError):
            return False  # or not whole yet
        request = text[head.end() : end].encode()
        self._buffer = text[end:].encode()
        self._answer(head[1], request)
        return True

    def _give_up(self) -> None:
        """What is in the buffer never becomes a request."""
        self._patience = None
        head = _HEAD.match(self._buffer[:300].decode("utf-8", "replace"))
        self._buffer = b""
        _log.warn("management FIFO: what came is no request; see docs/management.md")
        if head is not None and head[1]:
            error = {"code": PARSE_ERROR, "message": "Parse error"}
            answer = {"jsonrpc": "2.0", "error": error, "id": None}
            self._reply(head[1], json.dumps(answer).encode())

    def _answer(self, name: str, request: bytes) -> None:
        def answered(answer: bytes | None) -> None:
            if name and answer is not None:
                self._reply(name, answer)

        self._dispatcher.handle(request).addCallback(answered)

    def _reply(self, name: str, answer: bytes) -> None:
        if name in (".", ".."):
            return
        path = os.path.join(self._reply_directory, name)
        _Reply(self._timers, path, answer + b"\n").attempt()


class _Reply:
    """One answer on its way into a reply FIFO."""

    def __init__(self, timers: Timers, path: str, data: bytes) -> None:
        self._timers = timers
        self._path = path
        self._data = data
        self._fd: int | None = None
        self._deadline = timers.seconds() + REPLY_TIMEOUT

    def attempt(self) -> None:
        """Write what can be written now; go on later with the rest."""
        try:
            if self._fd is None:
                self._fd = _open_fifo(self._path)
            while self._data:
                self._data = self._data[os.write(self._fd, self._data) :]
        except OSError as error:
            # ENXIO: the client has not opened it yet; EAGAIN: it has not read what is there.
            waits = error.errno in (errno.ENXIO, errno.EAGAIN)
            if waits and self._timers.seconds() < self._deadline:
                self._later(self.attempt)
                return
            _log.warn(
                "management FIFO: no reply into {path!r}: {error}",
                path=self._path,
                error=error.strerror,
            )
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _later(self, attempt: Callable[[], None]) -> None:
        self._timers.call_later(REPLY_INTERVAL, attempt)


def _open_fifo(path: str) -> int:
    """Open a reply FIFO that a client of ours made.  Raises OSError."""
    status = os.lstat(path)
    if not stat.S_ISFIFO(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
        raise OSError(errno.EPERM, "no FIFO, or somebody else's")
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
