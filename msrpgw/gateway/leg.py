"""One call to or from the MSRP user: the INVITE usage, its SDP and the MSRP session.

    Leg.call ──► CALLING ──2xx──► BINDING ──bound──► UP ──connection lost──► MOVING
    Leg.answer ─────────────────────▲                 ▲                        │
                                                      └────────── bound ───────┘
    every state ──► ENDED, told once by ``leg_ended``

May import sip and msrp; knows nothing of keys, queues and MESSAGEs.
"""

import enum
from collections.abc import Callable, Sequence

from msrpgw.errors import SipError
from msrpgw.gateway.facts import address_of
from msrpgw.gateway.leg_listener import LegEnd, LegListener
from msrpgw.gateway.loops import HOPS
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.session import Incoming, Report, SendResult, Session
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.dialog import Dialog
from msrpgw.sip.invite import InviteUsage
from msrpgw.sip.routing import goes_over_tls
from msrpgw.sip.transaction import InviteServerTransaction, ServerTransaction
from msrpgw.timers import Timer, Timers

#: seconds after a BYE in which answers to SENDs may still come; less than ``hold_message``
LAST_ANSWERS = 0.2


class LegState(enum.Enum):
    """What the leg waits for."""

    CALLING = "calling"  #: the answer to our INVITE, or the ACK that carries the answer
    BINDING = "binding"  #: the MSRP connection, bound to the session
    UP = "up"  #: nothing: messages flow
    MOVING = "moving"  #: a new MSRP session in place of a lost one (RFC 4975 §5.4)
    ENDED = "ended"  #: nothing ever again


_CALLING, _BINDING, _UP, _MOVING, _ENDED = LegState  # looked up in the class they cost 2 %


def _nothing() -> None:
    """Nobody waits for the end."""


