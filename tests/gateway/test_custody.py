"""Custody: what the sender of a message is told, and when; one outcome for each message."""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from msrpgw.gateway import custody
from msrpgw.gateway.custody import REMEMBERED, SWEEP, Custody
from msrpgw.gateway.items import Item, Keeper, PageCall, PageItem, SendItem
from msrpgw.gateway.settings import DeliverySettings, GatewaySettings
from msrpgw.gateway.status import msrp_to_sip, setup_to_sip, sip_to_msrp
from msrpgw.interfaces import IJournal
from msrpgw.timers import Timers
from msrpgw.types import (
    Direction,
    JournalContents,
    JournalDialog,
    JournalEntry,
    Message,
    Outcome,
    OutcomeKind,
    Parties,
    Route,
)
from tests.support import check_no_timers

HOLD_MESSAGE = 0.3
HOLD_SEND = 5.0
HOLD_SETUP = 0.2
TICK = 0.01  # timers are this exact
TTL = 1000.0
EPOCH = 1e9

DELIVERED = Outcome(OutcomeKind.DELIVERED, 200, "OK")
RELAYED = Outcome(OutcomeKind.RELAYED, 200, "A relay has it")
REFUSED = Outcome(OutcomeKind.REFUSED, 413, "Too long")
TIMED_OUT = Outcome(OutcomeKind.UNREACHABLE, 408, "No MSRP response")
LOST = Outcome(OutcomeKind.UNREACHABLE, 0, "Connection lost")
NO_REPORT = Outcome(OutcomeKind.EXPIRED, 0, "No REPORT came")
DROPPED = Outcome(OutcomeKind.DROPPED, 0, "The gateway gave it up")
AWAY = Outcome(OutcomeKind.UNREACHABLE, 0, "Away", setup=480)
UNKNOWN = Outcome(OutcomeKind.REFUSED, 0, "Not Found", setup=404)

ROUTE = Route("key", "sip:a@x", "sip:b@y", "sip:b@y", ("text/plain",))
PARTIES = Parties("sip:b@y", "sip:a@x", "sip:a@x")


def message(direction: Direction, lifetime: float = 0.0) -> Message:
    """Some message."""
    return Message("id", direction, "text/plain", b"hello", 0.0, "call", lifetime)


@implementer(IJournal)
class FakeJournal:
    """Keeps nothing until it is told how the disk fares."""

    healthy = True

    def __init__(self, durable: bool = True) -> None:
        self.durable = durable
        self.entries: list[JournalEntry] = []
        self.waiting: list[Callable[[bool], None]] = []
        self.ended: list[tuple[str, Outcome]] = []

    def open(self, found: Callable[[JournalContents], None]) -> None:
        """Nothing is there."""

    def put(self, entry: JournalEntry, on_saved: Callable[[bool], None]) -> None:
        """Keep the callback."""
        self.entries.append(entry)
        self.waiting.append(on_saved)

    def end(self, id: str, outcome: Outcome) -> None:
        """Note it."""
        self.ended.append((id, outcome))

    def put_dialog(self, dialog: JournalDialog) -> None:
        """Not custody's."""

    def end_dialog(self, call_id: str) -> None:
        """Not custody's."""

    def close(self) -> Deferred[None]:
        """Done."""
        return succeed(None)

    def commit(self, saved: bool = True) -> None:
        """The disk has all, or fails."""
        waiting, self.waiting = self.waiting, []
        for on_saved in waiting:
            on_saved(saved)


