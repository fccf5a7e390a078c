"""One INVITE that we sent, initial or not: its responses, CANCEL and ACKs (RFC 3261 §13.2).

    CALLING ──2xx, final refusal, time-out──► ANSWERED
       └─cancel─► CANCELLED ──the same──────────▲

2xx responses come in every state: repeated ones are acknowledged again, those of another
branch of a fork are shown to the usage, which acknowledges and ends them.
"""

import enum
from typing import Protocol

from msrpgw.errors import RenderError, SipError
from msrpgw.sip.agent import ClientRequest, UserAgent
from msrpgw.sip.client import OnTarget
from msrpgw.sip.dialog import Dialog, DialogId
from msrpgw.sip.invite_server import answer_other
from msrpgw.sip.message import Request, Response
from msrpgw.sip.transaction import MAX_FORKS, ServerTransaction
from msrpgw.timers import Timer


class ClientInviteOwner(Protocol):
    """Who hears what became of the INVITE: its usage."""

    def invite_progressed(self, invite: "ClientInvite", response: Response) -> None:
        """A provisional response came."""

    def invite_accepted(self, invite: "ClientInvite", response: Response) -> None:
        """The first 2xx with this To tag came: ``acknowledge`` it at once."""

    def invite_failed(
        self, invite: "ClientInvite", status: int, reason: str, response: Response | None
    ) -> None:
        """It was refused or timed out; told at most once, and never after a 2xx.

        ``response`` is None when it could not be sent, or we gave up waiting.
        """


class _State(enum.Enum):
    CALLING = "calling"  # a final response
    CANCELLED = "cancelled"  # the same, after CANCEL
    ANSWERED = "answered"  # only more 2xx


# Looked up in the class they took 2 % of a set-up, until Python 3.12.
_CALLING, _CANCELLED, _ANSWERED = _State


class ClientInvite:
    """Made and owned by its usage; the agent's transaction ends it."""

    __slots__ = (
        "_acknowledged", "_agent", "_client", "_deadline", "_early", "_owner", "_patience",
        "_state", "request",
    )  # fmt: skip

    def __init__(self, agent: UserAgent, owner: ClientInviteOwner, request: Request) -> None:
        self.request = request
        self._agent = agent
        self._owner = owner
        self._state = _CALLING
        self._client: ClientRequest | None = None  # from when it is sent until the answer
        self._early: list[DialogId] = []
        self._acknowledged: dict[str, Dialog] = {}  # by To tag
        self._deadline: Timer | None = None  # the caller's own time-out
        self._patience: Timer | None = None  # timer C

    def send(self, timeout: float = 0.0, on_target: OnTarget | None = None) -> None:
        """Send it.  ``timeout``: seconds until we give up; 0 leaves it to timer C.

        ``on_target`` hears of each target before it is tried; it may change the request.
        """
        try:
            self._client = self._agent.request(
                self.request, self._response_received, on_target=on_target
            )
        except SipError as error:
            self._fail(error.status, error.reason, None)
        except RenderError as error:
            self._fail(500, str(error), None)
        else:
            if timeout:
                self._deadline = self._agent.timers.call_later(timeout, self._give_up)

    def cancel(self) -> None:
        """Send CANCEL, as soon as a provisional response allows it (§9.1).

        A final response, 487 as a rule, still comes; the agent makes it if the peer does not.
        """
        if self._state is _CALLING:
            self._state = _CANCELLED
            if self._client is not None:
                self._client.cancel()

    def acknowledge(self, dialog: Dialog, response: Response) -> None:
        """Send the ACK for a 2xx, and again whenever that 2xx is repeated (§13.2.2.4)."""
        self._acknowledged[response.to.tag or ""] = dialog
        self._send_ack(dialog)

    def _send_ack(self, dialog: Dialog) -> None:
        self._agent.send_ack(dialog.ack(self.request))

    def settle(self) -> None:
        """The call is up, or over: let go of it all but what a repeated 2xx wants."""
        if self._state is _ANSWERED and len(self._acknowledged) == 1:
            (to_tag,) = self._acknowledged
            self._agent.transactions.settle_client(self.request, to_tag)

    # Responses

    def _response_received(self, response: Response) -> None:
        if response.status < 200:
            self._provisional_received(response)
        elif response.status < 300:
            self._accepted(response)
        else:
            self._fail(response.status, response.reason, response)

    def _provisional_received(self, response: Response) -> None:
        if self._state is not _CALLING:
            return
        self._be_patient(self._agent.settings.timer_c)
        if response.status > 100:
            self._keep_early(response)
        self._owner.invite_progressed(self, response)

    def _accepted(self, response: Response) -> None:
        dialog = self._acknowledged.get(response.to.tag or "")
        if dialog is not None:
            self._send_ack(dialog)
        elif len(self._acknowledged) < MAX_FORKS:
            self._answered()
            self._owner.invite_accepted(self, response)

    def _fail(self, status: int, reason: str, response: Response | None) -> None:
        if self._state is not _ANSWERED:
            self._answered()
            self._owner.invite_failed(self, status, reason, response)

    def _answered(self) -> None:
        self._state = _ANSWERED
        self._client = None  # which has a method of ours: no circle
        for timer in (self._deadline, self._patience):
            if timer is not None:
                timer.cancel()
        self._deadline = self._patience = None
        while self._early:
            self._agent.remove_dialog(self._early.pop())

    # Time

    def _be_patient(self, delay: float) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if delay:
            self._patience = self._agent.timers.call_later(delay, self._give_up)

    def _give_up(self) -> None:
        if self._state is _CANCELLED:
            self._fail(487, "Cancelled", None)
            return
        if self._client is not None:
            self._client.cancel()
        self._fail(408, "No final answer in time", None)

    # Early dialogs: only kept so that requests in them get an answer that harms nothing

    def _keep_early(self, response: Response) -> None:
        request = self.request
        to_tag = response.to.tag
        if request.to.tag or not to_tag or len(self._early) >= MAX_FORKS:
            return  # a re-INVITE has its dialog already
        early = DialogId(request.call_id, request.from_.tag or "", to_tag)
        if early not in self._early:
            self._early.append(early)
            self._agent.add_dialog(early, self)

    def request_received(self, transaction: ServerTransaction) -> None:
        """Answer a request in an early dialog."""
        method = transaction.request.method
        if method == "BYE":
            # Not allowed (§15), but its sender is gone; other branches may still answer.
            early = DialogId.of_request(transaction.request)
            if early in self._early:
                self._early.remove(early)
            self._agent.remove_dialog(early)
            self._agent.respond(transaction, 200)
        elif method == "INVITE":
            self._agent.respond(transaction, 491)
        else:
            answer_other(self._agent, transaction)

    def renumbered(self, number: int) -> None:
        """Nothing of ours is sent in an early dialog."""

    def ack_received(self, request: Request) -> None:
        """Ignore an ACK: nothing was accepted in an early dialog."""
