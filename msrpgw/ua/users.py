"""A page-mode user and an MSRP user: what ``msrpgw-ua``, the demo and the tests are made of.

Both speak through the same SIP and MSRP rooms as the gateway, and know nothing of terminals and
nothing of the gateway.  How they treat their peers can be set, so that they play the bad ones too.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred

from msrpgw.errors import MsrpgwError, SipError
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.session import Incoming
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.message import Response
from msrpgw.sip.transaction import InviteServerTransaction, ServerTransaction
from msrpgw.sip.uri import parse_uri
from msrpgw.timers import Timers
from msrpgw.ua.call import Call, CallState
from msrpgw.ua.texts import CONTENT_TYPES, OnSent, Received, Sent, Signal, decoded

__all__ = ["MsrpUser", "PageUser", "Received", "Sent", "Signal"]

#: seconds that a user who leaves waits before its BYEs, which over UDP could overtake what it
#: said last over MSRP
LINGER = 0.3

#: seconds that it waits then for the answers to its BYEs
FAREWELL = 2.0


def _unheard(signal: Signal) -> None:
    """Nobody draws a ladder."""


class _Page:
    """A MESSAGE that waits for its turn, or for its answer."""

    __slots__ = ("on_sent", "started", "text", "to")

    def __init__(self, to: str, text: str, on_sent: OnSent, started: float) -> None:
        self.to = to
        self.text = text
        self.on_sent = on_sent
        self.started = started


class PageUser:
    """Sends and takes SIP MESSAGEs.  Sends through the agent's outbound proxy, if it has one.

    One MESSAGE is under way to each peer at a time (RFC 3428 §8), and each is sent once: what
    got a final answer, or none at all, is not tried again.
    """

    def __init__(
        self,
        agent: UserAgent,
        timers: Timers,
        me: str,
        on_received: Callable[[Received], None],
        *,
        answer: int = 200,
        on_signal: Callable[[Signal], None] = _unheard,
    ) -> None:
        """``answer``: status that each MESSAGE gets; 0 for none at all."""
        self._agent = agent
        self._timers = timers
        self._me = me
        self._on_received = on_received
        self._on_signal = on_signal
        #: by the peer's URI: the MESSAGE under way comes first
        self._pages: dict[str, deque[_Page]] = {}
        self.answer = answer
        agent.accept_types = list(CONTENT_TYPES)
        agent.on("MESSAGE", self._message_received)

    def send(self, to: str, text: str, on_sent: OnSent) -> None:
        """Send one text; ``on_sent`` is called once, after this returned.

        Answered 202 it is not ``final``: a failure is then told by a MESSAGE, if at all.
        """
        key = parse_uri(to).canonical()
        pages = self._pages.setdefault(key, deque())
        pages.append(_Page(to, text, on_sent, self._timers.seconds()))
        if len(pages) == 1:
            self._transmit(key)

    def _transmit(self, key: str) -> None:
        page = self._pages[key][0]
        request = self._agent.new_message(
            page.to, self._me, page.to, "text/plain;charset=UTF-8", page.text.encode()
        )
        self._signal(True, "MESSAGE", page.text)
        try:
            self._agent.request(request, partial(self._answered, key))
        except MsrpgwError as error:
            self._timers.call_later(0, partial(self._ended, key, 400, str(error)))

    def _answered(self, key: str, response: Response) -> None:
        if response.status >= 200:
            words = "no answer" if response.local else f"{response.status} {response.reason}"
            self._signal(False, words)
            self._ended(key, response.status, response.reason)

    def _ended(self, key: str, status: int, reason: str) -> None:
        pages = self._pages[key]
        page = pages.popleft()
        if pages:
            self._transmit(key)
        else:
            del self._pages[key]
        delay = self._timers.seconds() - page.started
        page.on_sent(Sent(page.text, status, reason, delay, status != 202))

    def _message_received(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        self._signal(False, "MESSAGE", decoded(request.body))
        content_type = (request.content_type or "text/plain").partition(";")[0].strip().lower()
        if content_type not in CONTENT_TYPES:
            self._signal(True, "415 Unsupported Media Type")
            accept = ("Accept", ", ".join(CONTENT_TYPES))
            raise SipError("Unsupported Media Type", status=415, headers=(accept,))
        if not self.answer:
            return
        self._agent.respond(transaction, self.answer)
        self._signal(True, f"{self.answer} OK" if self.answer == 200 else str(self.answer))
        if self.answer < 300:
            sender = request.from_.uri.render()
            self._on_received(Received(sender, decoded(request.body), self._timers.seconds()))

    def _signal(self, outgoing: bool, what: str, text: str = "") -> None:
        self._on_signal(Signal(self._timers.seconds(), outgoing, what, text))


class MsrpUser:
    """Makes and takes calls with an MSRP session, and sends and takes texts over them.

    One call with each peer: a newer one takes the place of the older.  Whether it connects or
    is connected to is up to the endpoint's ``reachable``.
    """

    def __init__(
        self,
        agent: UserAgent,
        endpoint: Endpoint,
        timers: Timers,
        me: str,
        on_received: Callable[[Received], None],
        *,
        refuse: int = 0,
        ring: bool = False,
        answer: int = 200,
        reports: bool = False,
        setup_timeout: float = 30.0,
        on_signal: Callable[[Signal], None] = _unheard,
    ) -> None:
        """How the user behaves:

        ``refuse``: status that each INVITE gets instead of an answer; ``ring``: let INVITEs ring
        for ever; ``answer``: MSRP status that each SEND gets, 0 for none at all; ``reports``: ask
        for a REPORT of each text's success.
        """
        self._agent = agent
        self._endpoint = endpoint
        self._timers = timers
        self._me = me
        self._setup_timeout = setup_timeout
        self._reports = reports
        self._on_signal = on_signal
        self._left: Deferred[None] | None = None
        self.on_received = on_received
        self.on_state: Callable[[str, str], None] = lambda peer, state: None
        self.refuse = refuse
        self.ring = ring
        self.answer = answer
        self.calls: dict[str, Call] = {}  #: by the peer's URI
        self._ending: set[Call] = set()  # replaced or hung up, not over yet
        agent.accept_types = ["application/sdp"]
        agent.on("INVITE", self._invite_received)

    # Calls

    def call(self, peer: str) -> Call:
        """Call somebody, through the agent's outbound proxy if it has one."""
        call = self._new_call(peer)
        call.place(self._me)
        return call

    def _new_call(self, peer: str) -> Call:
        old = self.calls.get(peer)
        call = self.calls[peer] = Call(
            self._agent,
            self._endpoint,
            self,
            peer,
            setup_timeout=self._setup_timeout,
            reports=self._reports,
        )
        if old is not None:
            self._end(old, "Replaced by a newer call")
        return call

    def _end(self, call: Call, reason: str) -> None:
        self._ending.add(call)
        call.end(reason)

    def _invite_received(self, transaction: ServerTransaction) -> None:
        assert isinstance(transaction, InviteServerTransaction)
        if self.refuse:
            now = self._timers.seconds()
            self._on_signal(Signal(now, False, "INVITE"))
            self._on_signal(Signal(now, True, str(self.refuse)))
            self._agent.respond(transaction, self.refuse)
            return
        call = self._new_call(transaction.request.from_.uri.render())
        if self.ring:
            call.let_ring(transaction)
        else:
            call.answer(transaction)

    def hang_up(self) -> None:
        """End all calls."""
        for call in list(self.calls.values()):
            self._end(call, "The user hung up")

    def leave(self) -> Deferred[None]:
        """End all calls; fires when the peers have answered, or have not for too long."""
        left = self._left = Deferred()
        self._timers.call_later(LINGER if self.calls else 0, self._say_goodbye)
        return left

    def _say_goodbye(self) -> None:
        left = self._left
        if left is None:
            return  # the peers were quicker
        self.hang_up()
        self._say_left()
        if not left.called:
            timer = self._timers.call_later(FAREWELL, partial(self._say_left, late=True))
            left.addCallback(lambda _: timer.cancel())

    def _say_left(self, *, late: bool = False) -> None:
        left = self._left
        if left is not None and (late or not (self.calls or self._ending)):
            self._left = None
            left.callback(None)

    # What the calls tell

    def call_changed(self, call: Call, what: str) -> None:
        """A call came up, or is being moved."""
        self.on_state(call.peer, what)

    def call_over(self, call: Call, what: str) -> None:
        """A call is over."""
        self._ending.discard(call)
        if self.calls.get(call.peer) is call:
            del self.calls[call.peer]
        self.on_state(call.peer, what)
        self._say_left()

    def text_received(self, call: Call, incoming: Incoming) -> None:
        """A text came: answer it as we are told to."""
        if not self.answer:
            return
        if self.answer != 200:
            incoming.refuse(self.answer, "No")
            call.signal_sent(f"MSRP {self.answer}")
            return
        incoming.accept()
        call.signal_sent("MSRP 200 OK")
        incoming.report(200, "OK")
        if incoming.success_report:
            call.signal_sent("REPORT 200 OK")
        self.on_received(Received(call.peer, decoded(incoming.body), self._timers.seconds()))

    def signalled(self, signal: Signal) -> None:
        """Something went over a call."""
        self._on_signal(signal)

    # Texts

    def send(self, peer: str, text: str, on_sent: OnSent) -> None:
        """Send one text over the call with a peer, calling it first if there is none."""
        call = self.calls.get(peer)
        if call is None or call.state is CallState.OVER:
            call = self.call(peer)
        call.send(text, on_sent)