class CustodyCase(SynchronousTestCase):
    """Records all that custody does, in order.  Provides Custodian and HeldSend."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.told: list[object] = []
        self.waits = True  # what withdraw() finds
        self.failure_report = "yes"
        self.journal = FakeJournal()
        self.custody = self.make()

    def tearDown(self) -> None:
        self.assertEqual(len(self.custody), 0, "messages are still ours")
        self.clock.advance(GatewaySettings().hold_message + 0.01)
        self.clock.advance(REMEMBERED)
        check_no_timers(self, self.clock, self.timers)

    def make(
        self,
        hold_message: float = HOLD_MESSAGE,
        hold_send: float = HOLD_SEND,
        hold_setup: float = HOLD_SETUP,
        **delivery: Any,
    ) -> Custody:
        delivery.setdefault("message_ttl", TTL)
        self.custody = Custody(
            self.timers,
            GatewaySettings(hold_message=hold_message, hold_send=hold_send, hold_setup=hold_setup),
            DeliverySettings(**delivery),
            self.journal,
            self,
            new_call=self.new_call,
            now=lambda: EPOCH + self.clock.seconds(),
        )
        self.calls = 0
        return self.custody

    def new_call(self) -> PageCall:
        self.calls += 1
        return PageCall(f"call{self.calls}", f"tag{self.calls}", f"branch{self.calls}")

    # Custodian

    def message_ended(self, item: Item, outcome: Outcome) -> None:
        self.told.append(("ended", outcome))

    def failed_after_accept(self, item: PageItem, outcome: Outcome) -> None:
        self.told.append(("notice", outcome))

    def try_again(self, item: Item, outcome: Outcome) -> None:
        self.told.append(("again", outcome))

    def withdraw(self, item: Item) -> bool:
        return self.waits

    def all_saved(self) -> None:
        self.told.append("all saved")

    # Answers

    def answer(self, status: int, reason: str, headers: Iterable[tuple[str, str]]) -> None:
        self.told.append((status, reason, *headers))

    def accept(self) -> None:
        self.told.append("accept")

    def refuse(self, status: int, comment: str) -> None:
        self.told.append(("refuse", status))

    def report(self, status: int, comment: str = "") -> None:
        self.told.append(("report", status, comment))

    def assertTold(self, *expected: object) -> None:
        self.assertEqual(self.told, list(expected))
        self.told = []


class MessageCase(CustodyCase):
    """A MESSAGE on its way to the MSRP user."""

    def take(self, live: bool, lifetime: float = 0.0) -> PageItem:
        text = message(Direction.TO_MSRP, lifetime)
        item = self.custody.message_in(self.answer, text, ROUTE, PARTIES)
        if live:
            self.custody.hold(item)
        else:
            self.custody.take_over(item)
        return item

    def ours(self, lifetime: float = 0.0) -> PageItem:
        """One that was answered 202."""
        item = self.take(live=False, lifetime=lifetime)
        self.journal.commit()
        self.assertTold((202, "Accepted"))
        self.assertIs(item.keeper, Keeper.OURS)
        return item

    def end(self, item: PageItem) -> None:
        """So that nothing is left of it."""
        self.custody.message_outcome(item, DELIVERED)
        self.told = []


class HoldTests(MessageCase):
    """As long as its sender waits."""

    def test_delivered(self) -> None:
        item = self.take(live=True)
        self.assertTold()
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold((200, "OK"), ("ended", DELIVERED))
        self.clock.advance(1)
        self.assertEqual(self.journal.entries, [])

    def test_delivered_at_the_last_moment(self) -> None:
        item = self.take(live=True)
        self.clock.advance(HOLD_MESSAGE - TICK)
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold((200, "OK"), ("ended", DELIVERED))
        self.clock.advance(HOLD_MESSAGE)
        self.assertTold()

    def test_failed(self) -> None:
        """The truth, at once: nothing is tried again behind the sender's back."""
        for outcome in (REFUSED, TIMED_OUT, LOST, NO_REPORT, DROPPED):
            item = self.take(live=True)
            self.custody.message_outcome(item, outcome)
            self.assertTold(msrp_to_sip(outcome.status), ("ended", outcome))

    def test_answers_of_failures(self) -> None:
        for outcome, status in (
            (REFUSED, 413),
            (TIMED_OUT, 504),
            (LOST, 480),
            (UNKNOWN, 404),
        ):
            self.custody.message_outcome(self.take(live=True), outcome)
            answered = self.told.pop(0)
            assert isinstance(answered, tuple)
            self.assertEqual(answered[0], status)
            self.told = []

    def test_a_second_outcome_is_ignored_and_counted(self) -> None:
        item = self.take(live=True)
        self.custody.message_outcome(item, DELIVERED)
        self.told = []
        for outcome in (DELIVERED, RELAYED, REFUSED, LOST):
            self.custody.message_outcome(item, outcome)
        self.assertTold()
        self.assertEqual(self.custody.repeated_outcomes, 4)

    def test_messages_do_not_mix(self) -> None:
        first, second = self.take(live=True), self.take(live=True)
        self.custody.message_outcome(second, REFUSED)
        self.assertTold(msrp_to_sip(413), ("ended", REFUSED))
        self.custody.message_outcome(first, DELIVERED)
        self.assertTold((200, "OK"), ("ended", DELIVERED))


