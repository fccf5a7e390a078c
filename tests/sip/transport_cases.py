"""What the tests of the transports share."""

from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.limits import Limits
from msrpgw.sip.client_transaction import SendFailure
from msrpgw.sip.counters import SipCounters
from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Malformed
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transaction import ReplyPath
from msrpgw.sip.transport import Target, Transports
from msrpgw.timers import Timers
from tests.support import Network

US = "10.0.0.1"


PEER = "10.0.0.2"


def message(
    via: str = f"SIP/2.0/UDP {PEER}:5070;branch=z9hG4bK1", body: bytes = b"hi", cseq: int = 1
) -> bytes:
    """A MESSAGE on the wire."""
    return (
        f"MESSAGE sip:bob@{US} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:alice@{PEER}>;tag=f\r\nTo: <sip:bob@{US}>\r\nCall-ID: c\r\n"
        f"CSeq: {cseq} MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Peer(Protocol):
    """The other end of a TCP connection: keeps what comes."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def connectionLost(self, reason: Failure) -> None:
        """Keep it."""
        self.lost = reason


class PeerFactory(ClientFactory):
    """Makes peers and keeps them."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    def buildProtocol(self, addr: object) -> Peer:
        """One more."""
        made = Peer()
        self.peers.append(made)
        return made


class TransportTestCase(SynchronousTestCase):
    """Our transports on one host, raw peers on others."""

    def setUp(self) -> None:
        """A network."""
        self.network = Network()
        self.got: list[tuple[Request | Response | Malformed, ReplyPath]] = []
        self.late: list[bool] = []  # whether each had waited too long for its turn
        self.failures: list[SendFailure] = []
        self.counters = SipCounters()
        self.limits = Limits()
        self.peers = PeerFactory()

    def start(self, *listen: str, **settings: object) -> Transports:
        """Listen."""
        host = self.network.host(US)
        self.timers = Timers(host)
        made = Transports(
            host,
            self.timers,
            SipSettings(listen=listen or (f"udp:{US}:5060", f"tcp:{US}:5060"), **settings),
            self._keep,
            counters=self.counters,
            limits=self.limits,
            local_address=lambda towards: "2001:db8::7" if ":" in towards else "192.0.2.7",
        )
        made.start()
        self.transports = made
        return made

    def _keep(self, message: Request | Response | Malformed, source: ReplyPath) -> None:
        self.got.append((message, source))
        self.late.append(source.late)

    def connect(self, address: str = PEER) -> Peer:
        """A TCP connection that a peer makes to us."""
        self.network.host(address).connectTCP(US, 5060, self.peers)
        self.network.run()
        return self.peers.peers[-1]

    def listen(self, port: int = 5060) -> None:
        """A peer that takes TCP connections."""
        self.network.host(PEER).listenTCP(port, self.peers)

    def send(self, data: bytes = b"x", target: Target = Target("TCP", PEER, 5060)) -> object:  # noqa: B008
        """Send a request."""
        return self.transports.send(data, target, self.failures.append)

    def answer(self, status: int = 200) -> None:
        """Answer the last request that came."""
        request, source = self.got[-1]
        assert isinstance(request, Request)
        source.send_response(request.response(status).render(), request.via)
        self.network.run()
