"""One INVITE usage: a call made or received, and its end (RFC 3261 §13 to §15).

    call ──────► CALLING ────2xx────────────► ESTABLISHED ◄──ACK── ACCEPTED ◄──accept── OFFERED
                    │ end                      end │                  │ end                ▲
                    ▼                              ▼                  ▼                    │
               CANCELLING ──2xx crossed CANCEL──► ENDING ◄──ACK──── CLOSING            incoming
                                                   │
                                                   └──BYE answered──► ENDED

Refusals, time-outs and the peer's BYE or CANCEL lead to ENDED from everywhere.  Whatever does not
fit its state is absorbed: a request is always answered, a 2xx always acknowledged, a verb that
comes too late does nothing.
"""

import enum
from collections.abc import Callable, Iterable
from typing import Protocol

from msrpgw.errors import SipError
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.dialog import Dialog, as_request_uri
from msrpgw.sip.headers import Headers
from msrpgw.sip.invite_client import ClientInvite
from msrpgw.sip.invite_server import DIALOG_METHODS, ServerInvite, answer_other, readable_sdp
from msrpgw.sip.message import Request, Response
from msrpgw.sip.reinvite import ReinviteListener, Reinvites
from msrpgw.sip.routing import first_hop
from msrpgw.sip.transaction import InviteServerTransaction, ServerTransaction
from msrpgw.sip.transport import Target, is_address
from msrpgw.sip.uri import SipUri, is_secure, parse_uri

_MAX_REDIRECTS = 5


class InviteListener(ReinviteListener, Protocol):
    """Who the call is for.

    Hears exactly one of ``call_failed`` (no call came about) and ``call_ended``, once, and nothing
    after it.  Each method may use the verbs.
    """

    def call_progress(self, status: int, reason: str) -> None:
        """A provisional response to our INVITE came; not told of 100."""

    def call_established(self, sdp: bytes) -> None:
        """The call is up.

        Called: ``sdp`` is the answer of the 2xx, which is acknowledged already.  Incoming: the ACK
        came; ``sdp`` is its answer if the INVITE had no offer, else empty or of no meaning.
        """

    def call_failed(self, status: int, reason: str) -> None:
        """No call came about: refused (3xx to 6xx), no answer (408), unreachable (503),
        cancelled or expired (487), answered without SDP (488)."""

    def call_ended(self, reason: str) -> None:
        """The call is over; told too when it ends between our 2xx and its ACK."""


class UsageState(enum.Enum):
    """What the usage waits for."""

    CALLING = "calling"  #: the final answer to our INVITE
    CANCELLING = "cancelling"  #: the same, although it is not wanted any more
    OFFERED = "offered"  #: the listener's decision on the INVITE received
    ACCEPTED = "accepted"  #: the ACK of our 2xx
    CLOSING = "closing"  #: the same, since BYE must not come before it (§15)
    ESTABLISHED = "established"  #: nothing: the call is up
    ENDING = "ending"  #: the answer to our BYE
    ENDED = "ended"  #: nothing ever again


# Looked up in the class they took 2 % of a set-up, until Python 3.12.
_CALLING, _CANCELLING, _OFFERED, _ACCEPTED, _CLOSING, _ESTABLISHED, _ENDING, _ENDED = UsageState


class _Plan:
    """How our INVITE goes on after a redirection or a 422."""

    __slots__ = ("deadline", "fields", "tried")

    def __init__(self, fields: tuple[tuple[str, str], ...], deadline: float) -> None:
        self.fields = fields  #: of the INVITE, but CSeq
        self.deadline = deadline  #: on the clock; 0 for none
        self.tried: list[str] = []  #: request URIs, in order


