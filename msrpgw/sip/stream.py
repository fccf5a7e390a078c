"""TCP connections: making, accepting, reusing and losing them (RFC 3261 §18).

May import the codec of this room and Twisted; knows nothing of transactions.
"""

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IConsumer,
    IPushProducer,
    IReactorTCP,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpgw.limits import Connections, Progress
from msrpgw.limits import Limits as AllLimits
from msrpgw.line import SHARE, Line
from msrpgw.sip.client_transaction import SendFailure
from msrpgw.sip.counters import SipCounters
from msrpgw.sip.fields import Via
from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Limits, Malformed, Ping, Pong, StreamParser
from msrpgw.sip.sending import OnFailure, Sending, Target, explain_refusal
from msrpgw.sip.server_transaction import ReplyPath
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.stream_source import StreamSource
from msrpgw.sockets import at_turn_end
from msrpgw.timers import Timer, Timers

#: bytes that may wait for a peer that does not read; more, and the connection is broken off
_BACKLOG_LIMIT = 4 * 1024 * 1024
#: requests of one connection that may wait for their turn; with more, nothing is read from it
MOST_WAITING = 256
#: seconds for the last bytes of connections that we close
CLOSING_TIME = 1.0

#: address, port and, for TLS, the name that requests may go to over a connection
Key = tuple[str, int, str]

OnMessage = Callable[[Request | Response | Malformed, ReplyPath], None]


class _Transport(ITCPTransport, IConsumer, IPushProducer):
    """What Twisted gives a TCP protocol."""


