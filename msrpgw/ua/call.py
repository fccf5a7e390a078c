"""One call of an MSRP user: the INVITE usage, its SDP and the MSRP session.

    place ──► CALLING ──2xx──┐                       ┌──► UP ──connection lost──► MOVING ──┐
    answer ──────────────────┴──► BINDING ──bound────┘                     ▲               │
                                                                           └── re-INVITE ──┘
    every state ──► OVER, told once by ``call_over``

Made of ``InviteUsage`` and ``Session`` alone, not of the gateway's leg: in tests each checks the
other.  Leaves it to the peer to offer a new MSRP session when the connection is lost.
"""

import enum
from collections import deque
from functools import partial
from typing import Protocol

from msrpgw.errors import SipError
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.session import Incoming, Report, SendResult, Session
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.invite import InviteUsage
from msrpgw.sip.routing import goes_over_tls
from msrpgw.sip.transaction import InviteServerTransaction
from msrpgw.timers import Timer
from msrpgw.ua.texts import CONTENT_TYPES, OnSent, Sent, Signal, decoded

#: seconds that the peer has to offer a new MSRP session in place of a lost one
PATIENCE = 10.0

#: most texts whose REPORT may still come
_REMEMBERED = 10_000


class CallState(enum.Enum):
    """What the call waits for."""

    CALLING = "calling"  #: the answer to the INVITE
    BINDING = "binding"  #: the MSRP connection
    UP = "up"  #: nothing: texts flow
    MOVING = "moving"  #: a new MSRP session in place of a lost one
    OVER = "over"  #: nothing ever again


class CallListener(Protocol):
    """Whose call it is."""

    def call_changed(self, call: "Call", what: str) -> None:
        """The call came up, or is being moved to a new MSRP session."""

    def call_over(self, call: "Call", what: str) -> None:
        """The call is over, or never came about; told once."""

    def text_received(self, call: "Call", incoming: Incoming) -> None:
        """A text came; to be accepted, refused or left without an answer."""

    def signalled(self, signal: Signal) -> None:
        """Something went to the peer, or came from it."""


class _Text:
    """A text on its way."""

    __slots__ = ("message_id", "on_sent", "started", "text")

    def __init__(self, text: str, on_sent: OnSent, message_id: str, started: float) -> None:
        self.text = text
        self.on_sent = on_sent
        self.message_id = message_id  # the same on each attempt
        self.started = started