class CalledTests(MessageCase):
    """As long as its sender waits, and the MSRP user is being called."""

    def called(self, lifetime: float = 0.0) -> PageItem:
        """One that waits for the call."""
        text = message(Direction.TO_MSRP, lifetime)
        item = self.custody.message_in(self.answer, text, ROUTE, PARTIES)
        self.custody.hold_for_call(item)
        return item

    def test_delivered(self) -> None:
        """The disk is not touched."""
        item = self.called()
        self.clock.advance(HOLD_SETUP - TICK)
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold((200, "OK"), ("ended", DELIVERED))
        self.clock.advance(1)
        self.assertTold()
        self.assertEqual(self.journal.entries, [])

    def test_hold_over(self) -> None:
        item = self.called()
        self.clock.advance(HOLD_SETUP + TICK)
        self.assertTold()
        self.journal.commit()
        self.assertTold((202, "Accepted"))
        self.end(item)

    def test_no_hold(self) -> None:
        for settings in ({"hold_setup": 0.0}, {"hold_message": 0.0}):
            self.make(**settings)
            item = self.called()
            self.assertTold()
            self.journal.commit()
            self.assertTold((202, "Accepted"))
            self.end(item)

    def test_ended_before_it_could_wait(self) -> None:
        text = message(Direction.TO_MSRP)
        item = self.custody.message_in(self.answer, text, ROUTE, PARTIES)
        self.custody.message_outcome(item, UNKNOWN)
        self.custody.hold_for_call(item)
        self.clock.advance(1)
        self.assertTold(setup_to_sip(404), ("ended", UNKNOWN))

    def test_refused_for_good(self) -> None:
        """No other call mends that: the sender is told at once."""
        self.custody.message_outcome(self.called(), UNKNOWN)
        self.assertTold(setup_to_sip(404), ("ended", UNKNOWN))
        self.clock.advance(1)
        self.assertEqual(self.journal.entries, [])

    def test_away(self) -> None:
        """Another call may mend that: it is ours from then on."""
        item = self.called()
        self.custody.message_outcome(item, AWAY)
        self.assertTold(("again", AWAY))
        self.journal.commit()
        self.assertTold((202, "Accepted"))
        self.clock.advance(1)
        self.assertEqual(len(self.journal.entries), 1)
        self.custody.message_outcome(item, AWAY)
        self.assertTold(("again", AWAY))
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold(("ended", DELIVERED))
        self.assertEqual(self.journal.ended, [("id", DELIVERED)])

    def test_away_while_it_is_written(self) -> None:
        item = self.take(live=False)
        self.custody.message_outcome(item, AWAY)
        self.assertTold(("again", AWAY))
        self.journal.commit()
        self.assertTold((202, "Accepted"))
        self.end(item)

    def test_away_and_the_disk_fails(self) -> None:
        """Nobody has it but its sender."""
        self.custody.message_outcome(self.called(), AWAY)
        self.assertTold(("again", AWAY))
        self.journal.commit(saved=False)
        self.assertEqual(self.told[0][0], 480)  # type: ignore[index]
        self.assertIn(("Retry-After", "10"), self.told[0])  # type: ignore[arg-type]
        self.assertEqual(self.told[1][0], "ended")  # type: ignore[index]

    def test_away_and_nothing_is_tried_again(self) -> None:
        self.make(message_ttl=0.0)
        self.custody.message_outcome(self.called(), AWAY)
        self.assertTold(setup_to_sip(480), ("ended", AWAY))

    def test_stop(self) -> None:
        item = self.called()
        self.custody.stop()
        self.assertTold()
        self.journal.commit()
        self.assertTold((202, "Accepted"), "all saved")
        self.end(item)

    def test_reload(self) -> None:
        """What waits already waits as long as before."""
        self.custody.configure(GatewaySettings(hold_setup=0.05), DeliverySettings())
        item = self.called()
        self.clock.advance(0.05 + TICK)
        self.journal.commit()
        self.assertTold((202, "Accepted"))
        self.end(item)


