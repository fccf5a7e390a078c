"""Custody: what the sender of a message is told, and when; one outcome for each message."""

from collections.abc import Iterable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.gateway.custody import Custody, PageItem, SendItem
from msrpgw.gateway.settings import GatewaySettings
from msrpgw.gateway.status import msrp_to_sip, sip_to_msrp
from msrpgw.timers import Timers
from msrpgw.types import Direction, Message, Outcome, OutcomeKind
from tests.support import check_no_timers

HOLD_MESSAGE = 0.3
HOLD_SEND = 5.0
TICK = 0.01  # timers are this exact

DELIVERED = Outcome(OutcomeKind.DELIVERED, 200, "OK")
RELAYED = Outcome(OutcomeKind.RELAYED, 200, "A relay has it")
REFUSED = Outcome(OutcomeKind.REFUSED, 413, "Too long")
TIMED_OUT = Outcome(OutcomeKind.UNREACHABLE, 408, "No MSRP response")
LOST = Outcome(OutcomeKind.UNREACHABLE, 0, "Connection lost")
EXPIRED = Outcome(OutcomeKind.EXPIRED, 0, "No REPORT came")
DROPPED = Outcome(OutcomeKind.DROPPED, 0, "The gateway gave it up")

FAILURES = (REFUSED, TIMED_OUT, LOST, EXPIRED, DROPPED)


def message(direction: Direction) -> Message:
    """Some message."""
    return Message("id", direction, "text/plain", b"hello", 0.0)


