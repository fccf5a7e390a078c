"""The gateway session: a series of MESSAGEs and one MSRP session, found by a key.

    SETTING_UP ──leg up──► UP ◄──leg up── MOVING ◄──MSRP connection lost── UP
    every state ──► ENDED, told once by ``on_ended``

What an MSRP user can't be given yet waits in order; what was sent and lost with its connection
goes first when the next one is up, with the same Message-ID.
"""

import enum
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from msrpgw.gateway.custody import Custody
from msrpgw.gateway.facts import is_urgent
from msrpgw.gateway.items import PageItem
from msrpgw.gateway.leg import Leg, LegState
from msrpgw.gateway.leg_listener import LegEnd, LegListener
from msrpgw.gateway.loops import HOPS, hops_of
from msrpgw.gateway.settings import GatewaySettings
from msrpgw.msrp.session import Incoming, Report, SendResult
from msrpgw.timers import Timer, Timers
from msrpgw.types import Direction, Message, Outcome, OutcomeKind, Parties

_DELIVERED = Outcome(OutcomeKind.DELIVERED, 200, "OK")


#: how many of the messages delivered last a session still knows when a REPORT comes
REPORTED_LATER = 16

#: with so many messages to the page user under way, the MSRP user is not heard for ``REST`` seconds
#: at a time, or until there are few; what waits in its connection has no answer, and is its own
MANY_PAGES = 64
REST = 1.0

#: how many bytes of each: what a notice may quote
_QUOTED = 1024


class SessionState(enum.Enum):
    """What the session waits for."""

    SETTING_UP = "setting_up"  #: the first leg
    UP = "up"  #: nothing: messages flow
    MOVING = "moving"  #: the leg's next MSRP session
    ENDED = "ended"  #: nothing ever again