class Leg:
    """One SIP dialog with the MSRP sessions that its offers and answers negotiated.

    Owned by a gateway session.  ``leg_ended`` is told exactly once, whatever happens.
    """

    __slots__ = (
        "_accept_types", "_agent", "_endpoint", "_farewell", "_identity", "_listener", "_media",
        "_offered", "_proven", "_setup_timer", "_source", "_timers", "_usage", "_was_up", "on_over",
        "over", "state",
    )  # fmt: skip

    def __init__(
        self,
        agent: UserAgent,
        endpoint: Endpoint,
        timers: Timers,
        listener: LegListener,
        accept_types: Sequence[str],
    ) -> None:
        self._agent = agent
        self._endpoint = endpoint
        self._timers = timers
        self._listener = listener
        self._accept_types = accept_types
        self._usage: InviteUsage | None = None
        self._media: Session = self._new_session(None)
        #: the session that a re-INVITE of ours offers, until its answer comes
        self._offered: Session | None = None
        self._setup_timer: Timer | None = None
        self._was_up = False
        #: whether SIP is done with, too: BYE or CANCEL have their answer
        self.over = False
        #: called once, when ``over`` becomes true
        self.on_over: Callable[[], None] = _nothing
        # Whether the MSRP session is worth renewing: it is the first, or has carried a message.
        self._proven = True
        self.state = _CALLING
        self._farewell = ""  # why the dialog is over, while answers to SENDs are awaited
        self._source = ""  # address that the INVITE came from; empty when we called
        self._identity = ""  # who the caller has proven to be

    def _new_session(self, replaces: Session | None) -> Session:
        return self._endpoint.create_session(self, self._accept_types, replaces=replaces)

    # Setting up

    def call(
        self,
        *,
        ruri: str,
        from_uri: str,
        to_uri: str,
        timeout: float,
        max_forwards: int,
    ) -> None:
        """INVITE the MSRP user.  ``timeout``: seconds until the MSRP session must be bound."""
        if self.over:
            return  # what it was wanted for is withdrawn
        self._limit_setup(timeout)
        try:
            offer = self._media.offer(goes_over_tls(ruri, self._agent.settings))
        except SipError as error:
            self._hang_up(error.status, error.reason)
            return
        self._usage = InviteUsage.call(
            self._agent,
            self,
            ruri=ruri,
            from_uri=from_uri,
            to_uri=to_uri,
            offer=offer,
            headers=[("Max-Forwards", str(max_forwards))],
            timeout=timeout or self._agent.settings.timer_c,
        )

    def answer(self, transaction: InviteServerTransaction, timeout: float) -> None:
        """Answer an initial INVITE: 200 with our SDP, or 488 (RFC 4975 §8)."""
        self._source = transaction.source.host
        self._identity = transaction.request.identity
        self._limit_setup(timeout)
        usage = InviteUsage.incoming(self._agent, transaction, self, at_once=True)
        if self.over:
            return  # it was one that can't be used
        self._usage = usage
        try:
            if usage.offer:
                body = self._media.answer(usage.offer, usage.protected)
            else:
                body = self._media.offer(usage.protected)
        except SipError as error:
            usage.reject(error.status, error.reason, error.headers)
            self._end(error.status, error.reason)
            return
        usage.accept(body)
        if usage.offer and self.state is _CALLING:
            # §8.3 allows the peer to connect before its ACK reaches us.
            self._bind(self._media)

    def _limit_setup(self, timeout: float) -> None:
        if timeout:
            self._setup_timer = self._timers.call_later(timeout, self._setup_timed_out)

    def _setup_timed_out(self) -> None:
        self._setup_timer = None
        awaited = "an answer to the INVITE" if self.state is _CALLING else "MSRP"
        self._hang_up(480, f"Set-up timed out waiting for {awaited}")

    def _bind(self, media: Session) -> None:
        self.state = _MOVING if self._was_up else _BINDING
        media.start()

    # What the INVITE usage tells

    def call_progress(self, status: int, reason: str) -> None:
        """A provisional response came: nothing that a page user could be shown."""

    def call_established(self, sdp: bytes) -> None:
        """The dialog is up; ``sdp`` is the answer when we made the offer."""
        self._listener.dialog_changed(self)
        if self.state is _CALLING:
            try:
                self._media.apply_answer(sdp, self._protected)
            except SipError as error:
                self._hang_up(error.status, error.reason)
                return
            if not self._listener.is_of_use(self):
                self._hang_up(488, "The MSRP user takes none of the types that were to be sent")
            elif self._media.peer is not None and self._media.peer.falls_back:
                self._offer_another("a middle box and no RFC 6714", cema=False)
            else:
                self._bind(self._media)

    def call_failed(self, status: int, reason: str) -> None:
        """The INVITE got its final refusal, or no answer at all."""
        # A final 408 is the callee's or our own time-out; it must not go on as 408 (RFC 4320 §4.2),
        # but as the reason for an event and a notice it is what the operator looks for.
        self._end(status, reason)
        self._finish()

    def call_offered(self, sdp: bytes) -> None:
        """A re-INVITE came."""
        usage = self._usage
        if usage is None or self.state is _ENDED:
            return
        if not sdp:
            usage.answer(self._media.offer())
            return
        if self._media.is_current(sdp):
            usage.answer(self._media.answer(sdp, usage.protected))
            self._listener.dialog_changed(self)
            return
        media = self._new_session(self._media)
        try:
            body = media.answer(sdp, usage.protected)
        except SipError as error:
            media.close()
            usage.refuse_offer(error.status, error.headers)
            return
        usage.answer(body)
        self._listener.dialog_changed(self)
        self._move_to(media, "the peer moved its MSRP session")

    def call_reanswered(self, sdp: bytes) -> None:
        """The answer to a re-INVITE of ours, or to an offer of ours in a 200, came."""
        media = self._offered
        if self.state is _ENDED:
            return
        self._listener.dialog_changed(self)
        if media is None:
            if not self._media.is_current(sdp):
                self._hang_up(488, "The peer changed its MSRP path in an answer")
            return
        self._offered = None
        try:
            media.apply_answer(sdp, self._protected)
        except SipError as error:
            media.close()
            self._hang_up(error.status, error.reason)
            return
        self._move_to(media, "")

    def call_reinvite_failed(self, status: int, reason: str) -> None:
        """The peer did not take our new MSRP session: without one the call is of no use."""
        self._drop_offered()
        self._hang_up(status, f"MSRP session lost and re-INVITE refused: {status} {reason}")

    def call_refreshed(self, sdp: bytes) -> None:
        """The dialog goes on; its target, at most, has changed."""
        if self.state is _ENDED:
            return
        self._listener.dialog_changed(self)
        if sdp and not self._media.is_current(sdp):
            self._hang_up(488, "The peer changed its MSRP path in an answer")

    def call_ended(self, reason: str) -> None:
        """The dialog is over."""
        if self.state is _UP and self._media.unanswered:
            # BYE over UDP may overtake the answers to SENDs, which come over MSRP's TCP: senders
            # would be told that a text was lost which its receiver has read.
            self._farewell = reason
            self._setup_timer = self._timers.call_later(LAST_ANSWERS, self._leave)
        else:
            self._end(0 if self._was_up else 480, reason)
        self._finish()

    def _leave(self) -> None:
        self._end(0, self._farewell)

    def _finish(self) -> None:
        if not self.over:
            self.over = True
            self.on_over()
            self._release()

    def _release(self) -> None:
        """When all is over, let go of all who know us.

        What goes round in circles waits for the garbage collector, which looks at what has lived
        for a while once in hours.
        """
        if self.over and self.state is _ENDED:
            del self._listener, self._media
            self._usage = None
            self.on_over = _nothing

    # What the MSRP session tells

    def session_up(self, media: Session) -> None:
        """The MSRP session is bound to a connection."""
        if self.state is _ENDED or media is not self._media:
            return
        if self._setup_timer is not None:
            self._setup_timer.cancel()
            self._setup_timer = None
        self.state = _UP
        self._proven = not self._was_up
        self._was_up = True
        self._listener.leg_up(self)

    def session_lost(self, media: Session, reason: str) -> None:
        """The MSRP session has failed (RFC 4975 §5.4): its URIs are spent."""
        if self.state is _ENDED or media is not self._media:
            return
        if self.state is _UP:
            self.renew(reason)
        else:
            self._hang_up(480, f"MSRP connection failed: {reason}")

    def message_received(self, media: Session, incoming: Incoming) -> None:
        """The MSRP user sent a whole message."""
        if self.state is _ENDED:
            incoming.refuse(481, "The session has ended")
            return
        self._proven = True
        self._listener.send_received(self, incoming)

    def report_received(self, media: Session, report: Report) -> None:
        """A REPORT came; one about a message of an earlier MSRP session still counts."""
        if self.state is not _ENDED:
            self._listener.report_received(self, report)

    def renew(self, reason: str) -> None:
        """The MSRP session is of no more use: offer a fresh one in a re-INVITE."""
        if self.state is not _UP or self._usage is None:
            return
        if self._farewell:
            self._leave()
            return
        if not self._proven:
            # A session that never carries anything would be renewed for ever.
            self._hang_up(480, f"MSRP session lost again before it carried a message: {reason}")
            return
        self.state = _MOVING
        self._media.close()
        self._listener.leg_moving(self, reason)
        self._limit_setup(self._agent.settings.timer_c)
        self._offer_another(reason)

    def _offer_another(self, reason: str, *, cema: bool = True) -> None:
        assert self._usage is not None
        self._offered = self._new_session(self._media)
        try:
            offer = self._offered.offer(cema=cema)
        except SipError as error:
            self._hang_up(error.status, f"{reason}; {error.reason}")
            return
        self._usage.reinvite(offer)

    def _move_to(self, media: Session, reason: str) -> None:
        old, self._media = self._media, media
        if self.state is _UP:
            self.state = _MOVING
            self._limit_setup(self._agent.settings.timer_c)
            self._listener.leg_moving(self, reason)
        self._drop_offered()
        old.close()
        self._bind(media)

    def _drop_offered(self) -> None:
        if self._offered is not None:
            self._offered.close()
            self._offered = None

    # Verbs

    def accepts(self, media_type: str) -> bool:
        """Whether the MSRP user takes this type; known once the answer came."""
        return self._media.accepts(media_type)

    @property
    def peer_accept_types(self) -> tuple[str, ...]:
        """What the MSRP user takes, for an Accept header; empty until the answer came."""
        peer = self._media.peer
        return tuple(peer.accept_types) if peer is not None else ()

    @property
    def peer_host(self) -> str:
        """Address that the signalling comes from, or goes to; empty while it is being located."""
        if self._source or self._usage is None:
            return self._source
        return self._usage.peer_host

    def may_give_way(self, transaction: ServerTransaction, owner: str) -> bool:
        """Whether an INVITE may replace this call: from its source, or by its user, ``owner``."""
        if self.peer_host in ("", transaction.source.host):
            return True
        request = transaction.request
        return bool(request.identity) and (
            request.identity == self._identity
            or address_of(request.from_.uri_text).uri == address_of(owner).uri
        )

    @property
    def _protected(self) -> bool:
        """Whether the SDP that the peer sent last came over TLS."""
        return self._usage is not None and self._usage.protected

    @property
    def dialog(self) -> Dialog | None:
        """The dialog with the MSRP user; None before there is one."""
        return self._usage.dialog if self._usage is not None else None

    @property
    def paths(self) -> tuple[str, str]:
        """Our MSRP URI, and the peer's a=path; that one empty until the answer came."""
        peer = self._media.peer
        theirs = " ".join(uri.render() for uri in peer.remote_path) if peer is not None else ""
        return self._media.path_text, theirs

    @property
    def session_id(self) -> str:
        """The session-id part of our MSRP URI."""
        return self._media.path.session_id

    @property
    def behind_relay(self) -> bool:
        """Whether an MSRP relay stands before the peer, whose 200 says nothing of delivery."""
        return self._media.behind_relay

    def send(
        self,
        message_id: str,
        content_type: str,
        body: bytes,
        on_done: Callable[[SendResult], None],
        hops: int,
    ) -> None:
        """Send one message.  Only when UP; ``on_done`` is called once.

        ``hops``: gateways that it has passed before us.
        """
        extension = f"{HOPS}: {hops}" if hops else ""
        self._media.send(message_id, content_type, body, on_done, extension=extension)

    @property
    def patient(self) -> bool:
        """Whether nothing is refused for coming late."""
        return self._listener.urgent

    def rest(self, seconds: float) -> None:
        """Hear nothing for so long, or until ``go_on``."""
        if self._media.connection is not None:
            self._media.connection.rest(self._media, seconds)

    def go_on(self) -> None:
        """Hear the MSRP user again."""
        if self._media.connection is not None:
            self._media.connection.go_on()

    def acknowledged(self) -> None:
        """A SEND got its 200: this MSRP session is worth renewing when it is lost."""
        self._proven = True
        if self._farewell and not self._media.unanswered:
            # Later: whoever told us has the outcome of this one still to hand on.
            self._timers.call_later(0, self._leave)

    def end(self, reason: str) -> None:
        """Hang up: CANCEL, BYE or a refusal, as the state asks.  ``leg_ended`` follows at once."""
        self._hang_up(0 if self._was_up else 487, reason)

    def _hang_up(self, code: int, reason: str) -> None:
        usage = self._usage
        self._end(code, reason)
        if usage is not None:
            usage.end(reason)
        else:
            self._finish()

    def _end(self, code: int, reason: str) -> None:
        if self.state is _ENDED:
            return
        self.state = _ENDED
        if self._setup_timer is not None:
            self._setup_timer.cancel()
            self._setup_timer = None
        self._drop_offered()
        self._media.close()
        retry_after = self._usage.retry_after if self._usage is not None else 0.0
        self._listener.leg_ended(self, LegEnd(code, reason, self._was_up, retry_after))
        self._release()
