"""The two client transaction machines (RFC 3261 §17.1, RFC 6026).

    non-INVITE   TRYING ──1xx──► PROCEEDING ──final──► COMPLETED ──timer K──► TERMINATED

    INVITE       CALLING ──1xx──► PROCEEDING ──3xx-6xx──► COMPLETED ──timer D──► TERMINATED
                    └─────────────────┴─────────2xx─────► ACCEPTED ───timer M──────────▲

A machine takes the RFC's events as method calls and absorbs what does not fit its state.
Pure: time comes from the table's timers, bytes leave through the transaction's user.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple, Protocol

from msrpgw.sip.headers import Headers
from msrpgw.sip.message import Request, Response
from msrpgw.sip.server_transaction import Timing
from msrpgw.timers import Timer


class SendFailure(NamedTuple):
    """Why a request could not be sent."""

    reason: str  #: in words for an operator
    refused: bool = False  #: the peer's host said no (TCP reset, ICMP), rather than nothing
    ours: bool = False  #: it never came to asking the peer, for a reason of our own


class TransactionUser(Protocol):
    """Who sent the request: hears of its responses, or exactly once that there are none."""

    def transmit(self, data: bytes) -> None:
        """Put the rendered request, or its ACK, on the wire."""

    def response_received(self, response: Response) -> None:
        """A response that is no retransmission came."""

    def timed_out(self) -> None:
        """No response came in time: timer B or F."""

    def send_failed(self, failure: SendFailure) -> None:
        """The request could not be sent (§17.1.4)."""


class ClientState(enum.Enum):
    """What a client transaction waits for."""

    CALLING = "calling"  #: any response to the INVITE
    TRYING = "trying"  #: any response
    PROCEEDING = "proceeding"  #: the final response
    ACCEPTED = "accepted"  #: more 2xx of an INVITE that was forked (RFC 6026)
    COMPLETED = "completed"  #: the end of retransmissions of the final response
    TERMINATED = "terminated"  #: nothing ever again


# Looked up in the class they took 2 % of a set-up, until Python 3.12.
_CALLING, _TRYING, _PROCEEDING, _ACCEPTED, _COMPLETED, _TERMINATED = ClientState


#: branch and method in one: what a response has in common with its request (§17.1.3)
ClientKey = str


class ClientTable(Protocol):
    """What a client transaction needs of the table that it is in."""

    timing: Timing
    sent_again: int  #: messages of ours that were retransmitted

    def retransmit_later(self, transaction: "NonInviteClientTransaction") -> None:
        """Call ``retransmit`` when T1 is over."""

    def client_answered(self, transaction: "NonInviteClientTransaction") -> None:
        """The final response came over UDP: absorb retransmissions until timer K."""

    def client_accepted(self, transaction: "InviteClientTransaction") -> None:
        """A 2xx of an INVITE came: ``abandon`` the transaction when timer M is over."""

    def client_ended(self, transaction: "ClientTransaction") -> None:
        """Forget the transaction."""


class ClientTransaction:
    """A request that was sent, until its final response.

    Owned by the table.  ``user`` hears of a final response, ``timed_out`` or ``send_failed``:
    of exactly one, unless the transaction is abandoned.
    """

    __slots__ = ("_data", "_reliable", "_table", "key", "request", "state", "user")

    def __init__(
        self,
        table: ClientTable,
        key: ClientKey,
        request: Request,
        data: bytes,
        user: TransactionUser,
        reliable: bool,
    ) -> None:
        self._table = table
        self.key = key
        self.request = request  #: as sent, with its Via
        self.user = user
        self._data = data  # the request as rendered
        self._reliable = reliable
        self.state = _TRYING

    def start(self) -> None:
        """Send the request."""
        raise NotImplementedError

    def receive(self, response: Response) -> None:
        """A response with our branch and method came."""
        raise NotImplementedError

    def transport_failed(self, failure: SendFailure) -> None:
        """The transport could not send, or heard that it did so in vain (§17.1.4)."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Stop without a word to the user."""
        raise NotImplementedError


class NonInviteClientTransaction(ClientTransaction):
    """Any request but INVITE and ACK (§17.1.2)."""

    __slots__ = ("_deadline", "_interval", "_timer")

    def __init__(
        self,
        table: ClientTable,
        key: ClientKey,
        request: Request,
        data: bytes,
        user: TransactionUser,
        reliable: bool,
    ) -> None:
        super().__init__(table, key, request, data, user, reliable)
        timing = table.timing
        self._interval = timing.t1  # seconds to the next retransmission; doubles up to T2
        self._deadline = timing.timers.seconds() + timing.lifetime  # timer F
        self._timer: Timer | None = None  # timers E and F in one: whichever comes first

    def start(self) -> None:
        """Send the request."""
        if self._reliable:
            timing = self._table.timing
            self._timer = timing.timers.call_later(timing.lifetime, self.retransmit)
        else:
            self._table.retransmit_later(self)
        self.user.transmit(self._data)

    def receive(self, response: Response) -> None:
        """Hand a response to the user; in COMPLETED absorb it."""
        if self.state is not _TRYING and self.state is not _PROCEEDING:
            return
        if response.status < 200:
            self.state = _PROCEEDING
        else:
            if self._timer is not None:
                self._timer.cancel()
            if self._reliable:
                self.state = _TERMINATED  # timer K is 0
                self._table.client_ended(self)
            else:
                self.state = _COMPLETED
                self._table.client_answered(self)
        self.user.response_received(response)

    def retransmit(self) -> None:
        """Timer E: send again and wait longer; at the deadline timer F: give up."""
        if self.state is not _TRYING and self.state is not _PROCEEDING:
            return
        timing = self._table.timing
        left = self._deadline - timing.timers.seconds()
        if left <= 1e-6:  # the wheel may round down by less than this
            self._end()
            self.user.timed_out()
            return
        # §17.1.2.2: the interval doubles up to T2; once a provisional response came it is T2.
        trying = self.state is _TRYING
        self._interval = min(2 * self._interval, timing.t2) if trying else timing.t2
        self._timer = timing.timers.call_later(min(self._interval, left), self.retransmit)
        self._table.sent_again += 1
        self.user.transmit(self._data)

    def transport_failed(self, failure: SendFailure) -> None:
        """End, unless a final response came."""
        if self.state is _TRYING or self.state is _PROCEEDING:
            self._end()
            self.user.send_failed(failure)

    def abandon(self) -> None:
        """Stop without a word to the user."""
        if self.state is not _TERMINATED:
            self._end()

    def _end(self) -> None:
        self.state = _TERMINATED
        if self._timer is not None:
            self._timer.cancel()
        self._table.client_ended(self)


