"""Events in OpenSIPS's terms, and the hub that hands them to the log and to the sinks.

Imports the public types and interfaces.
"""

from collections.abc import Mapping

from twisted.logger import Logger

from msrpgw.interfaces import IEventSink
from msrpgw.msrp.session import Report
from msrpgw.types import Event, Message, Outcome, Parties

_log = Logger()


class EventHub:
    """Hands each event to every sink, and writes it to the log.  One for the program."""

    def __init__(self) -> None:
        self._sinks: list[tuple[IEventSink, frozenset[str] | None]] = []
        self._wanted: set[str] = set()
        self._all = False  # whether somebody wants every event

    def wants(self, name: str) -> bool:
        """Whether anybody but the log wants such events: frequent ones are made only then."""
        return self._all or name in self._wanted

    def add(self, sink: IEventSink, names: frozenset[str] | None = None) -> None:
        """Hand events with these names to a sink from now on, or all; in place of what it got."""
        self._sinks = [each for each in self._sinks if each[0] is not sink]
        self._sinks.append((sink, names))
        self._sum_up()

    def remove(self, sink: IEventSink) -> None:
        """Hand no more events to a sink."""
        self._sinks = [each for each in self._sinks if each[0] is not sink]
        self._sum_up()

    def _sum_up(self) -> None:
        self._all = any(names is None for _, names in self._sinks)
        self._wanted = {name for _, names in self._sinks for name in names or ()}

    def raise_event(self, event: Event, *, logged: bool = True) -> None:
        """Tell everybody.  A sink that fails is logged and hinders nobody."""
        if logged:
            _log.info("{name} {parameters!r}", name=event.name, parameters=event.parameters)
        for sink, names in self._sinks:
            if names is not None and event.name not in names:
                continue
            try:
                sink.event_raised(event)
            except Exception:
                _log.failure(
                    "event sink {sink!r} failed on {name}; others go on",
                    sink=sink,
                    name=event.name,
                )


def setup_failed(key: str, from_uri: str, to_uri: str, ruri: str, code: int, reason: str) -> Event:
    """The MSRP side can't be set up.

    The URIs are From, To and request URI of a MESSAGE that would tell the page user about it.
    """
    return Event(
        "E_MSRP_GW_SETUP_FAILED",
        {
            "key": key,
            "from_uri": from_uri,
            "to_uri": to_uri,
            "ruri": ruri,
            "code": code,
            "reason": reason,
        },
    )


def session_new(
    key: str,
    from_uri: str,
    to_uri: str,
    ruri: str,
    session_id: str,
    content_types: tuple[str, ...],
) -> Event:
    """An MSRP session is up; ``session_id`` is that of our MSRP URI."""
    return Event(
        "E_MSRP_SESSION_NEW",
        {
            "key": key,
            "from_uri": from_uri,
            "to_uri": to_uri,
            "ruri": ruri,
            "session_id": session_id,
            "content_types": " ".join(content_types),
        },
    )


def session_end(key: str, page_uri: str, msrp_uri: str, session_id: str, reason: str) -> Event:
    """A session that was up has ended."""
    return Event(
        "E_MSRP_SESSION_END",
        {
            "key": key,
            "from_uri": msrp_uri,
            "to_uri": page_uri,
            "session_id": session_id,
            "reason": reason,
        },
    )


def message_received(
    key: str, parties: Parties, session_id: str, message: Message, *, with_text: bool = False
) -> Event:
    """A SEND brought a message.

    Its text stays out unless it is wanted: an event travels further than a message.
    """
    parameters = {
        "key": key,
        "from_uri": parties.from_uri,
        "to_uri": parties.to_uri,
        "session_id": session_id,
        "message_id": message.message_id,
        "content_type": message.content_type,
        "size": len(message.body),
    }
    if with_text:
        parameters["body"] = message.body.decode("utf-8", "replace")
    return Event("E_MSRP_MSG_RECEIVED", parameters)


