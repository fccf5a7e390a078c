"""A network in memory: hosts with UDP, TCP and names on one ``task.Clock``.

Each host is a reactor as far as our code can tell.  Nothing moves by itself: ``clock.advance``
carries what was sent.
"""

import itertools
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import (
    IConnector,
    IConsumer,
    IHostnameResolver,
    IListeningPort,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpgw.dns.records import Answer, Kind, Naptr, Srv, Value
from msrpgw.dns.servers import DnsError


def lose_none(index: int) -> bool:
    """Lose nothing."""
    return False


def lose(pattern: str) -> Callable[[int], bool]:
    """An explicit loss pattern: ``lose(".x..x")`` loses the second and the fifth datagram.

    What comes after the pattern gets through.
    """
    return lambda index: index < len(pattern) and pattern[index] == "x"


def lose_every(n: int) -> Callable[[int], bool]:
    """Lose every n-th datagram."""
    return lambda index: index % n == n - 1


class Datagram:
    """One datagram that was sent, for tests to look at."""

    def __init__(
        self, data: bytes, source: tuple[str, int], target: tuple[str, int], lost: bool
    ) -> None:
        self.data = data
        self.source = source
        self.target = target
        self.lost = lost

    def __repr__(self) -> str:
        first = self.data.split(b"\r\n", 1)[0].decode("utf-8", "replace")
        return f"{self.source} {'-x' if self.lost else '->'} {self.target} {first}"


class Network:
    """Hosts that can reach each other.

    ``lost``: which datagrams never arrive, by their number from 0.  ``hung``: addresses whose TCP
    connections are never made and never refused.  ``names``: what the resolver knows; a name
    that is not there is unknown, one in ``silent_names`` is never answered.
    """

    def __init__(self, clock: Clock | None = None, lost: Callable[[int], bool] = lose_none) -> None:
        self.clock = clock or Clock()
        self.lost = lost
        self.hung: set[tuple[str, int]] = set()
        self.names: dict[str, list[str]] = {}
        self.silent_names: set[str] = set()
        self.look_ups: list[str] = []
        self.records: dict[tuple[Kind, str], list[Srv | Naptr]] = {}
        self.ttl = 30.0  # of all that the name servers say
        self.datagrams: list[Datagram] = []
        self.connections: list[tuple[FakeTcp, FakeTcp]] = []  # (connecting side, accepting side)
        self.delay = 0.0  # seconds that a datagram or a TCP segment takes
        self.udp: dict[tuple[str, int], FakeUdpPort] = {}
        self.tcp: dict[tuple[str, int], FakeTcpPort] = {}
        self.calls: dict[str, weakref.WeakSet[Any]] = {}  # by address: what a host still does
        self._ports = itertools.count(40000)

    def kill(self, address: str) -> None:
        """A host's process ends, without a chance to do anything about it."""
        for call in list(self.calls.pop(address, ())):
            if call.active():
                call.cancel()
        for ports in (self.udp, self.tcp):
            for where in [each for each in ports if each[0] == address]:
                del ports[where]  # type: ignore[attr-defined]
        for ends in self.connections:
            for end in ends:
                if end.host.host == address and not end.lost:
                    end.lost = True
                    self.clock.callLater(0, end.other._end, ConnectionLost())

    def host(self, address: str = "127.0.0.1") -> "Host":
        """A reactor whose connections come from this address."""
        return Host(self, address)

    def free_port(self) -> int:
        """A port that nobody has."""
        return next(self._ports)

    def run(self, seconds: float = 0.0, step: float = 0.01) -> None:
        """Let time pass, in small steps, so that answers to answers get through as well."""
        for _ in range(10):
            self.clock.advance(0)
        # Steps by number: adding up would drift.
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
        for _ in range(10):
            self.clock.advance(0)

    def send(self, data: bytes, source: tuple[str, int], target: tuple[str, int]) -> None:
        """Carry a datagram, or lose it."""
        datagram = Datagram(data, source, target, self.lost(len(self.datagrams)))
        self.datagrams.append(datagram)
        if not datagram.lost:
            self.clock.callLater(self.delay, self._deliver, datagram)

    def _deliver(self, datagram: Datagram) -> None:
        port = self.udp.get(datagram.target)
        if port is not None:
            port.protocol.datagramReceived(datagram.data, datagram.source)


def _address(kind: Literal["TCP", "UDP"], host: str, port: int) -> Any:
    return (IPv6Address if ":" in host else IPv4Address)(kind, host, port)


class NameServersInMemory:
    """Name servers that know the network's names and records; ``asked`` keeps the questions."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.asked: list[tuple[Kind, str]] = []
        self.failing = False

    def ask(self, name: str, kind: Kind) -> "Deferred[Answer]":
        """Answer when the reactor's turn is over."""
        network = self.network
        self.asked.append((kind, name))
        if kind is Kind.A:
            network.look_ups.append(name)
        answer: Deferred[Answer] = Deferred()
        if name in network.silent_names:
            return answer
        values: tuple[Value, ...] = tuple(network.records.get((kind, name), ()))
        if kind in (Kind.A, Kind.AAAA):
            six = kind is Kind.AAAA
            values = tuple(one for one in network.names.get(name, ()) if (":" in one) == six)
        if self.failing:
            network.clock.callLater(0, answer.errback, DnsError("server failure"))
        else:
            ttl = network.ttl if values else None
            network.clock.callLater(0, answer.callback, Answer(values, ttl))
        return answer

    def close(self) -> None:
        """Nothing is open."""


@implementer(IReactorTime, IReactorUDP, IReactorTCP, IReactorPluggableNameResolver)
class Host:
    """A reactor on the network's clock.  Sees to time, UDP, TCP and names."""

    def __init__(self, network: Network, address: str) -> None:
        self.network = network
        self.address = address
        self.seconds = network.clock.seconds
        self.getDelayedCalls = network.clock.getDelayedCalls
        self.nameResolver = _Resolver(network)

    def callLater(self, delay: float, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Call something later, unless the host is dead by then."""
        call = self.network.clock.callLater(delay, func, *args, **kwargs)
        self.network.calls.setdefault(self.address, weakref.WeakSet()).add(call)
        return call

    def installNameResolver(self, resolver: Any) -> Any:
        """Use another resolver."""
        old, self.nameResolver = self.nameResolver, resolver
        return old

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> "FakeUdpPort":
        """Open a UDP port."""
        where = (interface or self.address, port or self.network.free_port())
        if where in self.network.udp:
            raise CannotListenError(*where, OSError(98, "Address already in use"))
        made = FakeUdpPort(self.network, where, protocol)
        self.network.udp[where] = made
        protocol.makeConnection(made)
        return made

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> "FakeTcpPort":
        """Open a TCP port."""
        where = (interface or self.address, port or self.network.free_port())
        if where in self.network.tcp:
            raise CannotListenError(*where, OSError(98, "Address already in use"))
        made = FakeTcpPort(self.network, where, factory)
        self.network.tcp[where] = made
        factory.doStart()
        return made

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> "FakeConnector":
        """Make a TCP connection."""
        connector = FakeConnector(self, (host, port), factory, timeout)
        connector.connect()
        return connector


@implementer(IListeningPort)
class FakeUdpPort:
    """A UDP port."""

    def __init__(self, network: Network, where: tuple[str, int], protocol: Any) -> None:
        self._network = network
        self._where = where
        self.protocol = protocol
        self.failing: Exception | None = None  # what write raises

    def write(self, packet: bytes, addr: tuple[str, int] | None = None) -> None:
        """Send a datagram."""
        if self.failing is not None:
            raise self.failing
        assert addr is not None
        source = self._where
        if source[0] in ("0.0.0.0", "::"):
            source = (addr[0], source[1])
        self._network.send(bytes(packet), source, (addr[0], addr[1]))

    def getHost(self) -> Any:
        """The bound address."""
        return _address("UDP", *self._where)

    def startListening(self) -> None:
        """It does from the start."""

    def stopListening(self) -> "Deferred[None]":
        """Close."""
        self._network.udp.pop(self._where, None)
        self.protocol.doStop()
        return succeed(None)


@implementer(IListeningPort)
class FakeTcpPort:
    """A TCP port."""

    def __init__(self, network: Network, where: tuple[str, int], factory: Any) -> None:
        self._network = network
        self._where = where
        self.factory = factory

    def getHost(self) -> Any:
        """The bound address."""
        return _address("TCP", *self._where)

    def startListening(self) -> None:
        """It does from the start."""

    def stopListening(self) -> "Deferred[None]":
        """Close; connections stay."""
        self._network.tcp.pop(self._where, None)
        self.factory.doStop()
        return succeed(None)


@implementer(IConnector)
class FakeConnector:
    """A TCP connection being made."""

    def __init__(self, host: Host, where: tuple[str, int], factory: Any, timeout: float) -> None:
        self._host = host
        self._where = where
        self._factory = factory
        self._timeout = timeout
        self._call: Any = None
        self._transport: FakeTcp | None = None

    def connect(self) -> None:
        """Try."""
        self._factory.doStart()
        self._factory.startedConnecting(self)
        network = self._host.network
        if self._where in network.hung:
            self._call = network.clock.callLater(self._timeout, self._fail, TimeoutError())
        else:
            self._call = network.clock.callLater(network.delay, self._connect)

    def _fail(self, why: Exception) -> None:
        self._factory.clientConnectionFailed(self, Failure(why))
        self._factory.doStop()

    def _connect(self) -> None:
        network = self._host.network
        port = network.tcp.get(self._where)
        if port is None:
            self._fail(ConnectionRefusedError())
            return
        here = (self._host.address, network.free_port())
        mine = FakeTcp(network, _address("TCP", *here), _address("TCP", *self._where))
        theirs = FakeTcp(network, mine.peer, mine.host)
        mine.other, theirs.other = theirs, mine
        network.connections.append((mine, theirs))
        accepted = port.factory.buildProtocol(mine.host)
        self._transport = mine
        made = self._factory.buildProtocol(mine.peer)
        mine.protocol = made
        theirs.protocol = accepted
        mine.on_lost = lambda reason: self._lost(reason)
        made.makeConnection(mine)
        if accepted is None:
            theirs.lost = True
            mine.break_off()
        else:
            accepted.makeConnection(theirs)

    def _lost(self, reason: Failure) -> None:
        self._factory.clientConnectionLost(self, reason)
        self._factory.doStop()

    def stopConnecting(self) -> None:
        """Give up."""
        self._call.cancel()
        self._fail(UserError())

    def disconnect(self) -> None:
        """Give up, or close."""
        if self._transport is not None:
            self._transport.loseConnection()
        else:
            self.stopConnecting()

    def getDestination(self) -> Any:
        """Where it connects to."""
        return _address("TCP", *self._where)


@implementer(ITCPTransport, IConsumer)
class FakeTcp:
    """One end of a TCP connection."""

    def __init__(self, network: Network, host: Any, peer: Any) -> None:
        self._network = network
        self.host = host
        self.peer = peer
        self.other: FakeTcp
        self.protocol: Any = None
        self.producer: Any = None
        self.on_lost: Callable[[Failure], None] = lambda reason: None
        self.lost = False
        self.closing = False
        self.blocked = False  # set by tests: what is written stays here
        self.paused = False  # whether what comes waits at the other end
        self.no_delay = False
        self.written = b""  # all that was ever written, for tests to look at
        self._buffer = b""
        self._pending = False

    def write(self, data: bytes) -> None:
        """Send; what is written in one turn arrives together."""
        if self.lost or self.closing:
            return
        self.written += data
        self._buffer += data
        if self.blocked:
            if self.producer is not None:
                self.producer.pauseProducing()
        else:
            self._flush_later()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send."""
        self.write(b"".join(data))

    def unblock(self) -> None:
        """The peer reads again."""
        self.blocked = False
        self._flush_later()
        if self.producer is not None:
            self.producer.resumeProducing()

    def _flush_later(self) -> None:
        if not self._pending:
            self._pending = True
            self._network.clock.callLater(self._network.delay, self._flush)

    def _flush(self) -> None:
        self._pending = False
        if self.other.paused and not self.other.lost:
            return
        data, self._buffer = self._buffer, b""
        if data and not self.other.lost:
            self.other.protocol.dataReceived(data)
        if self.closing and not self.lost:
            self._end(ConnectionDone())
            self._network.clock.callLater(0, self.other._end, ConnectionDone())

    def _end(self, why: Exception) -> None:
        if self.lost:
            return
        self.lost = True
        if self.producer is not None:
            self.producer.stopProducing()
        reason = Failure(why)
        if self.protocol is not None:
            self.protocol.connectionLost(reason)
        self.on_lost(reason)

    def break_off(self) -> None:
        """The connection is reset: both ends hear of it, what was on its way is gone."""
        self._buffer = b""
        for end in (self, self.other):
            self._network.clock.callLater(0, end._end, ConnectionLost())

    def loseConnection(self) -> None:
        """Close when all is written."""
        if not self.lost and not self.closing:
            self.closing = True
            if not self.blocked:
                self._flush_later()

    def abortConnection(self) -> None:
        """Close at once."""
        self.break_off()

    def loseWriteConnection(self) -> None:
        """Not needed."""
        raise NotImplementedError

    def getHost(self) -> Any:
        """Our address."""
        return self.host

    def getPeer(self) -> Any:
        """The peer's address."""
        return self.peer

    def getTcpNoDelay(self) -> bool:
        """Whether small segments go out at once."""
        return self.no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small segments at once."""
        self.no_delay = enabled

    def getTcpKeepAlive(self) -> bool:
        """Not needed."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Not needed."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Tell the producer when nothing more should be written."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Don't."""
        self.producer = None

    def pauseProducing(self) -> None:
        """Read nothing more."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Read again."""
        self.paused = False
        self.other._flush_later()

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()


@implementer(IHostnameResolver)
class _Resolver:
    """Knows the names of the network."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def resolveHostName(
        self,
        receiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """Answer in the next turn."""
        self._network.look_ups.append(hostName)
        if hostName not in self._network.silent_names:
            answer = partial(self._answer, receiver, hostName, portNumber, addressTypes)
            self._network.clock.callLater(0, answer)
        return receiver

    def _answer(self, receiver: Any, name: str, port: int, types: Any) -> None:
        receiver.resolutionBegan(receiver)
        for address in self._network.names.get(name, ()):
            made = _address("TCP", address, port)
            if types is None or isinstance(made, tuple(types)):
                receiver.addressResolved(made)
        receiver.resolutionComplete()
