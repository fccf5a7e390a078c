"""Messages on their way, as custody sees them: one class for each direction, who carries out what
custody decides about them, and what the journal keeps of each.

Pure values: custody alone changes who keeps a message and what its outcome is.
"""

import enum
import math
from collections.abc import Callable, Iterable
from typing import Protocol

from msrpgw.gateway.page import Job
from msrpgw.timers import Timer
from msrpgw.types import Direction, JournalEntry, Message, Outcome, Parties, Route

#: answers a MESSAGE with status, reason phrase and headers
Answer = Callable[[int, str, Iterable[tuple[str, str]]], object]


class HeldSend(Protocol):
    """A message that came by SEND and whose answer is held."""

    @property
    def failure_report(self) -> str:
        """What the sender wants to know of failure: yes, partial or no (RFC 4975 §7.1.4)."""

    def accept(self) -> None:
        """Answer 200, where it is owed."""

    def refuse(self, status: int, comment: str) -> None:
        """Answer with an error."""

    def report(self, status: int, comment: str = "") -> None:
        """REPORT the end result, where it is wanted."""


class Keeper(enum.Enum):
    """Whose a message is."""

    SENDER = "sender"  #: it has had no positive answer
    SAVING = "saving"  #: the same, but the journal is about to have it
    OURS = "ours"  #: the journal has it, and the sender knows


class PageItem:
    """One MESSAGE on its way to the MSRP user.  Made by Custody, carried by the session."""

    __slots__ = (
        "answer",
        "attempts",
        "expires",
        "failure",
        "keeper",
        "message",
        "number",
        "outcome",
        "parties",
        "route",
    )

    def __init__(
        self, answer: Answer | None, message: Message, route: Route, parties: Parties, number: int
    ) -> None:
        self.answer = answer  #: None once the MESSAGE was answered
        self.message = message
        self.route = route  #: how the MSRP user is called
        self.parties = parties  #: the MSRP user and the page user
        self.number = number  #: the order in which messages came
        self.keeper = Keeper.SENDER
        self.expires = math.inf  #: on the clock; known when it is ours
        self.attempts = 0  #: that failed
        self.failure: Outcome | None = None  #: of the latest of them
        self.outcome: Outcome | None = None

    @property
    def id(self) -> str:
        """What the journal knows it by."""
        return self.message.message_id


class PageCall:
    """What identifies the MESSAGE to a page user: all of it stays when it is repeated."""

    __slots__ = ("branch", "call_id", "cseq", "sent_at", "tag")

    def __init__(self, call_id: str, tag: str, branch: str) -> None:
        self.call_id = call_id
        self.tag = tag  #: of From
        self.cseq = 1
        self.branch = branch  #: of the present attempt
        self.sent_at = 0.0  #: seconds since the epoch; 0: not yet, with this branch


def new_page_call(random: Callable[[int], bytes]) -> PageCall:
    """Ids that nobody had before.  ``random`` gives so many unpredictable bytes."""
    # At one go: made one by one they cost three times as much, 1 % of a message.
    text = random(36).hex()
    return PageCall(text[:32], text[32:48], f"z9hG4bK{text[48:]}")


class SendItem:
    """One SEND's message on its way to the page user."""

    __slots__ = (
        "attempts",
        "blocking_since",
        "bodies",
        "call",
        "context",
        "expires",
        "failed_at",
        "failure",
        "held",
        "job",
        "keeper",
        "key",
        "message",
        "number",
        "outcome",
        "part",
        "parties",
        "parts",
        "repeated",
        "safe",
        "timer",
    )

    def __init__(
        self,
        held: HeldSend | None,
        message: Message,
        key: str,
        parties: Parties,
        number: int,
        context: object = None,
    ) -> None:
        self.held = held  #: None when it came in an earlier process
        self.message = message
        self.key = key  #: of its gateway session
        self.parties = parties  #: From, To and request URI of its MESSAGE
        self.number = number  #: the order in which messages came
        self.context = context  #: whoever made it finds there what is its own
        self.safe = False  #: whether its route is congestion-safe
        self.keeper = Keeper.SENDER
        self.expires = math.inf  #: on the clock; known when it is ours
        self.call: PageCall | None = None  #: None until it is sent or journaled
        self.part = 0  #: how many MESSAGEs of a text that takes several have arrived
        self.parts = 1  #: how many it takes; as long as none was sent, how many it took before
        self.bodies: list[bytes] | None = None  #: of the MESSAGEs of a text that takes several
        self.job: Job | None = None  #: while it is with Pages
        self.repeated = False  #: whether another process may have sent it before
        self.attempts = 0  #: that failed
        self.failure: Outcome | None = None  #: of the latest of them
        self.failed_at = 0.0  #: when the latest of them did, on the clock
        self.blocking_since = -1.0  #: since when it keeps others back; negative: it did not yet
        self.timer: Timer | None = None  #: the hold's, or a later attempt's
        self.outcome: Outcome | None = None

    @property
    def id(self) -> str:
        """What the journal knows it by.  Only when there is a ``call``."""
        assert self.call is not None
        return self.call.call_id


