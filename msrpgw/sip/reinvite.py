"""The INVITEs inside an established call, ours and the peer's: at most one at a time
(RFC 3261 §14, RFC 6141)."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from msrpgw.errors import SipError
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.dialog import Dialog
from msrpgw.sip.invite_client import ClientInvite
from msrpgw.sip.invite_server import DIALOG_METHODS, ServerInvite, readable_sdp
from msrpgw.sip.message import Request, Response
from msrpgw.sip.transaction import InviteServerTransaction
from msrpgw.timers import Timer

#: how often a re-INVITE that meets one of the peer's is tried; they rarely meet twice
_MAX_ATTEMPTS = 8


class ReinviteListener(Protocol):
    """Who the call is for.  Each method may end the call."""

    def call_offered(self, sdp: bytes) -> None:
        """A re-INVITE came: ``answer`` or ``refuse_offer`` it.  b"" asks for our offer."""

    def call_reanswered(self, sdp: bytes) -> None:
        """The answer to the offer of our re-INVITE, or of our 2xx to a re-INVITE, came."""

    def call_reinvite_failed(self, status: int, reason: str) -> None:
        """Our re-INVITE was refused; the call goes on as before (§14.1)."""


class Reinvites:
    """Owned by its usage, which starts it when the call is up, and stops it."""

    def __init__(
        self, agent: UserAgent, listener: ReinviteListener, on_lost: Callable[[str], None]
    ) -> None:
        self._agent = agent
        self._listener = listener
        self._on_lost = on_lost  # the call can't go on, and why
        self._dialog: Dialog | None = None  # None before the start and after the end
        self._owns_call_id = False
        self._contact = ""
        self._offers: deque[bytes] = deque()  # to be sent; the first may be under way
        self._attempts = 0  # of the first
        self._sent: ClientInvite | None = None  # ours under way
        self._received: ServerInvite | None = None  # the peer's under way, until its ACK
        self._retry: Timer | None = None  # back-off after 491
        #: whether the SDP that the listener was told of last came over TLS
        self.protected = False

    def start(self, dialog: Dialog, contact: str, owns_call_id: bool) -> None:
        """The call is up: send what was offered meanwhile.

        ``contact``: URI that our requests name.  ``owns_call_id``: whether the call was ours.
        """
        self._dialog = dialog
        self._contact = contact
        self._owns_call_id = owns_call_id
        self._send_next()

    def stop(self) -> None:
        """The call is over.  A 2xx that still comes is acknowledged (§13.2.2.4)."""
        self._dialog = None
        self._sent = None
        self._offers.clear()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        received, self._received = self._received, None
        if received is not None:
            received.reject(487)  # §15.1.2: what waits for an answer gets one
            received.stop()

    # Ours

    def offer(self, sdp: bytes) -> None:
        """Send a re-INVITE when its turn comes."""
        self._offers.append(sdp)
        self._send_next()

    def _send_next(self) -> None:
        dialog = self._dialog
        busy = self._sent is not None or self._received is not None or self._retry is not None
        if dialog is None or busy or not self._offers:
            return
        request = dialog.request("INVITE")
        request.headers.add("Contact", f"<{self._contact}>")
        request.headers.add("Allow", DIALOG_METHODS)
        request.headers.add("Content-Type", "application/sdp")
        request.body = self._offers[0]
        self._attempts += 1
        self._sent = ClientInvite(self._agent, _Acknowledger(self, dialog), request)
        self._sent.send(self._agent.settings.timer_c)

    def accepted(self, invite: ClientInvite, response: Response) -> None:
        """Ours got its 2xx, which is acknowledged."""
        if invite is not self._sent:
            return
        self._offer_done()
        sdp = readable_sdp(response)
        self.protected = response.protected
        if sdp:
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
            self._on_lost(f"The peer answered {status} {reason} to a re-INVITE")
            return
        delay = self._back_off(status, response)
        if delay is not None and self._attempts < _MAX_ATTEMPTS:
            self._retry = self._agent.timers.call_later(delay, self._try_again)
            return
        self._offer_done()
        self._listener.call_reinvite_failed(status, reason)
        self._send_next()

    def _offer_done(self) -> None:
        self._sent = None
        self._attempts = 0
        self._offers.popleft()

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
            received = ServerInvite(self._agent, transaction, self)
        except SipError as error:
            self._agent.respond(transaction, error.status, error.reason, error.headers)
            self._send_next()
            return
        self._received = received
        self.protected = transaction.request.protected
        self._listener.call_offered(received.offer)

    def answer(self, body: bytes) -> None:
        """Accept the peer's."""
        received = self._received
        if self._dialog is not None and received is not None and received.pending:
            self._dialog.refresh_target(received.request)  # RFC 6141 §4.6: with the 2xx
            received.accept(body)

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
        self._on_lost("No ACK came for our 2xx to a re-INVITE")


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
