"""Scripts and what is shown."""

import json

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.timers import Timers
from msrpgw.ua.terminal import Step, Terminal
from msrpgw.ua.texts import OnSent, Received, Sent
from tests.support import check_no_timers

BOB = "sip:bob@example.com"


class FakeUser:
    """Keeps what it should send."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.on_sent: list[OnSent] = []

    def send(self, to: str, text: str, on_sent: OnSent) -> None:
        """Keep one."""
        self.texts.append(text)
        self.on_sent.append(on_sent)


class TerminalTests(SynchronousTestCase):
    """A terminal with a user that does nothing."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.user = FakeUser()
        self.lines: list[str] = []

    def terminal(self, *steps: Step, **options: object) -> Terminal:
        terminal = Terminal(
            self.timers,
            BOB,
            self.lines.append,
            steps=steps,
            wall_clock=lambda: 0.25,
            **options,  # type: ignore[arg-type]
        )
        terminal.start(self.user)
        return terminal

    def sent(self, number: int, status: int = 200, *, final: bool = True) -> None:
        """Something became of a text."""
        text = self.user.texts[number]
        self.user.on_sent[number](Sent(text, status, "Words", 0.0015, final))

    def received(self, terminal: Terminal, *texts: str) -> None:
        for text in texts:
            terminal.received(Received(BOB, text, 0.0))

    def test_sends(self) -> None:
        terminal = self.terminal(Step(True, "1"), Step(True, "2"))
        self.assertEqual(self.user.texts, ["1", "2"])
        self.sent(1)
        self.assertNoResult(terminal.done)
        self.sent(0)
        self.assertEqual(self.successResultOf(terminal.done), 0)

    def test_a_failure(self) -> None:
        terminal = self.terminal(Step(True, "1"), Step(True, "2"))
        self.sent(0, 480)
        self.sent(1)
        self.assertEqual(self.successResultOf(terminal.done), 1)

    def test_steps_in_order(self) -> None:
        terminal = self.terminal(
            Step(False, "a"), Step(True, "1"), Step(False, "b"), Step(True, "2")
        )
        self.received(terminal, "b", "x")
        self.assertEqual(self.user.texts, [])
        self.received(terminal, "a")
        self.assertEqual(self.user.texts, ["1", "2"])
        self.sent(0)
        self.sent(1)
        self.assertEqual(self.successResultOf(terminal.done), 0)

    def test_the_same_text_twice(self) -> None:
        terminal = self.terminal(Step(False, "a"), Step(False, "a"))
        self.received(terminal, "a")
        self.assertNoResult(terminal.done)
        self.received(terminal, "a")
        self.assertEqual(self.successResultOf(terminal.done), 0)

    def test_count(self) -> None:
        terminal = self.terminal(count=2)
        self.received(terminal, "a")
        self.assertNoResult(terminal.done)
        self.received(terminal, "b")
        self.assertEqual(self.successResultOf(terminal.done), 0)

    def test_a_page_user_has_no_more_to_wait_for_than_202(self) -> None:
        terminal = self.terminal(Step(True, "1"))
        self.sent(0, 202, final=False)
        self.assertEqual(self.successResultOf(terminal.done), 0)

    def test_an_msrp_user_waits_for_the_report(self) -> None:
        for status, result in ((200, 0), (480, 1)):
            self.user = FakeUser()
            terminal = self.terminal(Step(True, "1"), reports=True)
            self.sent(0, 200, final=False)
            self.assertNoResult(terminal.done)
            self.sent(0, status)
            self.assertEqual(self.successResultOf(terminal.done), result)

    def test_typed(self) -> None:
        terminal = self.terminal()
        terminal.say("1")
        self.sent(0)
        self.assertNoResult(terminal.done)
        terminal.say("2")
        terminal.input_ended()
        self.assertNoResult(terminal.done)
        self.sent(1)
        self.assertEqual(self.successResultOf(terminal.done), 0)

    def test_timeout(self) -> None:
        terminal = self.terminal(
            Step(True, "1"), Step(False, "a"), Step(True, "2"), count=3, timeout=5.0
        )
        self.clock.advance(5.1)
        self.assertEqual(self.successResultOf(terminal.done), 1)
        self.assertIn("missing: 'a', 3 more to come, the fate of 1 sent", self.lines[-1])

    def test_in_time(self) -> None:
        terminal = self.terminal(Step(False, "a"), timeout=5.0)
        self.received(terminal, "a")
        self.assertEqual(self.successResultOf(terminal.done), 0)
        check_no_timers(self, self.clock, self.timers)

    def test_what_is_shown(self) -> None:
        terminal = self.terminal(Step(True, "1"))
        self.received(terminal, "\x1b[2J")
        terminal.state(BOB, "call up")
        self.sent(0, 0)
        terminal.note("ready")
        shown = [line.partition(".250 ")[2] for line in self.lines]
        self.assertEqual(
            shown,
            [
                "1> 1",
                "<sip:bob@example.com> \\x1b[2J",
                "-- call up (sip:bob@example.com)",
                "1> failed: Words, 1.5 ms",
                "-- ready",
            ],
        )

    def test_json(self) -> None:
        terminal = self.terminal(Step(True, "1"), as_json=True)
        self.received(terminal, "a")
        self.sent(0, 202, final=False)
        terminal.note("not for programs")
        self.assertEqual(
            [json.loads(line) for line in self.lines],
            [
                {"event": "sending", "at": 0.25, "number": 1, "text": "1"},
                {"event": "received", "at": 0.25, "text": "a", "sender": BOB},
                {
                    "event": "sent",
                    "at": 0.25,
                    "number": 1,
                    "text": "1",
                    "state": "accepted",
                    "status": 202,
                    "reason": "Words",
                    "milliseconds": 1.5,
                },
            ],
        )
