"""A UDP port that hears of the datagrams that could not be delivered (RFC 3261 §18.4).

Linux keeps the ICMP errors of a socket in a queue of their own (IP_RECVERR, see ip(7)), each
with the datagram that it is about.  Twisted's ``Port`` knows nothing of that queue: it would
take its ready signal for the end of the socket, hence the overridden methods.  On other systems,
and with reactors that have no file descriptors, the plain port is used and ICMP goes unheard.

All that came is read at once, so that the kernel has room for more.  Responses are handed up at
once, too: what they end makes room.  Requests stand in line, and may be refused when too many do.
"""

import errno
import os
import socket
import struct
import sys
from collections import defaultdict, deque
from typing import Any, Protocol

from twisted.internet import udp
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IListeningPort,
    IReactorFDSet,
    IReactorTime,
    IReactorUDP,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpgw.line import Line, Patience
from msrpgw.sockets import PromptReactor, at_turn_end

_log = Logger()

#: the largest datagram that can come
MAX_DATAGRAM = 65536

#: datagrams read in one turn of the reactor
READ_AT_ONCE = 1024
#: bytes of requests that may wait here; what is more waits in the kernel
MOST_WAITING = 8 * 2**20

#: how responses begin (RFC 3261 §7.2)
_RESPONSE = b"SIP/2.0 "

# From <linux/in.h> and <linux/in6.h>; the socket module of Python 3.11 lacks them.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_MSG_ERRQUEUE = 0x2000
# From <linux/udp.h>, since Linux 4.18: what one call sends is cut into datagrams of one length.
_UDP_SEGMENT = 103
#: most datagrams of such a call (UDP_MAX_SEGMENTS), and most bytes of all of them together
SEGMENTS, SEGMENTED = 64, 65_000

# sock_extended_err: u32 ee_errno; u8 ee_origin, …; origin 2 and 3 are ICMP and ICMPv6.
_ERRNO_SIZE = 4
_ICMP_ORIGINS = (2, 3)


class Undeliverable(Protocol):
    """Hears of a datagram of ours that a host or router gave back."""

    def __call__(self, data: bytes, reason: str) -> None:
        """``data``: the datagram, or as much of it as the ICMP message quotes.

        Also told of what the kernel would not send.
        """


class Crowded(Patience, Protocol):
    """Decides about requests when too many wait for their turn."""

    def refusal_of(self, data: bytes, address: tuple[str, int], silently: bool) -> bytes | None:
        """The answer to one for which there is no room.

        Empty: none, as is asked for by ``silently``; None: it is to be taken all the same.
        """


