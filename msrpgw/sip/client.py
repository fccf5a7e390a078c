"""A request that we send, tried at one target after the other until one answers.

What the transaction layer says of one attempt (RFC 3261 §8.1.3.1) and the list of targets
(RFC 3263 §4.3) together give the one final response that the user sees.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from msrpgw.errors import RenderError
from msrpgw.sip.client_transaction import (
    ClientState,
    ClientTransaction,
    SendFailure,
    make_cancel,
)
from msrpgw.sip.message import Request, Response
from msrpgw.sip.sending import Target
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transaction import Transactions
from msrpgw.sip.transport import Sending, Transports
from msrpgw.timers import Timer, Timers

_log = Logger()

OnResponse = Callable[[Response], None]


class RequestSender(Protocol):
    """What a request needs of the user agent."""

    settings: SipSettings
    timers: Timers
    transactions: Transactions
    transports: Transports

    def new_branch(self) -> str:
        """A branch that was never used."""


class ClientRequest:
    """One request and its responses.

    Made by ``UserAgent.request``.  ``on_response`` gets provisional responses and then exactly
    one final one, which is our own (``local``) when none came: 408 for silence, 503 when the
    request could not be sent, 487 when an INVITE was cancelled and the peer says no more.
    Of a forked INVITE it gets each 2xx.
    """

    __slots__ = (
        "_branch",
        "_cancelled",
        "_finished",
        "_on_response",
        "_patience",
        "_provisional",
        "_safe",
        "_sender",
        "_sending",
        "_target",
        "_targets",
        "_transaction",
        "request",
    )

    def __init__(
        self,
        sender: RequestSender,
        request: Request,
        on_response: OnResponse,
        branch: str = "",
        safe: bool = False,
    ) -> None:
        self.request = request  #: as sent, with its Via
        self._branch = branch  # of the first attempt; empty afterwards
        self._safe = safe
        self._sender = sender
        self._on_response = on_response
        self._targets: list[Target] = []  # those that come after the present one
        self._target: Target | None = None  # None until it is located
        self._transaction: ClientTransaction | None = None
        self._sending: Sending | None = None  # over TCP, until a response comes
        self._patience: Timer | None = None  # after CANCEL
        self._provisional = False  # whether the present attempt got a response
        self._cancelled = False
        self._finished = False

    @property
    def peer_host(self) -> str:
        """Address that the present attempt goes to; empty until the next hop is located."""
        return self._target.host if self._target is not None else ""

    def start(self, targets: list[Target]) -> None:
        """Try the targets in turn.  Raises RenderError when the request can't be written."""
        if self._finished:
            return
        if targets:
            self._target = targets[0]
            self._targets = targets[1:]
            self._attempt(targets[0])
        else:
            self._fail_later(503, "No way to the next hop")

    def located(self, targets: list[Target]) -> None:
        """The same as ``start``, after a look-up: nobody is there to take an exception."""
        try:
            self.start(targets)
        except RenderError as error:
            self._respond_locally(500, str(error))

    def _attempt(self, target: Target) -> None:
        sender = self._sender
        request = self.request
        branch, self._branch = self._branch or sender.new_branch(), ""
        request.headers.insert_first("Via", sender.transports.via_prefix(target) + branch)
        data = request.render()
        if (
            len(data) > sender.settings.udp_limit
            and target.transport == "UDP"
            and not target.fallback
        ):
            # §18.1.1: over TCP, and back to UDP only when there is no TCP at all.
            request.headers.remove_first("Via")
            if not self._safe:
                self._targets.insert(0, target._replace(fallback=True))
            target = target._replace(transport="TCP")
            request.headers.insert_first("Via", sender.transports.via_prefix(target) + branch)
            data = request.render()
        self._target = target
        self._transaction = sender.transactions.send_request(
            request, branch, data, self, target.transport != "UDP"
        )

    def cancel(self) -> None:
        """Cancel an INVITE: now, or as soon as a provisional response allows it (§9.1).

        Its final response still comes through ``on_response``: 487 as a rule, but a 2xx may
        have crossed the CANCEL.  Does nothing for other requests.
        """
        if self._cancelled or self._finished or self.request.method != "INVITE":
            return
        self._cancelled = True
        if self._provisional:
            self._send_cancel()
        elif self._transaction is None:
            self._finished = True
            self._fail_later(487, None)

    def _send_cancel(self) -> None:
        sender = self._sender
        target = self._target
        branch = self.request.via.branch
        if target is None or branch is None:
            return
        timing = sender.transactions.timing
        # §9.1: a peer that knows no CANCEL, or lost the INVITE, must not hold us up.
        self._patience = timing.timers.call_later(timing.lifetime, self._cancel_unanswered)
        cancel = make_cancel(self.request)
        user = _CancelUser(sender, target)
        sender.transactions.send_request(
            cancel, branch, cancel.render(), user, target.transport != "UDP"
        )

    def _cancel_unanswered(self) -> None:
        transaction = self._transaction
        if transaction is not None and transaction.state is ClientState.PROCEEDING:
            transaction.abandon()
            self._respond_locally(487, None)

    # From the transaction

    def transmit(self, data: bytes) -> None:
        """Put the request, or the ACK that belongs to its transaction, on the wire."""
        target = self._target
        if target is None:
            return
        if self._sending is not None or self._provisional:
            # An ACK, or over UDP a request that has been heard of: nothing depends on it.
            self._sender.transports.send(data, target, None)
        else:
            self._sending = self._sender.transports.send(data, target, self._unsendable)

    def _unsendable(self, failure: SendFailure) -> None:
        if self._transaction is not None:
            self._transaction.transport_failed(failure)

    def response_received(self, response: Response) -> None:
        """A response came: the user's, unless another target may do better."""
        status = response.status
        if self._sending is not None:
            self._sending.done()
            self._sending = None
        if status < 200:
            first, self._provisional = not self._provisional, True
            if self._cancelled and first:
                self._send_cancel()
        else:
            if status == 503 and self._next(refused=False):
                return
            self._finish()
        self._tell(response)

    def timed_out(self) -> None:
        """No final response came from the present target."""
        if self._provisional or not self._next(refused=False):
            self._respond_locally(408, None)

    def send_failed(self, failure: SendFailure) -> None:
        """The request could not be sent to the present target."""
        if not self._next(failure.refused):
            self._respond_locally(503, failure.reason)

    def _next(self, refused: bool) -> bool:
        """Try the next target; False when there is none."""
        if self._sending is not None:
            self._sending.done()
            self._sending = None
        if self._cancelled:
            return False
        while self._targets:
            target = self._targets.pop(0)
            if target.fallback and not refused:
                continue
            self._provisional = False
            self.request.headers.remove_first("Via")
            self._attempt(target)
            return True
        return False

    def _finish(self) -> None:
        self._finished = True
        self._transaction = None  # which refers to us: no work for the garbage collector
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _fail_later(self, status: int, reason: str | None) -> None:
        # Not before request() has returned: its caller may not be ready for an answer.
        self._sender.timers.call_later(0, lambda: self._respond_locally(status, reason))

    def _respond_locally(self, status: int, reason: str | None) -> None:
        """Give the answer that never came (§8.1.3.1)."""
        if self._sending is not None:
            self._sending.done()
            self._sending = None
        self._finish()
        response = self.request.response(status, reason)
        response.local = True
        self._tell(response)

    def _tell(self, response: Response) -> None:
        try:
            self._on_response(response)
        except Exception:
            _log.failure(
                "the answer {status} to {method} could not be processed",
                status=response.status,
                method=self.request.method,
            )


class _CancelUser:
    """The user of a CANCEL's transaction: nothing depends on its answer (§9.1)."""

    __slots__ = ("_sender", "_target")

    def __init__(self, sender: RequestSender, target: Target) -> None:
        self._sender = sender
        self._target = target

    def transmit(self, data: bytes) -> None:
        """Send to where the INVITE went."""
        self._sender.transports.send(data, self._target, None)

    def response_received(self, response: Response) -> None:
        """The INVITE's own final response says what came of it."""

    def timed_out(self) -> None:
        """The INVITE's own time-out follows."""

    def send_failed(self, failure: SendFailure) -> None:
        """The INVITE's own time-out follows."""
