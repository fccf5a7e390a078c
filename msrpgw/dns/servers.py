"""Asking name servers: UDP, and TCP for what does not fit (RFC 1035 §4.2, RFC 5452).

Each question has a socket of its own, so that its port can't be guessed, connected to the one
server that may answer.  A server that does not answer, refuses, or has trouble of its own is
passed over for the next.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    connectProtocol,
)
from twisted.internet.interfaces import IReactorTCP, IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol, connectionDone
from twisted.names import dns
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from msrpgw.dns.files import ResolvConf, WatchedFile, parse_resolv_conf
from msrpgw.dns.records import Answer, Kind, is_name, read_answer
from msrpgw.dns.settings import DnsSettings, parse_server
from msrpgw.errors import MsrpgwError
from msrpgw.timers import Timer, Timers

RESOLV_CONF = "/etc/resolv.conf"

#: how often a question is put, to one server after the other
_TRIES = 3
#: the largest datagram without EDNS (RFC 1035 §2.3.4), and room for servers that don't care
_MAX_DATAGRAM = 4096

Server = tuple[str, int]


class DnsError(MsrpgwError):
    """No server has an answer; the text says why."""


class Upstream(Protocol):
    """Who knows what is not known here."""

    def ask(self, name: str, kind: Kind) -> "Deferred[Answer]":
        """Ask; fails with DnsError."""

    def close(self) -> None:
        """Give up all questions."""


class _Question:
    """One question to one server, until its answer, an error, or time is up."""

    def __init__(self, query: dns.Query, number: int, timers: Timers, patience: float) -> None:
        self.done: Deferred[dns.Message] = Deferred()
        self._query = query
        self._number = number
        message = dns.Message(id=number, recDes=1)
        message.queries = [query]
        self.data: bytes = message.toStr()
        self._timer: Timer | None = timers.call_later(patience, lambda: self.fail("no answer"))
        self.on_end: Callable[[], object] = lambda: None  # closes the socket

    def received(self, data: bytes) -> None:
        """Take the answer; whatever else comes is not heard."""
        message = dns.Message()
        try:
            message.fromStr(data)
        except Exception:  # whatever a decoder may raise on bytes of a stranger's
            return
        if message.id == self._number and message.answer and message.queries == [self._query]:
            self._end(message)

    def fail(self, reason: str) -> None:
        """There will be no answer."""
        self._end(Failure(DnsError(reason)))

    def _end(self, result: "dns.Message | Failure") -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self.on_end()
        self.done.callback(result)


class _Datagram(DatagramProtocol):
    """The socket of a question."""

    noisy = False

    def __init__(self, question: _Question, server: Server) -> None:
        self._question = question
        self._server = server

    def startProtocol(self) -> None:
        """Hear of nobody but the server."""
        transport: Any = self.transport
        transport.connect(*self._server)
        transport.write(self._question.data)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Something came from the server."""
        self._question.received(datagram)

    def connectionRefused(self) -> None:
        """There is no server, and the socket could be read nevertheless."""
        self._question.fail("refused")

    def stopProtocol(self) -> None:
        """There is no server: Twisted closes a socket that has nothing but ICMP's error."""
        self._question.fail("refused")


class _Stream(Int16StringReceiver):
    """The connection of a question."""

    def __init__(self, question: _Question) -> None:
        self._question = question

    def connectionMade(self) -> None:
        """Ask."""
        self.sendString(self._question.data)  # type: ignore[no-untyped-call]

    def stringReceived(self, string: bytes) -> None:
        """Something came from the server."""
        self._question.received(string)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """That was all."""
        self._question.fail("connection lost")


class NameServers:
    """The servers of the settings, or of resolv.conf.  Owned by the resolver."""

    def __init__(
        self,
        reactor: IReactorTime,
        timers: Timers,
        random: Callable[[int], bytes],
        settings: DnsSettings,
        resolv_conf: str = RESOLV_CONF,
    ) -> None:
        self._reactor = reactor
        self._timers = timers
        self._random = random
        self._patience = settings.timeout / _TRIES
        self._servers = tuple(parse_server(text) for text in settings.servers)
        self._file = WatchedFile(resolv_conf, parse_resolv_conf)
        self._open: dict[_Question, None] = {}
        self._closed = False

    def ask(self, name: str, kind: Kind) -> "Deferred[Answer]":
        """Ask one server after the other.  Fails with DnsError when none has an answer.

        For addresses the search list counts, for services it does not (RFC 3263 §4).
        """
        return Deferred.fromCoroutine(self._ask(name, kind))

    async def _ask(self, name: str, kind: Kind) -> Answer:
        conf = self._file.read()
        names = iter([name])
        if kind in (Kind.A, Kind.AAAA):
            names = _candidates(name, conf)
        servers = self._servers or conf.servers
        answer = Answer((), None)
        for candidate in names:
            answer = await self._ask_all(candidate, kind, servers)
            if answer.values:
                break
        return answer

    async def _ask_all(self, name: str, kind: Kind, servers: tuple[Server, ...]) -> Answer:
        query = dns.Query(name.encode("ascii"), kind.value, dns.IN)
        problem = "closed"
        for turn in range(max(_TRIES, len(servers))):
            if self._closed:
                break
            server = servers[turn % len(servers)]
            try:
                message = await self._exchange(query, server, self._over_udp)
                if message.trunc:
                    message = await self._exchange(query, server, self._over_tcp)
            except DnsError as error:
                problem = str(error)
                continue
            if message.rCode in (dns.OK, dns.ENAME):
                return read_answer(message, name, kind)
            problem = f"server failure, code {message.rCode}"
        raise DnsError(problem)

    def _exchange(
        self, query: dns.Query, server: Server, send: Callable[[_Question, Server], None]
    ) -> "Deferred[dns.Message]":
        number = int.from_bytes(self._random(2), "big")
        question = _Question(query, number, self._timers, self._patience)
        self._open[question] = None
        try:
            send(question, server)
        except Exception as error:  # no file descriptors, no route, no address of that family
            question.fail(str(error))

        def ended(result: Any) -> Any:
            self._open.pop(question, None)
            return result

        return question.done.addBoth(ended)

    def _over_udp(self, question: _Question, server: Server) -> None:
        interface = "::" if ":" in server[0] else ""
        protocol = _Datagram(question, server)
        port = IReactorUDP(self._reactor).listenUDP(0, protocol, interface, _MAX_DATAGRAM)
        question.on_end = port.stopListening

    def _over_tcp(self, question: _Question, server: Server) -> None:
        kind = TCP6ClientEndpoint if ":" in server[0] else TCP4ClientEndpoint
        endpoint = kind(IReactorTCP(self._reactor), *server, self._patience)
        connecting = connectProtocol(endpoint, _Stream(question))
        question.on_end = connecting.cancel

        def connected(stream: Any) -> None:
            question.on_end = stream.transport.abortConnection

        connecting.addCallbacks(connected, lambda failure: question.fail("no TCP connection"))

    def close(self) -> None:
        """Give up all questions, their sockets closed."""
        self._closed = True
        for question in list(self._open):
            question.fail("closed")


def _candidates(name: str, conf: ResolvConf) -> Iterator[str]:
    """The names that a name may stand for (resolv.conf(5))."""
    if name.count(".") < conf.ndots:
        for domain in conf.search:
            if is_name(f"{name}.{domain}"):
                yield f"{name}.{domain}"
    yield name