@implementer(IHalfCloseableDescriptor)
class _IcmpPort(udp.Port):
    """Owned by the reactor, as any port."""

    undeliverable: Undeliverable
    buffer = 0  #: bytes that the kernel is to keep of what was not read; 0: as many as it likes
    _segments = False  # whether the kernel knows UDP_SEGMENT

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self._clock = IReactorTime(self.reactor)
        self._at_turn_end = at_turn_end(self.reactor)
        # Datagrams are copied out of it: in a block as large as the largest, as ``recvfrom`` makes
        # one for each, what is kept of one pins a page, and holes of 64 KiB are left between them.
        # That was 33 MB of 54 after some minutes, and growing.
        self._buffer = memoryview(bytearray(MAX_DATAGRAM))
        # Requests, where they came from, and when.  Side by side, not in tuples: those would be the
        # garbage collector's business.
        self._waiting: deque[bytes] = deque()
        self._waiting_from: deque[tuple[str, int]] = deque()
        self._waiting_since: deque[float] = deque()
        self._waiting_bytes = 0
        # What leaves when the turn is over; refusals by length and address.
        self._outgoing: list[tuple[bytes, tuple[str, int]]] = []
        self._refusals: defaultdict[tuple[int, tuple[str, int]], list[bytes]] = defaultdict(list)

    def use(self, crowded: Crowded) -> None:
        """Ask this one what is too much."""
        self._crowded = crowded
        self._line = Line(self._clock, crowded, self._at_turn_end)

    def createInternetSocket(self) -> socket.socket:
        """Ask the kernel for the queue of ICMP errors."""
        return self.with_errors(super().createInternetSocket())

    def with_errors(self, made: socket.socket) -> socket.socket:
        """A socket that was asked for the queue of ICMP errors."""
        if self.addressFamily == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        # Also with IPv6: the wildcard reaches IPv4 peers as well.
        made.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        try:
            made.getsockopt(socket.SOL_UDP, _UDP_SEGMENT)
            self._segments = True
        except OSError:
            # An older kernel would send all that it is given as one datagram.
            self._segments = False
        if self.buffer:
            self._enlarge(made)
        return made

    def _enlarge(self, made: socket.socket) -> None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
        # socket(7): Linux says twice the number, for its own needs.
        got = made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        if got < self.buffer:
            _log.info(
                "the kernel keeps {got} bytes of UDP, not {wanted}: net.core.rmem_max is smaller",
                got=got,
                wanted=self.buffer,
            )

    @property
    def waits(self) -> float:
        """For how long a request has waited for its turn, in seconds; 0: none does."""
        return self._line.waits

    @property
    def waits_since(self) -> float:
        """When the first of the requests came that wait for their turn, on the clock."""
        return self._waiting_since[0]

    def doRead(self) -> None:
        """Read what is there; an error that is in the way belongs to a datagram that we sent."""
        if self._waiting_bytes > MOST_WAITING:
            return
        receive, line, refused = self.socket.recvfrom_into, self._line, self._refused
        buffer = self._buffer
        room, now = line.room, self._clock.seconds()
        for number in range(READ_AT_ONCE):
            try:
                size, address = receive(buffer)
            except BlockingIOError:
                if not number:  # then it is the queue of errors that is ready
                    self._read_errors()
                return
            except OSError:
                self._read_errors()
                return
            data = bytes(buffer[:size])
            if data[:8] == _RESPONSE or (not self._waiting and line.take()):
                self._hand_up(data, address[:2])
            elif room > 0 or not refused(data, address[:2]):
                room -= 1
                self._wait(data, address[:2], now)

    def _hand_up(self, data: bytes, address: tuple[str, int]) -> None:
        try:
            self.protocol.datagramReceived(data, address)
        except Exception:
            _log.failure("a datagram could not be processed; going on")

    def _refused(self, data: bytes, address: tuple[str, int]) -> bool:
        answer = self._crowded.refusal_of(data, address, not self._line.take_refusal())
        if answer:
            if not self._refusals:
                self._send_soon()
            self._refusals[len(answer), address].append(answer)
        return answer is not None

    def _wait(self, data: bytes, address: tuple[str, int], now: float) -> None:
        self._waiting.append(data)
        self._waiting_from.append(address)
        self._waiting_since.append(now)
        self._waiting_bytes += len(data)
        self._line.join(self)

    def serve(self) -> bool:
        """Hand up what waited, or have it refused if it waited twice as long as is too long."""
        waiting, addresses, times = self._waiting, self._waiting_from, self._waiting_since
        line = self._line
        early = self._clock.seconds() - 2 * self._crowded.longest_wait
        while waiting:
            data, address = waiting[0], addresses[0]
            late = times[0] < early and self._refused(data, address)
            if not late and not line.take():
                return True
            waiting.popleft()
            addresses.popleft()
            times.popleft()
            line.done(self)
            self._waiting_bytes -= len(data)
            if not late:
                self._hand_up(data, address)
        return False

    def readConnectionLost(self, reason: Failure) -> None:
        """Only the queue of errors is ready, not the socket: empty it and go on."""
        self._read_errors()
        self.startReading()  # type: ignore[no-untyped-call]

    def writeConnectionLost(self, reason: Failure) -> None:
        """Nothing is closed by halves here; the interface wants the method."""

    def write(self, datagram: bytes, addr: tuple[str, int] | None = None) -> None:
        """Send a datagram to an IP address when the reactor's turn is over.

        What can't be sent is told as undeliverable.  Sent one by one in between, each would wake
        its receiver anew: a sixth of what a message costs.
        """
        if addr is None:
            raise ValueError("the port is not connected")
        if not self._outgoing:
            self._send_soon()
        self._outgoing.append((datagram, addr))

    def _send_soon(self) -> None:
        if not self._outgoing and not self._refusals and not self._at_turn_end(self):
            self._clock.callLater(0, self.turn_ended)

    def turn_ended(self) -> None:
        """Send what there is."""
        outgoing, self._outgoing = self._outgoing, []
        for datagram, address in outgoing:
            self._send(datagram, address)
        refusals = list(self._refusals.items())
        self._refusals.clear()
        for (size, address), answers in refusals:
            self._send_alike(answers, size, address)

    def _send_alike(self, datagrams: list[bytes], size: int, address: tuple[str, int]) -> None:
        """Send datagrams of one length, many in one call.

        That costs a tenth of as many calls: where half of what comes is refused, 5 % more is
        delivered.
        """
        most = max(1, min(SEGMENTS, SEGMENTED // size)) if self._segments else 1
        cut = ((socket.SOL_UDP, _UDP_SEGMENT, struct.pack("=H", size)),)
        for first in range(0, len(datagrams), most):
            some = datagrams[first : first + most]
            if len(some) > 1:
                try:
                    self.socket.sendmsg(some, cut, 0, address)
                    continue
                except OSError:
                    # About an earlier datagram, or these are too long for one packet each.
                    self._read_errors()
            for datagram in some:
                self._send(datagram, address)

    def _send(self, datagram: bytes, address: tuple[str, int]) -> None:
        problem = self._problem_of(datagram, address)
        if problem:
            try:
                self.undeliverable(datagram, problem)
            except Exception:
                _log.failure("a datagram that can't be sent made trouble; going on")

    def _problem_of(self, datagram: bytes, address: tuple[str, int]) -> str:
        """Send a datagram.  Returns what is wrong, "" if nothing is."""
        problem = ""
        # The error may be about a datagram sent before this one: hence twice.
        for _ in range(2):
            try:
                self.socket.sendto(datagram, address)
                return ""
            except OSError as failed:
                if failed.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS):
                    return ""  # lost, as datagrams may be
                problem = failed.strerror or "can't be sent"
                if failed.errno == errno.EMSGSIZE:
                    break
                self._read_errors()
        return problem

    def stopListening(self) -> Any:
        """Send what there is, then close; a Deferred that fires when it is closed."""
        self._line.leave(self)
        for each in (self._waiting, self._waiting_from, self._waiting_since):
            each.clear()
        self._waiting_bytes = 0
        if self.connected:
            self.turn_ended()
        return super().stopListening()  # type: ignore[no-untyped-call]

    def _read_errors(self) -> None:
        while True:
            try:
                data, ancillary, _flags, _address = self.socket.recvmsg(
                    MAX_DATAGRAM, 512, _MSG_ERRQUEUE
                )
            except OSError:
                return  # EAGAIN: empty
            for level, kind, value in ancillary:
                if (level, kind) not in (
                    (socket.IPPROTO_IP, _IP_RECVERR),
                    (socket.IPPROTO_IPV6, _IPV6_RECVERR),
                ):
                    continue
                number = int.from_bytes(value[:_ERRNO_SIZE], sys.byteorder)
                if value[_ERRNO_SIZE] in _ICMP_ORIGINS and number != errno.EMSGSIZE:
                    self.undeliverable(data, os.strerror(number))


def listen_udp(
    reactor: IReactorTime,
    port: int,
    interface: str,
    protocol: DatagramProtocol,
    undeliverable: Undeliverable,
    crowded: Crowded,
    buffer: int = 0,
) -> IListeningPort:
    """Listen for datagrams; ``buffer``: bytes that may wait to be read, 0 for the usual ones.

    Raises CannotListenError.
    """
    if sys.platform == "linux" and IReactorFDSet.providedBy(reactor):
        made = _IcmpPort(port, protocol, interface, MAX_DATAGRAM, reactor)
        made.undeliverable = undeliverable
        made.use(crowded)
        made.buffer = buffer
        if isinstance(reactor, PromptReactor):
            inherited = reactor.inherited(socket.SOCK_DGRAM, interface, port)
            if inherited is not None:
                made._preexistingSocket = made.with_errors(inherited)  # type: ignore[assignment]
        made.startListening()  # type: ignore[no-untyped-call]
        return made
    return IReactorUDP(reactor).listenUDP(port, protocol, interface, MAX_DATAGRAM)


def waits(port: object) -> float:
    """For how long a request has waited for its turn, in seconds; 0: none does."""
    return port.waits if isinstance(port, _IcmpPort) else 0.0


def local_address(towards: str) -> str:
    """Our address on the way to an IP address, as the kernel's routes have it."""
    family = socket.AF_INET6 if ":" in towards else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards, 9))  # sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return "::1" if family is socket.AF_INET6 else "127.0.0.1"
