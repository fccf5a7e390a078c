"""Web hooks: one signed POST for each event, in order, tried again when it fails."""

import hashlib
import hmac
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import treq
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from msrpgw.manage.readable import encode
from msrpgw.manage.sinks.tally import Tally
from msrpgw.timers import Timer, Timers
from msrpgw.types import Event

_log = Logger()

#: most events that wait for one web server
MAX_QUEUE = 1000

#: seconds until an event is tried again: doubled each time, up to the second
FIRST_RETRY, LAST_RETRY = 1.0, 60.0

#: statuses that say "later": all others from 400 to 499 say "never" (RFC 9110 §15.5)
_LATER = frozenset({408, 421, 425, 429})


class Poster(Protocol):
    """Makes HTTP requests."""

    def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout: float
    ) -> "Deferred[int]":
        """POST; fires with the status, or fails with the reason, within ``timeout`` seconds."""


class TreqPoster:
    """A Poster on the reactor: a connection for each request, the body of the answer unread."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._agent = Agent(reactor)

    def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout: float
    ) -> "Deferred[int]":
        """POST; fires with the status, or fails with the reason, within ``timeout`` seconds."""
        asked: Deferred[Any] = treq.post(
            url,
            headers=Headers({name: [value] for name, value in headers.items()}),
            data=body,
            agent=self._agent,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
            timeout=timeout,
        )
        return asked.addCallback(_status)


def _status(response: Any) -> int:
    # A peer may send a body without end: nothing of it is read.
    original: IResponse = response.original
    original.deliverBody(_Unread())
    return int(response.code)


class _Unread(TwistedProtocol):
    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()


class WebhookSink:
    """Sends events to one web server.  Owned by the Sinks.

    Each request says which attempt to send the same event it is, so that a receiver may know what
    it has already.
    """

    def __init__(
        self,
        url: str,
        secret: bytes | None,
        timeout: float,
        give_up: float,
        poster: Poster,
        timers: Timers,
        tally: Tally,
        *,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """``timeout``, ``give_up``: seconds, for a request and for an event."""
        self.url = url
        self._secret = secret
        self._timeout = timeout
        self._give_up = give_up
        self._poster = poster
        self._timers = timers
        self._tally = tally
        self._now = now
        self._new_id = new_id
        # When it was raised, on the clock; its id; its name; its body.
        self._queue: deque[tuple[float, str, str, bytes]] = deque()
        self._attempt = 0  # to send the first of the queue
        self._timer: Timer | None = None
        self._asked: Deferred[int] | None = None
        self._broken = False  # told in the log
        self._lost = 0  # since then
        self._closed = False

    def put(self, event: Event) -> None:
        """Send one event when its turn comes.  Never waits."""
        if self._closed or len(self._queue) >= MAX_QUEUE:
            self._drop()
            return
        id_ = self._new_id()
        body = encode(
            {
                "id": id_,
                "time": round(self._now(), 3),
                "event": event.name,
                "params": event.parameters,
            }
        )
        self._queue.append((self._timers.seconds(), id_, event.name, body))
        if len(self._queue) == 1:
            self._send()

    def close(self) -> None:
        """Send nothing more; what waits is lost, and the log says so."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        left = len(self._queue)
        for _ in range(left):
            self._drop()
        self._queue.clear()
        if self._asked is not None:
            self._asked.cancel()
        if left:
            _log.warn(
                "web hook {url!r}: {left} events were not sent before the end",
                url=self.url,
                left=left,
            )

    def _drop(self) -> None:
        self._tally.dropped += 1
        self._lost += 1

    def _send(self) -> None:
        self._timer = None
        _, id_, name, body = self._queue[0]
        self._attempt += 1
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "msrpgw",
            "X-Msrpgw-Event": name,
            "X-Msrpgw-Delivery": id_,
            "X-Msrpgw-Attempt": str(self._attempt),
        }
        if self._secret is not None:
            headers["X-Msrpgw-Signature"] = sign(self._secret, int(self._now()), body)
        asked = self._asked = self._poster.post(self.url, headers, body, self._timeout)
        asked.addCallbacks(self._answered, self._failed)

    def _answered(self, status: int) -> None:
        self._asked = None
        if self._closed:
            return
        if 200 <= status < 300:
            self._tally.written += 1
            if self._broken:
                self._broken = False
                _log.warn(
                    "web hook {url!r} answers again; {lost} events were lost",
                    url=self.url,
                    lost=self._lost,
                )
            self._lost = 0
            self._next()
        elif 400 <= status < 500 and status not in _LATER:
            self._complain(f"it answers {status}")
            self._drop()
            self._next()
        else:
            self._again(f"it answers {status}")

    def _failed(self, failure: Failure) -> None:
        self._asked = None
        if not self._closed:
            error = failure.value
            if isinstance(error, ResponseFailed) and error.reasons:
                failure = error.reasons[0]  # so look treq's time-out, and a loss
            late = failure.check(CancelledError) is not None
            self._again("no answer in time" if late else failure.getErrorMessage())

    def _next(self) -> None:
        self._queue.popleft()
        self._attempt = 0
        if self._queue:
            self._send()

    def _again(self, reason: str) -> None:
        self._complain(reason)
        raised = self._queue[0][0]
        if self._timers.seconds() - raised >= self._give_up:
            self._drop()
            self._queue.popleft()
            self._attempt = 0
        if self._queue:
            # The next of the queue waits as the first did: the server has not recovered.
            wait = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(max(self._attempt - 1, 0), 10))
            self._timer = self._timers.call_later(wait, self._send)

    def _complain(self, reason: str) -> None:
        if not self._broken:
            self._broken = True
            _log.error(
                "web hook {url!r} fails: {reason}; trying again, up to {most} events wait",
                url=self.url,
                reason=reason,
                most=MAX_QUEUE,
            )


def sign(secret: bytes, time: int, body: bytes) -> str:
    """The value of X-Msrpgw-Signature: the time, and HMAC-SHA256 over time, a dot and the body.

    ``time``: seconds since the epoch, so that a receiver may refuse what is old.
    """
    code = hmac.new(secret, b"%d." % time + body, hashlib.sha256).hexdigest()
    return f"t={time},v1={code}"
