"""Events over the network, to whoever subscribed, as OpenSIPS's event_datagram and event_stream.

Each event is one JSON-RPC notification: in a datagram, or on a TCP connection of its own.  Nobody
waits for a subscriber: each has a short queue, and one that is gone is forgotten.
"""

import ipaddress
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Protocol

from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory, DatagramProtocol
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpgw.interfaces import IEventSink
from msrpgw.manage.readable import encode
from msrpgw.timers import Timers
from msrpgw.types import Event

_log = Logger()

#: most subscriptions
MAX_SUBSCRIPTIONS = 1000

#: most events that wait for one subscriber
MAX_QUEUE = 1000

#: seconds that a TCP connection may take
CONNECT_TIMEOUT = 3.0

#: events in a row that could not be sent, after which a subscriber is taken for gone
MAX_FAILURES = 5


class Subscriber:
    """One socket that events are sent to."""

    def __init__(self, subscribers: "Subscribers", socket: str, host: str, port: int) -> None:
        self._subscribers = subscribers
        self.socket = socket  #: as subscribed
        self.host = host
        self.port = port
        self.queue: deque[bytes] = deque()
        self.failures = 0  # in a row

    def send(self, data: bytes) -> None:
        """Send one event, now or when its turn comes."""
        if len(self.queue) >= MAX_QUEUE:
            self._subscribers.dropped += 1
        else:
            self.queue.append(data)
            if len(self.queue) == 1:
                self.transmit()

    def transmit(self) -> None:
        """Send the first of the queue."""
        raise NotImplementedError

    def done(self) -> None:
        """The first of the queue was sent."""
        self.failures = 0
        self._subscribers.sent += 1
        self._next()

    def failed(self, reason: str) -> None:
        """The first of the queue could not be sent."""
        self.failures += 1
        self._subscribers.dropped += 1
        if self.failures >= MAX_FAILURES:
            self.queue.clear()
            self._subscribers.gone(self, reason)
        else:
            self._next()

    def _next(self) -> None:
        if self.queue:
            self.queue.popleft()
        if self.queue:
            self.transmit()

    def close(self) -> None:
        """Nothing more is to be sent."""
        self.queue.clear()


class Stream(Subscriber):
    """A TCP connection for each event: whoever reads may read just one."""

    def transmit(self) -> None:
        """Connect, write, close."""
        self._subscribers.reactor.connectTCP(
            self.host, self.port, _StreamFactory(self), timeout=CONNECT_TIMEOUT
        )


class _StreamFactory(ClientFactory):
    noisy = False

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def buildProtocol(self, addr: object) -> TwistedProtocol:
        return _StreamProtocol(self.stream)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self.stream.failed(reason.getErrorMessage())


class _StreamProtocol(TwistedProtocol):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def connectionMade(self) -> None:
        assert self.transport is not None
        if self._stream.queue:
            self.transport.write(self._stream.queue[0])
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self._stream.done()


class Datagrams(Subscriber):
    """A connected UDP socket, so that the network says when nobody listens.

    Some clients listen on TCP and say ``udp:``: a subscriber whose UDP port is closed is tried over
    TCP, beginning with the event that was refused.
    """

    def __init__(self, subscribers: "Subscribers", socket: str, host: str, port: int) -> None:
        super().__init__(subscribers, socket, host, port)
        self.closed = False
        self._latest = b""
        interface = "::" if ":" in host else "0.0.0.0"  # any: the socket is connected
        self._protocol = _DatagramProtocol(self)
        self._port = subscribers.reactor.listenUDP(0, self._protocol, interface=interface)

    def transmit(self) -> None:
        """One datagram."""
        self._latest = self.queue[0]
        self._protocol.write(self._latest)
        self.done()

    def refused(self) -> None:
        """The port is closed (ICMP)."""
        self._subscribers.refused(self, self._latest)

    def close(self) -> None:
        """Free the socket."""
        super().close()
        self.closed = True
        self._port.stopListening()


class _DatagramProtocol(DatagramProtocol):
    noisy = False

    def __init__(self, subscriber: Datagrams) -> None:
        self._subscriber = subscriber

    def startProtocol(self) -> None:
        assert self.transport is not None
        self.transport.connect(self._subscriber.host, self._subscriber.port)

    def write(self, data: bytes) -> None:
        transport: Any = self.transport  # connected: there is no address to give
        if transport is not None:
            transport.write(data)

    def connectionRefused(self) -> None:
        self._subscriber.refused()

    def stopProtocol(self) -> None:
        # The epoll reactor takes an ICMP error for the end of the socket.
        if not self._subscriber.closed:
            self._subscriber.refused()


class Network(Protocol):
    """The reactor."""

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float) -> Any:
        """Make a TCP connection."""

    def listenUDP(self, port: int, protocol: Any, interface: str) -> Any:
        """Open a UDP socket."""