@implementer(IPushProducer)
class Connection(Protocol):
    """One TCP connection, whoever made it.

    Owned by the pool; ends with the connection, after ``idle_timeout``, or when its peer breaks
    the framing or does not read.
    """

    transport: _Transport
    source_class: type[StreamSource] = StreamSource

    def __init__(self, pool: "Streams") -> None:
        self._pool = pool
        self._parser = StreamParser(pool.limits)
        self._closing = False
        self._blocked = False  # the transport's buffer is full
        self._backlog = 0  # bytes written since it is
        self._heard = 0.0  # when the peer last sent something
        self._idle: Timer | None = None
        self._progress = Progress(pool.all_limits)
        self._slow: Timer | None = None  # runs while a message is arriving
        self.alive = False
        self.loss = "TCP connection lost"  #: what those hear who wait when it is gone
        #: requests, and what is none, that wait for their turn; and since when
        self._waiting: deque[tuple[Request | Malformed, float]] = deque()
        self._reading = True
        self.stuck = False  #: broken off because the peer does not read
        self.address = ("", 0)  #: the peer's
        self.keys: list[Key] = []  #: what it can be used for
        self.sendings: dict[Sending, None] = {}  #: requests without a response yet

    def connectionMade(self) -> None:
        """Join the pool."""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        peer, local = self.transport.getPeer(), self.transport.getHost()
        self.address = (plain_address(peer.host), peer.port)
        self.keys = self.make_keys()
        self._source = self.source_class(self, *self.address, plain_address(local.host), local.port)
        self.transport.registerProducer(self, True)
        self.alive = True
        self._heard = self._pool.timers.seconds()
        self._watch(self._pool.settings.idle_timeout)
        self._pool.connection_made(self)

    @property
    def heard(self) -> float:
        """When the peer last sent something, on the clock."""
        return self._heard

    def make_keys(self) -> list[Key]:
        """What it can be used for."""
        return [(*self.address, "")]

    def dataReceived(self, data: bytes) -> None:
        """Hand up what is complete; answer keep-alives (RFC 5626 §3.5.1)."""
        if self._closing:
            return
        pool = self._pool
        self._heard = pool.timers.seconds()
        found = self._parser.feed(data)
        if self._parser.pending:
            if found or self._slow is None:
                self._progress.began(self._heard)
            self._progress.received(len(data))
            if self._slow is None:
                self._check_progress()
        for message in found:
            if isinstance(message, Ping):
                self.write(b"\r\n")
            elif isinstance(message, Response):
                pool.message_received(message, self._source)  # what it ends makes room
            elif isinstance(message, Pong):
                continue
            elif not self._waiting and pool.line.take():
                self._hand_up(message)
            elif pool.line.room > 0:
                self._wait(message)
            else:
                self._hand_up(message, late=True)

    def _hand_up(self, message: Request | Malformed, late: bool = False) -> None:
        self._source.late = late
        self._pool.message_received(message, self._source)
        if isinstance(message, Malformed) and message.fatal:
            self.close()

    def _wait(self, message: Request | Malformed) -> None:
        self._waiting.append((message, self._heard))
        self._pool.line.join(self)
        if self._reading and len(self._waiting) >= MOST_WAITING:
            self._reading = False
            self.transport.pauseProducing()

    @property
    def waits_since(self) -> float:
        """When the first of the requests came that wait for their turn, on the clock."""
        return self._waiting[0][1]

    def serve(self) -> bool:
        """Hand up what waited."""
        waiting, pool = self._waiting, self._pool
        early = pool.timers.seconds() - 2 * pool.all_limits.longest_wait
        share = SHARE
        while waiting and not self._closing:
            message, since = waiting[0]
            if not share or not pool.line.take():
                return True
            share -= 1
            waiting.popleft()
            pool.line.done(self)
            self._hand_up(message, since < early)
        if not self._reading and not self._closing:
            self._reading = True
            self.transport.resumeProducing()
        return False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave the pool."""
        self.alive = False
        self._pool.line.leave(self)
        self._waiting.clear()
        if self._idle is not None:
            self._idle.cancel()
        if self._slow is not None:
            self._slow.cancel()
        self._pool.connection_lost(self)

    def send(self, sending: Sending) -> None:
        """Send a message; remember it if it is a request."""
        if sending.on_failure is not None:
            self.sendings[sending] = None
            sending.sent_over(self)
        self.write(sending.data)

    def send_response(self, data: bytes, via: Via) -> None:
        """Send a response, over another connection if this one is gone."""
        if self.alive:
            self.write(data)
        else:
            self._pool.send(data, self.return_target(via), None)

    def return_target(self, via: Via) -> Target:
        """Where a response goes when the connection is gone (§18.2.2).

        To the address it came from, at the port that the peer listens on.
        """
        return Target("TCP", via.received or self.address[0], via.port or 5060)

    def write(self, data: bytes) -> None:
        """Write; Twisted gathers what is written in one turn of the reactor."""
        if self._blocked:
            self._backlog += len(data)
            if self._backlog > _BACKLOG_LIMIT:
                self.stuck = True
                self.transport.abortConnection()
                return
        self.transport.write(data)

    def ping(self) -> None:
        """Ask whether the peer is there (RFC 5626 §4.4.1); ``heard`` tells."""
        self._parser.awaited = 1
        self.write(b"\r\n\r\n")

    def close(self) -> None:
        """Close when what was written is sent; take no more."""
        self._closing = True
        self._leave()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self.transport.abortConnection()

    def _leave(self) -> None:
        self.alive = False
        self._pool.forget(self)

    def pauseProducing(self) -> None:
        """The peer does not read as fast as we write."""
        self._blocked = True

    def resumeProducing(self) -> None:
        """What was written is on its way."""
        self._blocked = False
        self._backlog = 0

    def stopProducing(self) -> None:
        """The connection is lost; ``connectionLost`` follows."""

    def _watch(self, delay: float) -> None:
        self._idle = self._pool.timers.call_later(delay, self._check_idle)

    def _check_progress(self) -> None:
        self._slow = None
        if self._parser.pending and not self._closing:
            timers = self._pool.timers
            if not self._reading:
                self._progress.began(timers.seconds())  # it is us who are slow
            left = self._progress.left(timers.seconds())
            if left > 0:
                self._slow = timers.call_later(left, self._check_progress)
            else:
                self.abort()

    def _check_idle(self) -> None:
        left = self._heard + self._pool.settings.idle_timeout - self._pool.timers.seconds()
        if left > 0:
            self._watch(left)
        else:
            self.close()


class _Accepting(ServerFactory):
    """Makes the connections that peers open."""

    noisy = False

    def __init__(self, pool: "Streams") -> None:
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        """A connection, unless there are too many."""
        if not self._pool.may_connect(addr):
            return None
        return Connection(self._pool)


class Connecting(ClientFactory):
    """A connection being made, and the requests that wait for it."""

    noisy = False

    def __init__(self, pool: "Streams", target: Target) -> None:
        self._pool = pool
        self.target = target
        self.waiting: list[Sending] = []
        self.connector: IConnector | None = None

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """The connection is there; it sends what waits once it joins the pool."""
        return Connection(self._pool)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """Nobody there."""
        self._pool.connecting_failed(self, explain_refusal(reason.value))


class Streams:
    """All TCP connections of a user agent, by the peer's address and port."""

    def __init__(
        self,
        reactor: IReactorTime,
        timers: Timers,
        settings: SipSettings,
        counters: SipCounters,
        on_message: OnMessage,
        limits: AllLimits,
        peers: Connections,
    ) -> None:
        """``peers`` counts the connections of each address."""
        self._reactor = IReactorTCP(reactor)
        self._on_message = on_message
        self.timers = timers
        self.settings = settings
        self.counters = counters
        self.all_limits = limits
        self._peers = peers
        self.limits = Limits(
            settings.max_message_size, settings.max_headers, settings.max_line_length
        )
        self.accepting: ServerFactory = _Accepting(self)  #: for listening ports
        #: connections whose requests wait for their turn
        self.line = Line(reactor, limits, at_turn_end(reactor))
        self._usable: dict[Key, Connection] = {}
        self._open: dict[Connection, None] = {}
        self._connecting: dict[Key, Connecting] = {}
        self._closed: Deferred[None] | None = None  # set while closing
        self._patience: Timer | None = None

    def connection(self, target: Target) -> Connection | None:
        """The connection that a request to this target would go over; None if there is none."""
        return self._usable.get((target.host, target.port, target.name))

    @property
    def full(self) -> bool:
        """Whether there is no room for another connection."""
        return (
            self._closed is not None
            or len(self._open) + len(self._connecting) + self.opening
            >= self.settings.max_connections
        )

    def may_connect(self, address: IAddress | None) -> bool:
        """Whether a peer may open a connection; counted if not."""
        if self.full:
            self.counters.refused_connections += 1
            return False
        return not self._peers.full(plain_address(str(getattr(address, "host", ""))))

    @property
    def opening(self) -> int:
        """How many connections are made but can't be used yet."""
        return 0

    def send(self, data: bytes, target: Target, on_failure: OnFailure | None) -> Sending:
        """Send a message over a connection that is there, or make one.

        ``on_failure`` is never called before this returns; None: nobody wants to know.
        """
        sending = Sending(data, target, on_failure)
        self._send(sending)
        return sending

    def _send(self, sending: Sending) -> None:
        target = sending.target
        where = (target.host, target.port, target.name)
        connection = self._usable.get(where)
        if connection is not None:
            connection.send(sending)
            return
        sending.fresh = True
        connecting = self._connecting.get(where)
        if connecting is None:
            if self.full:
                failure = SendFailure("too many TCP connections", ours=True)
                self.timers.call_later(0, lambda: sending.fail(failure))
                return
            connecting = self._connecting[where] = Connecting(self, target)
            connecting.waiting.append(sending)
            connecting.connector = self._reactor.connectTCP(
                target.host,
                target.port,
                self.connecting_factory(connecting),
                self.settings.connect_timeout,
            )
        else:
            connecting.waiting.append(sending)

    def connecting_factory(self, connecting: Connecting) -> ClientFactory:
        """What makes the protocol of a connection of ours."""
        return connecting

    def close(self) -> Deferred[None]:
        """Close all connections; fires when they are gone, aborting those that linger."""
        done: Deferred[None] = Deferred()
        self._closed = done
        for connecting in self._connecting.values():
            connecting.waiting.clear()
        self.abandon()
        for connecting in list(self._connecting.values()):
            if connecting.connector is not None:
                connecting.connector.stopConnecting()
        for connection in list(self._open):
            connection.sendings.clear()
            connection.close()
        self._patience = self.timers.call_later(CLOSING_TIME, self._abort_all)
        self.check_closed()
        return done

    def abandon(self) -> None:
        """Give up the connections that are made but can't be used yet."""

    def _abort_all(self) -> None:
        for connection in list(self._open):
            connection.abort()

    def check_closed(self) -> None:
        """Whoever waits for the end is told, if this is it."""
        done = self._closed
        busy = self._open or self._connecting or self.opening
        if done is not None and not done.called and not busy:
            if self._patience is not None:
                self._patience.cancel()
            done.callback(None)

    # For the connections

    def message_received(
        self, message: Request | Response | Malformed, source: StreamSource
    ) -> None:
        """Something came over a connection."""
        self._on_message(message, source)

    def connection_made(self, connection: Connection) -> None:
        """A connection can be used; what waited for it goes out."""
        self._open[connection] = None
        self._peers.enter(connection.address[0])
        for key in connection.keys:
            self.use(key, connection)

    def use(self, key: Key, connection: Connection) -> None:
        """From now on a connection is good for this, and what waits for one goes out."""
        self._usable[key] = connection
        connecting = self._connecting.pop(key, None)
        if connecting is not None:
            waiting, connecting.waiting = connecting.waiting, []
            for sending in waiting:
                if not sending.dropped:
                    connection.send(sending)

    def forget(self, connection: Connection) -> None:
        """Send nothing more over a connection."""
        for key in connection.keys:
            if self._usable.get(key) is connection:
                del self._usable[key]

    def connection_lost(self, connection: Connection) -> None:
        """A connection is gone, and with it what its peer did not answer."""
        self.forget(connection)
        if self._open.pop(connection, connection) is None:
            self._peers.leave(connection.address[0])
        sendings, connection.sendings = connection.sendings, {}
        for sending in sendings:
            if sending.fresh or connection.stuck or self._closed is not None:
                sending.fail(SendFailure(connection.loss))
            else:
                # Most likely the peer had given up the idle connection: once more, over a new one.
                sending.sent_over(None)
                self._send(sending)
        self.check_closed()

    def connecting_failed(self, connecting: Connecting, failure: SendFailure) -> None:
        """A connection could not be made."""
        target = connecting.target
        key = (target.host, target.port, target.name)
        if self._connecting.get(key) is connecting:
            del self._connecting[key]
        for sending in connecting.waiting:
            sending.fail(failure)
        self.check_closed()


def plain_address(host: str) -> str:
    """An address as we show and compare it: IPv4 in IPv6 unpacked, without zone."""
    host = host.partition("%")[0]
    mapped = host[:7].lower() == "::ffff:" and "." in host
    return host[7:] if mapped else host
