"""A request that we send, tried at one target after the other until one answers.

What the transaction layer says of one attempt (RFC 3261 §8.1.3.1) and the list of targets
(RFC 3263 §4.3) together give the one final response that the user sees.

Who has another target does not wait for timer F: after ``failover_time`` of silence the next one
is tried.  An INVITE then leaves the silent target alone: had it heard, it would have said 100.
Any other request may be under way behind it.  So half-way it is asked whether it is there; if it
is, it has all its time, and if it is not its answer still counts, as long as no other came.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from msrpgw.auth.client import Keyring
from msrpgw.errors import RenderError
from msrpgw.sip.attempts import EarlierAttempt, Unheard
from msrpgw.sip.client_transaction import (
    ClientState,
    ClientTransaction,
    SendFailure,
    make_cancel,
)
from msrpgw.sip.counters import SipCounters
from msrpgw.sip.dead import DeadTargets
from msrpgw.sip.message import Request, Response
from msrpgw.sip.probe import Prober
from msrpgw.sip.sending import Target
from msrpgw.sip.settings import SipSettings
from msrpgw.sip.transaction import Transactions
from msrpgw.sip.transport import Sending, Transports
from msrpgw.timers import Timer, Timers

_log = Logger()

_CHALLENGES = (
    ("WWW-Authenticate", "Authorization"),
    ("Proxy-Authenticate", "Proxy-Authorization"),
)
_CREDENTIALS = tuple(header for _, header in _CHALLENGES)

#: answers to challenges that one request may need: a proxy, the user agent server, stale nonces
_MOST_ANSWERS = 4

OnResponse = Callable[[Response], None]
OnTarget = Callable[[Target], None]


class RequestSender(Protocol):
    """What a request needs of the user agent."""

    settings: SipSettings
    timers: Timers
    transactions: Transactions
    transports: Transports
    counters: SipCounters
    dead: DeadTargets
    prober: Prober
    keyring: Keyring | None

    def new_branch(self) -> str:
        """A branch that was never used."""

    def renumbered(self, request: Request) -> None:
        """A request goes out again with another CSeq number."""


class ClientRequest:
    """One request and its responses.

    Made by ``UserAgent.request``.  ``on_response`` gets provisional responses and then exactly
    one final one, which is our own (``local``) when none came: 408 for silence, 503 when the
    request could not be sent, 487 when an INVITE was cancelled and the peer says no more.
    Of a forked INVITE it gets each 2xx.
    """

    __slots__ = (
        "_answered",
        "_branch",
        "_cancelled",
        "_earlier",
        "_finished",
        "_held",
        "_impatience",
        "_on_response",
        "_on_target",
        "_patience",
        "_provisional",
        "_safe",
        "_sender",
        "_sending",
        "_several",
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
        on_target: OnTarget | None = None,
    ) -> None:
        """``on_target`` hears of each target before it is tried; it may change the request."""
        self.request = request  #: as sent, with its Via
        self._branch = branch  # of the first attempt; empty afterwards
        self._safe = safe
        self._sender = sender
        self._on_response = on_response
        self._on_target = on_target
        self._targets: list[Target] = []  # those that come after the present one
        self._target: Target | None = None  # None until it is located
        self._transaction: ClientTransaction | None = None
        self._sending: Sending | None = None  # over TCP, until a response comes
        self._several = False  # whether there was a choice of targets
        self._impatience: Timer | None = None  # until the next target's turn
        self._earlier: tuple[EarlierAttempt, ...] = ()  # attempts at silent targets
        self._held: Response | None = None  # the last target's answer, while those may do better
        self._patience: Timer | None = None  # after CANCEL
        self._provisional = False  # whether the present attempt got a response
        self._answered: tuple[str, ...] = ()  # realms that wanted credentials, and got them
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
            self._several = len(targets) > 1
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
        if self._on_target is not None:
            self._on_target(target)
        if target.route:
            request.headers.insert_first("Route", target.route)
        if sender.keyring is not None:
            self._prove(sender.keyring, target)
        request.push_via(sender.transports.via_prefix(target) + branch)
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
        if self._targets:
            self._limit_silence()
        self._transaction = sender.transactions.send_request(
            request, branch, data, self, target.transport != "UDP"
        )

    def _limit_silence(self) -> None:
        delay = self._sender.settings.failover_time
        if not delay or all(target.fallback for target in self._targets):
            return
        timers = self._sender.timers
        began = timers.seconds()

        def doubt() -> None:
            self._impatience = None
            if self._is_silent(began) and self._target is not None:
                self._sender.prober.ask(self._target)
                self._impatience = timers.call_later(delay / 2, lambda: self._give_way(began))

        if self.request.method == "INVITE":
            self._impatience = timers.call_later(delay, lambda: self._give_way(began))
        else:
            self._impatience = timers.call_later(delay / 2, doubt)

    def _is_silent(self, began: float) -> bool:
        """Whether nobody has heard of the present target since then."""
        transaction, target = self._transaction, self._target
        if transaction is None or target is None or self._cancelled:
            return False
        if transaction.state is ClientState.TERMINATED:
            return False  # we were stopped
        # Who answers others, but says no 100 to an INVITE, never got it.
        return self.request.method == "INVITE" or not self._sender.dead.heard_since(target, began)

    def _give_way(self, began: float) -> None:
        """The present target keeps silent, and there is another one."""
        self._impatience = None
        transaction, target = self._transaction, self._target
        if transaction is None or target is None or not self._is_silent(began):
            return
        self._sender.dead.add(target, "no answer")
        self._transaction = None
        if self.request.method == "INVITE":
            transaction.abandon()
        else:
            earlier = EarlierAttempt(self, transaction, self._sending, target)
            self._earlier = (*self._earlier, earlier)
            self._sending = None
        self._next(refused=False)

    def _be_patient(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

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
        user = Unheard(sender.transports, target)
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
        if self._several:
            self._heard(response)
        if status < 200:
            first, self._provisional = not self._provisional, True
            if self._cancelled and first:
                self._send_cancel()
        else:
            if status in (401, 407) and self._meet(response):
                return
            if status == 503 and self._next(refused=False):
                return
            if status in (482, 503):
                # 482: by way of an earlier target it came before; that one has the answer.
                self._conclude(response)
                return
            self._finish()
        self._tell(response)

    # Credentials (§22)

    def _prove(self, keyring: Keyring, target: Target) -> None:
        request = self.request
        for name in _CREDENTIALS:
            while name in request.headers:
                request.headers.remove_first(name)
        for name, value in keyring.headers(_hop(target), request.method, request.uri):
            request.headers.add(name, value)

    def _meet(self, response: Response) -> bool:
        """Send the request again with what a 401 or 407 wants; False where that is no use."""
        keyring, target, request = self._sender.keyring, self._target, self.request
        if keyring is None or target is None or self._cancelled or self._earlier:
            return False
        wanted = [
            (header, value)
            for name, header in _CHALLENGES
            for value in response.headers.get_all(name)
        ]
        met = keyring.challenged(_hop(target), wanted, self._answered)
        if not met or len(self._answered) >= _MOST_ANSWERS:
            return False
        self._answered = (*self._answered, *met)
        if self._transaction is not None:
            self._transaction.user = Unheard(self._sender.transports, target)
        request.headers.remove_first("Via")
        if target.route:
            request.headers.remove_first("Route")
        number = request.cseq.number + 1
        request.headers.replace_first("CSeq", f"{number} {request.method}")
        self._sender.renumbered(request)
        self._provisional = False
        self._attempt(target)
        return True

    def _conclude(self, response: Response) -> None:
        """The last target's answer says little: any of an earlier one's is better."""
        self._transaction = None
        self._held = self._held or response
        if not self._earlier or self._cancelled:
            held = self._held
            self._finish()
            self._tell(held)

    def _heard(self, response: Response) -> None:
        """A target among several has answered."""
        self._be_patient()
        target = self._target
        if target is None:
            return
        # §21.5.4: one that says for how long is busy itself, not somebody behind it.
        if response.status == 503 and response.retry_after:
            self._sender.dead.add(target, "503")
        else:
            self._sender.dead.heard(target)

    def timed_out(self) -> None:
        """No final response came from the present target."""
        if not self._provisional:
            self._note_dead("no answer")
        if self._provisional or not self._next(refused=False):
            self._respond_locally(408, None)

    def send_failed(self, failure: SendFailure) -> None:
        """The request could not be sent to the present target."""
        if failure.ours:
            self._be_patient()
        else:
            self._note_dead(failure.reason)
        if not self._next(failure.refused):
            self._respond_locally(503, failure.reason)

    def _note_dead(self, reason: str) -> None:
        self._be_patient()
        if self._several and self._target is not None:
            self._sender.dead.add(self._target, reason)

    # From earlier attempts

    def earlier_answered(self, earlier: EarlierAttempt, response: Response) -> None:
        """A target that had kept silent has an answer after all."""
        self._sender.dead.heard(earlier.target)
        if response.status < 200:
            return
        self._earlier = tuple(each for each in self._earlier if each is not earlier)
        if response.status >= 300 and (self._transaction is not None or self._earlier):
            self._held = self._held or response  # others may do better
            return
        if self._transaction is not None:
            self._transaction.abandon()
        self._finish()
        self._tell(response)

    def earlier_failed(self, earlier: EarlierAttempt) -> None:
        """A target that had kept silent will not answer any more."""
        self._earlier = tuple(each for each in self._earlier if each is not earlier)
        if self._held is not None and self._transaction is None:
            self._conclude(self._held)

    def _next(self, refused: bool) -> bool:
        """Try the next target; False when there is none."""
        if self._sending is not None:
            self._sending.done()
            self._sending = None
        if self._cancelled:
            return False
        if self._transaction is not None and self._target is not None:
            # What it may still have to repeat, the ACK of a 503, goes to where it belongs.
            self._transaction.user = Unheard(self._sender.transports, self._target)
        while self._targets:
            target = self._targets.pop(0)
            if target.fallback and not refused:
                continue
            self._provisional = False
            self.request.headers.remove_first("Via")
            if self._target is not None and self._target.route:
                self.request.headers.remove_first("Route")
            if not target.fallback:
                self._sender.counters.fail_overs += 1
            self._attempt(target)
            return True
        return False

    def _finish(self) -> None:
        self._finished = True
        self._transaction = None  # which refers to us: no work for the garbage collector
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._be_patient()
        self._held = None
        earlier, self._earlier = self._earlier, ()
        for each in earlier:
            each.abandon()

    def _fail_later(self, status: int, reason: str | None) -> None:
        # Not before request() has returned: its caller may not be ready for an answer.
        self._sender.timers.call_later(0, lambda: self._respond_locally(status, reason))

    def _respond_locally(self, status: int, reason: str | None) -> None:
        """Give the answer that never came (§8.1.3.1)."""
        if self._sending is not None:
            self._sending.done()
            self._sending = None
        response = self.request.response(status, reason)
        response.local = True
        self._conclude(response)

    def _tell(self, response: Response) -> None:
        try:
            self._on_response(response)
        except Exception:
            _log.failure(
                "the answer {status} to {method} could not be processed",
                status=response.status,
                method=self.request.method,
            )


def _hop(target: Target) -> tuple[str, int]:
    return target.host, target.port
