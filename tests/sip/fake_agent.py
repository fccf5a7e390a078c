"""A user agent that only records, and calls on it, for tests of INVITE usages."""

import itertools
from collections.abc import Callable, Iterable
from typing import cast

from twisted.internet.task import Clock

from msrpgw.sip.agent import UserAgent
from msrpgw.sip.dialog import DialogId
from msrpgw.sip.fields import Via
from msrpgw.sip.headers import Headers
from msrpgw.sip.invite import InviteUsage, UsageState
from msrpgw.sip.message import Request, Response
from msrpgw.sip.parser import Limits, parse_datagram
from msrpgw.sip.server_transaction import Timing
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transaction import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
)
from msrpgw.timers import Timers

OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\n"
ANSWER = b"v=0\r\no=- 2 2 IN IP4 192.0.2.7\r\n"


class Path:
    """Where a request came from; keeps the responses."""

    transport = "TCP"
    reliable = True
    host = "192.0.2.7"
    port = 5060

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    proven = True

    def prove(self) -> None:
        """It was proven all along."""

    def send_response(self, data: bytes, via: Via) -> None:
        self.sent.append(data)


class Table:
    """What server transactions need of their table."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing

    def server_answered(
        self, transaction: NonInviteServerTransaction, via: Via, data: bytes
    ) -> None:
        pass

    def server_accepted(self, transaction: InviteServerTransaction) -> None:
        pass

    def server_settled(self, transaction: InviteServerTransaction) -> None:
        pass

    def server_ended(self, transaction: ServerTransaction) -> None:
        pass

    def settle_client(self, invite: Request, to_tag: str) -> None:
        pass


class Sent:
    """A request that the usage sent."""

    def __init__(self, request: Request, on_response: Callable[[Response], None]) -> None:
        self.request = request
        self.on_response = on_response
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1

    def answer(
        self,
        status: int,
        reason: str | None = None,
        *,
        tag: str = "theirs",
        headers: Iterable[tuple[str, str]] = (("Contact", "<sip:bob@192.0.2.7>"),),
        body: bytes = b"",
    ) -> None:
        """The peer answers."""
        self.on_response(
            self.request.response(status, reason, to_tag=tag, headers=headers, body=body)
        )


class FakeAgent:
    """Records what is sent; the test plays the peer."""

    def __init__(self, settings: SipSettings | None = None) -> None:
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.settings = settings or SipSettings()
        self.dialogs: dict[DialogId, object] = {}
        self.sent: list[Sent] = []
        self.acks: list[Request] = []
        self.random_bytes = b"\0\0"
        self.table = Table(Timing(self.timers, self.settings))
        self.transactions = self.table
        self._count = itertools.count(1)

    @property
    def itself(self) -> UserAgent:
        return cast(UserAgent, self)

    def random(self, count: int) -> bytes:
        return self.random_bytes[:count]

    def new_tag(self) -> str:
        return f"ours{next(self._count)}"

    def new_call_id(self) -> str:
        return f"call{next(self._count)}"

    def capabilities(self) -> list[tuple[str, str]]:
        return [("Allow", "INVITE, ACK, BYE"), ("Accept", "application/sdp")]

    def contact_uri(
        self, transport: str = "UDP", towards: str = "", *, secure: bool = False
    ) -> str:
        if secure:
            return "sips:192.0.2.1:5061"
        suffix = "" if transport == "UDP" else f";transport={transport.lower()}"
        return f"sip:192.0.2.1:5060{suffix}"

    def add_dialog(self, dialog_id: DialogId, owner: object) -> None:
        self.dialogs[dialog_id] = owner

    def remove_dialog(self, dialog_id: DialogId) -> None:
        self.dialogs.pop(dialog_id, None)

    def request(
        self, request: Request, on_response: Callable[[Response], None], on_target: object = None
    ) -> Sent:
        request.target  # noqa: B018 -- raises for a bad one, as the real agent does
        request.render()
        sent = Sent(request, on_response)
        self.sent.append(sent)
        return sent

    def send_ack(self, ack: Request) -> None:
        self.acks.append(ack)

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        transaction.respond(
            transaction.request.response(
                status,
                reason,
                to_tag=None if status == 100 else transaction.to_tag or "agents",
                headers=headers,
                body=body,
            )
        )

    # The peer's part

    def receive(self, request: Request) -> tuple[ServerTransaction, Path]:
        """A transaction for a request from the wire, and where its responses go."""
        path = Path()
        kind = InviteServerTransaction if request.method == "INVITE" else NonInviteServerTransaction
        return kind(self.table, request, path, object(), None), path

    def methods(self) -> list[str]:
        """What was sent, in order."""
        return [sent.request.method for sent in self.sent]


class Listener:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.then: Callable[[str], None] = lambda name: None

    def _tell(self, name: str, *values: object) -> None:
        self.told.append((name, *values))
        self.then(name)

    def call_progress(self, status: int, reason: str) -> None:
        self._tell("progress", status, reason)

    def call_established(self, sdp: bytes) -> None:
        self._tell("established", sdp)

    def call_failed(self, status: int, reason: str) -> None:
        self._tell("failed", status, reason)

    def call_offered(self, sdp: bytes) -> None:
        self._tell("offered", sdp)

    def call_reanswered(self, sdp: bytes) -> None:
        self._tell("reanswered", sdp)

    def call_reinvite_failed(self, status: int, reason: str) -> None:
        self._tell("reinvite failed", status, reason)

    def call_refreshed(self, sdp: bytes) -> None:
        self._tell("refreshed", sdp)

    def call_ended(self, reason: str) -> None:
        self._tell("ended", reason)

    @property
    def ends(self) -> int:
        """How often it was told the end."""
        return sum(told[0] in ("failed", "ended") for told in self.told)


def make_request(
    method: str,
    *,
    cseq: int = 1,
    call_id: str = "their-call",
    from_tag: str = "theirs",
    to_tag: str = "",
    headers: Iterable[tuple[str, str]] = (("Contact", "<sip:bob@192.0.2.7:5070>"),),
    body: bytes = b"",
) -> Request:
    """A request as the peer sends it."""
    fields = Headers(
        [
            ("Via", f"SIP/2.0/TCP 192.0.2.7;branch=z9hG4bK{method}{cseq}"),
            ("From", f"Bob <sip:bob@example.com>;tag={from_tag}"),
            ("To", "<sip:gw@example.com>" + (f";tag={to_tag}" if to_tag else "")),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
            *headers,
        ]
    )
    if body:
        fields.add("Content-Type", "application/sdp")
    return Request(method, "sip:gw@192.0.2.1", fields, body)


class Call:
    """A usage in some state, and its peer."""

    def __init__(self, settings: SipSettings | None = None) -> None:
        self.agent = FakeAgent(settings)
        self.listener = Listener()
        self.cseq = 1
        self.received: list[tuple[ServerTransaction, Path]] = []
        self.usage: InviteUsage

    def make(self, side: str, state: UsageState) -> None:
        """Lead a fresh usage into a state."""
        if side == "caller":
            self.dial()
            if state is UsageState.CANCELLING:
                self.usage.end()
            elif state is not UsageState.CALLING:
                self.answer_invite(200, body=ANSWER)
        else:
            self.come_in()
            if state is not UsageState.OFFERED:
                self.usage.accept(ANSWER)
            if state is UsageState.CLOSING:
                self.usage.end()
            elif state not in (UsageState.OFFERED, UsageState.ACCEPTED):
                self.acknowledge(1)
        if state in (UsageState.ENDING, UsageState.ENDED):
            self.usage.end()
        if state is UsageState.ENDED:
            self.agent.sent[-1].answer(200)

    def dial(
        self,
        ruri: str = "sip:bob@example.com",
        timeout: float = 0.0,
        headers: Iterable[tuple[str, str]] = (),
        from_uri: str = "sip:gw@example.com",
    ) -> None:
        """We call the peer."""
        self.usage = InviteUsage.call(
            self.agent.itself,
            self.listener,
            ruri=ruri,
            from_uri=from_uri,
            to_uri="sip:bob@example.com",
            offer=OFFER,
            headers=headers,
            timeout=timeout,
        )

    def come_in(self, invite: Request | None = None) -> Path:
        """The peer calls us."""
        invite = invite or make_request("INVITE", body=OFFER)
        transaction, path = self.agent.receive(invite)
        assert isinstance(transaction, InviteServerTransaction)
        self.received.append((transaction, path))
        self.usage = InviteUsage.incoming(self.agent.itself, transaction, self.listener)
        return path

    def acknowledge(self, cseq: int, body: bytes = b"") -> None:
        """The ACK for our 2xx to the INVITE with this number comes."""
        self.usage.ack_received(self.request("ACK", cseq=cseq, body=body))

    def request(self, method: str, *, cseq: int | None = None, body: bytes = b"") -> Request:
        """A request of the peer's in the dialog."""
        if cseq is None:
            self.cseq = cseq = self.cseq + 1
        dialog = self.usage.dialog
        return make_request(
            method,
            cseq=cseq,
            call_id=self.usage.call_id,
            to_tag=dialog.id.local_tag if dialog else "ours",
            body=body,
        )

    def receive(self, method: str, *, cseq: int | None = None, body: bytes = b"") -> int:
        """The peer sends a request; returns the status of the last answer, 0 without one."""
        transaction, path = self.agent.receive(self.request(method, cseq=cseq, body=body))
        owners = list(self.agent.dialogs.values())
        self.received.append((transaction, path))
        if not owners:
            self.usage.request_received(transaction)  # the agent would answer 481 by itself
        else:
            owners[0].request_received(transaction)  # type: ignore[attr-defined]
        return last_status(path)

    def answer_invite(self, status: int, tag: str = "theirs", body: bytes = b"") -> None:
        """The peer answers our INVITE."""
        self.agent.sent[0].answer(status, tag=tag, body=body)

    def answer_byes(self, status: int) -> None:
        """The peer answers each BYE of ours."""
        for sent in self.agent.sent:
            if sent.request.method == "BYE":
                sent.answer(status)

    def cancel(self) -> None:
        """The peer cancels its last INVITE."""
        for transaction, _ in reversed(self.received):
            if isinstance(transaction, InviteServerTransaction):
                transaction.cancelled()
                return


def responses(path: Path) -> list[Response]:
    """All responses sent, as the peer reads them."""
    parsed = [parse_datagram(data, Limits()) for data in path.sent]
    assert all(isinstance(each, Response) for each in parsed)
    return [each for each in parsed if isinstance(each, Response)]


def last_status(path: Path) -> int:
    """Status of the last response sent, 0 when none was."""
    return int(path.sent[-1].split(b" ", 2)[1]) if path.sent else 0