class JournalTests(MessageCase):
    """No 202 before the journal has it."""

    def test_hold_over(self) -> None:
        item = self.take(live=True)
        self.clock.advance(HOLD_MESSAGE + TICK)
        self.assertTold()
        self.journal.commit()
        self.assertTold((202, "Accepted"))
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold(("ended", DELIVERED))
        self.assertEqual(self.journal.ended, [("id", DELIVERED)])

    def test_not_live(self) -> None:
        item = self.take(live=False)
        self.assertTold()
        self.journal.commit()
        self.assertTold((202, "Accepted"))
        self.end(item)

    def test_no_hold(self) -> None:
        self.make(hold_message=0.0)
        item = self.take(live=True)
        self.journal.commit()
        self.assertTold((202, "Accepted"))
        self.end(item)

    def test_relayed(self) -> None:
        """A relay's 200 says nothing of the receiver."""
        item = self.take(live=True)
        self.custody.message_outcome(item, RELAYED)
        self.assertTold()
        self.journal.commit()
        self.assertTold((202, "Accepted"))
        self.custody.message_outcome(item, RELAYED)
        self.clock.advance(HOLD_MESSAGE + TICK)
        self.assertTold()
        self.custody.message_outcome(item, NO_REPORT)
        self.assertTold(("notice", NO_REPORT), ("ended", NO_REPORT))

    def test_what_is_kept(self) -> None:
        self.clock.advance(7)
        item = self.ours(lifetime=60)
        (entry,) = self.journal.entries
        self.assertEqual((entry.id, entry.key, entry.body), ("id", "key", b"hello"))
        self.assertEqual((entry.from_uri, entry.to_uri), ("sip:a@x", "sip:b@y"))
        self.assertEqual((entry.page_uri, entry.msrp_uri), ("sip:a@x", "sip:b@y"))
        self.assertEqual(entry.received_at, EPOCH)
        self.assertEqual(entry.expires_at, EPOCH + 60)
        self.end(item)

    def test_outcome_while_it_is_written(self) -> None:
        """The sender learns that, and the entry goes again."""
        for outcome in (DELIVERED, REFUSED):
            item = self.take(live=False)
            self.custody.message_outcome(item, outcome)
            self.assertIn(self.told[0], [(200, "OK"), msrp_to_sip(413)])
            self.told = []
            self.journal.commit()
            self.assertTold()
            self.assertEqual(self.journal.ended.pop(), ("id", outcome))

    def test_disk_fails_while_it_waits(self) -> None:
        """It is refused, and not delivered."""
        self.take(live=False)
        self.journal.commit(saved=False)
        self.assertEqual(self.told[0][0], 480)  # type: ignore[index]
        self.assertIn(("Retry-After", "10"), self.told[0])  # type: ignore[arg-type]
        self.assertEqual(self.told[1][0], "ended")  # type: ignore[index]

    def test_disk_fails_while_it_is_on_the_wire(self) -> None:
        """Its outcome may still come; then that is the answer."""
        self.waits = False
        item = self.take(live=True)
        for _ in range(3):
            self.clock.advance(HOLD_MESSAGE + TICK)
            self.journal.commit(saved=False)
        self.assertTold()
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold((200, "OK"), ("ended", DELIVERED))
        self.assertEqual(self.journal.ended, [])

    def test_disk_recovers_while_it_is_on_the_wire(self) -> None:
        self.waits = False
        item = self.take(live=True)
        self.clock.advance(HOLD_MESSAGE + TICK)
        self.journal.commit(saved=False)
        self.clock.advance(HOLD_MESSAGE + TICK)
        self.journal.commit()
        self.assertTold((202, "Accepted"))
        self.end(item)


