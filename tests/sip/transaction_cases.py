"""What the tests of the transactions share."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.sip.client_transaction import SendFailure
from msrpgw.sip.fields import Via
from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transaction import (
    ReplyPath,
    ServerTransaction,
    Transactions,
)
from msrpgw.timers import Timers
from tests.support import check_no_timers


class Path:
    """A ``ReplyPath`` that keeps what is sent."""

    host = "192.0.2.1"
    port = 5060

    def __init__(self, reliable: bool = False) -> None:
        self.reliable = reliable
        self.transport = "TCP" if reliable else "UDP"
        self.sent: list[bytes] = []

    proven = True

    def prove(self) -> None:
        """It was proven all along."""

    def send_response(self, data: bytes, via: Via) -> None:
        """Keep it."""
        self.sent.append(data)

    def statuses(self) -> list[int]:
        """The status codes sent since the last call."""
        found = [int(data.split(b" ", 2)[1]) for data in self.sent]
        self.sent.clear()
        return found


class User:
    """A ``TransactionUser`` that keeps what it hears; also the table's listener."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.sent: list[bytes] = []
        self.received: list[ServerTransaction] = []

    def transmit(self, data: bytes) -> None:
        """Keep it."""
        self.sent.append(data)

    def response_received(self, response: Response) -> None:
        """Keep its status."""
        self.heard.append(response.status)

    def timed_out(self) -> None:
        """Keep it."""
        self.heard.append("timeout")

    def send_failed(self, failure: SendFailure) -> None:
        """Keep it."""
        self.heard.append("failed")

    def request_received(self, transaction: ServerTransaction) -> None:
        """Keep the transaction."""
        self.received.append(transaction)

    def ack_received(self, request: Request, source: ReplyPath) -> None:
        """Keep it."""
        self.heard.append("ACK")

    def merged_request_received(self, request: Request, source: ReplyPath) -> None:
        """Keep it."""
        self.heard.append("merged")

    def overloaded(self, request: Request, source: ReplyPath) -> None:
        """Keep it."""
        self.heard.append("overloaded")

    def stray_response_received(self, response: Response, source: ReplyPath) -> None:
        """Keep it."""
        self.heard.append("stray")

    def settled_accepted(self, invite: Request, response: Response, first: bool) -> None:
        """Keep what it is about."""
        self.heard.append((invite.render(), response.to.tag, first))

    def methods(self) -> list[str]:
        """The methods sent since the last call."""
        found = [data.split(b" ", 1)[0].decode() for data in self.sent]
        self.sent.clear()
        return found

    def news(self) -> list[object]:
        """What was heard since the last call."""
        found = list(self.heard)
        self.heard.clear()
        return found


def make_request(
    method: str = "MESSAGE",
    *,
    branch: str | None = "z9hG4bKabc",
    host: str = "192.0.2.1",
    port: int | None = None,
    uri: str = "sip:bob@example.com",
    from_tag: str | None = "f",
    to_tag: str | None = None,
    call_id: str = "c1",
    cseq: int = 1,
    transport: str = "UDP",
) -> Request:
    """A request as the parser would give it."""
    sent_by = host if port is None else f"{host}:{port}"
    headers = Headers(
        [
            ("Via", f"SIP/2.0/{transport} {sent_by}" + (f";branch={branch}" if branch else "")),
            ("From", "<sip:alice@example.com>" + (f";tag={from_tag}" if from_tag else "")),
            ("To", "<sip:bob@example.com>" + (f";tag={to_tag}" if to_tag else "")),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
        ]
    )
    return Request(method, uri, headers)


class TransactionTestCase(SynchronousTestCase):
    """A table with a clock."""

    limit = 1000

    def setUp(self) -> None:
        """A fresh table."""
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.user = User()
        self.table = Transactions(self.timers, SipSettings(max_transactions=self.limit), self.user)

    def run_for(self, seconds: float) -> None:
        """Let time pass in steps of 0.1 s, without adding up rounding errors."""
        start = self.clock.seconds()
        for step in range(round(seconds * 10)):
            self.clock.advance(start + (step + 1) / 10 - self.clock.seconds())

    def serve(self, request: Request, path: Path) -> ServerTransaction:
        """Receive a new request."""
        self.table.receive(request, path)
        return self.user.received[-1]

    def assert_clean(self) -> None:
        """No transaction and no timer is left, and no key of one."""
        self.assertEqual(len(self.table), 0)
        check_no_timers(self, self.clock, self.timers)
        for left in (self.table._servers, self.table._clients, self.table._merge_keys):
            self.assertEqual(left, {})
