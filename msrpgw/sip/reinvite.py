"""The INVITEs and UPDATEs inside an established call, ours and the peer's: at most one offer at a
time (RFC 3261 §14, RFC 6141, RFC 3311)."""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple, Protocol

from msrpgw.errors import SipError
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.dialog import Dialog
from msrpgw.sip.invite_client import ClientInvite
from msrpgw.sip.invite_server import (
    DIALOG_METHODS,
    ServerInvite,
    contact_for,
    readable_sdp,
    session_description,
)
from msrpgw.sip.message import Message, Request, Response
from msrpgw.sip.session_timer import SessionTimer, updates
from msrpgw.sip.transaction import InviteServerTransaction, ServerTransaction
from msrpgw.timers import Timer

#: how often a re-INVITE that meets one of the peer's is tried; they rarely meet twice
_MAX_ATTEMPTS = 8


class ReinviteListener(Protocol):
    """Who the call is for.  Each method may end the call."""

    def call_offered(self, sdp: bytes) -> None:
        """A re-INVITE or UPDATE came: ``answer`` or ``refuse_offer`` it.

        b"" asks for our offer, which only a re-INVITE does.
        """

    def call_reanswered(self, sdp: bytes) -> None:
        """The answer to the offer of our re-INVITE, or of our 2xx to a re-INVITE, came."""

    def call_reinvite_failed(self, status: int, reason: str) -> None:
        """Our re-INVITE was refused; the call goes on as before (§14.1)."""

    def call_refreshed(self, sdp: bytes) -> None:
        """The dialog was refreshed, with nothing new in it; ``sdp``: the peer's, if it said any."""


class _Offer(NamedTuple):
    sdp: bytes
    refresh: bool  # what is in force already, once more (RFC 4028 §7.4)


class ReinviteOwner(Protocol):
    """Whose re-INVITEs they are: a usage."""

    def give_up(self, reason: str) -> None:
        """The call can't go on."""