class RetryTests(MessageCase):
    """What the journal has is tried again, if that may help."""

    def test_which(self) -> None:
        item = self.ours()
        for outcome in (LOST, TIMED_OUT, AWAY):
            self.custody.message_outcome(item, outcome)
            self.assertTold(("again", outcome))
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold(("ended", DELIVERED))

    def test_which_not(self) -> None:
        for outcome in (REFUSED, UNKNOWN, NO_REPORT, DROPPED):
            item = self.ours()
            self.custody.message_outcome(item, outcome)
            self.assertTold(("notice", outcome), ("ended", outcome))

    def test_lists_are_configuration(self) -> None:
        self.make(retry_sip=(404,), retry_msrp=(413,))
        item = self.ours()
        for outcome in (REFUSED, UNKNOWN):
            self.custody.message_outcome(item, outcome)
            self.assertTold(("again", outcome))
        self.custody.message_outcome(item, AWAY)
        self.assertTold(("notice", AWAY), ("ended", AWAY))

    def test_no_time(self) -> None:
        """Nothing is tried twice."""
        self.make(message_ttl=0)
        for outcome in (LOST, AWAY):
            item = self.ours()
            self.custody.message_outcome(item, outcome)
            self.assertTold(("notice", outcome), ("ended", outcome))

    def test_until_its_time_is_over(self) -> None:
        for lifetime in (0.0, 100.0):
            item = self.ours(lifetime)
            age = self.clock.seconds()  # it came at 0
            self.clock.advance((lifetime or TTL) - age - 1)
            self.custody.message_outcome(item, LOST)
            self.assertTold(("again", LOST))
            self.clock.advance(1)
            self.custody.message_outcome(item, LOST)
            self.assertTold(("notice", LOST), ("ended", LOST))
            self.setUp()

    def test_given_up_while_it_waits(self) -> None:
        self.ours(lifetime=100)
        self.clock.pump([1] * 99)
        self.assertTold()
        self.clock.pump([1] * int(SWEEP))
        self.assertEqual([each[0] for each in self.told], ["notice", "ended"])  # type: ignore[index]
        self.assertIs(self.told[1][1].kind, OutcomeKind.EXPIRED)  # type: ignore[index]

    def test_on_the_wire_when_its_time_is_over(self) -> None:
        """What comes of that attempt counts."""
        item = self.ours(lifetime=100)
        self.waits = False
        self.clock.pump([1] * 200)
        self.assertTold()
        self.custody.message_outcome(item, DELIVERED)
        self.assertTold(("ended", DELIVERED))


class RepetitionTests(MessageCase):
    """A MESSAGE that is ours comes again after its transaction is gone."""

    def repeat(self) -> bool:
        return self.custody.repeats("id", self.answer)

    def test_unknown(self) -> None:
        self.assertFalse(self.repeat())
        item = self.take(live=True)
        self.assertFalse(self.repeat())
        self.custody.message_outcome(item, DELIVERED)
        self.assertFalse(self.repeat(), "the MSRP user can tell")
        self.told = []

    def test_while_it_is_written(self) -> None:
        item = self.take(live=False)
        self.assertTrue(self.repeat())
        self.assertTold()
        self.journal.commit()
        self.assertTold((202, "Accepted"), (202, "Accepted"))
        self.end(item)

    def test_ours_and_a_while_later(self) -> None:
        item = self.ours()
        self.assertTrue(self.repeat())
        self.end(item)
        self.clock.advance(REMEMBERED - 1)
        self.assertTrue(self.repeat())
        self.assertTold((202, "Accepted"))
        self.clock.advance(2)
        self.assertFalse(self.repeat())

    def test_bounded(self) -> None:
        """The latest count."""
        self.patch(custody, "MOST_REMEMBERED", 3)
        self.custody.remember(["id", "1", "2"])
        self.assertTrue(self.repeat())
        self.custody.remember(["3"])
        self.assertFalse(self.repeat())

    def test_another_process_had_it(self) -> None:
        self.custody.remember(["id"])
        self.assertTrue(self.repeat())
        self.assertTold((202, "Accepted"))

    def test_restored(self) -> None:
        item = self.ours(lifetime=100)
        (entry,) = self.journal.entries
        self.end(item)
        self.clock.advance(REMEMBERED + 10)
        self.clock = Clock()
        self.clock.advance(40)
        self.timers = Timers(self.clock)
        self.make()
        restored = self.custody.restored(entry)
        assert isinstance(restored, PageItem)
        self.assertTrue(self.repeat())
        self.told = []
        self.assertEqual(restored.route, ROUTE)
        self.assertEqual(restored.parties, PARTIES)
        self.assertEqual(restored.message.body, b"hello")
        self.assertEqual(restored.expires, 100)
        self.custody.message_outcome(restored, AWAY)
        self.assertTold(("again", AWAY))
        self.end(restored)


