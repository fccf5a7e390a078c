"""Who may ask for what, how often: stands between the agent and the gateway.

    agent ─► Admission: rates ─► Gateway ─► Admission: sessions of the user and the source, overload

``[limits]`` has the numbers.  Imports limits, overload, timers and sip.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from msrpgw.errors import SipError
from msrpgw.gateway.facts import is_urgent
from msrpgw.gateway.routes import Routes
from msrpgw.gateway.session import GatewaySession
from msrpgw.gateway.telling import Teller
from msrpgw.limits import Buckets, Limits, LimitSettings, Shares
from msrpgw.overload import INTERVAL, Overload
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.message import Request
from msrpgw.sip.refusal import EarlyRefusal
from msrpgw.sip.transaction import ReplyPath, ServerTransaction
from msrpgw.timers import Timer, Timers
from msrpgw.types import Refusal

_log = Logger()


class Guarded(Protocol):
    """What is behind it: the gateway."""

    routes: Routes
    teller: Teller
    sessions: dict[str, GatewaySession]

    def message_received(self, transaction: ServerTransaction) -> None:
        """A MESSAGE."""

    def invite_received(self, transaction: ServerTransaction) -> None:
        """An INVITE."""


def _is_urgent(request: Request) -> bool:
    """Whether somebody calls for help (RFC 5031), or says that it is an emergency (§20.26)."""
    priority = request.headers.usual().get("priority", "")
    return is_urgent(request.uri) or priority.lower() == "emergency"


class Admission:
    """Refuses what is too much.  Owned by the gateway.

    A session that somebody asked for is counted from ``opened`` to ``ended``, and as half open
    until ``came_up``.
    """

    def __init__(
        self,
        agent: UserAgent,
        timers: Timers,
        limits: Limits | None = None,
        seconds: Callable[[], float] | None = None,
        waits: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``limits`` None: nobody is limited.  ``seconds``: a clock that goes on while the reactor
        is busy; default: that of the timers.  ``waits``: for how long what came over other wires
        than SIP's has waited for its turn, in seconds.
        """
        limits = limits or Limits()
        self._agent = agent
        self._early = EarlyRefusal(
            agent.transactions.has_branch, agent.settings.user_agent, agent.new_tag()
        )
        self._timers = timers
        self._limits = limits
        self._seconds = seconds or timers.seconds
        self._waits = waits
        self._users = Buckets(0.0, 0, 0)
        self._sources = Buckets(0.0, 0, 0)
        self._user_sessions = Shares(0)
        self._source_sessions = Shares(0)
        self._source_half_open = Shares(0)
        self._owners: dict[object, tuple[str, str]] = {}  # session -> user, source
        self._half_open: set[object] = set()
        self._asking = ("", "")  # user and source of the request that is being looked at
        self._timer: Timer | None = None
        self._gateway: Guarded | None = None
        self._due = 0.0
        # Up to the last look: refused of all that came, and of that what would have waited.
        self._refused = 0
        self._refused_waits = 0
        self.overload = Overload(limits.settings.overload_delay)
        limits.heed(self._use)

    def _use(self, settings: LimitSettings) -> None:
        self._users.configure(settings.user_rate, settings.user_burst, settings.remembered)
        self._sources.configure(settings.source_rate, settings.source_burst, settings.remembered)
        self._user_sessions.limit = settings.user_sessions
        self._source_sessions.limit = settings.source_sessions
        self._source_half_open.limit = settings.source_half_open
        self._retry_after = (("Retry-After", str(settings.retry_after)),)
        self._early.retry_after = settings.retry_after
        self.overload.limit = settings.overload_delay

    # Requests

    def attach(self, gateway: Guarded) -> None:
        """Hand it the requests that may pass."""
        self._gateway = gateway
        self._agent.transports.refusal_of = self._refusal_of
        self._agent.on("MESSAGE", self.guard(gateway.message_received))
        self._agent.on("INVITE", self.guard(gateway.invite_received))

    def refuses(self, request: Request, source: ReplyPath) -> bool:
        """Overloaded: whether a request gets 503 at once.

        One of a session that is there only if it had to wait too long; a call for help never.
        """
        counters = self._limits.counters
        if request.method == "MESSAGE":
            if self._is_live(request, source):
                if not source.late or _is_urgent(request):
                    return False
                counters.overload_live += 1
                return True
        elif request.method != "INVITE":
            return False
        if _is_urgent(request) or not self.overload.refuses():
            return False
        counters.overload += 1
        return True

    def _is_live(self, request: Request, source: ReplyPath) -> bool:
        """Whether a MESSAGE is to be taken, as it belongs to a session that is up, or is wrong."""
        gateway = self._gateway
        if gateway is None:
            return False
        try:
            route = gateway.routes.of_message(request, source)
        except SipError:
            return True  # it has an answer of its own
        return isinstance(route, Refusal) or route.key in gateway.sessions

    def _refusal_of(
        self, datagram: bytes, address: tuple[str, int], silently: bool
    ) -> bytes | None:
        """The same of a datagram for which there is no room; see ``Transports.refusal_of``."""
        counters = self._limits.counters
        if silently:
            if not self._early.may_discard(datagram):
                return None
            counters.overload_dropped += 1
            return b""
        answer = self._early.answer_to(datagram, address)
        if not answer:
            return None
        counters.overload_live += 1
        return answer

    def guard(
        self, received: Callable[[ServerTransaction], None]
    ) -> Callable[[ServerTransaction], None]:
        """What receives requests in place of ``received``, and hands it those that may pass.

        Raises SipError 480 for a user or a source that sends too many MESSAGEs.
        """

        def guarded(transaction: ServerTransaction) -> None:
            host = transaction.source.host
            if self._limits.exempt(host):
                received(transaction)
                return
            user = transaction.request.from_.uri_text
            if transaction.request.method == "MESSAGE":
                self._check_rates(user, host)
            self._asking = (user, host)
            try:
                received(transaction)
            finally:
                self._asking = ("", "")

        return guarded

    def _check_rates(self, user: str, host: str) -> None:
        now = self._timers.seconds()
        counters = self._limits.counters
        if not self._sources.take(host, now):
            counters.source_rate += 1
            raise self._refusal("Too many messages from this address")
        if not self._users.take(user, now):
            counters.user_rate += 1
            raise self._refusal("Too many messages from this user")

    def _refusal(self, reason: str) -> SipError:
        return SipError(reason, status=480, headers=self._retry_after)

    # Sessions

    def check(self) -> str:
        """Whether there may be another session for who is asking.

        Returns why there may be none for anybody, empty if there may be.
        Raises SipError 480 for a user or a source that has all it may have.
        """
        counters = self._limits.counters
        if len(self._half_open) >= self._limits.settings.half_open:
            counters.half_open += 1
            return "Too many sessions are being set up"
        user, host = self._asking
        if not host:
            return ""
        if self._source_half_open.full(host):
            counters.source_half_open += 1
            raise self._refusal("Too many sessions of this address are being set up")
        if self._source_sessions.full(host):
            counters.source_sessions += 1
            raise self._refusal("Too many sessions of this address")
        if self._user_sessions.full(user):
            counters.user_sessions += 1
            raise self._refusal("Too many sessions of this user")
        return ""

    def opened(self, session: object) -> None:
        """A session is being set up."""
        self._half_open.add(session)
        user, host = self._asking
        if host:
            self._owners[session] = (user, host)
            self._user_sessions.enter(user)
            self._source_sessions.enter(host)
            self._source_half_open.enter(host)

    def came_up(self, session: object) -> None:
        """A session is up: messages flow."""
        if session in self._half_open:
            self._half_open.discard(session)
            owner = self._owners.get(session)
            if owner is not None:
                self._source_half_open.leave(owner[1])

    def ended(self, session: object) -> None:
        """A session is over."""
        self.came_up(session)
        owner = self._owners.pop(session, None)
        if owner is not None:
            self._user_sessions.leave(owner[0])
            self._source_sessions.leave(owner[1])

    # Overload

    def start(self) -> None:
        """Watch the reactor from now on."""
        self._due = self._seconds() + INTERVAL
        self._timer = self._timers.call_later(INTERVAL, self._look)

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        late = self._seconds() - self._due
        delay = max(late, self._agent.transports.waits, self._waits())
        counters = self._limits.counters
        if self.overload.observe(delay, counters.overload_waits > self._refused_waits):
            self._limits.overloaded = self.overload.active
            self._agent.transactions.refuse = self.refuses if self.overload.active else None
            if self.overload.active:
                _log.warn(
                    "overloaded: some new sessions get 503; what would have to wait too long gets"
                    " 503 or 413"
                )
            else:
                _log.info("no longer overloaded: all new sessions are taken")
        refused = counters.overloads
        if refused > self._refused and self._gateway is not None:
            self._gateway.teller.overloaded("The gateway is overloaded", refused - self._refused)
        self._refused = refused
        self._refused_waits = counters.overload_waits
        self.start()
