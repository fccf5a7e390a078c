"""A name server on the loopback."""

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.names import dns
from twisted.protocols.basic import Int16StringReceiver


class NameServer:
    """Answers over UDP and TCP, on a port of its own."""

    def __init__(self, reactor: Any, host: str = "127.0.0.1") -> None:
        self.records: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, str]] = []  # transport and name
        self.silent = False
        self.silent_on = "\0"  # names that end so are not answered
        self.truncate = False  # over UDP
        self.noise = False  # rubbish before the answer
        self.chase = False  # all records of all names belong to the answer
        self.code = dns.OK
        self.soa: dns.Record_SOA | None = None
        factory = Factory.forProtocol(lambda: _Stream(self))
        while True:
            self._tcp = reactor.listenTCP(0, factory, 50, host)
            port = self._tcp.getHost().port
            try:
                self._udp = reactor.listenUDP(port, _Datagrams(self), host)
                break
            except CannotListenError:  # somebody else has the same port for UDP
                self._tcp.stopListening()
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def add(self, name: str, record: Any) -> None:
        """Know a record."""
        self.records.setdefault(name, []).append(record)

    def stop(self) -> "Deferred[Any]":
        """Be gone."""
        return gatherResults([port.stopListening() for port in (self._udp, self._tcp) if port])

    def answer(self, data: bytes, transport: str) -> list[bytes]:
        """What goes out for a question."""
        question = dns.Message()
        question.fromStr(data)
        [query] = question.queries
        name = query.name.name.decode().lower()
        self.asked.append((transport, name))
        if self.silent or name.endswith(self.silent_on):
            return []
        message = dns.Message(question.id, answer=1, rCode=self.code)
        message.queries = [query]
        for owner, records in self.records.items():
            for record in records:
                if (owner == name and query.type == record.TYPE) or self.chase:
                    message.answers.append(
                        dns.RRHeader(owner, record.TYPE, dns.IN, record.ttl, record)
                    )
        if not message.answers and self.code == dns.OK:
            message.rCode = dns.OK if name in self.records else dns.ENAME
            if self.soa is not None:
                message.authority.append(
                    dns.RRHeader("example", dns.SOA, dns.IN, self.soa.ttl, self.soa)
                )
        if self.truncate and transport == "udp":
            message.answers = []
            message.trunc = 1
        sent = [message.toStr()]
        if self.noise:
            other = dns.Message(question.id ^ 1, answer=1, rCode=dns.ENAME)
            other.queries = [query]
            wrong = dns.Message(question.id, answer=1, rCode=dns.ENAME)
            wrong.queries = [dns.Query("other.example", query.type, dns.IN)]
            sent = [b"", b"\xff" * 7, data, other.toStr(), wrong.toStr(), *sent]
        return sent


class _Datagrams(DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """A question."""
        for data in self._server.answer(datagram, "udp"):
            self.transport.write(data, addr)


class _Stream(Int16StringReceiver):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def stringReceived(self, string: bytes) -> None:
        """A question."""
        for data in self._server.answer(string, "tcp"):
            self.sendString(data)
