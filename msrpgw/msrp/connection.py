"""One MSRP connection on Twisted: bytes to frames, responses to whom they are for, turns to write.

Imports the pure rooms of msrp, settings and timers.  Knows sessions only as ``Bound`` (told when
the connection goes), ``Speaker`` (takes turns to write) and ``Awaiting`` (waits for a response).
"""

import typing
from collections import deque
from collections.abc import Sequence
from functools import lru_cache

from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpgw.errors import FramingError
from msrpgw.limits import Connections, Limits, Progress
from msrpgw.line import SHARE, Line
from msrpgw.msrp.counters import MsrpCounters
from msrpgw.msrp.frame import Frame, FrameParser, Request, Response
from msrpgw.msrp.frame import Limits as FrameLimits
from msrpgw.msrp.render import render_response
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.msrp.turns import Speaker, Turns
from msrpgw.timers import Timer, Timers

_log = Logger()

#: what Twisted buffers before it calls pauseProducing (FileDescriptor.bufferSize)
TRANSPORT_BUFFER = 65_536

#: requests of one connection that may wait, and bytes of their bodies; with more, nothing is read
#: from it
MOST_KEPT, MOST_KEPT_BYTES = 64, 65_536
#: for so many seconds, at most, a connection is not read after something of it was refused because
#: there is too much to do: to read and refuse many at a time costs less
HOLD = 1.0

#: how long a closing connection may take to get rid of what was written to it, in seconds
FLUSH_TIMEOUT = 5.0


class IStream(ITCPTransport, IConsumer, IPushProducer):
    """What a connection's transport does: every TCP and TLS transport of Twisted."""


class Awaiting(typing.Protocol):
    """Waits for the response to one request."""

    def response_received(self, response: Response) -> None:
        """The response came; called at most once."""


class Bound(typing.Protocol):
    """A session that uses a connection."""

    @property
    def patient(self) -> bool:
        """Whether no SEND of it is refused for its lateness."""

    def connection_lost(self, reason: str) -> None:
        """The connection is gone, and with it the session (RFC 4975 §5.4)."""


class Owner(typing.Protocol):
    """Whoever made the connection."""

    counters: MsrpCounters
    limits: Limits
    peers: Connections  #: how many connections each address has
    line: Line  #: connections whose requests wait for their turn

    def request_received(self, connection: "Connection", request: Request) -> None:
        """A request came."""

    def connection_gone(self, connection: "Connection") -> None:
        """The connection is closed and has told its sessions."""


@lru_cache(maxsize=16)
def _frame_limits(max_header_size: int, max_body: int) -> FrameLimits:
    return FrameLimits(max_header_size=max_header_size, max_body=max_body)


