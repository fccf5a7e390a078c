"""All our sockets on one epoll (epoll(7)), which is a single descriptor to the reactor.

Twisted puts a context for log lines around each socket's turn, and goes once around its whole loop
to have written what a turn brought: a twentieth of what a message costs.  Here all sockets that are
ready have their turn at once; and when the last of them has had it, the turn ends and they write.

Can be imported, but not used, where there is no epoll.  Imports nothing of msrpgw but ``turn``.
"""

import select
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpgw.turn import Turn

_log = Logger()

#: sockets that have their turn before the reactor looks at its clock
AT_ONCE = 512

# Those of epoll are the same numbers, but only Linux has them.
_READ, _WRITE = select.POLLIN, select.POLLOUT
_GONE = select.POLLHUP | select.POLLERR

#: most connections end so; to make a Failure takes longer than to close one
_DONE = Failure(CONNECTION_DONE)


@implementer(IReadDescriptor)
class Poller:
    """What the reactor is to its descriptors (IReactorFDSet), for those that are handed in.

    Stands in the reactor as long as there are any.
    """

    def __init__(self, reactor: Any, turn: Turn) -> None:
        self._reactor = reactor
        self._turn = turn
        self._epoll = select.epoll()
        # By number: who it is, and what it waits for.
        self._descriptors: dict[int, Any] = {}
        self._wanted: dict[int, int] = {}

    def addReader(self, reader: Any) -> None:
        """Call its ``doRead`` whenever there is something to read."""
        self._want(reader, _READ)

    def addWriter(self, writer: Any) -> None:
        """Call its ``doWrite`` whenever there is room for what it writes."""
        self._want(writer, _WRITE)

    def removeReader(self, reader: Any) -> None:
        """Call its ``doRead`` no more."""
        self._want_no_more(reader, _READ)

    def removeWriter(self, writer: Any) -> None:
        """Call its ``doWrite`` no more."""
        self._want_no_more(writer, _WRITE)

    def _want(self, descriptor: Any, event: int) -> None:
        number = descriptor.fileno()
        wanted = self._wanted.get(number, 0)
        if wanted & event:
            return
        if wanted:
            self._epoll.modify(number, wanted | event)
        else:
            self._epoll.register(number, event)
            if not self._descriptors:
                self._reactor.addReader(self)
            self._descriptors[number] = descriptor
        self._wanted[number] = wanted | event

    def _want_no_more(self, descriptor: Any, event: int) -> None:
        number = descriptor.fileno()
        wanted = self._wanted.get(number, 0)
        if not wanted & event:
            return
        left = wanted & ~event
        if left:
            self._epoll.modify(number, left)
            self._wanted[number] = left
            return
        self._epoll.unregister(number)
        del self._descriptors[number], self._wanted[number]
        if not self._descriptors:
            self._reactor.removeReader(self)

    # For the reactor

    def fileno(self) -> int:
        """The number of the epoll, which is ready when any of its descriptors is."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """Nothing worth a word."""
        return "-"

    def doRead(self) -> None:
        """Give all that are ready their turn, then have written what that brought."""
        descriptors = self._descriptors
        # One that has its turn may close another, whose number the next connection gets.
        ready = [
            (number, event, descriptors[number])
            for number, event in self._epoll.poll(0, AT_ONCE)
            if number in descriptors
        ]
        self._turn.begin()
        try:
            for number, event, each in ready:
                if descriptors.get(number) is each:
                    self._serve(each, number, event)
        finally:
            self._turn.end()

    def _serve(self, descriptor: Any, number: int, event: int) -> None:
        problem: BaseException | None = None
        reading = bool(event & _READ)
        if event & _GONE and not reading:
            reading = bool(self._wanted[number] & _READ)
            problem = CONNECTION_DONE if reading else CONNECTION_LOST
        else:
            try:
                if reading:
                    problem = descriptor.doRead()
                if problem is None and event & _WRITE:
                    reading = False
                    problem = descriptor.doWrite()
            except Exception as error:
                _log.failure("a socket could not go on; it is closed")
                problem = error
        if problem is not None:
            try:
                self._lose(descriptor, problem, reading)
            except Exception:
                _log.failure("a socket made trouble when it was lost; going on")

    def _lose(self, descriptor: Any, problem: BaseException, reading: bool) -> None:
        """Tell it, as the reactor would: that only reading is over, if only that is."""
        done = isinstance(problem, ConnectionDone)
        self.removeReader(descriptor)
        reason = _DONE if done else Failure(problem)
        if done and reading and IHalfCloseableDescriptor.providedBy(descriptor):
            descriptor.readConnectionLost(reason)
        else:
            self.removeWriter(descriptor)
            descriptor.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, and all that it has with it."""
        for each in list(self._descriptors.values()):
            each.connectionLost(reason)