class Room:
    """Room for waiting messages in the whole gateway; every session takes from it."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit  #: messages
        self.used = 0

    @property
    def full(self) -> bool:
        """Whether not one message more may wait."""
        return self.used >= self.limit


class Traffic:
    """What crossed in one direction of a session."""

    __slots__ = ("bytes", "delivered", "failed")

    def __init__(self) -> None:
        self.delivered = 0  #: messages
        self.failed = 0  #: messages that were refused, given up, or wait for another attempt
        self.bytes = 0  #: of the messages delivered

    def count(self, size: int, delivered: bool) -> None:
        """One message more of ``size`` bytes."""
        if delivered:
            self.delivered += 1
            self.bytes += size
        else:
            self.failed += 1


class SessionObserver(Protocol):
    """Who hears of a session: the gateway."""

    def session_up(self, session: "GatewaySession") -> None:
        """Messages flow for the first time."""

    def session_ended(
        self, session: "GatewaySession", end: LegEnd, outcome: Outcome, items: list[PageItem]
    ) -> None:
        """The session is over; its messages get this outcome right after this."""

    def dialog_changed(self, session: "GatewaySession", leg: Leg) -> None:
        """There is a dialog with the MSRP user, or its target has changed."""

    def page_message(self, session: "GatewaySession", incoming: Incoming) -> None:
        """The MSRP user sent a message for the page user."""

    def failed_after_all(
        self, session: "GatewaySession", message: Message, outcome: Outcome
    ) -> None:
        """A message that the MSRP peer had acknowledged did not reach its receiver behind it."""

    def report_received(self, session: "GatewaySession", report: Report) -> None:
        """A REPORT came from the MSRP side."""


class GatewaySession:
    """One conversation.  Owned by the gateway's table; ends when its leg does.

    Invariant: each message taken by ``to_msrp`` is in exactly one of waiting, resend, sent and
    relayed until its outcome is told to custody.
    """

    # There may be ten thousand that are idle: slots, and no deques, which take 760 bytes each.
    __slots__ = (
        "_custody", "_delivered", "_end", "_idle_timer", "_keep", "_observer", "_relayed",
        "_resend", "_room", "_sent", "_settings", "_timers", "_waiting", "_waiting_bytes", "called",
        "created", "hops", "invite", "key", "last_activity", "last_error", "last_message", "leg",
        "pages_bytes", "pages_waiting", "parties", "queued", "safe", "state", "to_msrp_traffic",
        "to_page_traffic",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        parties: Parties,
        *,
        invite: Parties,
        called: bool,
        observer: SessionObserver,
        custody: Custody,
        settings: GatewaySettings,
        timers: Timers,
        room: Room,
        make_leg: Callable[[LegListener], Leg],
        safe: bool = False,
    ) -> None:
        self.key = key
        self.safe = safe  #: whether every hop to the page user takes large MESSAGEs
        self.parties = parties
        self.invite = invite  #: From, To and request URI of the INVITE that set it up
        self.called = called  #: whether a MESSAGE caused that INVITE
        self.state = SessionState.SETTING_UP
        self.created = timers.seconds()
        self.last_message = self.created  #: when the last MESSAGE came
        self.last_activity = self.created  #: when anything came from either side
        self.pages_waiting = 0  #: messages to the page user without an outcome
        self.pages_bytes = 0
        self.to_msrp_traffic = Traffic()
        self.to_page_traffic = Traffic()
        self.last_error = ""  #: what went wrong last, in words
        self.hops = 0  #: most gateways that one of its messages has passed before us
        self._observer = observer
        self._custody = custody
        self._settings = settings
        self._timers = timers
        self._room = room
        self.queued = 0  #: messages to the MSRP user that have no outcome yet
        self._waiting: list[PageItem] = []
        self._waiting_bytes = 0
        self._resend: list[PageItem] = []
        self._sent: list[PageItem] = []
        self._relayed: dict[str, tuple[PageItem, Timer]] = {}
        # What stands behind the peer may still refuse what the peer has taken.
        self._delivered: dict[str, Message] = {}
        self._idle_timer: Timer | None = None
        self._keep = False
        self._end: Outcome | None = None  # of all messages that had none when the leg ended
        self.leg = make_leg(self)
        self._watch_idle()

    @property
    def page_uri(self) -> str:
        """The page user."""
        return self.parties.to_uri

    @property
    def msrp_uri(self) -> str:
        """The MSRP user."""
        return self.parties.from_uri

    @property
    def urgent(self) -> bool:
        """Whether it is a call for help (RFC 5031)."""
        return is_urgent(self.invite.ruri)

    # Beginning

    def call(self, max_forwards: int) -> None:
        """Call the MSRP user."""
        invite = self.invite
        self.leg.call(
            ruri=invite.ruri,
            from_uri=invite.from_uri,
            to_uri=invite.to_uri,
            timeout=self._settings.setup_timeout,
            max_forwards=max_forwards,
        )

    def replace_leg(self, leg: Leg, parties: Parties) -> None:
        """Go on over another leg, which answered a newer INVITE; the old one is hung up."""
        old, self.leg = self.leg, leg
        self.parties = parties
        self.last_activity = self._timers.seconds()
        if self.state is SessionState.UP:
            self.state = SessionState.MOVING
        old.end("Replaced by a newer call")
        if leg.state is LegState.UP:
            self.leg_up(leg)

    # Messages to the MSRP user

    @property
    def has_room(self) -> bool:
        """Whether one more message to the MSRP user may wait here."""
        return (
            self.queued < self._settings.queue_limit
            and self._waiting_bytes < self._settings.queue_bytes
        )

    def accepts(self, content_type: str) -> bool:
        """Whether the MSRP user takes this type, as far as it is known yet."""
        return self.state is not SessionState.UP or self.leg.accepts(content_type)

    def to_msrp(self, item: PageItem) -> None:
        """Take a message; its end is told to custody.  Ask ``has_room`` and ``accepts`` first."""
        self._room.used += 1
        self.queued += 1
        message = item.message
        self._waiting_bytes += len(message.body)
        if message.hops > self.hops:
            self.hops = message.hops
        if self._end is not None:
            # The call that this message caused failed before it returned.
            self._finish(item, self._end)
            return
        self.last_message = self.last_activity = self._timers.seconds()
        if self.state is SessionState.UP:
            self._transmit(item)
        else:
            self._waiting.append(item)

    def withdraw(self, item: PageItem) -> bool:
        """Take a message out that waits to be sent; False when it was sent."""
        for queue in (self._waiting, self._resend):
            if item in queue:
                queue.remove(item)
                self._release(item)
                if self.called and self.state is SessionState.SETTING_UP and not self.queued:
                    self.end("None of its messages is to be delivered any more")
                return True
        return False

    @property
    def unanswered(self) -> int:
        """How many messages were sent, and their SENDs have no response yet."""
        return len(self._sent)

    def _transmit(self, item: PageItem) -> None:
        message = item.message
        self._sent.append(item)
        self.leg.send(
            message.message_id,
            message.content_type,
            message.body,
            partial(self._send_done, item),
            message.hops,
        )

    def _send_done(self, item: PageItem, result: SendResult) -> None:
        if item not in self._sent:
            return  # its session ended, and so did the message
        self._sent.remove(item)
        if result.status == 200:
            self.leg.acknowledged()
            if self.leg.behind_relay:
                self._await_report(item)
            else:
                self._remember(item.message)
                self._finish(item, _DELIVERED)
        elif result.lost or result.status == 481:
            # RFC 4975 §10.6: on 481 the session is gone; the message is not refused for itself.
            self._resend.append(item)
            if not result.lost:
                self.leg.renew("the peer answered 481 to a SEND")
        elif result.status == 408:
            self._finish(item, Outcome(OutcomeKind.UNREACHABLE, 408, "No MSRP response"))
        else:
            self._finish(item, Outcome(OutcomeKind.REFUSED, result.status, result.comment))

    def _remember(self, message: Message) -> None:
        if len(message.body) > _QUOTED:
            message = msgspec.structs.replace(message, body=message.body[:_QUOTED])
        delivered = self._delivered
        delivered[message.message_id] = message
        if len(delivered) > REPORTED_LATER:
            del delivered[next(iter(delivered))]

    def _await_report(self, item: PageItem) -> None:
        message_id = item.message.message_id
        timer = self._timers.call_later(
            self._settings.relay_timeout, partial(self._report_missing, message_id)
        )
        self._relayed[message_id] = (item, timer)
        self._custody.message_outcome(item, Outcome(OutcomeKind.RELAYED, 200, "A relay has it"))

    def _report_missing(self, message_id: str) -> None:
        item, _ = self._relayed.pop(message_id)
        self._finish(item, Outcome(OutcomeKind.EXPIRED, 0, "No REPORT came from behind the relay"))

    def _finish(self, item: PageItem, outcome: Outcome) -> None:
        self._release(item)
        self.to_msrp_traffic.count(len(item.message.body), outcome.ok)
        if not outcome.ok:
            self.last_error = outcome.reason
        self._custody.message_outcome(item, outcome)

    def _release(self, item: PageItem) -> None:
        self._room.used -= 1
        self.queued -= 1
        self._waiting_bytes -= len(item.message.body)

    def _flush(self) -> None:
        for queue in (self._resend, self._waiting):
            while queue and self.state is SessionState.UP:
                item = queue.pop(0)
                if self.leg.accepts(item.message.content_type):
                    self._transmit(item)
                else:
                    self._finish(
                        item, Outcome(OutcomeKind.REFUSED, 415, "The MSRP user takes other types")
                    )

    # Messages to the page user

    def page_room(self, size: int) -> bool:
        """Whether one more message of ``size`` bytes to the page user may wait."""
        return (
            self.pages_waiting < self._settings.queue_limit
            and self.pages_bytes + size <= self._settings.queue_bytes
        )

    def page_taken(self, size: int) -> None:
        """A message to the page user waits for its outcome now."""
        self._room.used += 1
        self.pages_waiting += 1
        self.pages_bytes += size
        if self.pages_waiting >= MANY_PAGES:
            self.leg.rest(REST)  # faster than page users answer

    def page_done(self, size: int, outcome: Outcome) -> None:
        """A message to the page user has its outcome."""
        self.to_page_traffic.count(size, outcome.ok)
        if not outcome.ok:
            self.last_error = outcome.reason
        self._room.used -= 1
        self.pages_waiting -= 1
        self.pages_bytes -= size
        if self.pages_waiting == MANY_PAGES // 4:
            self.leg.go_on()

    # What the leg tells

    def dialog_changed(self, leg: Leg) -> None:
        """There is a dialog, or its target has changed."""
        self._observer.dialog_changed(self, leg)

    def is_of_use(self, leg: Leg) -> bool:
        """Whether the leg takes any message that waits; one without messages may get some."""
        waiting = self._waiting
        return not waiting or any(leg.accepts(item.message.content_type) for item in waiting)

    def leg_up(self, leg: Leg) -> None:
        """The leg can carry messages."""
        if leg is not self.leg or self.state is SessionState.ENDED:
            return
        first = self.state is SessionState.SETTING_UP
        self.state = SessionState.UP
        if first:
            self._observer.session_up(self)
        self._flush()

    def leg_moving(self, leg: Leg, reason: str) -> None:
        """The leg lost its MSRP session and sets up the next one."""
        if leg is self.leg and self.state is SessionState.UP:
            self.last_error = reason
            self.state = SessionState.MOVING

    def leg_ended(self, leg: Leg, end: LegEnd) -> None:
        """The leg is over, and the session with it."""
        if leg is not self.leg or self.state is SessionState.ENDED:
            return
        self.state = SessionState.ENDED
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        failed = not end.was_up and not self._keep
        refused = failed and end.code >= 400 and end.code not in (408, 480, 503)
        kind = OutcomeKind.REFUSED if refused else OutcomeKind.UNREACHABLE
        # No MSRP status: nobody was sent the message, or nobody answered it.
        outcome = self._end = Outcome(
            kind,
            0,
            end.reason,
            setup=end.code if failed else 0,
            retry_after=end.retry_after,
        )
        items = [*self._resend, *self._sent, *self._waiting]
        for item, timer in self._relayed.values():
            timer.cancel()
            items.append(item)
        for queue in (self._resend, self._sent, self._waiting, self._relayed):
            queue.clear()
        # The observer first: its notice of the failed set-up stands for all of these messages.
        self._observer.session_ended(self, end, outcome, items)
        for item in items:
            self._finish(item, outcome)

    def send_received(self, leg: Leg, incoming: Incoming) -> None:
        """The MSRP user sent a message."""
        if leg is not self.leg:
            incoming.refuse(481, "The session was replaced by a newer call")
            return
        self.last_activity = self._timers.seconds()
        self._observer.page_message(self, incoming)

    def report_received(self, leg: Leg, report: Report) -> None:
        """A REPORT about a message of ours came (RFC 4975 §7.1.2)."""
        self.last_activity = self._timers.seconds()
        refused = Outcome(OutcomeKind.REFUSED, report.status, report.comment)
        relayed = self._relayed.pop(report.message_id, None)
        if relayed is not None:
            item, timer = relayed
            timer.cancel()
            self._finish(item, _DELIVERED if report.status == 200 else refused)
        else:
            message = self._delivered.pop(report.message_id, None)
            if message is not None and report.status != 200:
                self._observer.failed_after_all(self, message, refused)
        self._observer.report_received(self, report)

    def configure(self, settings: GatewaySettings) -> None:
        """Use these settings from now on: limits of time and room."""
        self._settings = settings
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self.state is not SessionState.ENDED:
            self._watch_idle()

    # Ending

    def end(self, reason: str, *, keep: bool = False) -> None:
        """End the session: CANCEL or BYE to the MSRP user.  Waiting messages get their outcome.

        ``keep``: those that are ours are worth another attempt, whatever the session waited for.
        """
        self._keep = keep
        self.leg.end(reason)

    def _watch_idle(self) -> None:
        self._idle_timer = None
        settings = self._settings
        limits = [
            (settings.message_timeout, self.last_message, "No MESSAGE within message_timeout"),
            (settings.session_timeout, self.last_activity, "No traffic within session_timeout"),
            (settings.max_duration, self.created, "Longer than max_duration"),
        ]
        due = [(since + limit, reason) for limit, since, reason in limits if limit]
        if not due:
            return
        when, reason = min(due)
        delay = when - self._timers.seconds()
        if delay <= 0:
            self.end(reason)
        else:
            self._idle_timer = self._timers.call_later(delay, self._watch_idle)


def message_to_page(incoming: Incoming, now: float) -> Message:
    """The message that a SEND carried."""
    return Message(
        message_id=incoming.message_id,
        direction=Direction.TO_PAGE,
        content_type=incoming.content_type,
        body=incoming.body,
        received_at=now,
        hops=hops_of(incoming.extension(HOPS)),
    )