class SendTests(CustodyCase):
    """A SEND's message on its way to the page user."""

    def take(self) -> SendItem:
        text = message(Direction.TO_PAGE)
        item = self.custody.send_in(self, text, "key", PARTIES, "session")
        self.custody.hold_send(item)
        return item

    def ours(self) -> SendItem:
        """One whose sender has its 200."""
        item = self.take()
        self.clock.advance(HOLD_SEND + TICK)
        self.journal.commit()
        self.assertTold("accept")
        return item

    def end(self, item: SendItem) -> None:
        """So that nothing is left of it."""
        self.custody.send_outcome(item, DELIVERED)
        self.told = []

    def test_delivered(self) -> None:
        item = self.take()
        self.assertTold()
        self.custody.send_outcome(item, DELIVERED)
        self.assertTold("accept", ("report", 200, "OK"), ("ended", DELIVERED))
        self.assertEqual(self.journal.entries, [])

    def test_accepted_by_somebody_on_the_way(self) -> None:
        accepted = Outcome(OutcomeKind.DELIVERED, 202, "Accepted")
        self.custody.send_outcome(self.take(), accepted)
        self.assertTold("accept", ("report", 200, "OK"), ("ended", accepted))

    def test_failed(self) -> None:
        """Within the hold the truth is told at once."""
        busy = Outcome(OutcomeKind.REFUSED, 486, "Busy Here")
        away = Outcome(OutcomeKind.REFUSED, 480, "Away")
        silence = Outcome(OutcomeKind.UNREACHABLE, 408, "Request Timeout")
        for outcome in (busy, away, silence, DROPPED):
            self.custody.send_outcome(self.take(), outcome)
            status = sip_to_msrp(outcome.status)
            self.assertTold("accept", ("report", status, outcome.reason), ("ended", outcome))

    def test_hold_over(self) -> None:
        """No 200 before the journal has it."""
        for outcome, status in ((DELIVERED, 200), (REFUSED, 413)):
            item = self.take()
            self.clock.advance(HOLD_SEND - TICK)
            self.assertEqual(self.journal.entries, [])
            self.clock.advance(2 * TICK)
            self.assertTold()
            self.journal.commit()
            self.assertTold("accept")
            self.custody.send_outcome(item, outcome)
            # The second accept() does nothing: the 200 was sent.
            self.assertTold("accept", ("report", status, outcome.reason), ("ended", outcome))
            self.assertEqual(self.journal.ended.pop(), (item.id, outcome))
            self.journal.entries.clear()

    def test_no_hold(self) -> None:
        self.make(hold_send=0.0)
        item = self.take()
        self.journal.commit()
        self.assertTold("accept")
        self.end(item)

    def test_no_200_is_owed(self) -> None:
        """Then the message is ours as soon as it is whole."""
        for self.failure_report in ("no", "partial"):
            item = self.take()
            self.journal.commit()
            self.assertTold("accept")
            self.end(item)

    def test_tried_again(self) -> None:
        """Same Call-ID; CSeq goes up after a refusal alone; the branch is always a new one."""
        item = self.ours()
        call = self.custody.sending(item)
        ids = (call.call_id, call.tag)
        silence = Outcome(OutcomeKind.UNREACHABLE, 408, "Request Timeout")
        away = Outcome(OutcomeKind.REFUSED, 480, "Away")
        branches = [call.branch]
        for outcome, cseq in ((silence, 1), (away, 2), (silence, 2), (away, 3)):
            self.custody.send_outcome(item, outcome)
            self.assertTold(("again", outcome))
            self.custody.sending(item)
            self.assertEqual((call.call_id, call.tag), ids)
            self.assertEqual(call.cseq, cseq)
            branches.append(call.branch)
            entry = self.journal.entries[-1]
            self.assertEqual((entry.branch, entry.cseq), (call.branch, cseq))
            self.assertEqual(entry.sent_at, EPOCH + self.clock.seconds())
        self.assertEqual(len(set(branches)), 5)
        self.end(item)

    def test_not_tried_again(self) -> None:
        for status in (404, 415, 603, 482):
            item = self.ours()
            outcome = Outcome(OutcomeKind.REFUSED, status, "No")
            self.custody.send_outcome(item, outcome)
            self.assertEqual(self.told[-1], ("ended", outcome))
            self.told = []

    def test_disk_fails(self) -> None:
        """What waits is refused; what is on the wire waits on."""
        self.take()
        self.clock.advance(HOLD_SEND + TICK)
        self.journal.commit(saved=False)
        self.assertEqual(self.told[0], ("refuse", 413))
        self.told = []
        self.waits = False
        item = self.take()
        self.clock.advance(HOLD_SEND + TICK)
        self.journal.commit(saved=False)
        self.assertTold()
        self.end(item)

    def test_disk_fails_and_nobody_asks(self) -> None:
        """Who wants no answer is served as well as can be."""
        self.failure_report = "no"
        item = self.take()
        self.journal.commit(saved=False)
        self.assertTold()
        self.custody.send_outcome(item, DELIVERED)
        self.assertTold("accept", ("report", 200, "OK"), ("ended", DELIVERED))

    def test_a_second_outcome_is_ignored_and_counted(self) -> None:
        item = self.take()
        self.custody.send_outcome(item, REFUSED)
        self.told = []
        self.custody.send_outcome(item, DELIVERED)
        self.assertTold()
        self.assertEqual(self.custody.repeated_outcomes, 1)

    def restore(self, sent: bool, seconds: float) -> SendItem:
        """What another process finds, so long afterwards."""
        item = self.ours()
        if sent:
            self.custody.sending(item)
        entry = self.journal.entries[-1]
        self.end(item)
        self.clock.advance(seconds)
        restored = self.custody.restored(entry)
        assert isinstance(restored, SendItem)
        return restored

    def test_restored_soon(self) -> None:
        """The transaction may live on the other side: it is the same one."""
        for sent, seconds in ((True, 31), (False, 31), (False, 100)):
            item = self.restore(sent, seconds)
            call = self.custody.sending(item)
            entry = self.journal.entries[0]
            self.assertEqual(
                (call.call_id, call.tag, call.branch, call.cseq),
                (entry.id, entry.from_tag, entry.branch, 1),
            )
            self.end(item)
            self.journal.entries.clear()

    def test_restored_later(self) -> None:
        """Another transaction with the same ids; a 482 to it says nothing."""
        item = self.restore(True, 33)
        call = self.custody.sending(item)
        entry = self.journal.entries[0]
        self.assertEqual((call.call_id, call.tag, call.cseq), (entry.id, entry.from_tag, 1))
        self.assertNotEqual(call.branch, entry.branch)
        merged = Outcome(OutcomeKind.REFUSED, 482, "Merged")
        self.custody.send_outcome(item, merged)
        self.assertTold(("again", merged))
        self.assertEqual(call.cseq, 1)
        self.end(item)


class StopTests(MessageCase):
    """The gateway is stopped."""

    def test_held(self) -> None:
        """All that is held is journaled and answered."""
        item = self.take(live=True)
        send = self.custody.send_in(self, message(Direction.TO_PAGE), "key", PARTIES, None)
        self.custody.hold_send(send)
        self.custody.stop()
        self.assertTold()
        self.journal.commit()
        self.assertTold((202, "Accepted"), "accept", "all saved")
        for outcome in (LOST, REFUSED, DROPPED):
            self.custody.message_outcome(item, outcome)
            self.custody.send_outcome(send, outcome)
        self.assertTold()
        self.assertEqual(self.journal.ended, [], "the next process goes on")
        self.custody.close()

    def test_memory(self) -> None:
        """What ends with the process is not promised any more."""
        self.journal = FakeJournal(durable=False)
        self.make()
        item = self.take(live=True)
        ours = self.take(live=False)
        self.journal.commit()
        self.told = []
        self.custody.stop()
        self.assertTold("all saved")
        self.custody.message_outcome(item, LOST)
        self.assertTold(msrp_to_sip(0), ("ended", LOST))
        self.custody.message_outcome(ours, LOST)
        self.assertTold(("notice", LOST), ("ended", LOST))
