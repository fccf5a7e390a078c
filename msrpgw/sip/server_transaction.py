"""The two server transaction machines (RFC 3261 §17.2, RFC 6026, RFC 4320).

    non-INVITE   TRYING ──100──► PROCEEDING ──final──► COMPLETED ──timer J──► TERMINATED

    INVITE       PROCEEDING ──3xx-6xx──► COMPLETED ──ACK──► CONFIRMED ──timer I──► TERMINATED
                     └──────2xx──► ACCEPTED ──timer L──────────────────────────────────▲

A machine takes the RFC's events as method calls and absorbs what does not fit its state.
Pure: time comes from the table's timers, bytes leave through a ``ReplyPath``.
"""

import enum
from collections.abc import Callable
from typing import Protocol

from msrpgw.sip.fields import Via
from msrpgw.sip.message import Request, Response
from msrpgw.sip.settings import SipSettings
from msrpgw.timers import Timer, Timers


class ReplyPath(Protocol):
    """Where a request came from, and how its responses go back (§18.2.2)."""

    @property
    def transport(self) -> str:
        """The transport as Via writes it: ``UDP``, ``TCP``."""

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits by itself."""

    @property
    def host(self) -> str:
        """IP address of the sender."""

    @property
    def port(self) -> int:
        """Port of the sender."""

    @property
    def names(self) -> frozenset[str]:
        """SIP domains that a certificate of the sender's proves; none without TLS (RFC 5922)."""

    def send_response(self, data: bytes, via: Via) -> None:
        """Send a response to the request whose topmost Via is ``via``."""

    @property
    def proven(self) -> bool:
        """Whether the sender has shown that the address is its own, or is trusted."""

    def prove(self) -> None:
        """It answered with what only who gets our responses can know."""

    @property
    def late(self) -> bool:
        """Whether the request that comes now has waited too long for its turn."""


class Timing:
    """The constants of RFC 3261 table 4, in seconds, and the clock they run on."""

    __slots__ = ("lifetime", "t1", "t2", "t4", "timers", "trying")

    def __init__(self, timers: Timers, settings: SipSettings) -> None:
        self.timers = timers
        self.t1 = settings.t1
        self.t2 = settings.t2
        self.t4 = settings.t4
        self.lifetime = 64 * settings.t1  #: timers B, D, F, H, J, L and M
        #: RFC 4320 §4.1: when a client's timer E has reached T2; 3.5 s with the usual T1 and T2
        self.trying = interval = settings.t1
        while 0 < interval < settings.t2:
            interval = min(2 * interval, settings.t2)
            if interval < settings.t2:
                self.trying += interval


class ServerState(enum.Enum):
    """What a server transaction waits for."""

    TRYING = "trying"  #: any response of the user's
    PROCEEDING = "proceeding"  #: the final response of the user's
    ACCEPTED = "accepted"  #: the end of retransmissions of an INVITE that got a 2xx (RFC 6026)
    COMPLETED = "completed"  #: the ACK; without INVITE, the end of retransmissions
    CONFIRMED = "confirmed"  #: the end of retransmissions of the ACK
    TERMINATED = "terminated"  #: nothing ever again


# Until Python 3.12 it takes long to look them up in the class: 2 to 3 % of a message.
_TRYING, _PROCEEDING, _ACCEPTED, _COMPLETED, _CONFIRMED, _TERMINATED = ServerState


class ServerTable(Protocol):
    """What a server transaction needs of the table that it is in."""

    timing: Timing
    sent_again: int  #: messages of ours that were retransmitted

    def server_answered(self, transaction: "NonInviteServerTransaction", data: bytes) -> None:
        """The final response went out over UDP: absorb retransmissions until timer J."""

    def server_accepted(self, transaction: "InviteServerTransaction") -> None:
        """A 2xx of an INVITE went out: ``discard`` the transaction when timer L is over."""

    def server_settled(self, transaction: "InviteServerTransaction") -> None:
        """Until then keep of it only what absorbs the INVITE."""

    def server_ended(self, transaction: "ServerTransaction") -> None:
        """Forget the transaction."""


class ServerTransaction:
    """A request that was received, and its responses.

    Owned by the table; whoever registered for the method answers it with ``respond``.
    """

    __slots__ = ("_table", "_via", "key", "merge_key", "request", "source", "state", "to_tag")

    def __init__(
        self,
        table: ServerTable,
        request: Request,
        source: ReplyPath,
        key: str,
        merge_key: str | None,
    ) -> None:
        self._table = table
        self._via = request.via
        self.request = request
        self.source = source
        self.key = key  #: what requests of this transaction have in common (§17.2.3)
        self.merge_key = merge_key  #: what merged requests share (§8.2.2.2); None in dialogs
        self.to_tag = ""  #: the tag that we add to To; the same in all responses (§8.2.6.2)
        self.state = _TRYING

    @property
    def answered(self) -> bool:
        """Whether no final response can be given any more."""
        return self.state is not _TRYING and self.state is not _PROCEEDING

    def respond(self, response: Response) -> None:
        """Send a response if the state allows it; a second final one is ignored.

        Raises RenderError, nothing sent, when the response holds what must not be written.
        """
        raise NotImplementedError

    def retransmitted(self) -> None:
        """The request came again."""
        raise NotImplementedError

    def discard(self) -> None:
        """The table is closed: stop all timers."""
        raise NotImplementedError