class CustodyCase(SynchronousTestCase):
    """Records all that custody does, in order.  Provides Custodian and HeldSend."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.told: list[object] = []
        self.custody = self.make()

    def tearDown(self) -> None:
        self.clock.advance(GatewaySettings().hold_message + 0.01)
        check_no_timers(self, self.clock, self.timers)

    def make(self, hold_message: float = HOLD_MESSAGE, hold_send: float = HOLD_SEND) -> Custody:
        settings = GatewaySettings(hold_message=hold_message, hold_send=hold_send)
        return Custody(self.timers, settings, self)

    def message_ended(self, message: Message, outcome: Outcome) -> None:
        self.told.append(("ended", outcome))

    def failed_after_accept(self, context: object, message: Message, outcome: Outcome) -> None:
        self.told.append(("notice", context, outcome))

    def answer(self, status: int, reason: str, headers: Iterable[tuple[str, str]]) -> None:
        self.assertEqual(tuple(headers), ())
        self.told.append((status, reason))

    def accept(self) -> None:
        self.told.append("accept")

    def report(self, status: int, comment: str = "") -> None:
        self.told.append(("report", status, comment))

    def assertTold(self, *expected: object) -> None:
        self.assertEqual(self.told, list(expected))
        self.told = []


class MessageTests(CustodyCase):
    """A MESSAGE on its way to the MSRP user."""

    def take(self, live: bool, custody: Custody | None = None) -> PageItem:
        self.custody = custody or self.custody
        return self.custody.message_in(self.answer, message(Direction.TO_MSRP), live, "session")

    def test_delivered(self) -> None:
        item = self.take(live=True)
        self.assertTold()
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold((200, "OK"), ("ended", DELIVERED))

    def test_delivered_at_the_last_moment(self) -> None:
        item = self.take(live=True)
        self.clock.advance(HOLD_MESSAGE - TICK)
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold((200, "OK"), ("ended", DELIVERED))
        self.clock.advance(HOLD_MESSAGE)
        self.assertTold()

    def test_failed(self) -> None:
        for outcome in FAILURES:
            item = self.take(live=True)
            self.custody.message_outcome(item, outcome)
            self.assertTold(msrp_to_sip(outcome.status), ("ended", outcome))

    def test_answers_of_failures(self) -> None:
        for outcome, status in ((REFUSED, 413), (TIMED_OUT, 504), (LOST, 480)):
            self.custody.message_outcome(self.take(live=True), outcome)
            answered = self.told.pop(0)
            assert isinstance(answered, tuple)
            self.assertEqual(answered[0], status)
            self.told = []

    def test_hold_over_then_delivered(self) -> None:
        item = self.take(live=True)
        self.clock.advance(HOLD_MESSAGE + TICK)
        self.assertTold((202, "Accepted"))
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold(("ended", DELIVERED))

    def test_hold_over_then_failed(self) -> None:
        for outcome in FAILURES:
            item = self.take(live=True)
            self.clock.advance(HOLD_MESSAGE + TICK)
            self.assertTold((202, "Accepted"))
            self.custody.message_outcome(item, outcome)
            self.assertTold(("notice", "session", outcome), ("ended", outcome))

    def test_not_live(self) -> None:
        item = self.take(live=False)
        self.assertTold((202, "Accepted"))
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold(("ended", DELIVERED))

    def test_not_live_then_failed(self) -> None:
        item = self.take(live=False)
        self.custody.message_outcome(item, LOST)
        self.assertTold((202, "Accepted"), ("notice", "session", LOST), ("ended", LOST))

    def test_no_hold(self) -> None:
        item = self.take(True, self.make(hold_message=0.0))
        self.assertTold((202, "Accepted"))
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold(("ended", DELIVERED))

    def test_relayed(self) -> None:
        item = self.take(live=True)
        self.custody.message_outcome(item, RELAYED)
        self.assertTold((202, "Accepted"))
        self.clock.advance(GatewaySettings().hold_message + 0.01)
        self.assertTold()
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold(("ended", DELIVERED))

    def test_relayed_then_failed(self) -> None:
        for outcome in (REFUSED, EXPIRED):
            item = self.take(live=True)
            self.custody.message_outcome(item, RELAYED)
            self.custody.message_outcome(item, outcome)
            self.assertTold((202, "Accepted"), ("notice", "session", outcome), ("ended", outcome))

    def test_relayed_after_the_hold(self) -> None:
        item = self.take(live=True)
        self.clock.advance(HOLD_MESSAGE + TICK)
        self.custody.message_outcome(item, RELAYED)
        self.assertTold((202, "Accepted"))
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold(("ended", DELIVERED))

    def test_a_second_outcome_is_ignored_and_counted(self) -> None:
        item = self.take(live=True)
        self.custody.message_outcome(item, DELIVERED)
        self.told = []
        for outcome in (DELIVERED, RELAYED, *FAILURES):
            self.custody.message_outcome(item, outcome)
        self.assertTold()
        self.assertEqual(self.custody.repeated_outcomes, 7)

    def test_messages_do_not_mix(self) -> None:
        first, second = self.take(live=True), self.take(live=True)
        self.custody.message_outcome(second, REFUSED)
        self.assertTold(msrp_to_sip(413), ("ended", REFUSED))
        self.custody.message_outcome(first, DELIVERED)
        self.assertTold((200, "OK"), ("ended", DELIVERED))


class SendTests(CustodyCase):
    """A SEND's message on its way to the page user."""

    def take(self, custody: Custody | None = None) -> SendItem:
        self.custody = custody or self.custody
        return self.custody.send_in(self, message(Direction.TO_PAGE))

    def test_delivered(self) -> None:
        item = self.take()
        self.assertTold()
        self.custody.send_outcome(item, DELIVERED)
        self.assertTold("accept", ("report", 200, "OK"), ("ended", DELIVERED))

    def test_accepted_by_somebody_on_the_way(self) -> None:
        accepted = Outcome(OutcomeKind.DELIVERED, 202, "Accepted")
        self.custody.send_outcome(self.take(), accepted)
        self.assertTold("accept", ("report", 200, "OK"), ("ended", accepted))

    def test_failed(self) -> None:
        busy = Outcome(OutcomeKind.REFUSED, 486, "Busy Here")
        decline = Outcome(OutcomeKind.REFUSED, 603, "Decline")
        silence = Outcome(OutcomeKind.UNREACHABLE, 408, "Request Timeout")
        for outcome in (busy, decline, silence, DROPPED):
            self.custody.send_outcome(self.take(), outcome)
            status = sip_to_msrp(outcome.status)
            self.assertTold("accept", ("report", status, outcome.reason), ("ended", outcome))

    def test_hold_over(self) -> None:
        for outcome, status in ((DELIVERED, 200), (REFUSED, 413)):
            item = self.take()
            self.clock.advance(HOLD_SEND - TICK)
            self.assertTold()
            self.clock.advance(2 * TICK)
            self.assertTold("accept")
            self.custody.send_outcome(item, outcome)
            # The second accept() does nothing: the 200 was sent.
            self.assertTold("accept", ("report", status, outcome.reason), ("ended", outcome))

    def test_no_hold(self) -> None:
        item = self.take(self.make(hold_send=0.0))
        self.assertTold("accept")
        self.custody.send_outcome(item, DELIVERED)
        self.assertTold("accept", ("report", 200, "OK"), ("ended", DELIVERED))

    def test_a_second_outcome_is_ignored_and_counted(self) -> None:
        item = self.take()
        self.custody.send_outcome(item, REFUSED)
        self.told = []
        self.custody.send_outcome(item, DELIVERED)
        self.assertTold()
        self.assertEqual(self.custody.repeated_outcomes, 1)