@implementer(IPushProducer)
class Connection(Protocol):
    """One TCP connection, accepted or made by us; carries any number of sessions.

    Owned by the endpoint.  Ends when either side closes it; an accepted one also when no session
    was bound to it for ``bind_timeout``, one of ours as soon as its last session has left it.
    """

    transport: IStream
    secure = False  #: whether it is TLS
    # Few connections ever need their own of these.
    _kept: deque[tuple[Request, float]] | None = None  # requests that wait, and since when
    _kept_bytes = 0
    _full = False  # so many wait that nothing is read
    _held: Timer | None = None  # runs while nothing is read after something was refused
    _unread_since = 0.0  # since when nothing was read, on the clock; 0: it was

    def __init__(
        self, owner: Owner, timers: Timers, settings: MsrpSettings, *, accepted: bool, trusted: bool
    ) -> None:
        self._owner = owner
        self._timers = timers
        self._bind_timeout = settings.bind_timeout
        self._write_buffer = max(0, settings.write_buffer - TRANSPORT_BUFFER)
        self._parser = FrameParser(_frame_limits(settings.max_header_size, settings.max_size))
        self._accepted = accepted
        self.trusted = trusted  #: whether its requests may be served; else they get 403
        self.peer_host = ""  #: address of the peer
        self.pool_key: object = None  #: what sessions share it by; None: they don't
        self.sessions: dict[Bound, None] = {}  #: in the order in which they were bound
        #: SENDs of ours that wait for their response, by transaction id.  Ids are matched here
        #: and not by session: a response belongs to the connection of its request (§7.2)
        self.transactions: dict[str, Awaiting] = {}
        self._turns: Turns | None = None  # None: nobody has wanted one yet
        self._pumping = False
        self._congested = False  # the transport has as much as it wants
        self._excess = 0  # bytes written since it said so
        self._reading = True  # False: the peer doesn't read our responses
        self._resting: Timer | None = None  # while what comes can't be passed on as fast
        self._stall_timeout = settings.transaction_timeout
        self._stalled: Timer | None = None  # runs while the transport is full
        self._progress: Progress | None = None  # None: all frames came whole
        self._slow: Timer | None = None  # runs while a frame is arriving
        self.closing = False  #: whether it is no good for anything new
        self._timer: Timer | None = None
        self.writable = False  #: whether new requests may be written; responses always may

    # Coming up

    def connectionMade(self) -> None:
        """Make the socket fit for messaging."""
        transport = self.transport
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)  # an idle session may last for days
        transport.registerProducer(self, True)
        self.peer_host = str(getattr(transport.getPeer(), "host", ""))
        self._owner.peers.enter(self.peer_host)
        self.writable = True
        self._no_session()

    def bind(self, session: Bound) -> None:
        """A session uses this connection from now on."""
        self.sessions[session] = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def unbind(self, session: Bound) -> None:
        """A session has ended, or uses another connection."""
        if self.sessions.pop(session, session) is None and not self.sessions:
            if self._accepted:
                self._no_session()  # it is the peer's to close, or to use again
            else:
                self.close()

    def _no_session(self) -> None:
        if not self.closing and self._timer is None:
            self._timer = self._timers.call_later(self._bind_timeout, self._bind_timed_out)

    def _bind_timed_out(self) -> None:
        self._timer = None
        self.close()

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Cut the bytes and hand each frame to whom it is for."""
        try:
            frames = self._parser.feed(data)
        except FramingError as error:
            _log.info(
                "MSRP connection of {peer} closed, its bytes make no sense: {error}",
                peer=self.peer_host,
                error=str(error),
            )
            self._owner.counters.malformed += 1
            self.close()
            return
        if self._parser.pending:
            self._part_received(len(data), bool(frames) or self._slow is None)
        self._hand_out(frames)

    def _hand_out(self, frames: Sequence[Frame]) -> None:
        line = self._owner.line
        unread_since, self._unread_since = self._unread_since, 0.0
        for number, frame in enumerate(frames):
            try:
                if isinstance(frame, Request):
                    if self._kept or self._resting is not None or not line.take():
                        # What came while nothing was read came by and by.
                        now = self._timers.seconds()
                        gap = now - unread_since if unread_since else 0.0
                        self._stand_in_line(frame, now - gap * (1 - number / len(frames)))
                    else:
                        self._owner.request_received(self, frame)
                elif isinstance(frame, Response):
                    # A response that comes late, or to nothing, is for nobody.
                    awaiting = self.transactions.pop(frame.transaction_id, None)
                    if awaiting is not None:
                        awaiting.response_received(frame)
                else:
                    self.write(render_response(frame, frame.status, frame.comment))
            except Exception:
                self._failed()

    def _failed(self) -> None:
        # One session's trouble must not take the connection from the others.
        _log.failure("an MSRP frame of {peer} made trouble", peer=self.peer_host)

    def _stand_in_line(self, request: Request, since: float) -> None:
        line = self._owner.line
        if line.room <= 0 and self._refused(request):
            return
        if self._kept is None:
            self._kept = deque()
        self._kept.append((request, since))
        self._kept_bytes += len(request.body or b"")
        if self._resting is None:
            line.join(self)
        if len(self._kept) >= MOST_KEPT or self._kept_bytes >= MOST_KEPT_BYTES:
            self._stop_reading()
            self._full = True

    def _refused(self, request: Request) -> bool:
        """Whether a request was refused because there is too much to do.

        Not a part of a message, and not a message whose sender would not be told.
        """
        if request.method != "SEND" or not request.body or request.failure_report == "no":
            return False
        part = request.byte_range
        if request.continuation != "$" or (part is not None and part.start != 1):
            return False
        if any(session.patient for session in self.sessions):
            return False
        if not self._owner.line.take_refusal():
            return False
        self._owner.limits.counters.overload_late += 1
        self.refuse(request, 413, "The gateway is overloaded")
        if self._held is None:
            self._stop_reading()
            self._held = self._timers.call_later(HOLD, self.release)
            self._owner.line.hold(self)
        return True

    def release(self) -> None:
        """Read again, as there may be room for more."""
        if self._held is not None:
            self._held.cancel()
            self._held = None
            self._owner.line.forget(self)
            self._read_again()

    def _stop_reading(self) -> None:
        if not self._full and self._held is None:
            self._unread_since = self._timers.seconds()
            self.transport.pauseProducing()

    def _read_again(self) -> None:
        if self._reading and not self._full and self._held is None and not self.closing:
            self.transport.resumeProducing()

    @property
    def waits_since(self) -> float:
        """When the first of the requests came that wait for their turn, on the clock."""
        return self._kept[0][1] if self._kept else self._timers.seconds()

    def serve(self) -> bool:
        """Hand out what waited, or refuse it; see ``Line``."""
        kept, line = self._kept, self._owner.line
        early, share = self._timers.seconds() - 2 * self._owner.limits.longest_wait, SHARE
        while kept and self._resting is None and not self.closing:
            request, since = kept[0]
            late = since < early and self._refused(request)
            if not late and not (share and line.take()):
                return True
            kept.popleft()
            line.done(self)
            self._kept_bytes -= len(request.body or b"")
            if not late:
                share -= 1
                try:
                    self._owner.request_received(self, request)
                except Exception:
                    self._failed()
        if not kept:
            self._kept = None
            if self._full:
                self._full = False
                self._read_again()
        return False

    def _part_received(self, size: int, first: bool) -> None:
        if self._progress is None:
            self._progress = Progress(self._owner.limits)
        if first:
            self._progress.began(self._timers.seconds())
        self._progress.received(size)
        if self._slow is None:
            self._check_progress()

    def _check_progress(self) -> None:
        self._slow = None
        if self._progress is not None and self._parser.pending and not self.closing:
            now = self._timers.seconds()
            if self._full or self._held is not None or not self._reading:
                self._progress.began(now)  # it is us who are slow
            left = self._progress.left(now)
            if left > 0:
                self._slow = self._timers.call_later(left, self._check_progress)
            else:
                self.closing = True
                self.transport.abortConnection()

    def rest(self, session: Bound, seconds: float) -> None:
        """Hand out nothing for so long, or until ``go_on``: a session can't pass on what it gets.

        What is read meanwhile waits here, and soon in TCP, which tells the peer.  Does nothing
        where others would have to wait as well.
        """
        if self._resting is None and not self.closing and list(self.sessions) == [session]:
            self._resting = self._timers.call_later(seconds, self._rested)
            self._owner.limits.counters.rested += 1
            self._owner.line.leave(self)

    def go_on(self) -> None:
        """Hand out again, but not before whoever calls this is done."""
        if self._resting is not None:
            self._resting.cancel()
            self._rested()

    def _rested(self) -> None:
        self._resting = None
        if self._kept and not self.closing:
            self._owner.line.join(self, len(self._kept))

    # Writing

    def write(self, data: bytes) -> None:
        """Write one whole frame.  The transport gathers what is written in one reactor turn."""
        if self.closing:
            return
        if self._congested:
            self._excess += len(data)
            if self._excess > self._write_buffer:
                self.writable = False
                if self._reading and self._excess > 2 * self._write_buffer + TRANSPORT_BUFFER:
                    # The peer sends requests and doesn't read our responses: hear no more of them.
                    # SENDs of ours stop earlier, so two of our kind can't lock each other up.
                    self._reading = False
                    self.transport.pauseProducing()
        self.transport.write(data)

    def refuse(self, request: Request, status: int, comment: str) -> None:
        """Answer a request with an error, unless it doesn't want to know (§7.1.4, §7.3.2)."""
        if request.failure_report != "no" and request.method != "REPORT":
            self.write(render_response(request, status, comment))

    def want_turn(self, speaker: Speaker) -> None:
        """Let a speaker write as soon as others had their turn and the transport has room."""
        if self._turns is None:
            self._turns = Turns()
        self._turns.add(speaker)
        if self.writable and not self._pumping:
            self._pump(self._turns)

    def leave_turn(self, speaker: Speaker) -> None:
        """Forget that a speaker wanted a turn."""
        if self._turns is not None:
            self._turns.remove(speaker)

    def _pump(self, turns: Turns) -> None:
        # One request of each speaker in turn: long messages of several sessions share the
        # connection fairly, and a short one never waits behind a whole long one (§7.1.1).
        self._pumping = True
        try:
            while turns and self.writable:
                speaker = turns.next()
                if speaker.take_turn():
                    turns.add(speaker)
        finally:
            self._pumping = False

    def pauseProducing(self) -> None:
        """The transport's buffer is full; called again at each write while it is."""
        if not self._congested:
            self._congested = True
            self._excess = 0
            self._stalled = self._timers.call_later(self._stall_timeout, self._stall)
            self.writable = self.writable and self._write_buffer > 0

    def resumeProducing(self) -> None:
        """The transport has written all it had."""
        self._congested = False
        self._end_stall()
        if self.closing:
            return
        self.writable = True
        if not self._reading:
            self._reading = True
            self._read_again()
        if self._turns is not None:
            self._pump(self._turns)

    def _stall(self) -> None:
        # All that was written so long ago has timed out by now: this peer doesn't read any more.
        self._stalled = None
        self._owner.counters.stalled += 1
        _log.info("MSRP connection of {peer} cut off: it doesn't read", peer=self.peer_host)
        self.transport.abortConnection()

    def _end_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def stopProducing(self) -> None:
        """The transport wants no more: it is closing."""
        self.writable = False

    # Going down

    def close(self) -> None:
        """Write what was written, then close; whoever doesn't read it is cut off."""
        if self.closing:
            return
        self.closing = True
        self.writable = False
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.call_later(FLUSH_TIMEOUT, self.transport.abortConnection)
        self._end_stall()
        # A producer that is paused would keep the transport from closing.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone: so are its sessions (§5.4)."""
        self.closing = True
        self.writable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end_stall()
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if self._held is not None:
            self._held.cancel()
            self._owner.line.forget(self)
        self._owner.line.leave(self)
        self._kept = None
        self._owner.peers.leave(self.peer_host)
        self.transactions.clear()
        self._turns = None
        sessions, self.sessions = self.sessions, {}
        for session in sessions:
            try:
                session.connection_lost(reason.getErrorMessage())
            except Exception:
                _log.failure("a session made trouble over its lost connection")
        self._owner.connection_gone(self)
