"""One conversation in a terminal or a script: lines out, lines shown, expectations counted.

Knows neither sockets nor the reactor: a user, a clock and something to write to come in.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from msrpgw.timers import Timer, Timers
from msrpgw.ua.texts import OnSent, Received, Sent


class User(Protocol):
    """Who sends the texts: a PageUser or an MsrpUser."""

    def send(self, to: str, text: str, on_sent: OnSent) -> None:
        """Send one text."""


class Step(NamedTuple):
    """One step of a script."""

    sends: bool  #: send the text, else wait until it came
    text: str


class _Said:
    """A text of ours, and whether its last word came."""

    __slots__ = ("number", "settled")

    def __init__(self, number: int) -> None:
        self.number = number
        self.settled = False


class Terminal:
    """Shows a conversation and decides when it is over.

    A script (steps, or a count of texts to wait for) is over when all was sent and everything
    expected came; a typed conversation at the end of the input, when all was sent.  Then ``done``
    fires with the exit status: 0 if every text sent arrived and every expected one came.
    Steps are taken in their order: a text that is sent after one that is expected waits for it.
    """

    def __init__(
        self,
        timers: Timers,
        peer: str,
        write: Callable[[str], object],
        *,
        steps: Sequence[Step] = (),
        count: int = 0,
        timeout: float = 0.0,
        as_json: bool = False,
        reports: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``count``: texts to wait for; ``timeout``: seconds until we give up, 0 for never;
        ``reports``: whether the user that sends waits for REPORTs; ``wall_clock``: for showing."""
        self._peer = peer
        self._write = write
        self._steps = deque(steps)
        self._heard: list[str] = []  # texts that came and that no step has taken
        self._count = count
        self._as_json = as_json
        self._reports = reports
        self._wall_clock = wall_clock
        self._ending = bool(steps or count)  # over as soon as nothing is awaited
        self._user: User | None = None  # until the start
        self._said = 0
        self._unsettled = 0
        self._failed = False
        self._timer: Timer | None = None
        self.done: Deferred[int] = Deferred()
        if timeout:
            self._timer = timers.call_later(timeout, self._timed_out)

    def start(self, user: User) -> None:
        """Take the steps of the script that need not wait."""
        self._user = user
        self._check()

    def say(self, text: str) -> None:
        """Send one text."""
        assert self._user is not None
        self._said += 1
        self._unsettled += 1
        said = _Said(self._said)
        self._show("sending", f"{said.number}> {text}", number=said.number, text=text)
        self._user.send(self._peer, text, lambda result: self._sent(said, result))

    def _sent(self, said: _Said, sent: Sent) -> None:
        # A MESSAGE answered 202 was taken over, and that is the last word about it; a SEND that
        # was accepted has its REPORT still to come.
        if not said.settled and (sent.final or not self._reports):
            said.settled = True
            self._unsettled -= 1
        self._failed = self._failed or not sent.ok
        milliseconds = round(sent.delay * 1000, 1)
        words = f"{sent.status} {sent.reason}".strip() if sent.status else sent.reason
        self._show(
            "sent",
            f"{said.number}> {sent.state}: {words}, {milliseconds} ms",
            number=said.number,
            text=sent.text,
            state=sent.state,
            status=sent.status,
            reason=sent.reason,
            milliseconds=milliseconds,
        )
        self._check()

    def received(self, received: Received) -> None:
        """Show a text that came."""
        self._show(
            "received",
            f"<{received.sender}> {received.text}",
            text=received.text,
            sender=received.sender,
        )
        if self._steps:
            self._heard.append(received.text)
        self._count -= 1
        self._check()

    def state(self, peer: str, state: str) -> None:
        """Show what became of a call."""
        self._show("state", f"-- {state} ({peer})", peer=peer, state=state)

    def note(self, text: str) -> None:
        """Show something that is not for programs."""
        if not self._as_json:
            self._show("note", f"-- {text}")

    def input_ended(self) -> None:
        """Nothing more will be typed: over when all that was typed is settled."""
        self._ending = True
        self._check()

    def _show(self, event: str, line: str, **fields: object) -> None:
        now = self._wall_clock()
        if self._as_json:
            self._write(json.dumps({"event": event, "at": round(now, 6), **fields}))
        else:
            clock = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03}"
            # A peer's text must not steer the terminal.
            shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
            self._write(f"{clock} {shown}")

    def _check(self) -> None:
        self._take_steps()
        if self._ending and not self._unsettled and not self._steps and self._count <= 0:
            self._finish(1 if self._failed else 0)

    def _take_steps(self) -> None:
        while self._steps and self._user is not None:
            step = self._steps[0]
            if not step.sends:
                if step.text not in self._heard:
                    return
                self._heard.remove(step.text)
            self._steps.popleft()
            if step.sends:
                self.say(step.text)

    def _timed_out(self) -> None:
        self._timer = None
        missing = [repr(step.text) for step in self._steps if not step.sends]
        if self._count > 0:
            missing.append(f"{self._count} more to come")
        if self._unsettled:
            missing.append(f"the fate of {self._unsettled} sent")
        words = ", ".join(missing) or "nothing"
        self._show("timeout", f"-- timed out; missing: {words}", missing=missing)
        self._finish(1)

    def _finish(self, status: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.done.called:
            self.done.callback(status)
