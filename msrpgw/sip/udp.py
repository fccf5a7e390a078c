"""A UDP port that hears of the datagrams that could not be delivered (RFC 3261 §18.4).

Linux keeps the ICMP errors of a socket in a queue of their own (IP_RECVERR, see ip(7)), each
with the datagram that it is about.  Twisted's ``Port`` knows nothing of that queue: it would
take its ready signal for the end of the socket, hence the overridden methods.  On other systems,
and with reactors that have no file descriptors, the plain port is used and ICMP goes unheard.
"""

import errno
import os
import socket
import struct
import sys
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

from msrpgw.sockets import PromptReactor

_log = Logger()

#: the largest datagram that can come
MAX_DATAGRAM = 65536

#: datagrams read at a time: then it is the turn of the other sockets, that what was begun goes on
AT_ONCE = 128

#: socket(7) and linux/sock_diag.h: the first of these numbers is what waits to be read, the second
#: how much may, both with the kernel's own needs
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=II")

# From <linux/in.h> and <linux/in6.h>; the socket module of Python 3.11 lacks them.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_MSG_ERRQUEUE = 0x2000

# sock_extended_err: u32 ee_errno; u8 ee_origin, …; origin 2 and 3 are ICMP and ICMPv6.
_ERRNO_SIZE = 4
_ICMP_ORIGINS = (2, 3)


class Undeliverable(Protocol):
    """Hears of a datagram of ours that a host or router gave back."""

    def __call__(self, data: bytes, reason: str) -> None:
        """``data``: the datagram, or as much of it as the ICMP message quotes.

        Also told of what the kernel would not send.
        """


@implementer(IHalfCloseableDescriptor)
class _IcmpPort(udp.Port):
    """Owned by the reactor, as any port."""

    undeliverable: Undeliverable
    buffer = 0  #: bytes that the kernel is to keep of what was not read; 0: as many as it likes

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self.behind_since = 0.0  #: since when more comes than is read, on the clock; 0: it doesn't
        self._clock = IReactorTime(self.reactor)
        self._outgoing: list[tuple[bytes, tuple[str, int]]] = []  # in this turn

    def createInternetSocket(self) -> socket.socket:
        """Ask the kernel for the queue of ICMP errors."""
        return self.with_errors(super().createInternetSocket())

    def with_errors(self, made: socket.socket) -> socket.socket:
        """A socket that was asked for the queue of ICMP errors."""
        if self.addressFamily == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        # Also with IPv6: the wildcard reaches IPv4 peers as well.
        made.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
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
    def filled(self) -> float:
        """Which share of the kernel's buffer waits to be read; all of it where it does not say."""
        try:
            told = self.socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
        except OSError:
            return 1.0
        waits, size = _MEMINFO.unpack_from(told)
        return waits / size if size else 1.0

    def doRead(self) -> None:
        """Read what is there; an error that is in the way belongs to a datagram that we sent."""
        protocol = self.protocol
        receive = self.socket.recvfrom
        for number in range(AT_ONCE):
            try:
                data, address = receive(MAX_DATAGRAM)
            except BlockingIOError:
                self.behind_since = 0.0
                if not number:  # then it is the queue of errors that is ready
                    self._read_errors()
                return
            except OSError:
                self._read_errors()
                return
            try:
                protocol.datagramReceived(data, address[:2])
            except Exception:
                _log.failure("a datagram could not be processed; going on")
        self.behind_since = self.behind_since or self._clock.seconds()

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
            self._clock.callLater(0, self._send_all)
        self._outgoing.append((datagram, addr))

    def _send_all(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        for datagram, address in outgoing:
            problem = self._send(datagram, address)
            if problem:
                try:
                    self.undeliverable(datagram, problem)
                except Exception:
                    _log.failure("a datagram that can't be sent made trouble; going on")

    def _send(self, datagram: bytes, address: tuple[str, int]) -> str:
        """Returns what is wrong, "" if nothing is."""
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
        if self.connected:
            self._send_all()
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
    buffer: int = 0,
) -> IListeningPort:
    """Listen for datagrams; ``buffer``: bytes that may wait to be read, 0 for the usual ones.

    Raises CannotListenError.
    """
    if sys.platform == "linux" and IReactorFDSet.providedBy(reactor):
        made = _IcmpPort(port, protocol, interface, MAX_DATAGRAM, reactor)
        made.undeliverable = undeliverable
        made.buffer = buffer
        if isinstance(reactor, PromptReactor):
            inherited = reactor.inherited(socket.SOCK_DGRAM, interface, port)
            if inherited is not None:
                made._preexistingSocket = made.with_errors(inherited)  # type: ignore[assignment]
        made.startListening()  # type: ignore[no-untyped-call]
        return made
    return IReactorUDP(reactor).listenUDP(port, protocol, interface, MAX_DATAGRAM)


def behind_since(port: object) -> float:
    """Since when more comes to a port than is read, on its clock; 0: it does not."""
    return port.behind_since if isinstance(port, _IcmpPort) else 0.0


def filled(port: object) -> float:
    """Which share of the kernel's buffer waits to be read."""
    return port.filled if isinstance(port, _IcmpPort) else 0.0


def local_address(towards: str) -> str:
    """Our address on the way to an IP address, as the kernel's routes have it."""
    family = socket.AF_INET6 if ":" in towards else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards, 9))  # sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return "::1" if family is socket.AF_INET6 else "127.0.0.1"
