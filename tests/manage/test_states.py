"""Every command in every state of a session: what it answers, and that it ends only what it should.

The table has a line for each command; a command without one fails.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.gateway.wire import WireMsrp
from tests.manage.support import CommandsCase

KEY = "sip:bob@192.0.2.2:sip:alice@192.0.2.1"

#: a session's states, and what an operator sees of each
STATES = {
    "none": None,
    "unanswered": "setting_up",
    "ringing": "setting_up",
    "waiting for MSRP": "setting_up",
    "up": "up",
    "broken": "moving",
    "ended": None,
}
LIVE = tuple(name for name, seen in STATES.items() if seen is not None)
OVER = tuple(name for name, seen in STATES.items() if seen is None)
ALL = tuple(STATES)


class Row(NamedTuple):
    """What a command is asked with, and where it answers what."""

    params: Mapping[str, Any] = {}
    #: error code by state; no entry: a result
    refused: Mapping[str, int] = {}
    #: whether the session is gone afterwards
    ends: bool = False


def refusing(code: int, states: tuple[str, ...]) -> dict[str, int]:
    """The same code in some states."""
    return dict.fromkeys(states, code)


GONE = refusing(404, OVER)
USERS = {"from_uri": "sip:alice@192.0.2.1", "to_uri": "sip:bob@192.0.2.2"}
COMMANDS = {
    "msrp_gw_list_sessions": Row(),
    "msrp_gw_end_session": Row({"key": KEY}, GONE, True),
    "msrp_ua_start_session": Row(
        {"content_types": "text/plain", **USERS, "ruri": "sip:bob@192.0.2.2"}, refusing(500, LIVE)
    ),
    "msrp_ua_send_message": Row(
        {"session_id": "SESSION", "body": "x"},
        GONE | refusing(500, tuple(name for name in LIVE if name != "up")),
    ),
    "msrp_ua_list_sessions": Row(),
    "msrp_ua_end_session": Row({"session_id": "SESSION"}, GONE, True),
    "get_statistics": Row({"statistics": ["all"]}),
    "list_statistics": Row(),
    "reset_statistics": Row({"statistics": ["msrpgw:messages"]}),
    "uptime": Row(),
    "version": Row(),
    "pwd": Row(),
    "which": Row(),
    "ps": Row(),
    "log_level": Row({"level": "info"}),
    "event_subscribe": Row({"event": "E_MSRP_SESSION_END", "socket": "udp:127.0.0.1:9"}),
    "events_list": Row(),
    "subscribers_list": Row(),
    "raise_event": Row({"event": "E_MSRP_SESSION_END"}),
    "msrpgw:status": Row(),
    "msrpgw:list_sessions": Row(),
    "msrpgw:show_session": Row({"key": KEY}, GONE),
    "msrpgw:end_session": Row({"key": KEY}, GONE, True),
    "msrpgw:send_message": Row({**USERS, "text": "x"}),
    "msrpgw:journal_list": Row(),
    "msrpgw:journal_retry": Row({"id": "none"}, refusing(404, ALL)),
    "msrpgw:journal_drop": Row({"id": "none"}, refusing(404, ALL)),
    "msrpgw:message_fate": Row({"id": "none"}, refusing(404, ALL)),
    "msrpgw:drain": Row(),
    "msrpgw:reload": Row(),
    "msrpgw:check_config": Row(),
}


class StatesTests(CommandsCase):
    """The table, played."""

    def arrive(self, state: str) -> None:
        """Bring a session into a state, in a new town."""
        self.setUp()
        self.bob = bob = WireMsrp(self.town, "bob", "192.0.2.2")
        {
            "none": lambda: None,
            "unanswered": self.silent,
            "ringing": self.ringing,
            "waiting for MSRP": self.waiting,
            "up": self.up,
            "broken": self.broken,
            "ended": self.ended,
        }[state]()
        bob.send_status = 200

    def silent(self) -> None:
        self.bob.on_request = lambda request: None
        self.send()

    def ringing(self) -> None:
        self.bob.on_request = lambda request: self.bob.answer(request, 180)
        self.send()

    def waiting(self) -> None:
        self.bob.setup = "active"
        self.send()

    def up(self) -> None:
        self.bob.call(self.alice.uri)
        self.town.run(0.1)

    def broken(self) -> None:
        self.up()
        self.bob.on_request = lambda request: None
        self.bob.connections[-1].break_off()
        self.town.run(0.1)

    def ended(self) -> None:
        self.up()
        self.ask("msrp_gw_end_session", KEY)
        self.town.run(1)

    def seen(self) -> str | None:
        """The state that the list shows."""
        rows = self.ask("msrp_gw_list_sessions")
        return rows[0]["state"] if rows else None

    def play(self, command: str, row: Row, state: str) -> None:
        """One command in one state, twice."""
        self.arrive(state)
        self.assertEqual(self.seen(), STATES[state], state)
        (session_id,) = [each["session_id"] for each in self.ask("msrp_ua_list_sessions")] or ["-"]
        params = {
            name: session_id if value == "SESSION" else value for name, value in row.params.items()
        }
        answer = self.raw(command, seconds=0.2, **params)
        where = f"{command}, {state}: {answer}"
        if state in row.refused:
            self.assertEqual(answer["error"]["code"], row.refused[state], where)
        else:
            self.assertIn("result", answer, where)
        if not row.ends and state in LIVE:
            self.assertEqual(self.seen(), STATES[state], where)
        elif row.ends:
            self.assertIsNone(self.seen(), where)
            answer = self.raw(command, **params)
            self.assertEqual(answer["error"]["code"], 404, where)
        self.goes_on()

    def test_every_command_in_every_state(self) -> None:
        names = {each.name for each in self.commands.dispatcher.commands}
        self.assertEqual(set(COMMANDS), names)
        for command, row in COMMANDS.items():
            for state in STATES:
                self.play(command, row, state)

    def goes_on(self) -> None:
        """The gateway is as good as before: the next message gets through."""
        self.bob.on_request = self.bob.take
        self.bob.setup = "passive"
        for invite in self.bob.requests("INVITE"):
            self.bob.answer(invite, 487)
        self.town.run(40)
        self.send("goes on")
        self.town.run(40)
        self.assertIn("goes on", self.bob.bodies())