class InviteUsage:
    """Made by ``call`` or ``incoming``; ends by ``end``, by the peer, or by lack of answers.

    Calls last long: what only matters until the call is up is let go then.
    """

    __slots__ = (
        "_agent", "_body", "_calling", "_contact", "_farewell", "_listener", "_plan", "_received",
        "_reinvites", "call_id", "dialog", "peer_host", "retry_after", "state",
    )  # fmt: skip

    def __init__(self, agent: UserAgent, listener: InviteListener, call_id: str) -> None:
        self.state = _ENDED
        self.call_id = call_id
        self.retry_after = 0.0  #: seconds that the refusal of our INVITE asks us to wait
        self.dialog: Dialog | None = None  #: None until there is one that is more than early
        #: address that our INVITE went to; empty when the peer called, or is being located
        self.peer_host = ""
        self._agent = agent
        self._listener = listener
        self._farewell: Callable[[], None] | None = None  # tells the listener the end; used once
        self._reinvites = Reinvites(agent, listener, self)
        # The initial INVITE, until the call is up: when it is the peer's, and when it is ours.
        self._received: ServerInvite | None = None
        self._calling: ClientInvite | None = None
        self._plan: _Plan | None = None
        self._body = b""  # of our INVITE, or of our 200
        self._contact = ""  # URI that our requests name

    # Made

    @classmethod
    def call(
        cls,
        agent: UserAgent,
        listener: InviteListener,
        *,
        ruri: str,
        from_uri: str,
        to_uri: str,
        offer: bytes,
        headers: Iterable[tuple[str, str]] = (),
        timeout: float,
    ) -> "InviteUsage":
        """Call somebody.  ``timeout``: seconds until we give up; 0 leaves it to timer C.

        What fails at once, a URI that is none for example, is told before this returns.
        """
        usage = cls(agent, listener, agent.new_call_id())
        usage.state = _CALLING
        try:
            target = parse_uri(ruri)
            parse_uri(from_uri)
            parse_uri(to_uri)
            hop = first_hop(agent.settings, target)
        except SipError as error:
            usage._fail(error.status, error.reason)
            return usage
        transport = "tls" if is_secure(hop.text) else None
        if isinstance(hop, SipUri):
            transport = transport or hop.transport
        host = hop.host.strip("[]")
        towards = host if is_address(host) else ""
        usage._contact = agent.contact_uri(
            (transport or "UDP").upper(), towards, secure=is_secure(ruri)
        )
        fields = (
            ("From", f"<{from_uri}>;tag={agent.new_tag()}"),
            ("To", f"<{to_uri}>"),
            ("Call-ID", usage.call_id),
            ("Contact", f"<{usage._contact}>"),
            ("Allow", DIALOG_METHODS),
            *headers,
            ("Content-Type", "application/sdp"),
        )
        usage._body = offer
        deadline = agent.timers.seconds() + timeout if timeout else 0.0
        usage._plan = plan = _Plan(fields, deadline)
        usage._invite(ruri, plan)
        return usage

    @classmethod
    def incoming(
        cls,
        agent: UserAgent,
        transaction: InviteServerTransaction,
        listener: InviteListener,
        *,
        at_once: bool = False,
    ) -> "InviteUsage":
        """Take an initial INVITE, to be answered by ``accept`` or ``reject``.

        One that can't be used is refused, and ``call_failed`` told, before this returns.
        ``at_once``: that follows within this turn, so no 100 is needed (§17.2.1).
        """
        usage = cls(agent, listener, transaction.request.call_id)
        tag = transaction.to_tag = transaction.to_tag or agent.new_tag()
        try:
            usage._reinvites.timer.check(transaction.request)
            dialog = Dialog.uas(transaction.request, tag)
            received = ServerInvite(agent, transaction, usage)
        except SipError as error:
            agent.respond(transaction, error.status, error.reason, error.headers)
            usage._fail(error.status, error.reason)
            return usage
        usage.state = _OFFERED
        usage.dialog = dialog
        usage._received = received
        usage._reinvites.protected = transaction.request.protected
        usage._contact = received.contact
        agent.add_dialog(dialog.id, usage)
        if not at_once:
            agent.respond(transaction, 100)
        return usage

    @property
    def offer(self) -> bytes:
        """SDP of the INVITE received; b"" when it asks for our offer, and when the call is up."""
        return self._received.offer if self._received is not None else b""

    @property
    def protected(self) -> bool:
        """Whether the SDP that the peer sent last came over TLS."""
        return self._reinvites.protected

    # Verbs: each does nothing when it comes too late

    def ring(self, status: int = 180, reason: str | None = None) -> None:
        """Send a provisional response to the initial INVITE."""
        if self._received is not None:
            self._received.ring(status, reason)

    def accept(self, body: bytes) -> None:
        """Answer the initial INVITE with 200 and this SDP; ``call_established`` follows."""
        if self.state is _OFFERED and self._received is not None:
            self.state = _ACCEPTED
            self._body = body
            self._reinvites.learn(self._received.request)
            self._received.accept(body, self._reinvites.timer.grant(self._received.request))

    def reject(
        self, status: int, reason: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Refuse the initial INVITE; ``call_failed`` is told at once."""
        if self.state is _OFFERED and self._received is not None:
            self._received.reject(status, reason, headers)
            self._fail(status, reason or "Refused")

    def reinvite(self, offer: bytes) -> None:
        """Offer a changed session, when the call is up and no other INVITE is under way.

        Unless the call ends, each is followed by ``call_reanswered`` or ``call_reinvite_failed``.
        """
        if self.state not in (_CLOSING, _ENDING, _ENDED):
            self._reinvites.offer(offer)

    def answer(self, body: bytes) -> None:
        """Accept the re-INVITE that ``call_offered`` told of."""
        self._reinvites.answer(body)

    def refuse_offer(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Refuse the re-INVITE that ``call_offered`` told of; the call goes on as before."""
        self._reinvites.refuse(status, headers)

    def end(self, reason: str = "") -> None:
        """Hang up: CANCEL, refusal or BYE, as the state asks.

        The listener is told when the peer has answered, or has not for long enough.
        """
        if self.state is _CALLING:
            assert self._calling is not None
            self.state = _CANCELLING
            self._calling.cancel()
        elif self.state is _OFFERED:
            self.reject(480)
        elif self.state is _ACCEPTED:
            self.state = _CLOSING
            self._farewell = self._ended(reason or "Ended by us")
        elif self.state is _ESTABLISHED:
            self._bye(self._ended(reason or "Ended by us"))

    # Our INVITE

    def _invite(self, ruri: str, plan: "_Plan") -> None:
        # Who wanted credentials had it with a number of its own.
        number = self._calling.request.cseq.number + 1 if self._calling is not None else 1
        plan.tried.append(ruri)
        cseq = ("CSeq", f"{number} INVITE")
        fields = Headers([*plan.fields, *self._reinvites.timer.ask(), cseq])
        invite = ClientInvite(self._agent, self, Request("INVITE", ruri, fields, self._body))
        self._calling = invite
        left = plan.deadline - self._agent.timers.seconds()
        invite.send(max(left, 0.001) if plan.deadline else 0.0, self._targeted)

    def _targeted(self, target: Target) -> None:
        """Name the address that suits the peer's, now that it is known (§8.1.1.8)."""
        self.peer_host = target.host
        if self._calling is not None:
            request = self._calling.request
            self._contact = self._agent.contact_uri(
                target.transport, target.host, secure=is_secure(request.uri)
            )
            request.headers.replace_first("Contact", f"<{self._contact}>")

    def invite_progressed(self, invite: ClientInvite, response: Response) -> None:
        """A provisional response came."""
        if invite is self._calling and response.status > 100:
            self._listener.call_progress(response.status, response.reason)

    def invite_accepted(self, invite: ClientInvite, response: Response) -> None:
        """A 2xx came: the first, one that crossed our CANCEL, or one of another branch."""
        dialog = Dialog.uac(invite.request, response)
        invite.acknowledge(dialog, response)
        if self.state is _CALLING:
            self._use(dialog)
            sdp = readable_sdp(response)
            self._reinvites.protected = response.protected
            if sdp:
                self._reinvites.learn(response)
                self._reinvites.timer.accepted(response)
                self._establish(sdp)
            else:
                self._bye(lambda: self._listener.call_failed(488, "No SDP in the 2xx"))
                self._say_farewell()
        elif self.state is _CANCELLING:
            self._use(dialog)
            self._bye(lambda: self._listener.call_failed(487, "Cancelled"))
        else:
            # §13.2.2.4: one branch of the fork is enough, or nobody wants the call any more.
            self._agent.request(dialog.request("BYE"), _nothing)

    def invite_failed(
        self, invite: ClientInvite, status: int, reason: str, response: Response | None
    ) -> None:
        """Our INVITE was refused, or we gave it up."""
        plan = self._plan if self.state is _CALLING else None
        target = self._next_target(plan, status, response) if plan is not None else None
        if plan is not None and target is not None:
            self._invite(target, plan)
        else:
            self.retry_after = response.retry_after if response is not None else 0.0
            self._fail(status, reason)

    def _next_target(self, plan: "_Plan", status: int, response: Response | None) -> str | None:
        """Where a 3xx leads, if it may be followed (§8.1.3.4); the same again after a 422."""
        if response is None:
            return None
        if status == 422 and self._reinvites.timer.too_short(response):
            return plan.tried[-1]
        if status // 100 != 3 or not self._agent.settings.follow_redirects:
            return None
        contact = response.contact
        if contact is None or not isinstance(contact.uri, SipUri):
            return None
        target = as_request_uri(contact.uri)
        if is_secure(plan.tried[0]) and not is_secure(target):
            return None  # §26.2.2: TLS all the way was asked for
        return None if target in plan.tried or len(plan.tried) > _MAX_REDIRECTS else target

    # The peer's INVITE

    def invite_withdrawn(self, invite: ServerInvite, status: int, reason: str) -> None:
        """The peer cancelled its INVITE, or let it expire."""
        self._fail(status, reason)

    def invite_acknowledged(self, invite: ServerInvite, sdp: bytes) -> None:
        """The ACK of our 2xx came."""
        if self.state is _CLOSING:
            self._bye(self._farewell)
        elif invite.offer or sdp:
            self._establish(sdp)
        else:
            self.give_up("The ACK came without an answer")

    def invite_not_acknowledged(self, invite: ServerInvite) -> None:
        """No ACK came in time: the call must end (§13.3.1.4)."""
        if not invite.proven:
            # The address may be a victim's, which our BYE and its copies would be sent to.
            self._farewell = self._farewell or self._ended("No ACK came for our 2xx")
            self._finish()
        elif self.state is _CLOSING:
            self._bye(self._farewell)
        else:
            self.give_up("No ACK came for our 2xx")

    # Requests in the dialog

    def renumbered(self, number: int) -> None:
        """A request of ours had to go out again, with this CSeq number."""
        if self.dialog is not None:
            self.dialog.local_cseq = max(self.dialog.local_cseq, number)

    def ack_received(self, request: Request) -> None:
        """An ACK of a 2xx; one that belongs to no INVITE under way is ignored."""
        received = self._received
        if received is not None and received.request.cseq.number == request.cseq.number:
            self._reinvites.protected = request.protected
            received.ack_received(readable_sdp(request))
        self._reinvites.ack_received(request)

    def request_received(self, transaction: ServerTransaction) -> None:
        """Answer a request in the dialog."""
        request = transaction.request
        if self.dialog is None or self.state is _ENDED:
            self._agent.respond(transaction, 481)
        elif not self.dialog.check_cseq(request):
            self._agent.respond(transaction, 500, "CSeq out of order")
        elif request.method == "BYE":
            self._bye_received(transaction)
        elif self.state in (_CLOSING, _ENDING):
            self._agent.respond(transaction, 481)
        elif isinstance(transaction, InviteServerTransaction):
            self._reinvite_received(transaction)
        elif request.method == "UPDATE":
            self._update_received(transaction)
        else:
            answer_other(self._agent, transaction)

    def _update_received(self, transaction: ServerTransaction) -> None:
        if self.state is _ESTABLISHED:
            self._reinvites.update_received(transaction)
        else:  # nothing to refresh yet, and an offer of somebody's is on its way
            self._agent.respond(transaction, 491)

    def _bye_received(self, transaction: ServerTransaction) -> None:
        self._agent.respond(transaction, 200)
        if self.state is _OFFERED:
            assert self._received is not None
            self._received.reject(487)
            self._fail(487, "Ended by the peer")
            return
        if self.state in (_ACCEPTED, _ESTABLISHED):
            self._farewell = self._ended("Ended by the peer")
        self._finish()  # else it crossed our BYE, or spares it

    def _reinvite_received(self, transaction: InviteServerTransaction) -> None:
        received = self._received
        if self.state is _ACCEPTED and received is not None and received.offer:
            # Who sends the next INVITE has had our 2xx: only its ACK was lost, or is late.
            received.ack_received(b"")
        if self.state is _ESTABLISHED:
            self._reinvites.request_received(transaction)
        elif self.state is _OFFERED:
            delay = str(self._agent.random(1)[0] % 11)
            self._agent.respond(transaction, 500, None, [("Retry-After", delay)])  # §14.2
        elif self.state is _ACCEPTED:
            self._agent.respond(transaction, 491)  # the answer to our offer is on its way
        else:
            self._agent.respond(transaction, 481)  # the listener ended the call just now

    # Ends

    def _use(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self._agent.add_dialog(dialog.id, self)

    def _establish(self, sdp: bytes) -> None:
        assert self.dialog is not None
        self.state = _ESTABLISHED
        called = self._calling is not None
        self._listener.call_established(sdp)
        if self._calling is not None:
            self._calling.settle()
        self._calling = self._received = self._plan = None
        if self.state is _ESTABLISHED:
            self._reinvites.start(self.dialog, self._contact, called, self._body)

    def give_up(self, reason: str) -> None:
        """End a call that can't go on; the listener need not wait for what the peer says."""
        self._bye(self._ended(reason))
        self._say_farewell()

    def _bye(self, farewell: Callable[[], None] | None) -> None:
        assert self.dialog is not None
        self.state = _ENDING
        self._farewell = farewell
        self._reinvites.stop()
        self._agent.request(self.dialog.request("BYE"), self._bye_answered)

    def _bye_answered(self, response: Response) -> None:
        if response.status >= 200 and self.state is _ENDING:
            self._finish()

    def _ended(self, reason: str) -> Callable[[], None]:
        return lambda: self._listener.call_ended(reason)

    def _fail(self, status: int, reason: str) -> None:
        self._farewell = lambda: self._listener.call_failed(status, reason)
        self._finish()

    def _finish(self) -> None:
        self.state = _ENDED
        self._reinvites.close()
        if self._received is not None:
            self._received.stop()
        if self._calling is not None:
            self._calling.settle()
        self._calling = self._received = self._plan = None  # who know us: no circles
        if self.dialog is not None:
            self._agent.remove_dialog(self.dialog.id)
        self._say_farewell()

    def _say_farewell(self) -> None:
        farewell, self._farewell = self._farewell, None
        if farewell is not None:
            farewell()


def _nothing(response: Response) -> None:
    """Nobody waits for this response."""