class Reinvites:
    """Owned by its usage, which starts it when the call is up, and stops it."""

    __slots__ = (
        "_agent", "_attempts", "_contact", "_description", "_dialog", "_listener", "_offers",
        "_owner", "_owns_call_id", "_received", "_retry", "_sent", "_updates", "protected", "timer",
    )  # fmt: skip

    def __init__(self, agent: UserAgent, listener: ReinviteListener, owner: ReinviteOwner) -> None:
        self._agent = agent
        self._listener = listener
        self._owner: ReinviteOwner | None = owner  # None: closed
        self._dialog: Dialog | None = None  # None before the start and after the end
        self._owns_call_id = False
        self._contact = ""
        self._description = b""  # our SDP in force
        self._updates = False  # whether the peer takes UPDATE
        self._offers: list[_Offer] = []  # to be sent; the first may be under way
        self._attempts = 0  # of the first
        self._sent: ClientInvite | None = None  # ours under way
        self._received: ServerInvite | _ServerUpdate | None = None  # the peer's, until its ACK
        self._retry: Timer | None = None  # back-off after 491
        #: whether the SDP that the listener was told of last came over TLS
        self.protected = False
        self.timer = SessionTimer(agent.timers, agent.settings, self)

    def start(self, dialog: Dialog, contact: str, owns_call_id: bool, description: bytes) -> None:
        """The call is up: send what was offered meanwhile.

        ``contact``: URI that our requests name.  ``owns_call_id``: whether the call was ours.
        ``description``: our SDP.
        """
        self._description = description
        self._dialog = dialog
        self._contact = contact
        self._owns_call_id = owns_call_id
        self._send_next()

    def stop(self) -> None:
        """The call is over.  A 2xx that still comes is acknowledged (§13.2.2.4)."""
        self._dialog = None
        self._sent = None
        self._offers.clear()
        self.timer.stop()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        received, self._received = self._received, None
        if received is not None:
            received.reject(487)  # §15.1.2: what waits for an answer gets one
            received.stop()

    def close(self) -> None:
        """The call is over, and has nothing more to say."""
        self.stop()
        self.timer.close()
        self._owner = None  # which has us: no circle

    def _give_up(self, reason: str) -> None:
        if self._owner is not None:
            self._owner.give_up(reason)

    # Ours

    def offer(self, sdp: bytes) -> None:
        """Send a re-INVITE when its turn comes."""
        self._offers.append(_Offer(sdp, False))
        self._send_next()

    def learn(self, message: Message) -> None:
        """Note what a message of the peer's says of what it takes."""
        known = updates(message)
        if known is not None:
            self._updates = known

    def _send_next(self) -> None:
        dialog = self._dialog
        busy = self._sent is not None or self._received is not None or self._retry is not None
        if dialog is None or busy or not self._offers:
            return
        request = self._refreshing(dialog, "INVITE")
        request.headers.add("Content-Type", "application/sdp")
        request.body = self._offers[0].sdp
        self._attempts += 1
        self._sent = ClientInvite(self._agent, _Acknowledger(self, dialog), request)
        self._sent.send(self._agent.settings.timer_c)

    def _refreshing(self, dialog: Dialog, method: str) -> Request:
        request = dialog.request(method)
        for name, value in (
            ("Contact", f"<{self._contact}>"),
            ("Allow", DIALOG_METHODS),
            *self.timer.ask(),
        ):
            request.headers.add(name, value)
        return request

    def accepted(self, invite: ClientInvite, response: Response) -> None:
        """Ours got its 2xx, which is acknowledged."""
        if invite is not self._sent:
            return
        offer = self._offer_done()
        self.learn(response)
        self.timer.accepted(response)
        sdp = readable_sdp(response)
        self.protected = response.protected
        if offer.refresh:
            self._listener.call_refreshed(sdp)
        elif sdp:
            self._description = offer.sdp
            self._listener.call_reanswered(sdp)
        else:
            self._listener.call_reinvite_failed(488, "No SDP in the 2xx")
        self._send_next()

    def failed(
        self, invite: ClientInvite, status: int, reason: str, response: Response | None
    ) -> None:
        """Ours was refused, or got no answer."""
        if invite is not self._sent:
            return
        self._sent = None
        if status in (408, 481):
            # §12.2.1.2: the peer knows nothing of the dialog, or is gone.
            self._give_up(f"The peer answered {status} {reason} to a re-INVITE")
            return
        if status == 422 and response is not None and self.timer.too_short(response):
            self._send_next()
            return
        delay = self._back_off(status, response)
        if delay is not None and self._attempts < _MAX_ATTEMPTS:
            self._retry = self._agent.timers.call_later(delay, self._try_again)
            return
        if self._offer_done().refresh:
            self.timer.refresh_later()
        else:
            self._listener.call_reinvite_failed(status, reason)
        self._send_next()

    def _offer_done(self) -> _Offer:
        self._sent = None
        self._attempts = 0
        return self._offers.pop(0)

    def _back_off(self, status: int, response: Response | None) -> float | None:
        """Seconds to wait before the same offer is worth another try, None if it is not."""
        if status == 491:
            # §14.1: the owner of the Call-ID waits 2.1 to 4 s, the other 0 to 2 s, in steps of
            # 10 ms, so that the two don't meet again.
            steps = int.from_bytes(self._agent.random(2), "big")
            return 2.1 + steps % 191 / 100 if self._owns_call_id else steps % 201 / 100
        if status == 500 and response is not None:
            # §14.2: the peer was busy with the INVITE before; it says 0 to 10 seconds.
            delay = (response.headers.get("Retry-After") or "").partition("(")[0]
            delay = delay.partition(";")[0].strip()
            if delay in _RETRY_SECONDS:
                return float(delay)
        return None

    def _try_again(self) -> None:
        self._retry = None
        self._send_next()

    # Refreshes (RFC 4028 §10)

    def not_refreshed(self) -> None:
        """Nobody refreshed the call in time."""
        self._give_up("The session was not refreshed in time")

    def refresh(self) -> None:
        """It is time to refresh the call."""
        dialog = self._dialog
        if dialog is None:
            return
        if self._offers or self._received is not None:
            self.timer.refresh_later()  # what is under way refreshes as well, if it is accepted
        elif self._updates:
            self._update(dialog)
        else:
            self._offers.append(_Offer(self._description, True))
            self._send_next()

    def _update(self, dialog: Dialog) -> None:
        self._agent.request(self._refreshing(dialog, "UPDATE"), partial(self._updated, dialog))

    def _updated(self, dialog: Dialog, response: Response) -> None:
        status = response.status
        if status < 200 or self._dialog is not dialog:
            return
        if status < 300:
            dialog.refresh_target(response)
            self.timer.accepted(response)
            self._listener.call_refreshed(b"")
        elif status in (408, 481):
            self._give_up(f"The peer answered {status} {response.reason} to an UPDATE")
        elif status in (405, 501):
            self._updates = False
            self.refresh()
        elif status == 422 and self.timer.too_short(response):
            self._update(dialog)
        else:
            self.timer.refresh_later()

    # The peer's

    def request_received(self, transaction: InviteServerTransaction) -> None:
        """A re-INVITE came."""
        earlier = self._received
        if self._sent is not None:
            self._agent.respond(transaction, 491)
        elif earlier is not None and earlier.pending:
            # §14.2: with a Retry-After of 0 to 10 seconds.
            delay = str(self._agent.random(1)[0] % 11)
            self._agent.respond(transaction, 500, None, [("Retry-After", delay)])
        elif earlier is not None and not earlier.offer:
            self._agent.respond(transaction, 491)  # the answer to our offer is on its way
        else:
            # Who sends the next INVITE has had the 2xx to the last: its ACK was lost or late.
            if earlier is not None:
                earlier.stop()
            self._received = None
            self._take(transaction)

    def _take(self, transaction: InviteServerTransaction) -> None:
        try:
            self.timer.check(transaction.request)
            received = ServerInvite(self._agent, transaction, self)
        except SipError as error:
            self._agent.respond(transaction, error.status, error.reason, error.headers)
            self._send_next()
            return
        self._offered(received)

    def _offered(self, received: "ServerInvite | _ServerUpdate") -> None:
        self._received = received
        self.learn(received.request)
        self.protected = received.request.protected
        self._listener.call_offered(received.offer)

    def update_received(self, transaction: ServerTransaction) -> None:
        """An UPDATE came (RFC 3311 §5.2)."""
        request, dialog = transaction.request, self._dialog
        try:
            self.timer.check(request)
            offer = session_description(request)
        except SipError as error:
            self._agent.respond(transaction, error.status, error.reason, error.headers)
            return
        update = _ServerUpdate(self._agent, transaction, offer)
        if not offer:
            self.learn(request)
            if dialog is not None:
                dialog.refresh_target(request)
            update.accept(b"", self.timer.grant(request))
            self._listener.call_refreshed(b"")
        elif self._sent is not None:
            update.reject(491)
        elif self._received is not None or dialog is None:
            update.reject(500, None, [("Retry-After", str(self._agent.random(1)[0] % 11))])
        else:
            self._offered(update)

    def answer(self, body: bytes) -> None:
        """Accept the peer's."""
        received = self._received
        if self._dialog is not None and received is not None and received.pending:
            self._dialog.refresh_target(received.request)  # RFC 6141 §4.6: with the 2xx
            self._description = body
            received.accept(body, self.timer.grant(received.request))
            if isinstance(received, _ServerUpdate):  # it has no ACK
                self._received = None
                self._send_next()

    def refuse(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Refuse the peer's."""
        received = self._received
        if received is not None and received.pending:
            self._received = None
            received.reject(status, None, headers)
            self._send_next()

    def ack_received(self, request: Request) -> None:
        """An ACK; one that belongs to no INVITE under way is ignored."""
        received = self._received
        if received is not None and received.request.cseq.number == request.cseq.number:
            self.protected = request.protected
            received.ack_received(readable_sdp(request))

    def invite_withdrawn(self, invite: ServerInvite, status: int, reason: str) -> None:
        """The peer took it back before it was answered."""
        self._received = None
        self._send_next()

    def invite_acknowledged(self, invite: ServerInvite, sdp: bytes) -> None:
        """Our 2xx was acknowledged."""
        self._received = None
        if sdp and not invite.offer:
            self._listener.call_reanswered(sdp)
        self._send_next()

    def invite_not_acknowledged(self, invite: ServerInvite) -> None:
        """§14.2: without ACK the call ends."""
        self._received = None
        self._give_up("No ACK came for our 2xx to a re-INVITE")


class _ServerUpdate:
    """One UPDATE that we received: answered at once, and never acknowledged (RFC 3311 §5.2)."""

    def __init__(self, agent: UserAgent, transaction: ServerTransaction, offer: bytes) -> None:
        self.request = transaction.request
        self.offer = offer
        self.pending = True
        self._agent = agent
        self._transaction = transaction

    def accept(self, body: bytes, headers: Iterable[tuple[str, str]]) -> None:
        """Send the 200."""
        self.pending = False
        contact = contact_for(self._agent, self.request, self._transaction.source)
        fields = [("Contact", f"<{contact}>"), ("Allow", DIALOG_METHODS), *headers]
        if body:
            fields.append(("Content-Type", "application/sdp"))
        self._agent.respond(self._transaction, 200, None, fields, body)

    def reject(
        self, status: int, reason: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send a refusal."""
        if self.pending:
            self.pending = False
            self._agent.respond(self._transaction, status, reason, headers)

    def ack_received(self, sdp: bytes) -> None:
        """Ignore the ACK of something else."""

    def stop(self) -> None:
        """Nothing goes on by itself."""


_RETRY_SECONDS = frozenset(map(str, range(11)))


class _Acknowledger:
    """Acknowledges the 2xx of one re-INVITE, even when the call has ended meanwhile."""

    def __init__(self, reinvites: Reinvites, dialog: Dialog) -> None:
        self._reinvites = reinvites
        self._dialog = dialog

    def invite_progressed(self, invite: ClientInvite, response: Response) -> None:
        """Nobody is told that a re-INVITE rings."""

    def invite_accepted(self, invite: ClientInvite, response: Response) -> None:
        """The 2xx refreshes the target, and its ACK goes there (§12.2.1.2)."""
        self._dialog.refresh_target(response)
        invite.acknowledge(self._dialog, response)
        self._reinvites.accepted(invite, response)

    def invite_failed(
        self, invite: ClientInvite, status: int, reason: str, response: Response | None
    ) -> None:
        """The re-INVITE failed."""
        self._reinvites.failed(invite, status, reason, response)
