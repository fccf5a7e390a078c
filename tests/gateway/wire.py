"""Peers of a Town made of datagrams and segments: they say what a test wants them to say."""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, ServerFactory
from twisted.python.failure import Failure

from msrpgw.msrp import frame
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Message, Request, Response
from msrpgw.sip.parser import Limits, parse_datagram
from tests.gateway.support import GATEWAY, Town

Pairs = Iterable[tuple[str, str]]


class Wire(DatagramProtocol):
    """A SIP user ``sip:name@host`` over UDP.  Answers each request with ``status``; 0: not at all.

    ``on_request`` may be replaced, to answer in some other way.
    """

    def __init__(self, town: Town, name: str, host: str, status: int = 200) -> None:
        self.town = town
        self.name = name
        self.host = host
        self.uri = f"sip:{name}@{host}"
        self.status = status
        self.received: list[Message] = []
        self.on_request: Callable[[Request], None] = self.take
        self._serial = 0
        town.network.host(host).listenUDP(5060, self)

    # SIP in

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        """Keep it; answer a request."""
        message = parse_datagram(data, Limits())
        assert isinstance(message, Request | Response), (data, message)
        self.received.append(message)
        if isinstance(message, Request) and message.method != "ACK":
            self.on_request(message)

    def take(self, request: Request) -> None:
        """Answer as we are told to; BYE and CANCEL always with 200."""
        if request.method in ("BYE", "CANCEL"):
            self.answer(request, 200)
        elif self.status:
            self.answer(request, self.status)

    def requests(self, method: str) -> list[Request]:
        """Requests that came with this method; no retransmissions."""
        found: dict[str | None, Request] = {}
        for message in self.received:
            if isinstance(message, Request) and message.method == method:
                found.setdefault(message.via.branch, message)
        return list(found.values())

    def responses(self, request: Request) -> list[Response]:
        """What came for a request of ours."""
        return [
            message
            for message in self.received
            if isinstance(message, Response)
            and message.call_id == request.call_id
            and message.cseq == request.cseq
        ]

    def texts(self) -> list[str]:
        """Bodies of the MESSAGEs that came."""
        return [request.body.decode() for request in self.requests("MESSAGE")]

    # SIP out

    def write(self, message: Message | bytes) -> None:
        """Send a datagram to the gateway."""
        assert self.transport is not None
        data = message if isinstance(message, bytes) else message.render()
        self.transport.write(data, (GATEWAY, 5060))

    def answer(
        self, request: Request, status: int, *, headers: Pairs = (), body: bytes = b""
    ) -> None:
        """Respond to a request of the gateway's."""
        fields = [("Contact", f"<{self.uri}>"), *headers]
        if body:
            fields.append(("Content-Type", "application/sdp"))
        tag = None if status == 100 else f"tag-{request.call_id[:8]}"
        self.write(request.response(status, to_tag=tag, headers=fields, body=body))

    def new_branch(self) -> str:
        """A Via branch that was not used before."""
        self._serial += 1
        return f"z9hG4bK-{self.name}-{self._serial}"

    def make(
        self,
        method: str,
        to: str,
        body: bytes = b"",
        content_type: str | None = None,
        headers: Pairs = (),
    ) -> Request:
        """A request outside of dialogs, not sent yet."""
        branch = self.new_branch()
        fields = Headers(
            [
                ("Via", f"SIP/2.0/UDP {self.host}:5060;branch={branch}"),
                ("From", f"<{self.uri}>;tag=f{self._serial}"),
                ("To", f"<{to}>"),
                ("Call-ID", f"{self.name}-{self._serial}@{self.host}"),
                ("CSeq", f"1 {method}"),
                ("Contact", f"<{self.uri}>"),
                ("Max-Forwards", "70"),
                *headers,
            ]
        )
        if content_type is not None:
            fields.add("Content-Type", content_type)
        return Request(method, to, fields, body)

    def ask(self, request: Request, seconds: float = 0.05) -> Response:
        """Send a request, let time pass; returns the final response, which must be there."""
        self.write(request)
        self.town.run(seconds)
        finals = [response for response in self.responses(request) if response.status >= 200]
        assert finals, f"no final response to {request.method}"
        return finals[0]

    def message(
        self,
        to: str,
        text: str = "hi",
        content_type: str | None = "text/plain",
        headers: Pairs = (),
        seconds: float = 0.05,
    ) -> Response:
        """Send a MESSAGE; returns its final response."""
        body = text.encode()
        return self.ask(self.make("MESSAGE", to, body, content_type, headers), seconds)


