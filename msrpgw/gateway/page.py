"""MESSAGEs to page users: one pending for each request URI, turns, back-off (RFC 3428 §8).

    submit ──► lane of (request URI, sender) ──its turn──► MESSAGE under way ──final──► outcome

Senders (sessions and the gateway's own notices) that share a request URI take turns; a URI that
timed out waits as a whole before it is tried with the next message.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from msrpgw.errors import MsrpgwError, UriError
from msrpgw.gateway.settings import GatewaySettings
from msrpgw.sip.message import Request, Response
from msrpgw.sip.uri import parse_uri
from msrpgw.timers import Timers
from msrpgw.types import Outcome, OutcomeKind


class Outgoing(NamedTuple):
    """A MESSAGE to be sent, and how."""

    request: Request
    branch: str = ""  #: of its Via; empty for a new one
    safe: bool = False  #: over UDP only if small, whatever happens


#: sends a MESSAGE; the responses come later, never before it returns
Send = Callable[[Outgoing, Callable[[Response], None]], object]

_DELIVERED = Outcome(OutcomeKind.DELIVERED, 200, "OK")
_DROPPED = Outcome(OutcomeKind.DROPPED, 0, "The gateway gave it up")


class Job:
    """One MESSAGE that waits for its turn or for its answer.  Made by ``Pages.submit``."""

    __slots__ = ("_destination", "_lane", "_pages", "make_request", "on_outcome")

    def __init__(
        self,
        pages: "Pages",
        destination: "_Destination",
        lane: object,
        make_request: Callable[[], Outgoing],
        on_outcome: Callable[[Outcome], None],
    ) -> None:
        self._pages = pages
        self._destination = destination
        self._lane = lane
        self.make_request = make_request
        self.on_outcome = on_outcome

    def withdraw(self) -> bool:
        """Take it out, without an outcome, if it still waits for its turn."""
        queue = self._destination.lanes.get(self._lane)
        if queue is None or self not in queue:
            return False
        queue.remove(self)
        if not queue:
            del self._destination.lanes[self._lane]
        self._pages.pending -= 1
        return True

    def answered(self, response: Response) -> None:
        """A response to this MESSAGE came, or what stands for one that never came."""
        if response.status >= 200 and self._destination.current is self:
            self._pages.answered(self._destination, self, response)


class _Destination:
    """One request URI: its lanes and the MESSAGE that is under way.

    Exists as long as anything waits or is under way, or the back-off lasts.
    """

    __slots__ = ("backoff", "current", "lanes", "resting", "resting_until", "uri")

    def __init__(self, uri: str) -> None:
        self.uri = uri  # canonical
        self.lanes: dict[object, deque[Job]] = {}  # whose turn it is comes first
        self.current: Job | None = None
        self.resting = False
        self.resting_until = 0.0  # on the clock
        self.backoff = 0.0  # seconds of the latest rest; 0 once it answered again


class Pages:
    """All MESSAGEs on their way to page users.  One for the gateway.

    Invariant: at most one MESSAGE is under way for each request URI, however it is written.
    """

    def __init__(self, send: Send, timers: Timers, settings: GatewaySettings) -> None:
        self._send = send
        self._timers = timers
        self.configure(settings)
        self._destinations: dict[str, _Destination] = {}
        self._closed = False
        self.pending = 0  #: messages without an outcome

    def configure(self, settings: GatewaySettings) -> None:
        """Use these settings from the next failure on."""
        self._backoff = settings.backoff
        self._backoff_max = settings.backoff_max

    @property
    def under_way(self) -> bool:
        """Whether a MESSAGE waits for its answer, or for its turn without being kept back."""
        return any(
            each.current is not None or (each.lanes and not each.resting)
            for each in self._destinations.values()
        )

    def submit(
        self,
        ruri: str,
        lane: object,
        make_request: Callable[[], Outgoing],
        on_outcome: Callable[[Outcome], None],
        first: bool = False,
    ) -> Job:
        """Queue one MESSAGE to ``ruri``.  ``lane``: whose it is; turns go by lanes.

        ``make_request`` is called when its turn comes; ``on_outcome`` once, after this returned.
        ``first``: before the others of its lane.
        """
        self.pending += 1
        destination = self._destination(self._canonical(ruri))
        job = Job(self, destination, lane, make_request, on_outcome)
        if destination.current is None and not destination.resting and not destination.lanes:
            self._start(destination, job)
            return job
        queue = destination.lanes.get(lane)
        if queue is None:
            queue = destination.lanes[lane] = deque()
        if first:
            queue.appendleft(job)
        else:
            queue.append(job)
        return job

    @staticmethod
    def _canonical(ruri: str) -> str:
        try:
            return parse_uri(ruri).canonical()
        except UriError:
            return ruri  # sending it will fail, and that is its outcome

    def _start(self, destination: _Destination, job: Job) -> None:
        destination.current = job
        try:
            self._send(job.make_request(), job.answered)
        except MsrpgwError as error:
            # A URI or a value that can't be written.  Later, so that a queue full of them is
            # not worked off in one deep recursion.
            outcome = Outcome(OutcomeKind.REFUSED, 400, str(error))
            self._timers.call_later(0, partial(self._finish, destination, job, outcome))

    def answered(self, destination: _Destination, job: Job, response: Response) -> None:
        """The MESSAGE under way has its final response."""
        status = response.status
        if status < 300:
            destination.backoff = 0.0
            if status == 200:
                outcome = _DELIVERED
            else:
                # RFC 3428 §7: 202 says that somebody took it over; more is not to be had.
                outcome = Outcome(OutcomeKind.DELIVERED, status, response.reason)
        elif response.local:
            outcome = Outcome(OutcomeKind.UNREACHABLE, status, response.reason)
            if status == 408:
                self._rest(destination)
        else:
            destination.backoff = 0.0
            outcome = Outcome(
                OutcomeKind.REFUSED, status, response.reason, retry_after=response.retry_after
            )
        self._finish(destination, job, outcome)

    def _finish(self, destination: _Destination, job: Job, outcome: Outcome) -> None:
        destination.current = None
        self.pending -= 1
        try:
            job.on_outcome(outcome)
        finally:
            self._next_turn(destination)

    def _next_turn(self, destination: _Destination) -> None:
        """Start the next MESSAGE of the next lane, if nothing stands in its way."""
        if destination.current is not None or destination.resting:
            return
        lanes = destination.lanes
        if not lanes:
            del self._destinations[destination.uri]
            return
        lane = next(iter(lanes))
        queue = lanes.pop(lane)
        job = queue.popleft()
        if queue:
            lanes[lane] = queue  # behind the others
        self._start(destination, job)

    def _rest(self, destination: _Destination) -> None:
        """Nobody answered: leave the URI alone for a while, longer each time."""
        if self._backoff:
            doubled = max(self._backoff, destination.backoff * 2)
            destination.backoff = min(doubled, self._backoff_max)
            self._rest_for(destination, destination.backoff)

    def rest(self, ruri: str, seconds: float) -> None:
        """Send nothing more to ``ruri`` for so long."""
        self._rest_for(self._destination(self._canonical(ruri)), seconds)

    def wake(self, ruri: str) -> bool:
        """End the rest of ``ruri``.  False when it does not rest."""
        destination = self._destinations.get(self._canonical(ruri))
        if destination is None or not destination.resting:
            return False
        destination.resting = False
        destination.resting_until = 0.0
        self._next_turn(destination)
        return True

    def _destination(self, uri: str) -> _Destination:
        destination = self._destinations.get(uri)
        if destination is None:
            destination = self._destinations[uri] = _Destination(uri)
        return destination

    def _rest_for(self, destination: _Destination, seconds: float) -> None:
        until = self._timers.seconds() + seconds
        if until > destination.resting_until:
            destination.resting_until = until
            if not destination.resting:
                destination.resting = True
                self._timers.call_later(seconds, partial(self._rested, destination))

    def _rested(self, destination: _Destination) -> None:
        if not destination.resting:
            return  # it was woken
        left = destination.resting_until - self._timers.seconds()
        if left > 1e-6 and not self._closed:  # a timer may come early by its rounding
            self._timers.call_later(left, partial(self._rested, destination))
            return
        destination.resting = False
        self._next_turn(destination)

    def close(self) -> None:
        """Give up what has not been sent yet; each of these messages ends as dropped."""
        self._closed = True
        dropped: list[Job] = []
        for destination in self._destinations.values():
            for queue in destination.lanes.values():
                dropped += queue
            destination.lanes.clear()
        self.pending -= len(dropped)
        for job in dropped:
            job.on_outcome(_DROPPED)