Item = PageItem | SendItem


class Custodian(Protocol):
    """Who carries out what custody decides: the gateway."""

    def message_ended(self, item: Item, outcome: Outcome) -> None:
        """A message has its one outcome."""

    def failed_after_accept(self, item: PageItem, outcome: Outcome) -> None:
        """A MESSAGE that was answered 202 can't be delivered: its sender must be told."""

    def try_again(self, item: Item, outcome: Outcome) -> None:
        """A message of ours could not be delivered for now."""

    def withdraw(self, item: Item) -> bool:
        """Stop delivering a message that only waits.  False when it is on the wire."""

    def all_saved(self) -> None:
        """The journal has all that it was given."""


def page_entry(item: PageItem, since: float) -> JournalEntry:
    """What the journal keeps of a MESSAGE.  ``since``: what the clock showed at the epoch."""
    message, route = item.message, item.route
    return JournalEntry(
        id=item.id,
        direction=message.direction,
        key=route.key,
        message_id=message.message_id,
        content_type=message.content_type,
        body=message.body,
        page_uri=item.parties.to_uri,
        msrp_uri=item.parties.from_uri,
        from_uri=route.from_uri,
        to_uri=route.to_uri,
        ruri=route.ruri,
        content_types=route.content_types,
        congestion_safe=route.congestion_safe,
        received_at=message.received_at - since,
        expires_at=item.expires - since,
    )


def send_entry(item: SendItem, since: float) -> JournalEntry:
    """What the journal keeps of a SEND's message.  Only when it has a ``call``."""
    message, parties, call = item.message, item.parties, item.call
    assert call is not None
    return JournalEntry(
        id=call.call_id,
        direction=message.direction,
        key=item.key,
        message_id=message.message_id,
        content_type=message.content_type,
        body=message.body,
        page_uri=parties.to_uri,
        msrp_uri=parties.from_uri,
        from_uri=parties.from_uri,
        to_uri=parties.to_uri,
        ruri=parties.ruri,
        congestion_safe=item.safe,
        received_at=message.received_at - since,
        expires_at=item.expires - since,
        from_tag=call.tag,
        cseq=call.cseq,
        branch=call.branch,
        sent_at=call.sent_at,
        part=item.part,
        parts=item.parts,
    )


def restore(entry: JournalEntry, since: float, number: int) -> Item:
    """The message that an entry was kept of, ours from the start."""
    message = Message(
        entry.message_id,
        entry.direction,
        entry.content_type,
        entry.body,
        entry.received_at + since,
    )
    item: Item
    if entry.direction is Direction.TO_MSRP:
        route = Route(
            entry.key,
            entry.from_uri,
            entry.to_uri,
            entry.ruri,
            entry.content_types,
            entry.congestion_safe,
        )
        parties = Parties(entry.msrp_uri, entry.page_uri, entry.page_uri)
        item = PageItem(None, message, route, parties, number)
    else:
        parties = Parties(entry.from_uri, entry.to_uri, entry.ruri)
        item = SendItem(None, message, entry.key, parties, number)
        item.call = call = PageCall(entry.id, entry.from_tag, entry.branch)
        call.cseq = entry.cseq
        call.sent_at = entry.sent_at
        item.part, item.parts = entry.part, entry.parts
        item.safe = entry.congestion_safe
        item.repeated = True
    item.keeper = Keeper.OURS
    item.expires = entry.expires_at + since
    return item
