"""Custody: who has a message, and what its sender is told when.

    MESSAGE in, leg up      ──outcome within hold_message──► 200, or the refusal
                            ──hold over, or a relay has it─► journal ─► 202
    MESSAGE in, called      ──outcome within hold_setup────► 200, or the refusal
                            ──hold over, or another call
                              may mend that this one failed► journal ─► 202
    MESSAGE in, else        ───────────────────────────────► journal ─► 202
    SEND in                 ──outcome within hold_send─────► MSRP 200 and REPORT
                            ──hold over, or no 200 is owed─► journal ─► MSRP 200

While its sender still waits, a message's failure is its sender's to deal with: told at once; but
that nobody is there to be called is what the journal is for.  What the journal has is tried again
as long as that may help, and then its one outcome is told: to the MESSAGE side by a notice, to the
MSRP side by a REPORT.  What the journal can't have stays its sender's: what waits is refused, what
is on the wire keeps waiting for its outcome.

Pure: events and timers in; answers, journal entries and outcomes out.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from msrpgw.gateway.items import (
    Answer,
    Custodian,
    HeldSend,
    Item,
    Keeper,
    PageCall,
    PageItem,
    SendItem,
    page_entry,
    restore,
    send_entry,
)
from msrpgw.gateway.retries import Retries
from msrpgw.gateway.settings import DeliverySettings, GatewaySettings
from msrpgw.gateway.status import msrp_to_sip, setup_to_sip, sip_to_msrp
from msrpgw.interfaces import IJournal
from msrpgw.timers import DelayLine, Timer, Timers
from msrpgw.types import JournalEntry, Message, Outcome, OutcomeKind, Parties, Route

#: seconds in which a transaction of the other side may live: 64 * T1 (RFC 3261 §17.1.2.2)
TRANSACTION_LIFETIME = 32.0

#: seconds that a journaled MESSAGE is remembered after its end, for late retransmissions
REMEMBERED = 300.0

#: most of them
MOST_REMEMBERED = 100_000

#: seconds from one look for messages whose time is over to the next
SWEEP = 60.0

_NO_HEADERS: tuple[tuple[str, str], ...] = ()
_RETRY_AFTER = (("Retry-After", "10"),)
_EXPIRED = Outcome(OutcomeKind.EXPIRED, 0, "Its time is over")
_NOT_SAVED = Outcome(OutcomeKind.DROPPED, 0, "The journal can't take it now")


class Custody:
    """Decides about answers, attempts and ends.  One for the gateway.

    Invariants: each item gets exactly one answer and exactly one outcome; no positive answer
    precedes the receiver's or the journal's.
    """

    def __init__(
        self,
        timers: Timers,
        settings: GatewaySettings,
        delivery: DeliverySettings,
        journal: IJournal,
        custodian: Custodian,
        *,
        new_call: Callable[[], PageCall],
        now: Callable[[], float],
    ) -> None:
        """``new_call`` makes up ids for a MESSAGE; ``now`` gives seconds since the epoch."""
        self._timers = timers
        # All wait equally long, and nearly all are answered before: no timer for each.
        self._held: DelayLine[PageItem] = DelayLine(timers, 0.3, self.take_over)
        self._held_for_call: DelayLine[PageItem] = DelayLine(timers, 0.3, self.take_over)
        # Numbers, since a line keeps what it has: no message that arrived meanwhile.
        self._held_sends: DelayLine[int] = DelayLine(timers, 5.0, self._hold_over)
        self._holding: dict[int, SendItem] = {}
        self.configure(settings, delivery)
        self._journal = journal
        self._custodian = custodian
        self._new_call = new_call
        self._now = now
        self._numbers = 0
        self._saving = 0
        self._stopping = False
        self._ours: dict[str, Item] = {}  # by id; being saved, or saved
        self._lately: set[str] = set()  # ids of MESSAGEs that were ours
        self._forgetting = DelayLine(timers, REMEMBERED, self._lately.discard)
        self._sweeping: Timer | None = None
        self.repeated_outcomes = 0  #: of messages that had their one already; a bug when not 0

    def configure(self, settings: GatewaySettings, delivery: DeliverySettings) -> None:
        """Use these settings from now on; what is held already waits as long as before."""
        self._held.delay = settings.hold_message or 0.3
        self._held_for_call.delay = settings.hold_setup or 0.3
        self._held_sends.delay = settings.hold_send or 5.0
        self._hold_message = settings.hold_message
        self._hold_setup = settings.hold_message and settings.hold_setup
        self._hold_send = settings.hold_send
        self.retries = Retries(delivery)

    # MESSAGEs

    def message_in(
        self, answer: Answer, message: Message, route: Route, parties: Parties
    ) -> PageItem:
        """Take a MESSAGE; when it is on its way it is to be held or taken over."""
        self._numbers += 1
        return PageItem(answer, message, route, parties, self._numbers)

    def hold(self, item: PageItem) -> None:
        """Let its answer wait: it was sent at once, so that its outcome may be near."""
        if item.outcome is None:
            if self._hold_message:
                self._held.push(item)
            else:
                self.take_over(item)

    def hold_for_call(self, item: PageItem) -> None:
        """Let its answer wait for a call that is being set up, and for what follows.

        Most that take calls by themselves have answered the SEND, too, before a disk would have
        the message: 200 is the better answer, and a fifth of a session's cost was the journal's.
        """
        if item.outcome is None:
            if self._hold_setup:
                self._held_for_call.push(item)
            else:
                self.take_over(item)

    def repeats(self, message_id: str, answer: Answer) -> bool:
        """Whether a MESSAGE is one that we took over before; then its answer is ours to give."""
        item = self._ours.get(message_id)
        if item is None:
            if message_id not in self._lately:
                return False
        elif item.keeper is Keeper.SAVING and isinstance(item, PageItem):
            first = item.answer

            def both(status: int, reason: str, headers: Iterable[tuple[str, str]]) -> None:
                if first is not None:
                    first(status, reason, headers)
                answer(status, reason, headers)

            item.answer = both
            return True
        answer(202, "Accepted", _NO_HEADERS)
        return True

    def take_over(self, item: PageItem) -> None:
        """Journal a MESSAGE, unless it has its outcome; then it is answered 202."""
        if item.keeper is not Keeper.SENDER or item.outcome is not None:
            return
        message = item.message
        lifetime = min(message.lifetime or math.inf, self.retries.ttl or math.inf)
        self._expires(item, message.received_at + lifetime)
        self._save(item)
        self._journal.put(page_entry(item, self._since()), partial(self._message_saved, item))

    def _message_saved(self, item: PageItem, saved: bool) -> None:
        self._saving -= 1
        outcome = item.outcome
        if outcome is not None:  # its sender was told meanwhile
            self._released(item)
            if saved:
                self._journal.end(item.id, outcome)
        elif saved:
            item.keeper = Keeper.OURS
            self._answer(item, 202, "Accepted")
        else:
            self._released(item)
            item.keeper = Keeper.SENDER
            if self._custodian.withdraw(item):
                item.outcome = _NOT_SAVED
                self._answer(item, 480, "The gateway can't store messages now", _RETRY_AFTER)
                self._custodian.message_ended(item, _NOT_SAVED)
            else:
                self._held.push(item)  # on the wire: its outcome, or the disk, may still come
        self._check_saved()

    def message_outcome(self, item: PageItem, outcome: Outcome) -> None:
        """The MSRP side told what became of a message."""
        if item.outcome is not None:
            self.repeated_outcomes += 1
            return
        if outcome.kind is OutcomeKind.RELAYED:
            self.take_over(item)
            return
        ours = not outcome.ok and self.retries.keeps(item, outcome)
        if ours and self._goes_on(item, outcome, self.retries.to_msrp(outcome)):
            self.take_over(item)  # last: a journal that can't have it takes it out again
            return
        if item.keeper is Keeper.OURS:
            item.outcome = outcome
            self._ended(item, outcome)
            self.remember((item.id,))
            if not outcome.ok:
                self._custodian.failed_after_accept(item, outcome)
        else:
            item.outcome = outcome
            if outcome.ok:
                self._answer(item, 200, "OK")
            elif outcome.setup:
                self._answer(item, *setup_to_sip(outcome.setup))
            else:
                self._answer(item, *msrp_to_sip(outcome.status))
        self._custodian.message_ended(item, outcome)

    def _answer(
        self,
        item: PageItem,
        status: int,
        reason: str,
        headers: Iterable[tuple[str, str]] = _NO_HEADERS,
    ) -> None:
        answer, item.answer = item.answer, None
        if answer is not None:
            answer(status, reason, headers)

    # SENDs

    def send_in(
        self, held: HeldSend, message: Message, key: str, parties: Parties, context: object
    ) -> SendItem:
        """Take a message that came by SEND; ``hold_send`` follows when it is on its way."""
        self._numbers += 1
        return SendItem(held, message, key, parties, self._numbers, context)

    def hold_send(self, item: SendItem) -> None:
        """Let its answer wait, if one is owed: else the message is ours at once."""
        if item.outcome is not None or item.held is None:
            return
        if self._hold_send and item.held.failure_report == "yes":
            self._hold_on(item)
        else:
            self._take_over_send(item)

    def _hold_on(self, item: SendItem) -> None:
        self._holding[item.number] = item
        self._held_sends.push(item.number)

    def _hold_over(self, number: int) -> None:
        item = self._holding.get(number)
        if item is not None:
            self._take_over_send(item)

    def _take_over_send(self, item: SendItem) -> None:
        if item.keeper is not Keeper.SENDER or item.outcome is not None:
            return
        self._expires(item, item.message.received_at + (self.retries.ttl or math.inf))
        if item.call is None:
            item.call = self._new_call()
        self._save(item)
        self._journal.put(send_entry(item, self._since()), partial(self._send_saved, item))

    def _send_saved(self, item: SendItem, saved: bool) -> None:
        self._saving -= 1
        held, outcome = item.held, item.outcome
        assert held is not None
        if outcome is not None:
            self._released(item)
            if saved:
                self._journal.end(item.id, outcome)
        elif saved:
            item.keeper = Keeper.OURS
            self._holding.pop(item.number, None)
            held.accept()
        else:
            self._released(item)
            item.keeper = Keeper.SENDER
            # Who wants no answer loses nothing when its message stays where it is.
            if held.failure_report == "yes" and self._custodian.withdraw(item):
                item.outcome = _NOT_SAVED
                self._holding.pop(item.number, None)
                held.refuse(413, "The gateway can't store messages now")
                self._custodian.message_ended(item, _NOT_SAVED)
            else:
                self._hold_on(item)
        self._check_saved()

    def sending(self, item: SendItem) -> PageCall:
        """An attempt begins: these are its ids."""
        call = item.call
        if call is None:
            call = item.call = self._new_call()
        if not call.sent_at:
            call.sent_at = self._now()
            if item.keeper is not Keeper.SENDER:
                self._journal.put(send_entry(item, self._since()), _ignore)
        return call

    def part_arrived(self, item: SendItem) -> None:
        """The page user has one more MESSAGE of a text in several; there are more."""
        item.part += 1
        if item.call is not None:
            item.call.sent_at = 0.0
        if item.keeper is not Keeper.SENDER:
            self._journal.put(send_entry(item, self._since()), _ignore)

    def send_outcome(self, item: SendItem, outcome: Outcome) -> None:
        """The page side told what became of a message."""
        if item.outcome is not None:
            self.repeated_outcomes += 1
            return
        if item.keeper is Keeper.OURS and not outcome.ok:
            again = self.retries.to_page(item, outcome)
            if again and item.call is not None:
                self._renew(item, outcome)
            if self._goes_on(item, outcome, again):
                return
        item.outcome = outcome
        if item.timer is not None:
            item.timer.cancel()
            item.timer = None
        self._holding.pop(item.number, None)
        held = item.held
        if held is not None:
            # Also a failure is told by REPORT: the SEND itself was in order (RFC 4975 §7.1.2).
            held.accept()
            if outcome.ok:
                held.report(200, "OK")
            else:
                held.report(sip_to_msrp(outcome.status or 408), outcome.reason)
        if item.keeper is Keeper.OURS:
            self._ended(item, outcome)
        self._custodian.message_ended(item, outcome)

    def _renew(self, item: SendItem, outcome: Outcome) -> None:
        """New ids for the next attempt, as far as they must not be the old ones."""
        call = item.call
        assert call is not None
        self._next_branch(call)
        if outcome.kind is OutcomeKind.REFUSED and outcome.status != 482:
            call.cseq += 1
        self._journal.put(send_entry(item, self._since()), _ignore)

    def _next_branch(self, call: PageCall) -> None:
        call.branch = self._new_call().branch
        call.sent_at = 0.0

    # Ours

    def _expires(self, item: Item, when: float) -> None:
        item.expires = when
        if self._sweeping is None:
            self._sweeping = self._timers.call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        """Give up what has waited for too long."""
        self._sweeping = None
        now = self._timers.seconds()
        for item in [each for each in self._ours.values() if each.expires <= now]:
            if item.keeper is Keeper.OURS and self._custodian.withdraw(item):
                # Why it could not be had in all that time says more than that it is over.
                why = item.failure or _EXPIRED
                outcome = msgspec.structs.replace(why, kind=OutcomeKind.EXPIRED)
                if isinstance(item, PageItem):
                    self.message_outcome(item, outcome)
                else:
                    self.send_outcome(item, outcome)
        if self._ours:
            self._sweeping = self._timers.call_later(SWEEP, self._sweep)

    def _save(self, item: Item) -> None:
        item.keeper = Keeper.SAVING
        self._saving += 1
        self._ours[item.id] = item

    def _goes_on(self, item: Item, outcome: Outcome, again: bool) -> bool:
        """Whether a message of ours that was not delivered is not at its end."""
        if self._stopping:
            return self._journal.durable  # then the next process goes on
        if not again or self._timers.seconds() >= item.expires:
            return False
        item.attempts += 1
        item.failure = outcome
        self._custodian.try_again(item, outcome)
        return True

    def _ended(self, item: Item, outcome: Outcome) -> None:
        self._released(item)
        self._journal.end(item.id, outcome)

    def _released(self, item: Item) -> None:
        self._ours.pop(item.id, None)
        if not self._ours and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def __len__(self) -> int:
        """How many messages are ours, or about to be."""
        return len(self._ours)

    def ours(self) -> list[Item]:
        """Messages that are ours, in the order in which they came."""
        return sorted(self._ours.values(), key=lambda item: item.number)

    def find(self, id: str) -> Item | None:
        """A message of ours by the journal's id of it."""
        return self._ours.get(id)

    def drop(self, item: Item, reason: str) -> bool:
        """Give up a message of ours that only waits.  False when it is on the wire."""
        if item.keeper is not Keeper.OURS or not self._custodian.withdraw(item):
            return False
        outcome = Outcome(OutcomeKind.DROPPED, 0, reason)
        if isinstance(item, PageItem):
            self.message_outcome(item, outcome)
        else:
            self.send_outcome(item, outcome)
        return True

    # Another process

    def restored(self, entry: JournalEntry) -> Item:
        """A message that an earlier process took over."""
        since = self._timers.seconds() - self._now()
        self._numbers += 1
        item = restore(entry, since, self._numbers)
        if isinstance(item, SendItem):
            call = item.call
            if call and call.sent_at and call.sent_at + TRANSACTION_LIFETIME <= self._now():
                self._next_branch(call)
        self._ours[item.id] = item
        self._expires(item, item.expires)
        return item

    def remember(self, ids: Iterable[str]) -> None:
        """MESSAGEs that ended lately, in this process or an earlier one."""
        for each in ids:
            self._lately.add(each)
            self._forgetting.push(each)
            if len(self._forgetting) > MOST_REMEMBERED:
                self._lately.discard(self._forgetting.pop())

    # The end

    def stop(self) -> None:
        """Take over all that is held; what is not delivered now stays in the journal."""
        self._stopping = True
        if not self._journal.durable:
            self._check_saved()  # the truth is better than a 202 that ends with the process
            return
        for line in (self._held, self._held_for_call):
            while line:
                self.take_over(line.pop())
        for item in list(self._holding.values()):
            self._take_over_send(item)
        self._check_saved()

    def close(self) -> None:
        """Forget everything."""
        self._ours.clear()
        self._forgetting.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def _check_saved(self) -> None:
        if self._stopping and not self._saving:
            self._custodian.all_saved()

    def _since(self) -> float:
        """What the clock showed at the epoch."""
        return self._timers.seconds() - self._now()


def _ignore(saved: bool) -> None:
    """Losing this repeats a message at worst."""
