"""The gateway: the table of sessions, and the one place where the two sides meet.

Turns a Request into RequestFacts, asks the policy, finds or makes the session, and hands
messages to custody, to the session's leg and to the pages.
"""

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from msrpgw.content.media import is_composing, is_imdn
from msrpgw.errors import SipError
from msrpgw.gateway.admission import Admission
from msrpgw.gateway.custody import Custody
from msrpgw.gateway.delivery import Delivery
from msrpgw.gateway.drain import Drain
from msrpgw.gateway.events import EventHub
from msrpgw.gateway.facts import address_of, hops_left, keyed_hash, message_id_of, text_of
from msrpgw.gateway.farewell import end_calls
from msrpgw.gateway.items import Answer, Item, Keeper, PageItem, SendItem, new_page_call
from msrpgw.gateway.leg import Leg, LegState
from msrpgw.gateway.leg_listener import LegEnd, LegListener
from msrpgw.gateway.loops import HOPS_KEY, check_hops
from msrpgw.gateway.notices import Notices
from msrpgw.gateway.page import Outgoing, Pages
from msrpgw.gateway.routes import Routes
from msrpgw.gateway.session import GatewaySession, Room, SessionState, message_to_page
from msrpgw.gateway.settings import DeliverySettings, GatewaySettings, NoticeSettings
from msrpgw.gateway.telling import Teller
from msrpgw.gateway.to_page import ToPage
from msrpgw.interfaces import IJournal, IPageSender, IPolicy
from msrpgw.msrp.endpoint import Endpoint
from msrpgw.msrp.session import Incoming, Report
from msrpgw.sip.agent import UserAgent
from msrpgw.sip.message import Response
from msrpgw.sip.transaction import InviteServerTransaction, ServerTransaction
from msrpgw.timers import Timers
from msrpgw.types import (
    Direction,
    JournalContents,
    Message,
    Outcome,
    Parties,
    Refusal,
    Route,
)

_log = Logger()

_NO_HEADERS: tuple[tuple[str, str], ...] = ()

#: why a MESSAGE is refused although there is room elsewhere
_NO_ROOM = ("Too many messages are waiting for this user",)

