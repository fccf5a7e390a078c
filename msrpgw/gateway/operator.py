"""What an operator may ask of the gateway: to look at it, and to lay a hand on it.

Views are plain values that can be written as JSON; ages are seconds.
"""

import fnmatch
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred

from msrpgw.errors import SipError
from msrpgw.gateway.facts import address_of
from msrpgw.gateway.gateway import Gateway
from msrpgw.gateway.items import Item, PageItem
from msrpgw.gateway.session import GatewaySession, SessionState, Traffic
from msrpgw.gateway.settings import DeliverySettings, GatewaySettings, NoticeSettings
from msrpgw.histogram import Histogram
from msrpgw.interfaces import IPolicy
from msrpgw.types import Direction, Message, Parties, Refusal, RequestFacts, Route

#: most rows of one answer
MAX_ROWS = 1000

#: seconds after which the next page of a listing looks at all sessions again
LISTING_TIME = 10.0


class Unknown(Exception):
    """There is no such thing."""


class NotNow(Exception):
    """There is, but it can't be done in its state; the text says why."""


class Operator:
    """The gateway's sessions and messages, for management.  One for the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._now = gateway.timers.seconds
        self._keys: list[str] = []  # of the sessions there were at ``_listed``, in order
        self._listed = float("-inf")

    # The whole

    def configure(
        self,
        settings: GatewaySettings,
        delivery: DeliverySettings,
        notice: NoticeSettings,
        policy: IPolicy,
        *,
        event_text: bool,
    ) -> None:
        """Use these settings from now on; no session ends for it.

        ``event_text``: whether events carry the text of messages.

        Raises ConfigError, and goes on as before.
        """
        gateway = self._gateway
        gateway.notices.configure(notice)
        gateway.settings = settings
        gateway.routes.use(policy)
        gateway.teller.text = event_text
        gateway.room.limit = settings.total_queue_limit
        gateway.custody.configure(settings, delivery)
        gateway.pages.configure(settings)
        gateway.to_page.configure(delivery)
        gateway.delivery.configure(delivery)
        for session in list(gateway.sessions.values()):
            session.configure(settings)

    def drain(self) -> int:
        """Take no new session from now on; how many messages are on their way."""
        gateway = self._gateway
        gateway.closed = True
        return gateway.pages.pending + sum(session.queued for session in gateway.sessions.values())

    def status(self) -> dict[str, Any]:
        """Counts, for a glance."""
        gateway = self._gateway
        states = dict.fromkeys((state.value for state in SessionState), 0)
        for session in gateway.sessions.values():
            states[session.state.value] += 1
        del states[SessionState.ENDED.value]
        ours = gateway.custody.ours()
        return {
            "state": "draining" if gateway.closed or gateway.drain is not None else "running",
            "sessions": {"total": len(gateway.sessions), **states},
            "messages": gateway.teller.totals(),
            "waiting": gateway.room.used,
            "journal": {
                "backend": "sqlite" if gateway.journal.durable else "memory",
                "healthy": gateway.journal.healthy,
                "entries": len(ours),
                "bytes": sum(len(item.message.body) for item in ours),
                "oldest": round(self._now() - ours[0].message.received_at, 3) if ours else None,
            },
        }

    @property
    def full(self) -> bool:
        """Whether no message more is taken."""
        return self._gateway.room.full

    def gauges(self) -> dict[str, Callable[[], int]]:
        """Numbers of the moment, by name."""
        gateway = self._gateway

        def state(wanted: SessionState) -> Callable[[], int]:
            return lambda: sum(each.state is wanted for each in gateway.sessions.values())

        def oldest() -> int:
            ours = gateway.custody.ours()
            return round(self._now() - ours[0].message.received_at) if ours else 0

        return {
            "sessions": lambda: len(gateway.sessions),
            "setting_up": state(SessionState.SETTING_UP),
            "up": state(SessionState.UP),
            "moving": state(SessionState.MOVING),
            "waiting": lambda: gateway.room.used,
            "journal_entries": lambda: len(gateway.custody),
            "journal_bytes": lambda: sum(len(item.message.body) for item in gateway.custody.ours()),
            "journal_oldest_seconds": oldest,
            "journal_healthy": lambda: int(gateway.journal.healthy),
        }

    def counters(self) -> dict[str, Callable[[], int]]:
        """Numbers since the start, by name."""
        totals = self._gateway.teller.totals
        setups = self._gateway.teller.setups

        def total(direction: str, outcome: str) -> Callable[[], int]:
            return lambda: totals()[direction][outcome]

        def setup(result: str) -> int:
            return setups()[result]

        return {
            f"{direction}_{outcome}": total(direction, outcome)
            for direction, outcomes in totals().items()
            for outcome in outcomes
        } | {f"setups_{result}": partial(setup, result) for result in setups()}

    def durations(self) -> dict[str, Histogram]:
        """By direction: seconds from a message's coming to its outcome."""
        durations = self._gateway.teller.durations
        return {direction.value: histogram for direction, histogram in durations.items()}

    # Sessions

    def sessions(
        self, after: str | None = None, limit: int = MAX_ROWS, key: str = "*", state: str = ""
    ) -> list[GatewaySession]:
        """Sessions in the order of their keys.  ``key``: a pattern with ``*`` and ``?``.

        A listing shows those that there were when its first page was asked for, if they are still
        there; to put 10,000 keys in order for each page would keep messages waiting.
        """
        now = self._now()
        if after is None or now - self._listed > LISTING_TIME:
            self._keys, self._listed = sorted(self._gateway.sessions), now
        start = 0 if after is None else bisect_right(self._keys, after)
        get = self._gateway.sessions.get
        found = (
            session
            for each in islice(self._keys, start, None)
            if (key == "*" or fnmatch.fnmatchcase(each, key))
            and (session := get(each)) is not None
            and (not state or session.state.value == state)
        )
        return list(islice(found, limit))

    def session(self, key: str) -> GatewaySession:
        """A session by its key.  Raises Unknown."""
        session = self._gateway.sessions.get(key)
        if session is None:
            raise Unknown
        return session

    def msrp_session(self, session_id: str) -> GatewaySession:
        """A session by the session-id of our MSRP URI.  Raises Unknown."""
        for session in self._gateway.sessions.values():
            if session.leg.session_id == session_id:
                return session
        raise Unknown

    def row(self, session: GatewaySession) -> dict[str, Any]:
        """A session in a list."""
        now = self._now()
        return {
            "key": session.key,
            "msg_side_from": session.parties.from_uri,
            "msg_side_to": session.parties.to_uri,
            "msg_side_ruri": session.parties.ruri,
            "msrp_ua_session_id": session.leg.session_id,
            "state": session.state.value,
            "msrp_uri": session.msrp_uri,
            "page_uri": session.page_uri,
            "session_id": session.leg.session_id,
            "called": session.called,
            "age": round(now - session.created, 3),
            "idle": round(now - session.last_activity, 3),
            "queued": session.queued,
            "pages_waiting": session.pages_waiting,
        }

    def details(self, session: GatewaySession) -> dict[str, Any]:
        """Everything about a session."""
        leg = session.leg
        dialog = leg.dialog
        ours, theirs = leg.paths
        invite = session.invite
        return {
            **self.row(session),
            "leg_state": leg.state.value,
            "invite": {
                "from_uri": invite.from_uri,
                "to_uri": invite.to_uri,
                "ruri": invite.ruri,
            },
            "dialog": dialog
            and {
                "call_id": dialog.id.call_id,
                "local": dialog.local_uri,
                "remote": dialog.remote_uri,
                "target": dialog.remote_target,
                "routes": [route.render() for route in dialog.route_set],
                "cseq": dialog.local_cseq,
            },
            "msrp": {
                "path": ours,
                "peer_path": theirs,
                "peer_host": leg.peer_host,
                "behind_relay": leg.behind_relay,
                "accept_types": list(leg.peer_accept_types),
            },
            "counters": {
                "to_msrp": _traffic(session.to_msrp_traffic),
                "to_page": _traffic(session.to_page_traffic),
            },
            "last_error": session.last_error or None,
        }

    def end(self, session: GatewaySession, reason: str) -> dict[str, Any]:
        """End a session, in whatever state it is.

        Says what it waited for, how many messages had no outcome, and how many of those stay with
        us and are tried again; the others' senders are told.
        """
        state, queued = session.state.value, session.queued
        key = session.key
        session.end(reason, keep=True)
        return {
            "key": key,
            "state": state,
            "queued": queued,
            "kept": self._gateway.delivery.count(key),
        }

    def start(self, from_uri: str, to_uri: str, ruri: str, content_types: tuple[str, ...]) -> str:
        """Call an MSRP user on behalf of a page user; the key of the session.

        Raises NotNow when the policy refuses, or there is one already.
        """
        route = self._route(from_uri, to_uri, ruri)
        if route.key in self._gateway.sessions:
            raise NotNow(f"There is a session with the key {route.key!r}")
        if content_types:
            route = Route(
                route.key,
                route.from_uri,
                route.to_uri,
                route.ruri,
                content_types,
                route.congestion_safe,
            )
        self._gateway.open_session(route, Parties(to_uri, from_uri, from_uri))
        return route.key

    def _route(self, from_uri: str, to_uri: str, ruri: str) -> Route:
        try:
            facts = RequestFacts(
                "MESSAGE",
                address_of(ruri),
                address_of(from_uri),
                address_of(to_uri),
                "127.0.0.1",
                0,
                "UDP",
                (),
                "text/plain",
            )
        except SipError as error:
            raise NotNow(error.reason) from None
        route = self._gateway.routes.policy.route_message(facts)
        if isinstance(route, Refusal):
            raise NotNow(f"The policy says {route.code} {route.reason}")
        return route

    # Messages

    def send(
        self, from_uri: str, to_uri: str, content_type: str, body: bytes
    ) -> Deferred[tuple[int, str]]:
        """Send a text to an MSRP user as if a page user had; fires with its final answer.

        Raises NotNow when it is refused at once.
        """
        route = self._route(from_uri, to_uri, to_uri)
        message = self._message(content_type, body)
        answered: Deferred[tuple[int, str]] = Deferred()
        try:
            self._gateway.take_message(
                route,
                Parties(to_uri, from_uri, from_uri),
                message,
                lambda status, reason, headers: answered.callback((status, reason)),
                70,
            )
        except SipError as error:
            raise NotNow(f"{error.status} {error.reason}") from None
        return answered

    def send_over(
        self, session: GatewaySession, content_type: str, body: bytes
    ) -> Deferred[tuple[int, str]]:
        """Send a text over a session; fires with its final answer.  Raises NotNow."""
        if session.state is not SessionState.UP:
            raise NotNow("The session is not up")
        parties = session.parties
        route = Route(
            session.key,
            session.invite.from_uri,
            session.invite.to_uri,
            session.invite.ruri,
            ("text/plain",),
        )
        answered: Deferred[tuple[int, str]] = Deferred()
        try:
            self._gateway.take_message(
                route,
                parties,
                self._message(content_type, body),
                lambda status, reason, headers: answered.callback((status, reason)),
                70,
            )
        except SipError as error:
            raise NotNow(f"{error.status} {error.reason}") from None
        return answered

    def _message(self, content_type: str, body: bytes) -> Message:
        id_ = self._gateway.agent.new_call_id()
        return Message(id_, Direction.TO_MSRP, content_type, body, self._now(), id_)

    def messages(self, after: int = 0, limit: int = MAX_ROWS) -> tuple[list[dict[str, Any]], bool]:
        """Messages that the journal has, in order, and whether there are more.

        ``after``: number of the last one seen.
        """
        items = [item for item in self._gateway.custody.ours() if item.number > after]
        return [self.message_row(item) for item in items[:limit]], len(items) > limit

    def message_row(self, item: Item) -> dict[str, Any]:
        """A message of ours."""
        now = self._now()
        message = item.message
        to_msrp = isinstance(item, PageItem)
        parties = item.parties
        msrp, page_user = parties.from_uri, parties.to_uri
        return {
            "id": item.id,
            "number": item.number,
            "direction": message.direction.value,
            "key": item.route.key if isinstance(item, PageItem) else item.key,
            "from": page_user if to_msrp else msrp,
            "to": msrp if to_msrp else page_user,
            "message_id": message.message_id,
            "call_id": message.call_id,
            "content_type": message.content_type,
            "size": len(message.body),
            "age": round(now - message.received_at, 3),
            "expires_in": None if item.expires == float("inf") else round(item.expires - now, 3),
            "attempts": item.attempts,
            "last_error": item.failure.reason if item.failure is not None else None,
        }

    def message(self, id_: str) -> Item:
        """A message of ours by the journal's id.  Raises Unknown."""
        item = self._gateway.custody.find(id_)
        if item is None:
            raise Unknown
        return item

    def retry(self, item: Item) -> None:
        """Make the next attempt now.  Raises NotNow when it is on its way."""
        if not self._gateway.delivery.try_now(item):
            raise NotNow("The message is on its way")

    def drop(self, item: Item) -> None:
        """Give a message up; its sender is told.  Raises NotNow when it is on its way."""
        if not self._gateway.custody.drop(item, "Dropped by the operator"):
            raise NotNow("The message is on its way")

    def fate(self, id_: str) -> dict[str, Any]:
        """What became of a message, by Message-ID or Call-ID.  Raises Unknown."""
        for item in self._gateway.custody.ours():
            if id_ in (item.id, item.message.message_id, item.message.call_id):
                return {**self.message_row(item), "state": "waiting"}
        fate = self._gateway.teller.fate(id_)
        if fate is None:
            raise Unknown
        return {"state": "ended", **fate}


def _traffic(traffic: Traffic) -> dict[str, int]:
    return {
        "delivered": traffic.delivered,
        "failed": traffic.failed,
        "bytes": traffic.bytes,
    }
