"""What others are told of sessions and messages: events, the log, notices to page users."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from twisted.logger import Logger

from msrpgw.gateway import events
from msrpgw.gateway.items import Item, Keeper, SendItem
from msrpgw.gateway.leg_listener import LegEnd
from msrpgw.gateway.notices import Failure, Notices, first_words, time_of_day
from msrpgw.gateway.session import GatewaySession
from msrpgw.gateway.status import msrp_to_sip
from msrpgw.histogram import Histogram
from msrpgw.msrp.session import Report
from msrpgw.timers import Timers
from msrpgw.types import Direction, Message, Outcome, Parties

_log = Logger()


#: how many messages that ended lately are known by their ids
FATES = 10_000


#: seconds from one E_MSRPGW_OVERLOAD to the next
OVERLOAD_INTERVAL = 10.0


#: seconds, bounds of the histograms of durations
DURATIONS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0, 32.0, 300.0, 3600.0),
)

#: results of attempts to set up a session: established, or the class of the SIP status
SETUPS = ("established", "3xx", "4xx", "5xx", "6xx", "given_up")


class _Fate(msgspec.Struct, gc=False):
    """What is remembered of a message that has ended.  No business of the garbage collector."""

    ended_at: float  # on the clock
    key: str
    message_id: str
    call_id: str
    direction: Direction
    size: int
    attempts: int
    outcome: Outcome


class Recorder(Protocol):
    """Writes down what has ended."""

    def session_ended(self, session: GatewaySession, end: LegEnd) -> None:
        """A session is over, or never was."""

    def message_ended(
        self, key: str, item: Item, call_id: str, outcome: Outcome, in_custody: bool
    ) -> None:
        """A message has its one outcome."""


class Teller:
    """Puts into words what the gateway decided.  One for the gateway."""

    def __init__(
        self,
        hub: events.EventHub,
        notices: Notices,
        timers: Timers,
        now: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._notices = notices
        self._timers = timers
        self._now = now
        self._refused = 0  # since the last event about it
        self._next_overload = 0.0
        self._down: set[str] = set()  # users for whom messages wait
        self.recorder: Recorder | None = None
        self.text = False  #: whether events carry the text of messages
        # By direction: messages delivered, and not.
        self._totals = {direction: [0, 0] for direction in Direction}
        #: by direction: seconds from a message's coming to its outcome
        self.durations = {direction: Histogram(DURATIONS) for direction in Direction}
        # By result: attempts to set up a session.
        self._setups = dict.fromkeys(SETUPS, 0)
        self._fates: deque[_Fate] = deque(maxlen=FATES)  # the latest last

    # Sessions

    def session_up(self, session: GatewaySession) -> None:
        """Messages flow for the first time."""
        self._setups["established"] += 1
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

    def session_ended(self, session: GatewaySession, end: LegEnd) -> None:
        """A session is over, or never was."""
        if self.recorder is not None:
            self.recorder.session_ended(session, end)
        if not end.was_up:
            self._setups[_setup_result(end.code)] += 1
        if end.was_up:
            self._hub.raise_event(
                events.session_end(
                    session.key,
                    session.page_uri,
                    session.msrp_uri,
                    session.leg.session_id,
                    end.reason,
                )
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

    def setup_failed(self, session: GatewaySession, end: LegEnd, *, delayed: bool) -> None:
        """Tell the page user why nothing was delivered; ``delayed``: yet."""
        parties = session.parties
        failure = Failure(parties.to_uri, parties.from_uri, end.code, end.reason, hops=session.hops)
        self._notices.setup_failed(session.key, failure, delayed=delayed)

    def overloaded(self, reason: str, count: int = 1) -> None:
        """So many requests were refused for lack of room."""
        self._refused += count
        now = self._timers.seconds()
        if now >= self._next_overload:
            self._next_overload = now + OVERLOAD_INTERVAL
            self._hub.raise_event(events.overload(reason, self._refused))
            self._refused = 0

    def peer_down(self, item: Item, outcome: Outcome, waiting: int) -> None:
        """A message waits for another attempt; ``waiting``: how many do, for its receiver."""
        uri = _receiver(item)
        if uri not in self._down:
            self._down.add(uri)
            self._hub.raise_event(events.peer_down(uri, outcome.reason, waiting))

    # Messages

    def message_received(self, session: GatewaySession, message: Message) -> None:
        """A SEND brought a message."""
        if self._hub.wants("E_MSRP_MSG_RECEIVED"):
            self._hub.raise_event(
                events.message_received(
                    session.key,
                    session.parties,
                    session.leg.session_id,
                    message,
                    with_text=self.text,
                ),
                logged=False,
            )

    def report_received(self, session: GatewaySession, report: Report) -> None:
        """A REPORT came from the MSRP side."""
        self._hub.raise_event(
            events.report_received(session.key, session.parties, session.leg.session_id, report)
        )

    def message_ended(self, key: str, item: Item, outcome: Outcome) -> None:
        """A message has its one outcome."""
        message = item.message
        if self._down:
            self._down.discard(_receiver(item))
        direction = message.direction
        ok = outcome.ok
        self._totals[direction][not ok] += 1
        now = self._timers.seconds()
        self.durations[direction].add(now - message.received_at)
        call_id = message.call_id
        if isinstance(item, SendItem) and item.call is not None:
            call_id = item.call.call_id
        self._fates.append(
            _Fate(
                now,
                key,
                message.message_id,
                call_id,
                direction,
                len(message.body),
                item.attempts + 1,
                outcome,
            )
        )
        if ok:
            if item.keeper is Keeper.OURS:
                _log.debug(
                    "session {key!r}: message {id!r} ({direction}) delivered, attempt {attempt}",
                    key=key,
                    id=message.message_id,
                    direction=message.direction.value,
                    attempt=item.attempts + 1,
                )
        else:
            _log.warn(
                "session {key!r}: message {id!r} ({direction}) not delivered: {kind},"
                " {status} {reason!r}",
                key=key,
                id=message.message_id,
                direction=message.direction.value,
                kind=outcome.kind.value,
                status=outcome.setup or outcome.status,
                reason=outcome.reason,
            )
        recorder = self.recorder
        if recorder is not None:
            recorder.message_ended(key, item, call_id, outcome, item.keeper is Keeper.OURS)
        name = "E_MSRPGW_MESSAGE_DELIVERED" if ok else "E_MSRPGW_MESSAGE_FAILED"
        if self._hub.wants(name):
            from_uri, to_uri = item.parties.from_uri, item.parties.to_uri
            if not isinstance(item, SendItem):
                from_uri, to_uri = to_uri, from_uri
            event = events.message_ended(
                key, from_uri, to_uri, message, call_id, outcome, item.attempts + 1
            )
            self._hub.raise_event(event, logged=False)

    def totals(self) -> dict[str, dict[str, int]]:
        """How many messages were delivered and how many failed, since the start."""
        return {
            direction.value: {"delivered": delivered, "failed": failed}
            for direction, (delivered, failed) in self._totals.items()
        }

    def setups(self) -> dict[str, int]:
        """How many attempts to set up a session there were since the start, by result."""
        return dict(self._setups)

    def fate(self, id: str) -> dict[str, Any] | None:
        """What became of a message that ended lately, by one of its ids; None when not known."""
        for fate in reversed(self._fates):
            if id in (fate.message_id, fate.call_id):
                outcome = fate.outcome
                return {
                    "key": fate.key,
                    "message_id": fate.message_id,
                    "call_id": fate.call_id,
                    "direction": fate.direction.value,
                    "size": fate.size,
                    "attempts": fate.attempts,
                    "ended_ago": round(self._timers.seconds() - fate.ended_at, 3),
                    "outcome": outcome.kind.value,
                    "status": outcome.setup or outcome.status,
                    "reason": outcome.reason,
                }
        return None

    def message_failed(
        self, key: str, parties: Parties, message: Message, outcome: Outcome
    ) -> None:
        """Tell a page user that a MESSAGE which was answered 202, or 200, was not delivered."""
        if outcome.setup:
            status, reason = outcome.setup, outcome.reason
        else:
            status, reason = msrp_to_sip(outcome.status)
        age = self._timers.seconds() - message.received_at
        self._notices.message_failed(
            key,
            Failure(
                parties.to_uri,
                parties.from_uri,
                status,
                outcome.reason or reason,
                first_words(message.content_type, message.body),
                time_of_day(self._now() - age),
                hops=message.hops,
            ),
        )


def _setup_result(code: int) -> str:
    result = f"{code // 100}xx"
    return result if result in SETUPS else "given_up"


def _receiver(item: Item) -> str:
    parties = item.parties
    return parties.to_uri if isinstance(item, SendItem) else parties.from_uri
