"""A reactor whose TCP sockets write at the end of the turn in which something was written.

Twisted hands what is written to the reactor, which asks the kernel to say when the socket is
ready, hears it in its next round, takes the question back, and has the socket write: two system
calls and a round through the reactor for each write to a socket that was ready all along.  Here
each socket that was written to in a turn tries once by itself when the turn is over, and goes the
usual way only with what the kernel does not take.  What one turn writes to a socket is gathered as
before, and a message costs a tenth less.  How they get their turns: see ``poller``.

Sockets that somebody opened for us, as systemd does, are taken where they are what is asked for.

Imports nothing of msrpgw but ``poller``, ``turn`` and ``systemd``.
"""

import select
import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IConnector, IListeningPort, IReactorFDSet
from twisted.internet.protocol import ClientFactory, Factory
from twisted.logger import Logger
from zope.interface import directlyProvides, providedBy

from msrpgw.poller import Poller
from msrpgw.systemd import Bound
from msrpgw.turn import Ending, Turn, never

_log = Logger()

#: all sockets read into it, and what came is copied: ``recv`` makes a block as large as the most
#: that may come and shrinks it, and what is then made in the rest of it keeps holes open
_incoming = memoryview(bytearray(tcp.Connection.bufferSize))


class _Prompt(tcp.Connection):
    """What our two kinds of TCP transport do differently."""

    reactor: Any
    _left = False  # whether the last doWrite left something to be written

    def doRead(self) -> Any:
        """Hand up what came; what ends the connection if anything does."""
        try:
            size = self.socket.recv_into(_incoming)
        except OSError:
            return super().doRead()  # it meets it again
        return self._dataReceived(bytes(_incoming[:size]))

    def write(self, data: bytes) -> None:
        """Take what is to be written; ask a producer to pause when that is too much."""
        gathered: list[bytes] = self._tempDataBuffer
        if self._tempDataLen + len(data) > self.bufferSize or self.dataBuffer or self.TLS:
            super().write(data)  # type: ignore[no-untyped-call]
        elif self.connected and not self._writeDisconnected and data:
            # All that is left of the general case, which is 3 % of a message over TCP.
            gathered.append(data)
            self._tempDataLen += len(data)
            if len(gathered) == 1:
                self.startWriting()

    def startWriting(self) -> None:
        """Something is to be written: when the turn is over, or when the reactor says so."""
        if not self.connected or not self.reactor.at_turn_end(self):
            super().startWriting()  # type: ignore[no-untyped-call]

    def stopWriting(self) -> None:
        """Nothing is left to be written."""
        self._left = False
        super().stopWriting()  # type: ignore[no-untyped-call]

    def turn_ended(self) -> None:
        """Try to write, once; the rest, and any trouble, is for the reactor."""
        if not self.connected or self._wrote_all():
            return
        self._left = True
        try:
            problem = self.doWrite()  # type: ignore[no-untyped-call]
        except Exception:
            _log.failure("a connection could not go on writing")
            problem = True
        if problem or self._left:
            super().startWriting()  # type: ignore[no-untyped-call]

    def _wrote_all(self) -> bool:
        """Write what this turn brought, if that is all there is; False if anything is left.

        What ``doWrite`` does in the general case costs 3 % of a message.
        """
        gathered: list[bytes] = self._tempDataBuffer
        if self.dataBuffer or self.producerPaused or self.disconnecting or not gathered:
            return False
        if self.producer is not None and not self.streamingProducer:
            return False  # it wants to be asked for more
        data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        if len(data) > self.SEND_LIMIT:
            return False
        try:
            sent = self.socket.send(data)
        except OSError:
            return False  # doWrite meets it again, and knows what to do
        gathered.clear()
        self._tempDataLen = 0
        if sent < len(data):
            self.dataBuffer, self.offset = data, sent
            return False
        return True


class _Server(_Prompt, tcp.Server):
    """A connection that a peer opened."""


class _Client(_Prompt, tcp.Client):
    """A connection that we opened."""


class _Port(tcp.Port):
    transport = _Server


class _Connector(tcp.Connector):
    def _makeTransport(self) -> _Client:
        return _Client(self.host, self.port, self.bindAddress, self, self.reactor)  # type: ignore[no-untyped-call]


class PromptReactor:
    """Another reactor in all but its TCP sockets, and in that it takes sockets which are open."""

    def __init__(self, reactor: Any, inherited: Mapping[Bound, int]) -> None:
        """``inherited``: descriptors of open sockets, used in place of new ones."""
        self._reactor = reactor
        self._inherited = dict(inherited)
        # What each connection asks for several times: by ``__getattr__`` it were 1 % of a set-up.
        turn = Turn(reactor)
        self.at_turn_end = turn.at_end
        poller = Poller(reactor, turn) if hasattr(select, "epoll") else reactor
        self.addReader, self.removeReader = poller.addReader, poller.removeReader
        self.addWriter, self.removeWriter = poller.addWriter, poller.removeWriter
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: Factory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """Listen for connections (IReactorTCP).  Raises CannotListenError."""
        listening = _Port(port, factory, backlog, interface, self)
        listening._preexistingSocket = self.inherited(socket.SOCK_STREAM, interface, port)
        listening.startListening()
        return listening

    def inherited(self, kind: int, interface: str, port: int) -> socket.socket | None:
        """An open socket for this place, once; None if there is none."""
        descriptor = self._inherited.pop((kind, interface, port), None)
        return None if descriptor is None else socket.socket(fileno=descriptor)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """Connect to a host (IReactorTCP)."""
        connector = _Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector


def prompt(reactor: Any, inherited: Mapping[Bound, int] | None = None) -> Any:
    """A reactor whose TCP sockets are prompt; the same one where it has no descriptors."""
    return PromptReactor(reactor, inherited or {}) if IReactorFDSet.providedBy(reactor) else reactor


def at_turn_end(reactor: object) -> Callable[[Ending], bool]:
    """How to have something done at the end of a turn: see ``Turn.at_end``."""
    return reactor.at_turn_end if isinstance(reactor, PromptReactor) else never