class NonInviteServerTransaction(ServerTransaction):
    """Any request but INVITE and ACK (§17.2.2).

    One that its user does not answer in time is never answered (RFC 4320 §4.2): its client
    has given up by then.
    """

    __slots__ = ("_timer", "_trying")

    def __init__(
        self,
        table: ServerTable,
        request: Request,
        source: ReplyPath,
        key: str,
        merge_key: str | None,
    ) -> None:
        # Written out, because this is done for each MESSAGE.
        self._table = table
        self._via = request.via
        self.request = request
        self.source = source
        self.key = key
        self.merge_key = merge_key
        self.to_tag = ""
        self.state = _TRYING
        self._trying = b""  # our 100, once sent
        self._timer: Timer | None = None

    def respond(self, response: Response) -> None:
        """Send the final response.

        Ignored are provisional ones (RFC 4320 §4.1: only 100, and that one comes by itself)
        and 408 (§4.2: the client's own time-out says the same).
        """
        state = self.state
        if state is not _TRYING and state is not _PROCEEDING:
            return
        if response.status < 200 or response.status == 408:
            return
        data = response.render()
        self.state = _COMPLETED
        if self._timer is not None:
            self._timer.cancel()
        source = self.source
        if source.reliable:
            self.state = _TERMINATED  # timer J is 0
            self._table.server_ended(self)
        else:
            self._table.server_answered(self, data)
        source.send_response(data, self._via)

    def retransmitted(self) -> None:
        """Repeat the 100; before it, absorb.  The table repeats final responses by itself."""
        if self.state is _PROCEEDING:
            self.source.send_response(self._trying, self._via)

    def answer_late(self) -> None:
        """No answer for so long that RFC 4320 §4.1 wants a 100."""
        if self.state is not _TRYING:
            return
        self.state = _PROCEEDING
        self._trying = self.request.response(100).render()
        timing = self._table.timing
        self._timer = timing.timers.call_later(timing.lifetime - timing.trying, self._give_up)
        self.source.send_response(self._trying, self._via)

    def _give_up(self) -> None:
        self.state = _TERMINATED
        self._table.server_ended(self)

    def discard(self) -> None:
        """The table is closed."""
        self.state = _TERMINATED
        if self._timer is not None:
            self._timer.cancel()


class InviteServerTransaction(ServerTransaction):
    """An INVITE (§17.2.1, RFC 6026 §7.1).

    After a 2xx its user repeats the 2xx through ``respond`` until the ACK comes (§13.3.1.4).
    """

    __slots__ = (
        "_data",
        "_interval",
        "_life_timer",
        "_repeat_timer",
        "on_ack_timeout",
        "on_cancel",
    )

    def __init__(
        self,
        table: ServerTable,
        request: Request,
        source: ReplyPath,
        key: str,
        merge_key: str | None,
    ) -> None:
        super().__init__(table, request, source, key, merge_key)
        self.state = _PROCEEDING
        self.on_cancel: Callable[[], None] | None = None  #: a CANCEL came before our final answer
        self.on_ack_timeout: Callable[[], None] | None = None  #: no ACK came for our 3xx to 6xx
        self._data = b""  # the last response sent
        self._interval = table.timing.t1  # seconds to the next retransmission; doubles up to T2
        self._repeat_timer: Timer | None = None  # timer G
        self._life_timer: Timer | None = None  # timer H or I

    def respond(self, response: Response) -> None:
        """Send a response: any before a final one, only 2xx after a 2xx."""
        status = response.status
        if self.state is _PROCEEDING:
            data = self._data = response.render()
            if status >= 300:
                self._complete()
            elif status >= 200:
                self.state = _ACCEPTED
                self._table.server_accepted(self)
            self._send(data)
        elif self.state is _ACCEPTED and 200 <= status < 300:
            self._send(response.render())

    def _complete(self) -> None:
        timing = self._table.timing
        self.state = _COMPLETED
        self._live(timing.lifetime, self._ack_missing)  # timer H
        if not self.source.reliable:
            self._repeat_timer = timing.timers.call_later(self._interval, self._repeat)

    def retransmitted(self) -> None:
        """Repeat what was said last; after a 2xx that is the user's work (RFC 6026 §7.1)."""
        if self._data and self.state in (_PROCEEDING, _COMPLETED):
            self._send(self._data)

    def acknowledge(self) -> bool:
        """An ACK came.  False: it acknowledges a 2xx, which is the user's matter."""
        if self.state is _ACCEPTED:
            return False
        if self.state is _COMPLETED:
            self.state = _CONFIRMED
            if self._repeat_timer is not None:
                self._repeat_timer.cancel()
            if self.source.reliable:
                self._end()  # timer I is 0
            else:
                self._live(self._table.timing.t4, self._end)
        return True

    def settle(self) -> None:
        """Its user has done with it, since the 2xx got its ACK, or waits for none any more."""
        if self.state is _ACCEPTED:
            self._table.server_settled(self)

    def cancelled(self) -> None:
        """A CANCEL came: the user hears of it unless the INVITE was answered (§9.2)."""
        if self.state is _PROCEEDING and self.on_cancel is not None:
            self.on_cancel()

    def _repeat(self) -> None:
        timing = self._table.timing
        self._interval = min(2 * self._interval, timing.t2)
        self._repeat_timer = timing.timers.call_later(self._interval, self._repeat)
        self._table.sent_again += 1
        self._send(self._data)

    def _ack_missing(self) -> None:
        self._end()
        if self.on_ack_timeout is not None:
            self.on_ack_timeout()

    def _live(self, delay: float, then: Callable[[], None]) -> None:
        if self._life_timer is not None:
            self._life_timer.cancel()
        self._life_timer = self._table.timing.timers.call_later(delay, then)

    def _end(self) -> None:
        self.discard()
        self._table.server_ended(self)

    def discard(self) -> None:
        """The table is closed."""
        self.state = _TERMINATED
        for timer in (self._repeat_timer, self._life_timer):
            if timer is not None:
                timer.cancel()

    def _send(self, data: bytes) -> None:
        self.source.send_response(data, self._via)
