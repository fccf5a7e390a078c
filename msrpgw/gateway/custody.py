"""Custody: who has a message, and what its sender is told when.

    MESSAGE in, leg up      ──outcome within hold_message──► 200, or the refusal
                            ──hold over, or a relay has it─► 202, told by a notice if it fails
    MESSAGE in, leg not up  ───────────────────────────────► 202 at once
    SEND in                 ──outcome within hold_send─────► MSRP 200 and REPORT
                            ──hold over────────────────────► MSRP 200, REPORT with the outcome

A 202, or a 200 to a SEND without the page user's answer, rests on this process's memory: there is
no journal yet.  Pure: events and timers in; answers and outcomes out.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from msrpgw.gateway.settings import GatewaySettings
from msrpgw.gateway.status import msrp_to_sip, sip_to_msrp
from msrpgw.timers import DelayLine, Timer, Timers
from msrpgw.types import Message, Outcome, OutcomeKind

#: answers a MESSAGE with status, reason phrase and headers
Answer = Callable[[int, str, Iterable[tuple[str, str]]], object]

_NO_HEADERS: tuple[tuple[str, str], ...] = ()


class HeldSend(Protocol):
    """A message that came by SEND and whose answer is held."""

    def accept(self) -> None:
        """Answer 200, where it is owed."""

    def report(self, status: int, comment: str = "") -> None:
        """REPORT the end result, where it is wanted."""


class Custodian(Protocol):
    """Who hears the end of every message: the gateway."""

    def message_ended(self, message: Message, outcome: Outcome) -> None:
        """A message that was accepted has its one outcome."""

    def failed_after_accept(self, context: object, message: Message, outcome: Outcome) -> None:
        """A MESSAGE that was answered 202 can't be delivered: its sender must be told."""


class PageItem:
    """One MESSAGE on its way to the MSRP user.  Made by Custody, carried by the session."""

    __slots__ = ("answer", "context", "ended", "message")

    def __init__(self, answer: Answer, message: Message, context: object) -> None:
        self.answer: Answer | None = answer  #: None once the MESSAGE was answered
        self.message = message
        self.context = context
        self.ended = False


class SendItem:
    """One SEND's message on its way to the page user."""

    __slots__ = ("ended", "held", "message", "timer")

    def __init__(self, held: HeldSend, message: Message) -> None:
        self.held = held
        self.message = message
        self.ended = False
        self.timer: Timer | None = None

    def hold_over(self) -> None:
        """The page user took longer than the MSRP sender can wait."""
        self.timer = None
        self.held.accept()


class Custody:
    """Decides about answers.  One for the gateway.

    Invariant: each item gets exactly one answer and exactly one outcome.
    """

    def __init__(self, timers: Timers, settings: GatewaySettings, custodian: Custodian) -> None:
        self._timers = timers
        # All wait equally long, and nearly all are answered before: no timer for each.
        self._held = DelayLine(timers, settings.hold_message, self.accepted)
        self._hold_message = settings.hold_message
        self._hold_send = settings.hold_send
        self._custodian = custodian
        self.repeated_outcomes = 0  #: of messages that had their one already; a bug when not 0

    def message_in(self, answer: Answer, message: Message, live: bool, context: object) -> PageItem:
        """Take a MESSAGE.  ``live``: it can be sent at once, so its answer may wait.

        ``context`` comes back when its sender must be told of a failure after a 202.
        """
        item = PageItem(answer, message, context)
        if live and self._hold_message:
            self._held.push(item)
        else:
            self.accepted(item)
        return item

    def accepted(self, item: PageItem) -> None:
        """Answer 202, unless there was an answer: from here on the message is ours."""
        self._answer(item, 202, "Accepted", _NO_HEADERS)

    def message_outcome(self, item: PageItem, outcome: Outcome) -> None:
        """The MSRP side told what became of a message."""
        if item.ended:
            self.repeated_outcomes += 1
            return
        if outcome.kind is OutcomeKind.RELAYED:
            self.accepted(item)
            return
        item.ended = True
        if item.answer is None:
            if not outcome.ok:
                self._custodian.failed_after_accept(item.context, item.message, outcome)
        elif outcome.ok:
            self._answer(item, 200, "OK", _NO_HEADERS)
        else:
            status, reason = msrp_to_sip(outcome.status)
            self._answer(item, status, reason, _NO_HEADERS)
        self._custodian.message_ended(item.message, outcome)

    def _answer(
        self, item: PageItem, status: int, reason: str, headers: Iterable[tuple[str, str]]
    ) -> None:
        answer, item.answer = item.answer, None
        if answer is not None:
            answer(status, reason, headers)

    def send_in(self, held: HeldSend, message: Message) -> SendItem:
        """Take a message that came by SEND."""
        item = SendItem(held, message)
        if self._hold_send:
            item.timer = self._timers.call_later(self._hold_send, item.hold_over)
        else:
            held.accept()
        return item

    def send_outcome(self, item: SendItem, outcome: Outcome) -> None:
        """The page side told what became of a message."""
        if item.ended:
            self.repeated_outcomes += 1
            return
        item.ended = True
        if item.timer is not None:
            item.timer.cancel()
            item.timer = None
        # Also a failure is told by REPORT: the SEND itself was in order (RFC 4975 §7.1.2).
        item.held.accept()
        if outcome.ok:
            item.held.report(200, "OK")
        else:
            item.held.report(sip_to_msrp(outcome.status or 408), outcome.reason)
        self._custodian.message_ended(item.message, outcome)
