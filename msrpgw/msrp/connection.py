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
from msrpgw.msrp.counters import MsrpCounters
from msrpgw.msrp.frame import Frame, FrameParser, Request, Response
from msrpgw.msrp.frame import Limits as FrameLimits
from msrpgw.msrp.render import render_response
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.timers import Timer, Timers

_log = Logger()

#: what Twisted buffers before it calls pauseProducing (FileDescriptor.bufferSize)
TRANSPORT_BUFFER = 65_536

#: how long a closing connection may take to get rid of what was written to it, in seconds
FLUSH_TIMEOUT = 5.0


class IStream(ITCPTransport, IConsumer, IPushProducer):
    """What a connection's transport does: every TCP and TLS transport of Twisted."""


class Awaiting(typing.Protocol):
    """Waits for the response to one request."""

    def response_received(self, response: Response) -> None:
        """The response came; called at most once."""


class Speaker(typing.Protocol):
    """Writes requests on a connection, in turns with others."""

    def take_turn(self) -> bool:
        """Write one request at most.  Returns whether another could follow now."""


class Bound(typing.Protocol):
    """A session that uses a connection."""

    def connection_lost(self, reason: str) -> None:
        """The connection is gone, and with it the session (RFC 4975 §5.4)."""


class Owner(typing.Protocol):
    """Whoever made the connection."""

    counters: MsrpCounters
    limits: Limits
    peers: Connections  #: how many connections each address has

    def request_received(self, connection: "Connection", request: Request) -> None:
        """A request came."""

    def connection_gone(self, connection: "Connection") -> None:
        """The connection is closed and has told its sessions."""


class _Turns:
    """Who wants to write, each once, in order."""

    __slots__ = ("_queue", "_waiting")

    def __init__(self) -> None:
        self._queue: deque[Speaker] = deque()
        self._waiting: set[Speaker] = set()  # who is in the queue

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, speaker: Speaker) -> None:
        """Put a speaker at the end, unless it waits already."""
        if speaker not in self._waiting:
            self._waiting.add(speaker)
            self._queue.append(speaker)

    def remove(self, speaker: Speaker) -> None:
        """Take a speaker out; it need not be there."""
        if speaker in self._waiting:
            self._waiting.discard(speaker)
            self._queue.remove(speaker)

    def next(self) -> Speaker:
        """Whose turn it is; that one waits no more."""
        speaker = self._queue.popleft()
        self._waiting.discard(speaker)
        return speaker


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
    # Few connections ever rest and need their own of these.
    _kept_since = 0.0  # when what was read and waits was read, on the clock
    _patient = True  # whether none of that is refused for its lateness

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
        self._turns: _Turns | None = None  # None: nobody has wanted one yet
        self._pumping = False
        self._congested = False  # the transport has as much as it wants
        self._excess = 0  # bytes written since it said so
        self._reading = True  # False: the peer doesn't read our responses
        self._resting: Timer | None = None  # while what comes can't be passed on as fast
        self._kept: Sequence[Frame] = ()  # was read, and waits for that
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
        if self._kept:
            self._hand_out([*self._kept, *frames], self._kept_since)
        else:
            self._hand_out(frames)

    def _hand_out(self, frames: Sequence[Frame], since: float | None = None) -> None:
        """``since``: when the first of them was read, on the clock; None: just now."""
        self._kept = ()
        for number, frame in enumerate(frames):
            if self._resting is not None:
                self._kept = frames[number:]
                self._kept_since = self._timers.seconds() if since is None else since
                return
            try:
                if isinstance(frame, Request):
                    self._owner.request_received(self, frame)
                elif isinstance(frame, Response):
                    # A response that comes late, or to nothing, is for nobody.
                    awaiting = self.transactions.pop(frame.transaction_id, None)
                    if awaiting is not None:
                        awaiting.response_received(frame)
                else:
                    self.write(render_response(frame, frame.status, frame.comment))
            except Exception:
                # One session's trouble must not take the connection from the others.
                _log.failure("an MSRP frame of {peer} made trouble", peer=self.peer_host)

    def _refused_late(self, frame: Frame) -> bool:
        """Whether a whole message was refused.  Not one whose sender would not be told."""
        if not isinstance(frame, Request) or frame.method != "SEND" or not frame.body:
            return False
        part = frame.byte_range
        whole = frame.continuation == "$" and (part is None or part.start == 1)
        if not whole or frame.failure_report == "no":
            return False
        self._owner.limits.counters.overload_late += 1
        self.refuse(frame, 413, "The gateway is overloaded")
        return True

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
            left = self._progress.left(self._timers.seconds())
            if left > 0:
                self._slow = self._timers.call_later(left, self._check_progress)
            else:
                self.closing = True
                self.transport.abortConnection()

    def rest(self, session: Bound, seconds: float, *, patient: bool) -> None:
        """Read nothing for so long, or until ``go_on``: a session can't pass on what it gets.

        What was read waits here, at most what one reading brought; the rest is in TCP, which tells
        the peer.  Does nothing where others would have to wait as well.  Unless ``patient``, what
        waited here for too long is refused (``Limits.too_late``): many at a time, as one by one
        they would cost half of what delivering them does.
        """
        if self._resting is None and not self.closing and list(self.sessions) == [session]:
            self._resting = self._timers.call_later(seconds, self._rested)
            self._patient = patient
            self._owner.limits.counters.rested += 1
            self.transport.pauseProducing()

    def go_on(self) -> None:
        """Read again, but not before whoever calls this is done."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = self._timers.call_later(0, self._rested)

    def _rested(self) -> None:
        self._resting = None
        if self.closing:
            return
        kept = self._kept
        waited = self._timers.seconds() - self._kept_since
        if kept and not self._patient and self._owner.limits.too_late(waited):
            kept = [frame for frame in kept if not self._refused_late(frame)]
        self._hand_out(kept, self._kept_since)
        if self._resting is None and self._reading:
            self.transport.resumeProducing()

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
            self._turns = _Turns()
        self._turns.add(speaker)
        if self.writable and not self._pumping:
            self._pump(self._turns)

    def leave_turn(self, speaker: Speaker) -> None:
        """Forget that a speaker wanted a turn."""
        if self._turns is not None:
            self._turns.remove(speaker)

    def _pump(self, turns: "_Turns") -> None:
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
            if self._resting is None:
                self.transport.resumeProducing()
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
        self._kept = ()
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