class Call:
    """Owned by an MsrpUser.  Texts wait until it is up."""

    patient = True  #: no text is refused for coming late

    def __init__(
        self,
        agent: UserAgent,
        endpoint: Endpoint,
        listener: CallListener,
        peer: str,
        *,
        setup_timeout: float,
        reports: bool,
    ) -> None:
        """``reports``: whether to ask for a REPORT of each text's success."""
        self._agent = agent
        self._endpoint = endpoint
        self._listener = listener
        self._setup_timeout = setup_timeout
        self._reports = reports
        self._timers = agent.timers
        self._usage: InviteUsage | None = None
        self._session = endpoint.create_session(self, CONTENT_TYPES)
        self._waiting: deque[_Text] = deque()
        self._lost: list[_Text] = []  # sent on a session that is gone, without their answer
        self._reported: dict[str, _Text] = {}  # by Message-ID: a REPORT may come
        self._timer: Timer | None = None
        self._placed = False  # whether we called
        self._ours = False  # whether the end was our wish
        self.peer = peer  #: URI
        self.state = CallState.CALLING

    # Setting up

    def place(self, me: str) -> None:
        """Call the peer."""
        self._limit(self._setup_timeout, "The call did not come up in time")
        self._signal(True, "INVITE")
        self._placed = True
        self._usage = InviteUsage.call(
            self._agent,
            self,
            ruri=self.peer,
            from_uri=me,
            to_uri=self.peer,
            offer=self._session.offer(goes_over_tls(self.peer, self._agent.settings)),
            timeout=self._setup_timeout,
        )

    def answer(self, transaction: InviteServerTransaction) -> None:
        """Answer the peer's INVITE: 200 with our SDP, or 488."""
        usage = self._ring(transaction)
        if usage is None:
            return
        try:
            if usage.offer:
                body = self._session.answer(usage.offer, usage.protected)
            else:
                body = self._session.offer(usage.protected)
        except SipError as error:
            self._signal(True, f"{error.status} {error.reason}")
            usage.reject(error.status, error.reason, error.headers)
            return
        self._signal(True, "200 OK")
        usage.accept(body)
        if usage.offer:
            self._bind()  # RFC 4975 §8.3: the peer may connect before its ACK comes

    def let_ring(self, transaction: InviteServerTransaction) -> None:
        """Let the peer's INVITE ring, until it gives up."""
        usage = self._ring(transaction)
        if usage is not None:
            self._signal(True, "180 Ringing")
            usage.ring()

    def _ring(self, transaction: InviteServerTransaction) -> InviteUsage | None:
        self._limit(self._setup_timeout, "The call did not come up in time")
        self._signal(False, "INVITE")
        self._usage = usage = InviteUsage.incoming(self._agent, transaction, self)
        return None if self.state is CallState.OVER else usage

    def _limit(self, seconds: float, reason: str) -> None:
        self._be_patient()
        self._timer = self._timers.call_later(seconds, partial(self.end, reason))

    def _be_patient(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _bind(self) -> None:
        if self.state is CallState.CALLING:
            self.state = CallState.BINDING
        self._session.start()

    # What the INVITE usage tells

    def call_progress(self, status: int, reason: str) -> None:
        """It rings."""
        self._signal(False, f"{status} {reason}")

    def call_established(self, sdp: bytes) -> None:
        """The dialog is up; ``sdp`` is the answer when the offer was ours."""
        if self.state is CallState.CALLING:
            if self._placed:
                self._signal(False, "200 OK")
                self._signal(True, "ACK")
            else:
                self._signal(False, "ACK")  # with the answer to our offer
            try:
                self._session.apply_answer(sdp, self._protected)
            except SipError as error:
                self.end(error.reason)
                return
            self._bind()
        else:
            self._signal(False, "ACK")

    @property
    def _protected(self) -> bool:
        """Whether the peer's SDP came over TLS."""
        return self._usage is not None and self._usage.protected

    def call_failed(self, status: int, reason: str) -> None:
        """No call came about."""
        self._signal(False, f"{status} {reason}")
        self._over(status, f"call failed: {status} {reason}")

    def call_offered(self, sdp: bytes) -> None:
        """A re-INVITE came: the peer asks, or has a new MSRP session for us."""
        usage = self._usage
        if usage is None or self.state is CallState.OVER:
            return
        self._signal(False, "INVITE (again)")
        if not sdp:
            usage.answer(self._session.offer())
            return
        if self._session.is_current(sdp) and self.state is CallState.UP:
            usage.answer(self._session.answer(sdp))
            return
        session = self._endpoint.create_session(self, CONTENT_TYPES, replaces=self._session)
        try:
            body = session.answer(sdp, usage.protected)
        except SipError as error:
            session.close()
            usage.refuse_offer(error.status, error.headers)
            return
        self.state = CallState.MOVING
        self._limit(self._setup_timeout, "The new MSRP session did not come up in time")
        self._signal(True, "200 OK")
        usage.answer(body)
        old, self._session = self._session, session
        old.close()
        session.start()

    def call_reanswered(self, sdp: bytes) -> None:
        """The ACK of a re-INVITE without an offer brought the answer to ours."""
        if not self._session.is_current(sdp):
            self.end("The peer changed its MSRP path in an answer")

    def call_reinvite_failed(self, status: int, reason: str) -> None:
        """We send no re-INVITEs."""

    def call_refreshed(self, sdp: bytes) -> None:
        """The dialog goes on."""
        if sdp and not self._session.is_current(sdp):
            self.end("The peer changed its MSRP path in an answer")

    def call_ended(self, reason: str) -> None:
        """The dialog is over."""
        if not self._ours:
            self._signal(False, "BYE")
        self._over(0, f"call ended: {reason}")

    # What the MSRP session tells

    def session_up(self, session: Session) -> None:
        """The MSRP session is bound: send what waits."""
        self._be_patient()
        self.state = CallState.UP
        self._waiting.extendleft(reversed(self._lost))
        self._lost.clear()
        self._listener.call_changed(self, "call up")
        while self._waiting and self.state is CallState.UP:
            self._transmit(self._waiting.popleft())

    def session_lost(self, session: Session, reason: str) -> None:
        """The MSRP session has failed: the peer may offer another one."""
        self.state = CallState.MOVING
        self._limit(PATIENCE, "The MSRP session was lost, and no other was offered")
        self._listener.call_changed(self, f"MSRP session lost: {reason}")

    def message_received(self, session: Session, incoming: Incoming) -> None:
        """A text came."""
        self._signal(False, "SEND", decoded(incoming.body))
        self._listener.text_received(self, incoming)

    def report_received(self, session: Session, report: Report) -> None:
        """A REPORT about a text of ours came."""
        self._signal(False, f"REPORT {report.status} {report.comment}".rstrip())
        text = self._reported.pop(report.message_id, None)
        if text is not None:
            self._tell(text, report.status, report.comment)

    # Texts

    def send(self, text: str, on_sent: OnSent) -> None:
        """Send one text.

        ``on_sent`` is called when it was accepted (not ``final``) and when a REPORT came, or once
        if it was refused or lost.
        """
        message_id = self._agent.random(8).hex()
        one = _Text(text, on_sent, message_id, self._timers.seconds())
        if self.state is CallState.UP:
            self._transmit(one)
        else:
            self._waiting.append(one)

    def _transmit(self, text: _Text) -> None:
        self._reported[text.message_id] = text
        if len(self._reported) > _REMEMBERED:
            del self._reported[next(iter(self._reported))]
        self._signal(True, "SEND", text.text)
        self._session.send(
            text.message_id,
            "text/plain",
            text.text.encode(),
            partial(self._answered, text),
            success_report=self._reports,
        )

    def _answered(self, text: _Text, result: SendResult) -> None:
        if result.lost:
            self._lost.append(text)
            return
        self._signal(False, f"MSRP {result.status} {result.comment}".rstrip())
        if result.status == 200:
            self._tell(text, 200, result.comment, final=False)
        else:
            self._reported.pop(text.message_id, None)
            self._tell(text, result.status, result.comment)

    def _tell(self, text: _Text, status: int, reason: str, *, final: bool = True) -> None:
        delay = self._timers.seconds() - text.started
        text.on_sent(Sent(text.text, status, reason, delay, final))

    # The end

    def end(self, reason: str = "Ended by us") -> None:
        """Hang up.  ``call_over`` follows when the peer has answered, or has not for too long."""
        self._be_patient()
        if self.state is CallState.OVER or self._ours:
            return
        self._ours = True
        usage = self._usage
        if usage is None:
            self._over(0, reason)
        else:
            self._signal(True, "CANCEL" if self.state is CallState.CALLING else "BYE")
            usage.end(reason)

    def _over(self, status: int, what: str) -> None:
        if self.state is CallState.OVER:
            return
        self.state = CallState.OVER
        self._be_patient()
        self._session.close()
        texts = [*self._lost, *self._waiting]
        self._lost.clear()
        self._waiting.clear()
        self._listener.call_over(self, what)
        for text in texts:
            self._tell(text, status, what)

    def signal_sent(self, what: str) -> None:
        """The user answered the peer."""
        self._signal(True, what)

    def _signal(self, outgoing: bool, what: str, text: str = "") -> None:
        self._listener.signalled(Signal(self._timers.seconds(), outgoing, what, text))