@implementer(IEventSink)
class Subscribers:
    """All subscriptions.  Owned by the service."""

    def __init__(
        self,
        reactor: Network,
        timers: Timers,
        events: Collection[str],
        on_change: Callable[[frozenset[str]], None],
    ) -> None:
        """``events``: names of all events.  ``on_change`` hears which have subscribers."""
        self._on_change = on_change
        self.reactor = reactor
        self._timers = timers
        self._events = list(events)
        self._subscribers: dict[str, Subscriber] = {}  # by socket
        # By event and socket: when it ends, on the clock.
        self._subscriptions: dict[str, dict[str, float]] = {}
        self._names: frozenset[str] = frozenset()  # of events with subscribers
        self.sent = 0  #: events
        self.dropped = 0  #: events for which there was no room, or no subscriber any more

    def subscribe(self, event: str, socket: str, expire: float) -> None:
        """Subscribe for ``expire`` seconds, anew if need be; 0 ends it.

        Raises ValueError for an event or a socket that there can't be, or no room.
        """
        if event not in self._events:
            raise ValueError(f"there is no event {event!r}")
        kind, host, port = parse_socket(socket)
        sockets = self._subscriptions.setdefault(event, {})
        if expire <= 0:
            sockets.pop(socket, None)
            self._drop_unused()
            return
        count = sum(len(each) for each in self._subscriptions.values())
        if socket not in sockets and count >= MAX_SUBSCRIPTIONS:
            raise ValueError(f"there are {MAX_SUBSCRIPTIONS} subscriptions already")
        sockets[socket] = self._timers.seconds() + expire
        if socket not in self._subscribers:
            make = Datagrams if kind == "udp" else Stream
            self._subscribers[socket] = make(self, socket, host, port)
        self._changed()

    def list(self) -> list[dict[str, Any]]:
        """In OpenSIPS's manner: events with their subscribers."""
        self._expire()
        now = self._timers.seconds()
        return [
            {
                "name": event,
                "id": self._events.index(event),
                "Subscribers": [
                    {"socket": socket, "expire": round(ends - now)}
                    for socket, ends in sockets.items()
                ],
            }
            for event, sockets in self._subscriptions.items()
            if sockets
        ]

    def event_raised(self, event: Event) -> None:
        """Send an event to its subscribers."""
        if not self._subscriptions.get(event.name):
            return
        self._expire()
        data = encode({"jsonrpc": "2.0", "method": event.name, "params": event.parameters})
        for socket in list(self._subscriptions[event.name]):
            subscriber = self._subscribers.get(socket)
            if subscriber is not None:
                subscriber.send(data)

    def _expire(self) -> None:
        now = self._timers.seconds()
        for sockets in self._subscriptions.values():
            for socket in [each for each, ends in sockets.items() if ends <= now]:
                del sockets[socket]
        self._drop_unused()

    def _drop_unused(self) -> None:
        used = {socket for sockets in self._subscriptions.values() for socket in sockets}
        for socket in [each for each in self._subscribers if each not in used]:
            self._subscribers.pop(socket).close()
        self._changed()

    def _changed(self) -> None:
        names = frozenset(event for event, sockets in self._subscriptions.items() if sockets)
        if names != self._names:
            self._names = names
            self._on_change(names)

    def refused(self, subscriber: Datagrams, latest: bytes) -> None:
        """Nobody listens on a subscriber's UDP port: there may be somebody on TCP."""
        socket = subscriber.socket
        if self._subscribers.get(socket) is subscriber:
            subscriber.close()
            stream = Stream(self, socket, subscriber.host, subscriber.port)
            self._subscribers[socket] = stream
            stream.send(latest)

    def gone(self, subscriber: Subscriber, reason: str) -> None:
        """A subscriber can't be reached any more."""
        _log.warn(
            "subscriber {socket!r} is gone: {reason}; it must subscribe again",
            socket=subscriber.socket,
            reason=reason,
        )
        for sockets in self._subscriptions.values():
            sockets.pop(subscriber.socket, None)
        self._drop_unused()

    def close(self) -> None:
        """Forget all."""
        self._subscriptions.clear()
        self._drop_unused()


def parse_socket(text: str) -> tuple[str, str, int]:
    """Read ``udp:ADDRESS:PORT`` or ``tcp:ADDRESS:PORT``.  Raises ValueError."""
    kind, _, rest = text.partition(":")
    host, _, port = rest.rpartition(":")
    if kind not in ("udp", "tcp"):
        raise ValueError(f"{text!r} must read udp:ADDRESS:PORT or tcp:ADDRESS:PORT")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise ValueError(f"{text!r}: {host!r} is no IP address") from None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r}: {port!r} is no port")
    return kind, str(address), int(port)