_RETRY_AFTER = (("Retry-After", "10"),)


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
        delivery: DeliverySettings,
        notice: NoticeSettings,
        policy: IPolicy,
        journal: IJournal,
        hub: EventHub,
        *,
        random: Callable[[int], bytes],
        now: Callable[[], float],
        admission: Admission | None = None,
    ) -> None:
        """``now`` gives seconds since the epoch; ``admission`` None: default limits, for no one."""
        self.agent = agent
        self.endpoint = endpoint
        self.timers = timers
        self.settings = settings
        self.routes = Routes(policy)
        self.journal = journal
        self._ids = keyed_hash(random(32))
        self.room = Room(settings.total_queue_limit)
        new_call = partial(new_page_call, random)
        self.custody = Custody(
            timers, settings, delivery, journal, self, new_call=new_call, now=now
        )
        self.pages = Pages(self._send_request, timers, settings)
        self.to_page = ToPage(
            agent, self.pages, self.custody, delivery, on_notified=self._check_drained
        )
        self.delivery = Delivery(timers, delivery, random, self.pages, self)
        self.notices = Notices(notice, timers, self.send_page)
        self.teller = Teller(hub, self.notices, timers, now)
        self.admission = admission or Admission(agent, timers)
        self._closing: set[Leg] = set()  # hung up, the answer to BYE or CANCEL awaited
        self.drain: Drain | None = None  # when it is to stop
        self.closed = False  #: whether no new session is taken
        self.sessions: dict[str, GatewaySession] = {}

    def _send_request(self, outgoing: Outgoing, on_response: Callable[[Response], None]) -> None:
        self.agent.request(
            outgoing.request, on_response, branch=outgoing.branch, safe=outgoing.safe
        )

    # Life

    def use_key(self, key: bytes) -> None:
        """Make Message-IDs with this key: the same as another process with the same one."""
        self._ids = keyed_hash(key)

    def start(self) -> None:
        """Take requests from the SIP side."""
        self.admission.attach(self)

    def resume(self, contents: JournalContents) -> None:
        """Go on with what an earlier process left in the journal."""
        self.custody.remember(contents.ended)
        items = [self.custody.restored(entry) for entry in contents.entries]
        self.room.used += len(items)
        end_calls(self.agent, self.timers, self.journal, contents.dialogs)
        self.delivery.resume(
            [item for item in items if isinstance(item, PageItem)],
            [item for item in items if isinstance(item, SendItem)],
        )
        if items or contents.dialogs:
            _log.info(
                "the journal had {messages} messages to deliver and {dialogs} calls to end",
                messages=len(items),
                dialogs=len(contents.dialogs),
            )

    def stop(self, grace: float) -> Deferred[None]:
        """Take nothing more, let messages on their way arrive, then end all sessions with BYE.

        What is not delivered within ``grace`` seconds stays in the journal.  Fires when every BYE
        has its answer, after ``grace`` seconds more at the latest.
        """
        drain = self.drain = Drain(self.timers, grace, self)
        drain.check()
        return drain.done

    def under_way(self) -> bool:
        """Whether a message may still arrive by itself."""
        return self.pages.under_way or any(each.unanswered for each in self.sessions.values())

    def take_over_held(self) -> None:
        """Let the journal have what is held."""
        self.custody.stop()

    def all_saved(self) -> None:
        """The journal has what was held: nothing more is to be waited for but the BYEs."""
        if self.drain is not None:
            self.drain.saved()

    def end_sessions(self) -> None:
        """Say BYE to everybody."""
        self.delivery.close()
        for session in list(self.sessions.values()):
            session.end("The gateway is being stopped")

    def farewells(self) -> bool:
        """Whether a BYE or CANCEL still has no answer."""
        return bool(self._closing)

    def close(self) -> None:
        """Forget everything."""
        self.notices.close()
        self.pages.close()
        self.custody.close()

    def _check_drained(self) -> None:
        if self.drain is not None:
            self.drain.check()

    # From the page side

    def message_received(self, transaction: ServerTransaction) -> None:
        """A MESSAGE came (RFC 3428 §7).  Raises SipError for the agent to answer with."""
        request = transaction.request
        content_type, lifetime = text_of(request)
        route = self.routes.of_message(request, transaction.source)
        if isinstance(route, Refusal):
            raise SipError(route.reason, status=route.code)
        hops = request.headers.usual().get(HOPS_KEY)
        answer = partial(self.agent.respond, transaction)
        message_id = message_id_of(request, self._ids)
        if self.custody.repeats(message_id, answer):
            return
        message = Message(
            message_id,
            Direction.TO_MSRP,
            content_type,
            request.body,
            self.timers.seconds(),
            request.call_id,
            lifetime,
            0 if hops is None else check_hops(hops),
        )
        session = self.sessions.get(route.key)
        if session is None:
            page = address_of(request.from_.uri_text).received
            parties = Parties(address_of(request.to.uri_text).received, page, page)
        else:
            parties = session.parties
        forwards = hops_left(request) if session is None else 0
        self.take_message(route, parties, message, answer, forwards)

    def take_message(
        self, route: Route, parties: Parties, message: Message, answer: Answer, hops: int
    ) -> None:
        """Take a message to an MSRP user, which is answered now or later.

        ``hops``: Max-Forwards of the INVITE that it may cause.  Raises SipError.
        """
        if self.drain is not None:
            raise self._overloaded("The gateway is being stopped")
        if self.room.full:
            raise self._overloaded("Message queues are full")
        session = self.sessions.get(route.key)
        if session is None:
            self._open(route, parties, message, answer, hops)
            return
        if not session.accepts(message.content_type):
            accepted = ", ".join(session.leg.peer_accept_types)
            headers = (("Accept", accepted),) if accepted != "*" else _NO_HEADERS
            raise SipError("Unsupported Media Type", status=415, headers=headers)
        if not session.has_room:
            raise SipError(*_NO_ROOM, status=480, headers=_RETRY_AFTER)
        item = self.custody.message_in(answer, message, route, parties)
        state = session.state
        session.to_msrp(item)
        if state is SessionState.UP:
            self.custody.hold(item)
        elif state is SessionState.SETTING_UP:
            self.custody.hold_for_call(item)
        else:
            self.custody.take_over(item)

    def _open(
        self, route: Route, parties: Parties, message: Message, answer: Answer, hops: int
    ) -> None:
        """Take a message that belongs to no session: call the MSRP user."""
        if is_imdn(message.content_type) or is_composing(message.content_type):
            raise SipError("No session that this notification could belong to", status=480)
        if hops < 0:
            raise SipError("Too Many Hops", status=483)
        if self.delivery.count(route.key) >= self.settings.queue_limit:
            raise SipError(*_NO_ROOM, status=480, headers=_RETRY_AFTER)
        if self.delivery.rests(route.key):
            item = self.custody.message_in(answer, message, route, parties)
            self.room.used += 1
            self.delivery.append(item)
            self.custody.take_over(item)
            return
        self._admit()
        item = self.custody.message_in(answer, message, route, parties)
        session = self._make_session(route, parties, route.parties, called=True)
        session.to_msrp(item)
        self.custody.hold_for_call(item)
        session.call(hops)

    def open_session(self, route: Route, parties: Parties) -> None:
        """Call the MSRP user without a message.  Raises SipError."""
        self._admit()
        self._make_session(route, parties, route.parties, called=True).call(70)

    def call_again(self, key: str) -> None:
        """Try to reach the MSRP user for whom messages wait."""
        if self.drain is not None:
            return  # the next process goes on
        session = self.sessions.get(key)
        items = self.delivery.take(key)
        if session is None:
            if len(self.sessions) >= self.settings.max_sessions:
                for item in items:
                    self.delivery.message_again(item)
                return
            route = items[0].route
            session = self._make_session(route, items[0].parties, route.parties, called=True)
            self._hand_over(items, session)
            session.call(70)
        else:
            self._hand_over(items, session)

    def _hand_over(self, items: list[PageItem], session: GatewaySession) -> None:
        for item in items:
            self.room.used -= 1  # the session counts it now
            session.to_msrp(item)

    def _overloaded(self, reason: str) -> SipError:
        self.teller.overloaded(reason)
        return SipError(reason, status=503, headers=(("Retry-After", "10"),))

    def _admit(self) -> None:
        if self.drain is not None or self.closed:
            raise self._overloaded("The gateway is being stopped")
        full = len(self.sessions) >= self.settings.max_sessions
        problem = "Too many sessions" if full else self.admission.check()
        if problem:
            raise self._overloaded(problem)

    # From the MSRP side

    def invite_received(self, transaction: ServerTransaction) -> None:
        """An INVITE came: answer it, and tie it to the conversation of its key.

        Raises SipError for the agent to answer with.
        """
        assert isinstance(transaction, InviteServerTransaction)
        route = self.routes.of_invite(transaction.request, transaction.source)
        if isinstance(route, Refusal):
            raise SipError(route.reason, status=route.code)
        parties = route.parties
        session = self.sessions.get(route.key)
        if session is None:
            self._admit()
            request = transaction.request
            invite = Parties(
                address_of(request.from_.uri_text).received,
                address_of(request.to.uri_text).received,
                request.uri,
            )
            session = self._make_session(route, parties, invite, called=False)
            session.leg.answer(transaction, self.settings.setup_timeout)
            return
        if not session.leg.may_give_way(transaction, session.msrp_uri):
            _log.warn(
                "session {key!r}: INVITE from {host} refused, the live call belongs to {owner}",
                key=route.key,
                host=transaction.source.host,
                owner=session.leg.peer_host,
            )
            raise SipError("The conversation belongs to another source", status=403)
        leg = self._make_leg(route, session)
        leg.answer(transaction, self.settings.setup_timeout)
        if leg.state is not LegState.ENDED:
            old = session.leg
            session.replace_leg(leg, parties)
            self._await_farewell(old)

    def _make_leg(self, route: Route, listener: LegListener) -> Leg:
        return Leg(self.agent, self.endpoint, self.timers, listener, route.content_types)

    def _make_session(
        self, route: Route, parties: Parties, invite: Parties, *, called: bool
    ) -> GatewaySession:
        session = GatewaySession(
            route.key,
            parties,
            invite=invite,
            called=called,
            observer=self,
            custody=self.custody,
            settings=self.settings,
            timers=self.timers,
            room=self.room,
            make_leg=partial(self._make_leg, route),
            safe=route.congestion_safe,
        )
        self.sessions[route.key] = session
        self.admission.opened(session)
        # Those that waited for this user come before all others.
        self._hand_over(self.delivery.take(route.key), session)
        return session

    # What sessions tell

    def session_up(self, session: GatewaySession) -> None:
        """Messages flow for the first time."""
        self.admission.came_up(session)
        self.teller.session_up(session)

    def dialog_changed(self, session: GatewaySession, leg: Leg) -> None:
        """There is a dialog with the MSRP user, or its target has changed."""
        dialog = leg.dialog
        if dialog is not None and not leg.over and self.journal.durable:
            self.journal.put_dialog(dialog.kept(session.key))

    def session_ended(
        self, session: GatewaySession, end: LegEnd, outcome: Outcome, items: list[PageItem]
    ) -> None:
        """A session is over."""
        self.admission.ended(session)
        if self.sessions.get(session.key) is session:
            del self.sessions[session.key]
        self._await_farewell(session.leg)
        self.teller.session_ended(session, end)
        if end.was_up or not any(self.custody.retries.keeps(item, outcome) for item in items):
            return  # who still waits for an answer learns it from that
        if self.drain is not None and self.drain.ending and self.journal.durable:
            return  # the next process goes on
        delayed = self.custody.retries.to_msrp(outcome)
        if not delayed or not self.delivery.attempts(session.key):
            self.teller.setup_failed(session, end, delayed=delayed)

    def _await_farewell(self, leg: Leg) -> None:
        if leg.over:
            self._leg_over(leg)
        else:
            self._closing.add(leg)
            leg.on_over = partial(self._leg_over, leg)

    def _leg_over(self, leg: Leg) -> None:
        self._closing.discard(leg)
        if leg.dialog is not None:
            self.journal.end_dialog(leg.dialog.id.call_id)
        self._check_drained()

    def page_message(self, session: GatewaySession, incoming: Incoming) -> None:
        """A SEND came: on its way as a MESSAGE, in order."""
        if self.drain is not None or self.room.full or not session.page_room(len(incoming.body)):
            incoming.refuse(413, "Too many messages are waiting")
            return
        message = message_to_page(incoming, self.timers.seconds())
        parties = session.parties
        if self.to_page.too_long(message, parties, session.safe):
            incoming.refuse(413, "Too long for a page-mode user")
            return
        item = self.custody.send_in(incoming, message, session.key, parties, session)
        item.safe = session.safe
        session.page_taken(len(message.body))
        self.to_page.submit(item)
        self.custody.hold_send(item)
        self.teller.message_received(session, message)

    def failed_after_all(self, session: GatewaySession, message: Message, outcome: Outcome) -> None:
        """A message that the MSRP peer had acknowledged did not reach its receiver."""
        self.teller.message_failed(session.key, session.parties, message, outcome)

    def report_received(self, session: GatewaySession, report: Report) -> None:
        """A REPORT came from the MSRP side."""
        self.teller.report_received(session, report)

    def send_page(
        self, from_uri: str, to_uri: str, ruri: str, content_type: str, body: bytes, hops: int = 0
    ) -> None:
        """Queue one MESSAGE of the gateway's own: a notice (IPageSender).

        ``hops``: gateways that what it is about has passed before us.
        """
        self.to_page.notify(Parties(from_uri, to_uri, ruri), content_type, body, hops)

    # What custody tells

    def try_again(self, item: Item, outcome: Outcome) -> None:
        """A message of ours could not be delivered for now."""
        if isinstance(item, PageItem):
            self.room.used += 1
            self.delivery.message_again(item, outcome.retry_after)
            self.teller.peer_down(item, outcome, self.delivery.count(item.route.key))
        else:
            self.teller.peer_down(item, outcome, 1)
            self.delivery.page_again(item, outcome.retry_after)

    def send_again(self, item: SendItem, first: bool) -> None:
        """Send a message to a page user once more."""
        self.to_page.submit(item, first)

    def withdraw(self, item: Item) -> bool:
        """Stop delivering a message that only waits."""
        if isinstance(item, SendItem):
            waits = self.delivery.withdraw_page(item)
            return waits or (item.job is not None and item.job.withdraw())
        if self.delivery.withdraw_message(item):
            self.room.used -= 1
            return True
        session = self.sessions.get(item.route.key)
        return session is not None and session.withdraw(item)

    def failed_after_accept(self, item: PageItem, outcome: Outcome) -> None:
        """A MESSAGE that was answered 202 can't be delivered: its sender is told by a notice."""
        if not outcome.setup or self.custody.retries.to_msrp(outcome):
            self.teller.message_failed(item.route.key, item.parties, item.message, outcome)
        # Else the notice that no session came about was for all of its messages.

    def message_ended(self, item: Item, outcome: Outcome) -> None:
        """A message has its one outcome."""
        if isinstance(item, SendItem):
            key = item.key
            if isinstance(item.context, GatewaySession):
                item.context.page_done(len(item.message.body), outcome)
            else:
                self.room.used -= 1
            self.delivery.page_ended(item, outcome.ok)
        else:
            key = item.route.key
            if item.keeper is Keeper.OURS:
                self.delivery.message_ended(item, outcome.ok)
        self.teller.message_ended(key, item, outcome)
        self._check_drained()
