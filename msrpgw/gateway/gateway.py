"""The gateway: the table of sessions, and the one place where the two sides meet.

Turns a Request into RequestFacts, asks the policy, finds or makes the session, and hands
messages to custody, to the session's leg and to the pages.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache, partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from msrpgw.content.media import is_composing, is_imdn
from msrpgw.errors import SipError
from msrpgw.gateway import events
from msrpgw.gateway.custody import Custody
from msrpgw.gateway.leg import Leg, LegEnd, LegListener, LegState
from msrpgw.gateway.notices import Notices
from msrpgw.gateway.page import Pages
from msrpgw.gateway.session import (
    GatewaySession,
    Parties,
    Room,
    message_to_page,
)
from msrpgw.gateway.settings import GatewaySettings, NoticeSettings
from msrpgw.gateway.status import msrp_to_sip
from msrpgw.interfaces import IPageSender, IPolicy
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.session import Incoming
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.message import Request
from msrpgw.sip.transaction import InviteServerTransaction, ServerTransaction
from msrpgw.sip.uri import SipUri, parse_uri
from msrpgw.timers import Timer, Timers
from msrpgw.types import (
    Address,
    Direction,
    Message,
    Outcome,
    Refusal,
    RequestFacts,
    Route,
)

_log = Logger()

_NO_HEADERS: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=4096)
def _address(text: str) -> Address:
    uri = parse_uri(text)
    received = text
    if isinstance(uri, SipUri) and uri.headers:
        received = text.partition("?")[0]
    canonical = uri.canonical()
    user = parse_uri(canonical).user  # with needless escapes undone, as keys want it
    return Address(canonical, user, uri.host.lower(), uri.port, received)


def _hops_left(request: Request) -> int:
    """Max-Forwards of a request that we send because of this one (RFC 3261 §16.6 step 3)."""
    hops = request.max_forwards
    return 70 if hops is None else hops - 1


def facts_of(transaction: ServerTransaction) -> RequestFacts:
    """What the policy may know of a request.

    Raises SipError when a URI of the request can't be read.
    """
    request = transaction.request
    source = transaction.source
    return RequestFacts(
        request.method,
        _address(request.uri),
        _address(request.from_.uri_text),
        _address(request.to.uri_text),
        source.host,
        source.port,
        source.transport,
        tuple(request.headers.items()),
        request.content_type,
    )


@implementer(IPageSender)
class Gateway:
    """Translates between MESSAGEs and MSRP sessions.

    Owns the sessions; made and stopped by the service.
    """

    def __init__(
        self,
        agent: UserAgent,
        endpoint: Endpoint,
        timers: Timers,
        settings: GatewaySettings,
        notice: NoticeSettings,
        policy: IPolicy,
        hub: events.EventHub,
        random: Callable[[int], bytes],
    ) -> None:
        self._agent = agent
        self._endpoint = endpoint
        self._timers = timers
        self._settings = settings
        self._policy = policy
        self._hub = hub
        self._id_key = random(32)
        self._room = Room(settings.total_queue_limit)
        self._custody = Custody(timers, settings, self)
        self._pages = Pages(agent.request, timers, settings)
        self._notices = Notices(notice, timers, self.send_page)
        self._draining = False
        self._closing: set[Leg] = set()  # hung up, the answer to BYE or CANCEL awaited
        self._drained: Deferred[None] | None = None
        self._grace_timer: Timer | None = None
        self.sessions: dict[str, GatewaySession] = {}

    def start(self) -> None:
        """Take requests from the SIP side."""
        self._agent.on("MESSAGE", self.message_received)
        self._agent.on("INVITE", self.invite_received)

    def stop(self, grace: float) -> Deferred[None]:
        """Take nothing more, end all sessions with BYE.

        Fires when every BYE and every MESSAGE of ours has its answer, at the latest after
        ``grace`` seconds.
        """
        self._draining = True
        for session in list(self.sessions.values()):
            session.end("The gateway is being stopped")
        drained = self._drained = Deferred()
        self._grace_timer = self._timers.call_later(grace, self._grace_over)
        self._check_drained()
        return drained

    def _grace_over(self) -> None:
        drained, self._drained = self._drained, None
        if self._grace_timer is not None:
            self._grace_timer.cancel()
            self._grace_timer = None
        self._pages.close()
        if drained is not None:
            drained.callback(None)

    # From the page side

    def message_received(self, transaction: ServerTransaction) -> None:
        """A MESSAGE came (RFC 3428 §7).  Raises SipError for the agent to answer with."""
        request = transaction.request
        headers = request.headers.firsts()
        content_type = headers.get("content-type")
        if content_type is None:
            if request.body:
                raise SipError("Missing Content-Type header field")
            content_type = "text/plain"
        encoding = headers.get("content-encoding")
        if encoding is not None and encoding.strip().lower() != "identity":
            raise SipError(
                "Unsupported Content-Encoding",
                status=415,
                headers=(("Accept-Encoding", "identity"),),
            )
        route = self._policy.route_message(facts_of(transaction))
        if isinstance(route, Refusal):
            raise SipError(route.reason, status=route.code)
        if self._room.full:
            raise self._overloaded("Message queues are full")
        session = self.sessions.get(route.key)
        new = session is None
        if session is None:
            session = self._new_call(transaction, route, content_type)
        elif not session.accepts(content_type):
            accepted = ", ".join(session.leg.peer_accept_types)
            raise SipError(
                "Unsupported Media Type",
                status=415,
                headers=(("Accept", accepted),) if accepted != "*" else _NO_HEADERS,
            )
        if not session.has_room:
            raise SipError(
                "Too many messages are waiting for this user",
                status=480,
                headers=(("Retry-After", "10"),),
            )
        message = Message(
            self._message_id(request),
            Direction.TO_MSRP,
            content_type,
            request.body,
            self._timers.seconds(),
            request.call_id,
        )
        item = self._custody.message_in(
            partial(self._agent.respond, transaction), message, session.live, session
        )
        session.to_msrp(item)
        if new:
            session.call(_hops_left(request))

    def _message_id(self, request: Request) -> str:
        """The same for each copy of a MESSAGE, and nobody else's to guess."""
        text = f"{request.call_id}\0{request.cseq.number}\0{request.from_.tag}\0{request.uri}"
        digest = hashlib.blake2b(
            text.encode("utf-8", "surrogateescape"), digest_size=12, key=self._id_key
        )
        return digest.hexdigest()

    def _overloaded(self, reason: str) -> SipError:
        return SipError(reason, status=503, headers=(("Retry-After", "10"),))

    def _admit(self) -> None:
        if self._draining:
            raise self._overloaded("The gateway is being stopped")
        if len(self.sessions) >= self._settings.max_sessions:
            raise self._overloaded("Too many sessions")

    def _new_call(
        self, transaction: ServerTransaction, route: Route, content_type: str
    ) -> GatewaySession:
        if is_imdn(content_type) or is_composing(content_type):
            raise SipError("No session that this notification could belong to", status=480)
        request = transaction.request
        if _hops_left(request) < 0:
            raise SipError("Too Many Hops", status=483)
        self._admit()
        page = _address(request.from_.uri_text).received
        parties = Parties(_address(request.to.uri_text).received, page, page)
        invite = Parties(route.from_uri, route.to_uri, route.ruri)
        return self._make_session(route, parties, invite, called=True)

    # From the MSRP side

    def invite_received(self, transaction: ServerTransaction) -> None:
        """An INVITE came: answer it, and tie it to the conversation of its key.

        Raises SipError for the agent to answer with.
        """
        assert isinstance(transaction, InviteServerTransaction)
        route = self._policy.route_invite(facts_of(transaction))
        if isinstance(route, Refusal):
            raise SipError(route.reason, status=route.code)
        parties = Parties(route.from_uri, route.to_uri, route.ruri)
        session = self.sessions.get(route.key)
        if session is None:
            self._admit()
            request = transaction.request
            invite = Parties(
                _address(request.from_.uri_text).received,
                _address(request.to.uri_text).received,
                request.uri,
            )
            session = self._make_session(route, parties, invite, called=False)
            session.leg.answer(transaction, self._settings.setup_timeout)
            return
        if session.leg.peer_host not in ("", transaction.source.host):
            _log.warn(
                "session {key!r}: INVITE from {host} refused, the live call belongs to {owner}",
                key=route.key,
                host=transaction.source.host,
                owner=session.leg.peer_host,
            )
            raise SipError("The conversation belongs to another source", status=403)
        leg = self._make_leg(route, session)
        leg.answer(transaction, self._settings.setup_timeout)
        if leg.state is not LegState.ENDED:
            old = session.leg
            session.replace_leg(leg, parties)
            self._await_farewell(old)

    def _make_leg(self, route: Route, listener: LegListener) -> Leg:
        return Leg(self._agent, self._endpoint, self._timers, listener, route.content_types)

    def _make_session(
        self, route: Route, parties: Parties, invite: Parties, *, called: bool
    ) -> GatewaySession:
        session = GatewaySession(
            route.key,
            parties,
            invite=invite,
            called=called,
            observer=self,
            custody=self._custody,
            settings=self._settings,
            timers=self._timers,
            room=self._room,
            make_leg=partial(self._make_leg, route),
        )
        self.sessions[route.key] = session
        return session

    # What sessions tell

    def session_up(self, session: GatewaySession) -> None:
        """Messages flow for the first time."""
        invite, leg = session.invite, session.leg
        self._hub.raise_event(
            events.session_new(
                session.key,
                invite.from_uri,
                invite.to_uri,
                invite.ruri,
                leg.session_id,
                leg.peer_accept_types,
            )
        )

    def session_ended(self, session: GatewaySession, end: LegEnd, undelivered: int) -> None:
        """A session is over."""
        if self.sessions.get(session.key) is session:
            del self.sessions[session.key]
        self._await_farewell(session.leg)
        if end.was_up:
            self._hub.raise_event(
                events.session_end(session.key, session.leg.session_id, end.reason)
            )
        elif session.called:
            parties = session.parties
            self._hub.raise_event(
                events.setup_failed(
                    session.key,
                    parties.from_uri,
                    parties.to_uri,
                    parties.ruri,
                    end.code,
                    end.reason,
                )
            )
        else:
            _log.info(
                "session {key!r}: the MSRP user's call came to nothing: {code} {reason!r}",
                key=session.key,
                code=end.code,
                reason=end.reason,
            )
        if undelivered and not end.was_up:
            self._notices.setup_failed(session, end.code, end.reason)

    def _await_farewell(self, leg: Leg) -> None:
        if not leg.over:
            self._closing.add(leg)
            leg.on_over = partial(self._leg_over, leg)

    def _leg_over(self, leg: Leg) -> None:
        self._closing.discard(leg)
        self._check_drained()

    def _check_drained(self) -> None:
        if self._drained is not None and not self._pages.pending and not self._closing:
            self._grace_over()

    def page_message(self, session: GatewaySession, incoming: Incoming) -> None:
        """A SEND came: on its way as a MESSAGE, in order."""
        if self._draining or self._room.full or not session.page_room(len(incoming.body)):
            incoming.refuse(413, "Too many messages are waiting")
            return
        message = message_to_page(incoming, self._timers.seconds())
        item = self._custody.send_in(incoming, message)
        size = len(message.body)
        session.page_taken(size)

        def ended(outcome: Outcome) -> None:
            session.page_done(size)
            self._custody.send_outcome(item, outcome)
            self._check_drained()

        self._pages.submit(
            session.parties.ruri,
            session,
            partial(self._page_request, session.parties, message.content_type, message.body),
            ended,
        )
        if self._hub.listening:
            self._hub.raise_event(
                events.message_received(session.key, session.leg.session_id, message), logged=False
            )

    def report_received(
        self, session: GatewaySession, message_id: str, status: int, comment: str
    ) -> None:
        """A REPORT came from the MSRP side."""
        self._hub.raise_event(
            events.report_received(session.key, session.leg.session_id, message_id, status, comment)
        )

    def _page_request(self, parties: Parties, content_type: str, body: bytes) -> Request:
        return self._agent.new_message(
            parties.ruri, parties.from_uri, parties.to_uri, content_type, body
        )

    def send_page(
        self, from_uri: str, to_uri: str, ruri: str, content_type: str, body: bytes
    ) -> None:
        """Queue one MESSAGE of the gateway's own: a notice (IPageSender)."""
        parties = Parties(from_uri, to_uri, ruri)
        self._pages.submit(
            ruri,
            self,
            partial(self._page_request, parties, content_type, body),
            partial(self._notice_ended, ruri),
        )

    def _notice_ended(self, ruri: str, outcome: Outcome) -> None:
        if not outcome.ok:
            _log.warn(
                "notice to {ruri!r} not delivered: {status} {reason!r}",
                ruri=ruri,
                status=outcome.status,
                reason=outcome.reason,
            )
        self._check_drained()

    # What custody tells

    def failed_after_accept(self, context: object, message: Message, outcome: Outcome) -> None:
        """A MESSAGE that was answered 202 can't be delivered: its sender is told by a notice."""
        assert isinstance(context, GatewaySession)
        status, reason = msrp_to_sip(outcome.status)
        self._notices.message_failed(context, status, outcome.reason or reason)

    def message_ended(self, message: Message, outcome: Outcome) -> None:
        """A message that was accepted has its one outcome."""
        if not outcome.ok:
            _log.warn(
                "message {id!r} ({direction}) not delivered: {kind}, {status} {reason!r}",
                id=message.message_id,
                direction=message.direction.value,
                kind=outcome.kind.value,
                status=outcome.status,
                reason=outcome.reason,
            )