class InviteClientTransaction(ClientTransaction):
    """An INVITE (§17.1.1, RFC 6026 §8).  The ACK of a 2xx is the user's matter."""

    __slots__ = ("_ack", "_interval", "_life_timer", "_repeat_timer")

    def __init__(
        self,
        table: ClientTable,
        key: ClientKey,
        request: Request,
        data: bytes,
        user: TransactionUser,
        reliable: bool,
    ) -> None:
        super().__init__(table, key, request, data, user, reliable)
        self.state = _CALLING
        self._ack = b""  # ACK of the final response, once there is one
        self._interval = table.timing.t1  # seconds to the next retransmission; doubles
        self._repeat_timer: Timer | None = None  # timer A
        self._life_timer: Timer | None = None  # timer B or D

    @property
    def data(self) -> bytes:
        """The INVITE as sent."""
        return self._data

    def start(self) -> None:
        """Send the INVITE."""
        timing = self._table.timing
        self._life_timer = timing.timers.call_later(timing.lifetime, self._expire)  # timer B
        if not self._reliable:
            self._repeat_timer = timing.timers.call_later(self._interval, self._repeat)
        self.user.transmit(self._data)

    def receive(self, response: Response) -> None:
        """Hand provisional, 2xx and the first other final response to the user."""
        status = response.status
        state = self.state
        if state is _CALLING or state is _PROCEEDING:
            self._stop_timers()
            if status < 200:
                self.state = _PROCEEDING
            elif status < 300:
                self.state = _ACCEPTED
                self._table.client_accepted(self)
            else:
                self._complete(response)
            self.user.response_received(response)
        elif state is _ACCEPTED and 200 <= status < 300:
            self.user.response_received(response)
        elif state is _COMPLETED and status >= 300:
            self.user.transmit(self._ack)  # §17.1.1.2: our ACK was lost

    def _complete(self, response: Response) -> None:
        self._ack = make_ack(self.request, response).render()
        if self._reliable:
            self._end()  # timer D is 0
        else:
            self.state = _COMPLETED
            self._live(self._end)  # timer D
        self.user.transmit(self._ack)

    def _repeat(self) -> None:
        self._interval *= 2
        timers = self._table.timing.timers
        self._repeat_timer = timers.call_later(self._interval, self._repeat)
        self._table.sent_again += 1
        self.user.transmit(self._data)

    def _expire(self) -> None:
        self._end()
        self.user.timed_out()

    def transport_failed(self, failure: SendFailure) -> None:
        """End, unless any response came."""
        if self.state is _CALLING:
            self._end()
            self.user.send_failed(failure)

    def abandon(self) -> None:
        """Stop without a word to the user."""
        if self.state is not _TERMINATED:
            self._end()

    def _live(self, then: Callable[[], None]) -> None:
        timing = self._table.timing
        self._life_timer = timing.timers.call_later(timing.lifetime, then)

    def _end(self) -> None:
        self.state = _TERMINATED
        self._stop_timers()
        self._table.client_ended(self)

    def _stop_timers(self) -> None:
        for timer in (self._repeat_timer, self._life_timer):
            if timer is not None:
                timer.cancel()


def make_ack(request: Request, response: Response) -> Request:
    """The ACK of a final response other than 2xx (§17.1.1.3)."""
    return _companion(request, "ACK", response.headers.get("To") or "")


def make_cancel(request: Request) -> Request:
    """The CANCEL of an INVITE that was sent (§9.1)."""
    return _companion(request, "CANCEL", request.headers.get("To") or "")


def _companion(request: Request, method: str, to: str) -> Request:
    """A request that travels with an INVITE: same URI, topmost Via, routes and ids."""
    headers = Headers([("Via", request.via.render()), ("Max-Forwards", "70")])
    for route in request.headers.get_all("Route"):
        headers.add("Route", route)
    headers.add("From", request.headers.get("From") or "")
    headers.add("To", to)
    headers.add("Call-ID", request.call_id)
    headers.add("CSeq", f"{request.cseq.number} {method}")
    return Request(method, request.uri, headers)