def message_ended(
    key: str,
    from_uri: str,
    to_uri: str,
    message: Message,
    call_id: str,
    outcome: Outcome,
    attempts: int,
) -> Event:
    """A message has its one outcome.

    ``from_uri``, ``to_uri``: its sender and its receiver.  ``call_id``: of the MESSAGE.
    ``attempts``: more than one says that it may have come after those sent behind it.
    """
    return Event(
        "E_MSRPGW_MESSAGE_DELIVERED" if outcome.ok else "E_MSRPGW_MESSAGE_FAILED",
        {
            "key": key,
            "direction": message.direction.value,
            "from_uri": from_uri,
            "to_uri": to_uri,
            "message_id": message.message_id,
            "call_id": call_id,
            "outcome": outcome.kind.value,
            "status": outcome.setup or outcome.status,
            "reason": outcome.reason,
            "attempts": attempts,
        },
    )


def report_received(key: str, parties: Parties, session_id: str, report: Report) -> Event:
    """A REPORT came from the MSRP side, or a SEND failed."""
    return Event(
        "E_MSRP_REPORT_RECEIVED",
        {
            "key": key,
            "from_uri": parties.from_uri,
            "to_uri": parties.to_uri,
            "session_id": session_id,
            "message_id": report.message_id,
            "status": report.status,
            "comment": report.comment,
            "byte_range": report.byte_range,
        },
    )


def overload(reason: str, refused: int) -> Event:
    """Requests were refused for lack of room; at most one event in ten seconds."""
    return Event("E_MSRPGW_OVERLOAD", {"reason": reason, "refused": refused})


def peer_down(uri: str, reason: str, waiting: int) -> Event:
    """Messages wait for a user who can't be reached; told once, until one gets through.

    Or, with ``waiting`` 0: a next hop failed and is asked last for a while.
    """
    return Event("E_MSRPGW_PEER_DOWN", {"uri": uri, "reason": reason, "waiting": waiting})


_MESSAGE_END = (
    "key",
    "direction",
    "from_uri",
    "to_uri",
    "message_id",
    "call_id",
    "outcome",
    "status",
    "reason",
    "attempts",
)

#: every event, what it says, and its parameters
EVENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "E_MSRP_GW_SETUP_FAILED": (
        "The MSRP side can't be set up. The URIs are those of a MESSAGE that would tell the page"
        " user about it.",
        ("key", "from_uri", "to_uri", "ruri", "code", "reason"),
    ),
    "E_MSRP_SESSION_NEW": (
        "An MSRP session is up. The URIs are those of its INVITE.",
        ("key", "from_uri", "to_uri", "ruri", "session_id", "content_types"),
    ),
    "E_MSRP_SESSION_END": (
        "A session that was up has ended; between the MSRP user (`from_uri`) and the page user.",
        ("key", "from_uri", "to_uri", "session_id", "reason"),
    ),
    "E_MSRP_MSG_RECEIVED": (
        "A SEND brought a message; `body` only with `[events] text`.",
        (
            "key",
            "from_uri",
            "to_uri",
            "session_id",
            "message_id",
            "content_type",
            "size",
            "body",
        ),
    ),
    "E_MSRP_REPORT_RECEIVED": (
        "A REPORT came from the MSRP side.",
        (
            "key",
            "from_uri",
            "to_uri",
            "session_id",
            "message_id",
            "status",
            "comment",
            "byte_range",
        ),
    ),
    "E_MSRPGW_MESSAGE_DELIVERED": ("A message has reached its receiver.", _MESSAGE_END),
    "E_MSRPGW_MESSAGE_FAILED": ("A message was refused or given up.", _MESSAGE_END),
    "E_MSRPGW_OVERLOAD": (
        "Requests were refused for lack of room; at most one event in ten seconds.",
        ("reason", "refused"),
    ),
    "E_MSRPGW_PEER_DOWN": (
        "Messages wait for a user who can't be reached; once until one gets through. Or, with"
        " `waiting` 0: `uri` is a SIP next hop that failed, and is tried last for a while.",
        ("uri", "reason", "waiting"),
    ),
}
