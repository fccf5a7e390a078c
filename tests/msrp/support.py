"""An MSRP endpoint on in-memory transports, and peers made of bytes."""

import hashlib
from collections.abc import Iterator
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from msrpgw.limits import Limits as AllLimits
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.frame import FrameParser, Limits, Malformed, Request, Response
from msrpgw.msrp.session import Incoming, Report, SendResult, Session
from msrpgw.msrp.settings import MsrpSettings
from msrpgw.timers import Timers

PEER_PATH = "msrp://192.0.2.7:7654/peersession;tcp"


def numbers(seed: str = "msrp") -> Iterator[bytes]:
    """Endless octets that are the same in each run."""
    count = 0
    while True:
        yield hashlib.sha256(f"{seed}{count}".encode()).digest()
        count += 1


class Transport(StringTransport):
    """A TCP transport in memory: buffers without end unless ``limit`` is set."""

    aborted = False

    def __init__(self, host: str = "192.0.2.7", port: int = 40000) -> None:
        super().__init__(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 2855),
            peerAddress=IPv4Address("TCP", host, port),
        )
        self.options: set[str] = set()
        self.limit: int | None = None  #: bytes after which the producer is paused
        self.written = 0

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.options.add("nodelay")

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.options.add("keepalive")

    def write(self, data: bytes) -> None:
        if self.disconnecting:
            return
        super().write(data)
        self.written += len(data)
        if self.limit is not None and self.written > self.limit and self.producer is not None:
            self.producer.pauseProducing()

    def drain(self) -> None:
        """The peer has read everything."""
        self.written = 0
        if self.producer is not None:
            self.producer.resumeProducing()

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()

    def pauseProducing(self) -> None:
        if not self.disconnecting:
            super().pauseProducing()


