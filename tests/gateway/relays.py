"""An MSRP relay (RFC 4976) in a town: it asks for a password, lends URIs and passes frames on."""

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.python.failure import Failure

from msrpgw.auth.digest import make_ha1, make_response, parse_parameters
from tests.gateway.support import Town

HOST, PORT = "192.0.2.50", 2855
REALM = "relay.example.com"


class Hop(Protocol):
    """One connection with the relay."""

    def __init__(self, relay: "StandIn") -> None:
        self.relay = relay
        self.buffer = b""
        self.lost = False

    def connectionMade(self) -> None:
        """One more."""
        self.relay.hops.append(self)

    def dataReceived(self, data: bytes) -> None:
        """Cut into frames."""
        self.buffer += data
        while self.buffer:
            tid = self.buffer[5 : self.buffer.index(b" ", 5)]
            at = self.buffer.find(b"\r\n-------" + tid)
            end = at + 9 + len(tid) + 3
            if at < 0 or len(self.buffer) < end:
                return
            frame, self.buffer = self.buffer[:end], self.buffer[end:]
            self.relay.came(self, frame)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The end."""
        self.lost = True

    def write(self, data: bytes) -> None:
        """Send."""
        assert self.transport is not None
        self.transport.write(data)


class StandIn:
    """The relay.  What it can't do in tests is what Kamailio does: another test has that."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.hops: list[Hop] = []
        self.auths: list[dict[str, str]] = []  #: headers of each AUTH
        self.lent: dict[str, Hop] = {}  #: session-ids that lead to a client
        self.expires = 900
        self.bounds: tuple[str, ...] = ()  #: headers of a 423, instead of an answer
        self.password = "secret"
        self.deaf_to_uri = False  #: whether AUTH with uri= gets no answer, as msrprelay's
        self.answers_sends = 200
        self.nonce = "nonce1"
        self._far: dict[str, Hop] = {}
        self.open()

    def open(self) -> None:
        """Take connections."""
        factory = ServerFactory()
        factory.buildProtocol = lambda addr: Hop(self)  # type: ignore[assignment]
        self.port = self.town.network.host(HOST).listenTCP(PORT, factory)

    def close(self) -> None:
        """Be gone: all connections break."""
        self.port.stopListening()
        self.lent.clear()
        self._far.clear()
        for hop in self.hops:
            if not hop.lost and hop.transport is not None:
                hop.transport.abortConnection()
        self.hops.clear()

    def came(self, hop: Hop, frame: bytes) -> None:
        """Answer, or pass on."""
        head, _, rest = frame.partition(b"\r\n\r\n")
        lines = (head if rest else frame).decode().split("\r\n")
        _, tid, what, *_ = lines[0].split(" ")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        if what == "AUTH":
            self.auths.append(headers)
            self.authorize(hop, tid, headers)
        elif not what.isdigit():
            self.pass_on(hop, tid, what, headers, frame)

    def authorize(self, hop: Hop, tid: str, headers: dict[str, str]) -> None:
        """AUTH (§6.2)."""
        given = parse_parameters(headers.get("Authorization", ""))
        if "uri" in given and self.deaf_to_uri:
            return
        if given and given["nonce"] == self.nonce:
            expected = make_response(
                "MD5",
                make_ha1("MD5", "gw", REALM, self.password),
                "AUTH",
                headers["To-Path"],
                self.nonce,
                given["nc"],
                given["cnonce"],
            )
            if given["response"] == expected:
                if self.bounds:
                    self.answer(hop, tid, "423 Out of Bounds", headers, *self.bounds)
                    return
                self.lent[f"s{len(self.auths)}"] = hop
                path = f"msrp://{HOST}:{PORT}/s{len(self.auths)};tcp"
                more = (f"Use-Path: {path}", f"Expires: {self.expires}")
                self.answer(hop, tid, "200 OK", headers, *more)
                return
        stale = ", stale=true" if given and given["nonce"] != self.nonce else ""
        challenge = f'Digest realm="{REALM}", qop="auth", nonce="{self.nonce}"{stale}'
        self.answer(hop, tid, "401 Unauthorized", headers, f"WWW-Authenticate: {challenge}")

    def answer(self, hop: Hop, tid: str, status: str, headers: dict[str, str], *more: str) -> None:
        """A response, one hop back."""
        lines = [
            f"MSRP {tid} {status}",
            f"To-Path: {headers['From-Path'].split()[0]}",
            f"From-Path: {headers['To-Path'].split()[0]}",
            *more,
            f"-------{tid}$",
            "",
        ]
        hop.write("\r\n".join(lines).encode())

    def pass_on(
        self, hop: Hop, tid: str, method: str, headers: dict[str, str], frame: bytes
    ) -> None:
        """SEND and REPORT (§6.3): a SEND has our 200, whatever becomes of it."""
        first, *others = headers["To-Path"].split()
        session_id = first.partition(";")[0].rpartition("/")[2]
        if session_id not in self.lent:
            self.answer(hop, tid, "481 No such session", headers)
            return
        if method == "SEND":
            self.answer(hop, tid, str(self.answers_sends), headers)
            if self.answers_sends != 200:
                return
        paths = f"To-Path: {' '.join(others)}\r\nFrom-Path: {first} {headers['From-Path']}".encode()
        start, _, after = frame.partition(b"\r\n")
        for _ in range(2):
            after = after.partition(b"\r\n")[2]
        data = start + b"\r\n" + paths + b"\r\n" + after
        client = self.lent[session_id]
        if hop is not client:
            client.write(data)  # towards who asked for the URI
        else:
            self.reach(others[0], data)

    def reach(self, uri: str, data: bytes) -> None:
        """Send to somebody, over the connection that there is."""
        host = uri.partition("://")[2].partition(":")[0]
        far = self._far.get(host)
        if far is not None and not far.lost:
            far.write(data)
            return

        def made(hop: Hop) -> None:
            self._far[host] = hop
            hop.write(data)

        factory = Factory()
        factory.buildProtocol = lambda addr: Hop(self)  # type: ignore[assignment]
        reactor = self.town.network.host(HOST)
        TCP4ClientEndpoint(reactor, host, 2855).connect(factory).addCallback(made)
