"""The commands of the management interface, under OpenSIPS's names, and ours beside them.

Each is a method of ``Commands``, which looks at the gateway through ``Operator``.  What carries the
requests is elsewhere (``rpc`` and the transports over it).
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from twisted.internet.defer import Deferred

from msrpgw import __version__
from msrpgw.gateway.events import EventHub
from msrpgw.gateway.leg import LegState
from msrpgw.gateway.operator import MAX_ROWS, NotNow, Operator, Unknown
from msrpgw.gateway.session import GatewaySession
from msrpgw.manage.catalogue import catalogue
from msrpgw.manage.rpc import INVALID_PARAMS, Dispatcher, RpcError
from msrpgw.types import Event

#: numbers that OpenSIPS has for levels, and ours
LOG_LEVELS = {
    "-3": "critical",
    "-2": "critical",
    "-1": "error",
    "0": "error",
    "1": "warn",
    "2": "info",
    "3": "info",
    "4": "debug",
}

#: what msrp_ua_list_sessions says of a dialog: being set up, up, over
_DIALOG_STATES = {LegState.CALLING: 0, LegState.BINDING: 1, LegState.ENDED: 3}


class Numbers(Protocol):
    """Statistics by their names."""

    def get(self, names: Sequence[str]) -> dict[str, int]:
        """Values; a name may be a group, ``group:``, or ``all``.  Raises KeyError."""

    def names(self) -> list[tuple[str, str]]:
        """All names with their kinds."""

    def reset(self, names: Sequence[str]) -> None:
        """Set counters back.  Raises KeyError, or ValueError for what is no counter."""


class Subscriptions(Protocol):
    """Who gets events over the network."""

    def subscribe(self, event: str, socket: str, expire: float) -> None:
        """Subscribe, refresh, or with 0 unsubscribe.  Raises ValueError."""

    def list(self) -> list[dict[str, Any]]:
        """Events with their subscribers."""


class Program(Protocol):
    """What is of the program as a whole, not of the gateway."""

    def status(self) -> dict[str, Any]:
        """Version, state, counts, for a glance."""

    def drain(self) -> int:
        """Take nothing new; how many messages are still on their way."""

    def reload(self) -> dict[str, Any]:
        """Read the configuration again: what changed, what needs a restart.  Raises ValueError."""

    def check(self, file: str) -> list[str]:
        """Everything that is wrong with a configuration file."""

    def log_level(self, level: str | None) -> str:
        """The level of the log, after setting it if one is given.  Raises ValueError."""


class Commands:
    """All commands.  One for the program."""

    def __init__(
        self,
        operator: Operator,
        program: Program,
        numbers: Numbers,
        subscriptions: Subscriptions,
        hub: EventHub,
        events: Sequence[str],
        *,
        now: Callable[[], float],
    ) -> None:
        """``events``: names of all events; ``now`` gives seconds since the epoch."""
        self._operator = operator
        self._program = program
        self._numbers = numbers
        self._subscriptions = subscriptions
        self._hub = hub
        self._events = list(events)
        self._now = now
        self._since = now()
        self.dispatcher = Dispatcher(catalogue(self, program))

    # Sessions

    def list_sessions(
        self, limit: int = MAX_ROWS, after: str | None = None
    ) -> list[dict[str, Any]]:
        """In OpenSIPS's manner: an array."""
        sessions = self._operator.sessions(after, _limit(limit))
        return [self._operator.row(session) for session in sessions]

    def sessions(
        self,
        limit: int = MAX_ROWS,
        after: str | None = None,
        pattern: str = "*",
        state: str = "",
    ) -> dict[str, Any]:
        """A page, and the key to go on after."""
        limit = _limit(limit)
        sessions = self._operator.sessions(after, limit + 1, pattern, state)
        return {
            "Sessions": [self._operator.row(session) for session in sessions[:limit]],
            "next": sessions[limit - 1].key if len(sessions) > limit else None,
        }

    def show_session(self, key: str) -> dict[str, Any]:
        """One session."""
        return self._operator.details(self._session(key))

    def end_session(self, key: str) -> str:
        """As OpenSIPS answers it."""
        self.end_session_in_words(key)
        return "OK"

    def end_session_in_words(self, key: str) -> dict[str, Any]:
        """What it was, and what became of its messages."""
        return self._operator.end(self._session(key), "Ended by the operator")

    def _session(self, key: str) -> GatewaySession:
        try:
            return self._operator.session(key)
        except Unknown:
            raise RpcError(404, "Session doesn't exist") from None

    # The MSRP side

    def ua_start_session(self, content_types: str, from_uri: str, to_uri: str, ruri: str) -> str:
        """Call somebody."""
        try:
            self._operator.start(from_uri, to_uri, ruri, tuple(content_types.split()))
        except NotNow as error:
            raise RpcError(500, "Failed to start session", str(error)) from None
        return "OK"

    def ua_send_message(self, session_id: str, mime: str = "", body: str = "") -> Deferred[str]:
        """Send over a session; OK when the MSRP user, or our journal, has it."""
        session = self._msrp_session(session_id)
        try:
            answered = self._operator.send_over(
                session, mime or "text/plain", body.encode("utf-8", "surrogateescape")
            )
        except NotNow as error:
            raise RpcError(500, "Failed to send message", str(error)) from None

        def told(answer: tuple[int, str]) -> str:
            if answer[0] >= 300:
                raise RpcError(500, "Failed to send message", f"{answer[0]} {answer[1]}")
            return "OK"

        return answered.addCallback(told)

    def ua_list_sessions(self) -> list[dict[str, Any]]:
        """In OpenSIPS's manner; ``lifetime`` has no meaning here."""
        rows = []
        for session in self._operator.sessions():
            leg = session.leg
            rows.append(
                {
                    "session_id": leg.session_id,
                    "b2b_key": leg.dialog.id.call_id if leg.dialog is not None else "",
                    "type": "UAC" if session.called else "UAS",
                    "handler": "msrp_gateway",
                    "dlg_state": _DIALOG_STATES.get(leg.state, 2),
                    "peer_path": leg.paths[1],
                    "lifetime": 0,
                    "key": session.key,
                }
            )
        return rows

    def ua_end_session(self, session_id: str) -> str:
        """End it."""
        self._operator.end(self._msrp_session(session_id), "Ended by the operator")
        return "OK"

    def _msrp_session(self, session_id: str) -> GatewaySession:
        try:
            return self._operator.msrp_session(session_id)
        except Unknown:
            raise RpcError(404, "Unknown session") from None

    # Messages

    def send_message(
        self, from_uri: str, to_uri: str, text: str, content_type: str = "text/plain"
    ) -> Deferred[dict[str, Any]]:
        """Answers as a MESSAGE would be."""
        body = text.encode("utf-8", "surrogateescape")
        try:
            answered = self._operator.send(from_uri, to_uri, content_type, body)
        except NotNow as error:
            raise RpcError(500, "Failed to send message", str(error)) from None
        return answered.addCallback(lambda answer: {"status": answer[0], "reason": answer[1]})

    def journal_list(self, limit: int = MAX_ROWS, after: int = 0) -> dict[str, Any]:
        """A page, and the number to go on after."""
        rows, more = self._operator.messages(after, _limit(limit))
        return {"entries": rows, "next": rows[-1]["number"] if more else None}

    def journal_retry(self, id: str) -> dict[str, Any]:
        """Now."""
        self._with_message(id, self._operator.retry)
        return {"id": id}

    def journal_drop(self, id: str) -> dict[str, Any]:
        """For good."""
        self._with_message(id, self._operator.drop)
        return {"id": id}

    def _with_message(self, id: str, act: Callable[[Any], None]) -> None:
        try:
            act(self._operator.message(id))
        except Unknown:
            raise RpcError(404, "Message doesn't exist") from None
        except NotNow as error:
            raise RpcError(409, str(error)) from None

    def message_fate(self, id: str) -> dict[str, Any]:
        """Waiting, or how it ended."""
        try:
            return self._operator.fate(id)
        except Unknown:
            raise RpcError(404, "Message doesn't exist, or ended too long ago") from None

    # Statistics

    def get_statistics(self, statistics: list[str]) -> dict[str, int]:
        """Values by ``group:name``."""
        try:
            return self._numbers.get(statistics)
        except KeyError as error:
            raise RpcError(404, "Statistics Not Found", str(error.args[0])) from None

    def list_statistics(self, statistics: Sequence[str] = ()) -> dict[str, str]:
        """Kinds by ``group:name``."""
        wanted = set(statistics)
        return {
            name: kind
            for name, kind in self._numbers.names()
            if not wanted or name in wanted or f"{name.partition(':')[0]}:" in wanted
        }

    def reset_statistics(self, statistics: list[str]) -> str:
        """Counters alone."""
        try:
            self._numbers.reset(statistics)
        except KeyError as error:
            raise RpcError(404, "Statistics Not Found", str(error.args[0])) from None
        except ValueError as error:
            raise RpcError(400, str(error)) from None
        return "OK"

    # Events

    def event_subscribe(self, event: str, socket: str, expire: int = 3600) -> str:
        """As OpenSIPS answers it."""
        try:
            self._subscriptions.subscribe(event, socket, expire)
        except ValueError as error:
            raise RpcError(400, str(error)) from None
        return "OK"

    def events_list(self) -> dict[str, Any]:
        """Names and numbers."""
        rows = [{"name": name, "id": number} for number, name in enumerate(self._events)]
        return {"Events": rows}

    def subscribers_list(self, event: str = "", socket: str = "") -> dict[str, Any]:
        """All, or those of one event, or one of them."""
        events = []
        for row in self._subscriptions.list():
            subscribers = [
                each
                for each in row.get("Subscribers", [])
                if not socket or each.get("socket") == socket
            ]
            if (not event or row.get("name") == event) and (subscribers or not socket):
                events.append({**row, "Subscribers": subscribers})
        return {"Events": events}

    def raise_event(self, event: str, params: Sequence[str] = ()) -> str:
        """Hand it to everybody who hears events."""
        if event not in self._events:
            raise RpcError(404, "Event not registered")
        parameters: dict[str, Any] = {}
        for number, param in enumerate(params):
            name, equals, value = param.partition("=")
            if equals:
                parameters[name] = value
            else:
                parameters[str(number)] = param
        self._hub.raise_event(Event(event, parameters))
        return "OK"

    # The program

    def uptime(self) -> dict[str, str]:
        """In OpenSIPS's words."""
        now = self._now()
        return {
            "Now": time.ctime(now),
            "Up since": time.ctime(self._since),
            "Up time": f"{math.floor(now - self._since)} [sec]",
        }

    def version(self) -> dict[str, str]:
        """Name and version."""
        return {"Server": f"msrpgw ({__version__})"}

    def pwd(self) -> dict[str, str]:
        """Where it runs."""
        return {"WD": os.getcwd()}

    def which(self, command: str | None = None) -> list[Any]:
        """Names, or for one command the sets of parameters that it takes."""
        if command is None:
            return self.dispatcher.names
        found = self.dispatcher.find(command)
        if found is None:
            raise RpcError(404, "unknown MI command")
        needed = [each.name for each in found.parameters if not each.optional]
        optional = [each.name for each in found.parameters if each.optional]
        return [needed + optional[:count] for count in range(len(optional) + 1)]

    def ps(self) -> dict[str, Any]:
        """This one."""
        return {"Processes": [{"ID": 0, "PID": os.getpid(), "Type": "msrpgw"}]}

    def log_level(self, level: str | None = None) -> dict[str, Any]:
        """By our names; OpenSIPS's numbers are understood."""
        if level is not None:
            level = LOG_LEVELS.get(level, level)
        try:
            return {"Log level": self._program.log_level(level)}
        except ValueError as error:
            _invalid(str(error))

    def drain(self) -> dict[str, Any]:
        """What is still to come."""
        return {"under_way": self._program.drain()}

    def reload(self) -> dict[str, Any]:
        """What changed."""
        try:
            return self._program.reload()
        except ValueError as error:
            raise RpcError(500, "The configuration can't be used", str(error).split("\n")) from None

    def check_config(self, file: str = "") -> dict[str, Any]:
        """An empty list is good news."""
        return {"problems": self._program.check(file)}


def _limit(limit: int) -> int:
    if not 1 <= limit <= MAX_ROWS:
        _invalid(f"'limit' must be from 1 to {MAX_ROWS}")
    return limit


def _invalid(text: str) -> NoReturn:
    raise RpcError(INVALID_PARAMS, "Invalid params", text)