class Segments(Protocol):
    """One MSRP connection of a WireMsrp."""

    def __init__(self, user: "WireMsrp") -> None:
        self.user = user
        self.parser = frame.FrameParser(frame.Limits(max_header_size=1 << 16, max_body=1 << 20))
        self.lost = False

    def connectionMade(self) -> None:
        """One more."""
        self.user.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        """Keep what comes; answer a SEND."""
        for each in self.parser.feed(data):
            assert isinstance(each, frame.Request | frame.Response), each
            self.user.frames.append(each)
            if isinstance(each, frame.Request) and each.method == "SEND":
                self.user.on_send(self, each)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The end."""
        self.lost = True

    def write(self, data: bytes) -> None:
        """Send bytes."""
        assert self.transport is not None
        self.transport.write(data)

    def answer(self, request: frame.Request, status: int = 200) -> None:
        """Respond to a SEND."""
        self.write(
            f"MSRP {request.transaction_id} {status}\r\nTo-Path: {request.from_path_text}\r\n"
            f"From-Path: {request.to_path_text}\r\n-------{request.transaction_id}$\r\n".encode()
        )

    def break_off(self) -> None:
        """The connection is reset."""
        assert self.transport is not None
        self.transport.abortConnection()


class WireMsrp(Wire):
    """An MSRP user made of datagrams and segments.

    Takes each call with ``sdp()`` and each SEND with ``send_status`` (0: not at all), until told
    otherwise.
    """

    def __init__(self, town: Town, name: str, host: str, *, listens: bool = True) -> None:
        super().__init__(town, name, host)
        self.session = 1  # number of the MSRP session that our SDP offers
        self.accept_types: str | None = "*"
        self.setup: str | None = "passive"
        self.relay = ""  # URI of a relay before us
        self.send_status = 200
        self.connections: list[Segments] = []
        self.frames: list[frame.Request | frame.Response] = []
        self.on_send: Callable[[Segments, frame.Request], None] = self.take_send
        self.invite: Request | None = None  #: that made the call
        self.dialog: list[tuple[str, str]] = []  # From, To, Call-ID of our requests in it
        self._cseq = 100
        if listens:
            factory = ServerFactory()
            factory.buildProtocol = lambda addr: Segments(self)  # type: ignore[assignment]
            town.network.host(host).listenTCP(2855, factory)

    @property
    def path(self) -> str:
        """Our MSRP URI."""
        return f"msrp://{self.host}:2855/{self.name}{self.session};tcp"

    def sdp(self) -> bytes:
        """What we offer and answer."""
        lines = ["v=0", f"o=- 1 {self.session} IN IP4 {self.host}", "s=-"]
        lines += [f"c=IN IP4 {self.host}", "t=0 0", "m=message 2855 TCP/MSRP *"]
        if self.accept_types is not None:
            lines.append(f"a=accept-types:{self.accept_types}")
        lines.append(f"a=path:{(self.relay + ' ' + self.path).strip()}")
        if self.setup is not None:
            lines.append(f"a=setup:{self.setup}")
        return "".join(f"{line}\r\n" for line in lines).encode()

    # Calls

    def take(self, request: Request) -> None:
        """Take each call."""
        if request.method == "INVITE" and self.status == 200:
            self.pick_up(request)
        else:
            super().take(request)

    def pick_up(self, invite: Request) -> None:
        """Answer an INVITE with 200 and our SDP."""
        self.answer(invite, 200, body=self.sdp())
        if invite.to.tag is None:
            self.invite = invite
            self.dialog = [
                ("From", f"<{self.uri}>;tag=tag-{invite.call_id[:8]}"),
                ("To", f"<{invite.from_.uri_text}>;tag={invite.from_.tag}"),
                ("Call-ID", invite.call_id),
            ]

    def call(self, to: str, *, offer: bytes | None = None) -> Response:
        """Call through the gateway; the ACK goes out at once.  Returns the final response."""
        body = self.sdp() if offer is None else offer
        kind = "application/sdp" if body else None
        request = self.make("INVITE", to, body, kind)
        response = self.ask(request)
        if response.status == 200:
            self.invite = request
            self.dialog = [
                ("From", f"<{self.uri}>;tag={request.from_.tag}"),
                ("To", f"<{to}>;tag={response.to.tag}"),
                ("Call-ID", request.call_id),
            ]
            self.acknowledge(1, b"" if body else self.sdp())
        return response

    def acknowledge(self, cseq: int, sdp: bytes = b"") -> None:
        """ACK a 2xx."""
        self.write(self.make_in_dialog("ACK", sdp, cseq=cseq))
        self.town.run(0.05)

    def make_in_dialog(self, method: str, sdp: bytes = b"", cseq: int = 0) -> Request:
        """A request in the dialog of the call."""
        if not cseq:
            self._cseq += 1
            cseq = self._cseq
        via = f"SIP/2.0/UDP {self.host}:5060;branch={self.new_branch()}"
        fields = [("Via", via), *self.dialog, ("CSeq", f"{cseq} {method}")]
        fields += [("Contact", f"<{self.uri}>"), ("Max-Forwards", "70")]
        if sdp:
            fields.append(("Content-Type", "application/sdp"))
        return Request(method, f"sip:{GATEWAY}:5060", Headers(fields), sdp)

    def in_dialog(self, method: str, sdp: bytes = b"") -> Response:
        """Send a request in the dialog; returns its final response."""
        request = self.make_in_dialog(method, sdp)
        response = self.ask(request)
        if method == "INVITE" and response.status == 200:
            self.acknowledge(request.cseq.number)
        return response

    # MSRP

    def take_send(self, connection: Segments, request: frame.Request) -> None:
        """Answer a SEND as we are told to; the empty ones always with 200."""
        if not request.body:
            connection.answer(request)
        elif self.send_status:
            connection.answer(request, self.send_status)

    def sends(self) -> list[frame.Request]:
        """SENDs with a body that came."""
        return [
            each
            for each in self.frames
            if isinstance(each, frame.Request) and each.method == "SEND" and each.body
        ]

    def bodies(self) -> list[str]:
        """What the SENDs said."""
        return [(request.body or b"").decode() for request in self.sends()]

    def reports(self) -> list[int]:
        """Status of the REPORTs that came."""
        return [
            each.status.code
            for each in self.frames
            if isinstance(each, frame.Request) and each.status is not None
        ]

    def statuses(self) -> list[int]:
        """Status of the MSRP responses that came."""
        return [each.status for each in self.frames if isinstance(each, frame.Response)]

    def connect(self) -> Segments:
        """Connect to the gateway's MSRP listener."""
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: Segments(self)  # type: ignore[assignment]
        self.town.network.host(self.host).connectTCP(GATEWAY, 2855, factory)
        self.town.run(0.05)
        return self.connections[-1]

    def gateway_path(self) -> str:
        """a=path of the latest SDP that the gateway sent."""
        for message in reversed(self.received):
            if message.body.startswith(b"v=0"):
                return message.body.decode().partition("a=path:")[2].partition("\r\n")[0]
        raise AssertionError("the gateway sent no SDP")

    def send(
        self, text: str | None = "hi", *, over: Segments | None = None, **fields: str
    ) -> list[int]:
        """SEND a message; returns status of the responses that it got at once.

        ``fields`` replace or add headers; also ``tid``, ``method``, ``flag``, ``content_type``.
        """
        before = len(self.statuses())
        self._serial += 1
        tid = fields.pop("tid", f"{self.name}{self._serial:04d}")
        method, flag = fields.pop("method", "SEND"), fields.pop("flag", "$")
        kind = fields.pop("content_type", "text/plain")
        headers = {
            "To-Path": self.gateway_path(),
            "From-Path": self.path,
            "Message-ID": f"m-{tid}",
            **{name.replace("_", "-"): value for name, value in fields.items()},
        }
        lines = [f"MSRP {tid} {method}", *(f"{name}: {value}" for name, value in headers.items())]
        if text is not None:
            lines += [f"Content-Type: {kind}", "", text]
        lines += [f"-------{tid}{flag}", ""]
        (over or self.connections[-1]).write("\r\n".join(lines).encode())
        self.town.run(0.05)
        return self.statuses()[before:]