class Peer:
    """The other end of one connection: writes bytes, reads frames."""

    def __init__(self, protocol: Protocol, transport: Transport, clock: Clock) -> None:
        self.protocol: Any = protocol  # a Connection; tests ask more of it than Twisted does
        self.transport = transport
        self._clock = clock
        self._parser = FrameParser(Limits(max_header_size=1 << 20, max_body=1 << 26))
        self._serial = 0

    def write(self, data: bytes) -> None:
        """Bytes from the peer arrive, in one TCP read; then the reactor has another turn."""
        self.protocol.dataReceived(data)
        self._clock.advance(0)

    def raw(self) -> bytes:
        """Bytes that came to the peer since it last read."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def read(self) -> list[Request | Response | Malformed]:
        """Frames that came to the peer since it last read."""
        return list(self._parser.feed(self.raw()))

    def requests(self) -> list[Request]:
        """Requests that came; fails when anything else did."""
        frames = self.read()
        requests = [frame for frame in frames if isinstance(frame, Request)]
        assert len(frames) == len(requests), frames
        return requests

    def statuses(self) -> list[tuple[str, int]]:
        """Transaction id and status of the responses that came; fails on anything else."""
        frames = self.read()
        responses = [frame for frame in frames if isinstance(frame, Response)]
        assert len(frames) == len(responses), frames
        return [(response.transaction_id, response.status) for response in responses]

    def send(self, session: Session, body: bytes | None = b"hello", **fields: str) -> str:
        """Write one SEND to a session; ``fields`` replace or add headers.  Returns its id."""
        self._serial += 1
        tid = fields.pop("tid", f"peer{self._serial:04d}")
        data = send(session.path_text, tid, body, **fields)
        self.write(data)
        return tid

    def answer(self, request: Request, status: int = 200, comment: str = "OK") -> None:
        """Respond to a request as a peer does."""
        self.write(
            f"MSRP {request.transaction_id} {status} {comment}\r\n"
            f"To-Path: {request.from_path_text}\r\nFrom-Path: {request.to_path_text}\r\n"
            f"-------{request.transaction_id}$\r\n".encode()
        )

    def answer_all(self) -> list[Request]:
        """Respond 200 to all requests that came, until no more come."""
        answered: list[Request] = []
        while requests := self.requests():
            for request in requests:
                self.answer(request)
            answered += requests
        return answered

    def hang_up(self) -> None:
        """The connection is closed by the peer."""
        self.transport.disconnecting = True
        self.protocol.connectionLost(Failure(ConnectionDone()))


def send(to_path: str, tid: str, body: bytes | None, **fields: str) -> bytes:
    """A SEND as bytes.  ``method``, ``flag`` and ``from_path`` are fields, too."""
    method = fields.pop("method", "SEND")
    flag = fields.pop("flag", "$")
    content_type = fields.pop("content_type", "text/plain")
    headers = {
        "To-Path": to_path,
        "From-Path": fields.pop("from_path", PEER_PATH),
        "Message-ID": f"m-{tid}",
    }
    headers |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"MSRP {tid} {method}", *(f"{name}: {value}" for name, value in headers.items())]
    if body is None:
        return "\r\n".join([*lines, f"-------{tid}{flag}", ""]).encode()
    head = "\r\n".join([*lines, f"Content-Type: {content_type}", "", ""]).encode()
    return head + body + f"\r\n-------{tid}{flag}\r\n".encode()


def sdp(path: str = PEER_PATH, setup: str | None = "active", **attributes: str) -> bytes:
    """SDP of the peer."""
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 192.0.2.7",
        "s=-",
        "c=IN IP4 192.0.2.7",
        "t=0 0",
        "m=message 7654 TCP/MSRP *",
        f"a=accept-types:{attributes.pop('accept_types', '*')}",
        f"a=path:{path}",
    ]
    if setup is not None:
        lines.append(f"a=setup:{setup}")
    lines += [f"a={name.replace('_', '-')}:{value}" for name, value in attributes.items()]
    return "".join(f"{line}\r\n" for line in lines).encode()


class Listener:
    """Records what a session tells."""

    def __init__(self, *, accept: bool = False) -> None:
        self.accept = accept
        self.patient = False
        self.events: list[str] = []
        self.messages: list[Incoming] = []
        self.reports: list[tuple[str, int, str]] = []
        self.results: list[tuple[str, SendResult]] = []

    def session_up(self, session: Session) -> None:
        self.events.append("up")

    def session_lost(self, session: Session, reason: str) -> None:
        self.events.append(f"lost: {reason}")

    def message_received(self, session: Session, incoming: Incoming) -> None:
        self.events.append("message")
        self.messages.append(incoming)
        if self.accept:
            incoming.accept()
            incoming.report(200)

    def report_received(self, session: Session, report: Report) -> None:
        self.events.append("report")
        self.reports.append((report.message_id, report.status, report.comment))

    def send(
        self,
        session: Session,
        body: bytes = b"hello",
        message_id: str = "out1",
        content_type: str = "text/plain",
        *,
        success_report: bool = False,
    ) -> None:
        """Send a message and record how it ends."""

        def done(result: SendResult) -> None:
            self.events.append(f"{message_id}: {result.status}")
            self.results.append((message_id, result))

        session.send(message_id, content_type, body, done, success_report=success_report)

    @property
    def bodies(self) -> list[bytes]:
        """What was delivered."""
        return [incoming.body for incoming in self.messages]


class Rig:
    """One endpoint that listens, and what a test needs around it."""

    def __init__(self, limits: AllLimits | None = None, **settings: object) -> None:
        settings.setdefault("my_uri", "msrp://127.0.0.1:2855")
        self.clock = MemoryReactorClock()
        self.timers = Timers(self.clock)
        self.forbidden: set[str] = set()
        octets = numbers()
        self.endpoint = Endpoint(
            self.clock,
            self.timers,
            lambda count: next(octets)[:count],
            MsrpSettings(**settings),  # type: ignore[arg-type]
            allow_source=lambda host: host not in self.forbidden,
            limits=limits,
        )
        self.endpoint.listen()

    def accept(self, host: str = "192.0.2.7", port: int = 40000) -> Peer:
        """A peer connects to us."""
        factory = self.clock.tcpServers[0][1]
        transport = Transport(host, port)
        protocol = factory.buildProtocol(transport.getPeer())
        protocol.makeConnection(transport)
        return Peer(protocol, transport, self.clock)

    def dialled(self, index: int = -1) -> Peer:
        """One of our connects succeeds."""
        host, port, factory, _, _ = self.clock.tcpClients[index]
        transport = Transport(host, port)
        protocol = factory.buildProtocol(transport.getPeer())
        protocol.makeConnection(transport)
        return Peer(protocol, transport, self.clock)

    def refused(self, reason: Exception, index: int = -1) -> None:
        """One of our connects fails."""
        factory = self.clock.tcpClients[index][2]
        factory.clientConnectionFailed(self.clock.connectors[index], Failure(reason))

    def session(
        self, listener: Listener, *accept_types: str, replaces: Session | None = None
    ) -> Session:
        """A session that nothing was negotiated for."""
        return self.endpoint.create_session(
            listener, accept_types or ("text/plain",), replaces=replaces
        )

    def passive(self, listener: Listener, peer: Peer | None = None, **attributes: str) -> Session:
        """A session whose peer connects; bound when ``peer`` is given."""
        session = self.session(listener, *ACCEPT)
        session.answer(sdp(**attributes))
        session.start()
        if peer is not None:
            path = attributes.get("path", PEER_PATH)
            peer.send(session, None, Byte_Range="1-0/0", from_path=path)
            assert [status for _, status in peer.statuses()] == [200]
        return session

    def active(self, listener: Listener, **attributes: str) -> Session:
        """A session for which we connect."""
        session = self.session(listener, *ACCEPT)
        session.answer(sdp(setup="passive", **attributes))
        session.start()
        return session

    def pending(self) -> int:
        """Timers that are left."""
        return len(self.timers)


#: what sessions of the tests take
ACCEPT = ("text/plain", "text/html", "multipart/alternative", "message/cpim")
