"""Commands over a gateway in a Town, with fakes for what is of the program."""

import json
from collections.abc import Sequence
from typing import Any

from msrpgw.gateway.operator import Operator
from msrpgw.manage.commands import Commands
from tests.gateway.keeping import KeepingTestCase
from tests.gateway.support import EPOCH

EVENTS = ("E_MSRP_SESSION_NEW", "E_MSRP_SESSION_END")


class FakeProgram:
    """The program as a whole."""

    def __init__(self) -> None:
        self.level = "info"
        self.problems: list[str] = []

    def status(self) -> dict[str, Any]:
        """Something."""
        return {"version": "1"}

    def drain(self) -> int:
        """Some."""
        return 3

    def reload(self) -> dict[str, Any]:
        """Refused when there are problems."""
        if self.problems:
            raise ValueError("\n".join(self.problems))
        return {"changed": [], "needs_restart": []}

    def check(self, file: str) -> list[str]:
        """The problems."""
        return self.problems

    def log_level(self, level: str | None) -> str:
        """Kept."""
        if level == "loud":
            raise ValueError("'loud' is no log level")
        self.level = level or self.level
        return self.level


class FakeNumbers:
    """One counter and one gauge."""

    def __init__(self) -> None:
        self.values = {"msrpgw:messages": 5, "msrpgw:sessions": 2}

    def get(self, names: Sequence[str]) -> dict[str, int]:
        """Both, or one."""
        if "nothing" in names:
            raise KeyError("nothing")
        return {
            name: self.values[name] for name in self.values if names == ["all"] or name in names
        }

    def names(self) -> list[tuple[str, str]]:
        """Both."""
        return [("msrpgw:messages", "counter"), ("msrpgw:sessions", "gauge")]

    def reset(self, names: Sequence[str]) -> None:
        """The counter."""
        for name in names:
            if name == "msrpgw:sessions":
                raise ValueError("msrpgw:sessions is no counter")
            if name not in self.values:
                raise KeyError(name)
            self.values[name] = 0


class FakeSubscriptions:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, float]] = []

    def subscribe(self, event: str, socket: str, expire: float) -> None:
        """Keep it."""
        if event not in EVENTS:
            raise ValueError(f"unknown event {event!r}")
        self.told.append((event, socket, expire))

    def list(self) -> list[dict[str, Any]]:
        """In OpenSIPS's manner."""
        return [
            {"name": event, "id": EVENTS.index(event), "Subscribers": [{"socket": socket}]}
            for event, socket, _ in self.told
        ]


class CommandsCase(KeepingTestCase):
    """A town with a gateway that takes commands."""

    def setUp(self) -> None:
        super().setUp()
        self.command()

    def command(self) -> None:
        """Take command of the town's gateway."""
        self.program = FakeProgram()
        self.numbers = FakeNumbers()
        self.subscriptions = FakeSubscriptions()
        self.operator = Operator(self.town.gateway)
        self.commands = Commands(
            self.operator,
            self.program,
            self.numbers,
            self.subscriptions,
            self.town.hub,
            EVENTS,
            now=lambda: EPOCH + self.town.clock.seconds(),
        )

    def ask(self, method: str, *args: Any, seconds: float = 0.0, **params: Any) -> Any:
        """The result of a command; fails the test when it is refused."""
        answer = self.raw(method, *args, seconds=seconds, **params)
        self.assertNotIn("error", answer)
        return answer["result"]

    def refused(self, method: str, *args: Any, **params: Any) -> tuple[int, str]:
        """Code and text of a refusal."""
        error = self.raw(method, *args, **params)["error"]
        return error["code"], error["message"]

    def raw(self, method: str, *args: Any, seconds: float = 0.0, **params: Any) -> Any:
        """The whole answer, after so many seconds."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or list(args)}
        answered = self.commands.dispatcher.handle(json.dumps(request).encode())
        self.town.run(seconds)
        answer = self.successResultOf(answered)
        assert answer is not None
        return json.loads(answer)
