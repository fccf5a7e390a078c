"""Records: one JSON line for each session and each message that has ended, for billing and audit.

Times are seconds since the epoch, durations seconds, sizes bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msrpgw.gateway.items import Item, PageItem
from msrpgw.gateway.leg_listener import LegEnd
from msrpgw.gateway.session import GatewaySession, Traffic
from msrpgw.timers import Timers
from msrpgw.types import Outcome

#: fields of a session's record -> what they say
SESSION_RECORD: Mapping[str, str] = {
    "record": "`session`",
    "key": "of the gateway session",
    "opened_by": "`page` when a MESSAGE caused the INVITE, `msrp` when the MSRP user called",
    "page_uri": "the page user",
    "msrp_uri": "the MSRP user",
    "call_id": "of the dialog with the MSRP user; null without one",
    "session_id": "of our MSRP URI",
    "peer_path": "the MSRP user's path; null when none was learned",
    "started": "when the first request for it came",
    "ended": "when it was over",
    "duration": "from the one to the other",
    "established": "whether messages could flow",
    "code": "SIP status that its set-up failed with; 0 otherwise",
    "reason": "why it ended",
    "to_msrp": "messages `delivered` and `failed`, and `bytes` delivered, to the MSRP user",
    "to_page": "the same to the page user",
}

#: fields of a message's record -> what they say
MESSAGE_RECORD: Mapping[str, str] = {
    "record": "`message`",
    "key": "of its gateway session",
    "direction": "`to_msrp` or `to_page`",
    "from_uri": "its sender",
    "to_uri": "its receiver",
    "message_id": "MSRP Message-ID",
    "call_id": "of the MESSAGE; empty when none was made",
    "content_type": "as it came",
    "size": "of the text",
    "received": "when it came",
    "ended": "when its outcome was known",
    "duration": "from the one to the other",
    "attempts": "to deliver it",
    "in_custody": "whether its sender had been told that the gateway answers for it",
    "outcome": "`delivered`, `refused`, `unreachable`, `expired` or `dropped`",
    "status": "SIP or MSRP status that says so; 0: none came",
    "reason": "in words",
}


class Lines(Protocol):
    """Where records go."""

    def put(self, value: dict[str, Any]) -> None:
        """Write one line."""


class Recorder:
    """Makes records.  Owned by the Sinks; a file that is None gets none."""

    def __init__(self, timers: Timers, now: Callable[[], float]) -> None:
        self._timers = timers
        self._now = now
        self.sessions: Lines | None = None
        self.messages: Lines | None = None

    def session_ended(self, session: GatewaySession, end: LegEnd) -> None:
        """A session is over, or never was."""
        if self.sessions is None:
            return
        leg = session.leg
        duration = self._timers.seconds() - session.created
        ended = self._now()
        self.sessions.put(
            {
                "record": "session",
                "key": session.key,
                "opened_by": "page" if session.called else "msrp",
                "page_uri": session.page_uri,
                "msrp_uri": session.msrp_uri,
                "call_id": leg.dialog and leg.dialog.id.call_id,
                "session_id": leg.session_id,
                "peer_path": leg.paths[1] or None,
                "started": round(ended - duration, 3),
                "ended": round(ended, 3),
                "duration": round(duration, 3),
                "established": end.was_up,
                "code": end.code,
                "reason": end.reason,
                "to_msrp": _traffic(session.to_msrp_traffic),
                "to_page": _traffic(session.to_page_traffic),
            }
        )

    def message_ended(
        self, key: str, item: Item, call_id: str, outcome: Outcome, in_custody: bool
    ) -> None:
        """A message has its one outcome."""
        if self.messages is None:
            return
        message, parties = item.message, item.parties
        uris = (parties.from_uri, parties.to_uri)
        sender, receiver = uris[::-1] if isinstance(item, PageItem) else uris
        duration = self._timers.seconds() - message.received_at
        ended = self._now()
        self.messages.put(
            {
                "record": "message",
                "key": key,
                "direction": message.direction.value,
                "from_uri": sender,
                "to_uri": receiver,
                "message_id": message.message_id,
                "call_id": call_id,
                "content_type": message.content_type,
                "size": len(message.body),
                "received": round(ended - duration, 3),
                "ended": round(ended, 3),
                "duration": round(duration, 3),
                "attempts": item.attempts + 1,
                "in_custody": in_custody,
                "outcome": outcome.kind.value,
                "status": outcome.setup or outcome.status,
                "reason": outcome.reason,
            }
        )


def _traffic(traffic: Traffic) -> dict[str, int]:
    return {
        "delivered": traffic.delivered,
        "failed": traffic.failed,
        "bytes": traffic.bytes,
    }
