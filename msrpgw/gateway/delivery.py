"""Messages of ours that could not be delivered for now: which is tried again, and when.

    to an MSRP user:  waits, with all of its key ──back-off──► the user is called again
    to a page user:   first of its session, the URI rests ──back-off──► sent again
                      kept others back for ``retry_block`` ──► set aside, those behind it go on

Custody decides that a message is worth another attempt; here is only the order and the time.
"""

from bisect import insort
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from msrpgw.gateway.items import PageItem, SendItem
from msrpgw.gateway.page import Pages
from msrpgw.gateway.settings import DeliverySettings
from msrpgw.timers import Timer, Timers

#: seconds between the calls, and between the page users, that a restart begins with
RESUME_INTERVAL = 0.005


class Deliverer(Protocol):
    """Who makes the attempts: the gateway."""

    def call_again(self, key: str) -> None:
        """Try to reach the MSRP user for whom messages wait: ``take`` them."""

    def send_again(self, item: SendItem, first: bool) -> None:
        """Send a message to a page user.  ``first``: before the others of its session."""


class _Waiting:
    """Messages that wait for one MSRP user.  Exists until one of them is delivered, or none is
    left."""

    __slots__ = ("attempts", "failed_at", "items", "timer")

    def __init__(self) -> None:
        self.items: list[PageItem] = []  # in the order in which they came
        self.attempts = 0  # that failed, one after the other
        self.failed_at = 0.0  # on the clock: the latest
        self.timer: Timer | None = None  # until the next attempt


class Delivery:
    """Owns retries.  One for the gateway."""

    def __init__(
        self,
        timers: Timers,
        settings: DeliverySettings,
        random: Callable[[int], bytes],
        pages: Pages,
        deliverer: Deliverer,
    ) -> None:
        self._timers = timers
        self.configure(settings)
        self._random = random
        self._pages = pages
        self._deliverer = deliverer
        self._waiting: dict[str, _Waiting] = {}  # by key
        self._aside: dict[str, list[SendItem]] = {}  # by key
        self._closed = False

    def configure(self, settings: DeliverySettings) -> None:
        """Use these settings from the next failure on."""
        self._interval = settings.retry_interval
        self._longest = max(settings.retry_max, settings.retry_interval)
        self._block = settings.retry_block

    def _delay(self, attempts: int, retry_after: float) -> float:
        """Seconds until the next attempt: twice as long each time, a quarter more or less."""
        base = min(self._longest, self._interval * float(1 << min(attempts - 1, 30)))
        jitter = 0.75 + self._random(1)[0] / 512
        return max(base * jitter, retry_after)

    # To MSRP users

    def message_again(self, item: PageItem, retry_after: float = 0.0) -> None:
        """A message could not be delivered; what fails together is tried again together."""
        waiting = self._wait(item)
        if waiting.timer is None and not self._closed:
            waiting.attempts += 1
            waiting.failed_at = self._timers.seconds()
            delay = self._delay(waiting.attempts, retry_after)
            waiting.timer = self._timers.call_later(delay, partial(self._due, item.route.key))

    def _wait(self, item: PageItem) -> _Waiting:
        waiting = self._waiting.setdefault(item.route.key, _Waiting())
        insort(waiting.items, item, key=_number)
        return waiting

    def append(self, item: PageItem) -> None:
        """A new message joins those that wait.  Only when they ``rest``."""
        self._wait(item)

    def rests(self, key: str) -> bool:
        """Whether an attempt failed so lately that a new message is no reason for another."""
        waiting = self._waiting.get(key)
        return (
            waiting is not None
            and waiting.timer is not None
            and self._timers.seconds() < waiting.failed_at + self._interval
        )

    def attempts(self, key: str) -> int:
        """How many attempts failed one after the other."""
        waiting = self._waiting.get(key)
        return waiting.attempts if waiting is not None else 0

    def count(self, key: str) -> int:
        """How many messages wait for an MSRP user."""
        waiting = self._waiting.get(key)
        return len(waiting.items) if waiting is not None else 0

    def take(self, key: str) -> list[PageItem]:
        """All that wait for an MSRP user, in order, to be sent now."""
        waiting = self._waiting.get(key)
        if waiting is None:
            return []
        if waiting.timer is not None:
            waiting.timer.cancel()
            waiting.timer = None
        items, waiting.items = waiting.items, []
        return items

    def _due(self, key: str) -> None:
        self._waiting[key].timer = None
        self._deliverer.call_again(key)

    def message_ended(self, item: PageItem, delivered: bool) -> None:
        """A message of ours has its outcome."""
        waiting = self._waiting.get(item.route.key)
        if waiting is not None:
            if delivered:
                waiting.attempts = 0
            self._drop_if_empty(item.route.key, waiting)

    def _drop_if_empty(self, key: str, waiting: _Waiting) -> None:
        if not waiting.items:
            if waiting.timer is not None:
                waiting.timer.cancel()
            del self._waiting[key]

    def withdraw_message(self, item: PageItem) -> bool:
        """Take a message out, if it waits here."""
        waiting = self._waiting.get(item.route.key)
        if waiting is None or item not in waiting.items:
            return False
        waiting.items.remove(item)
        self._drop_if_empty(item.route.key, waiting)
        return True

    # To page users

    def page_again(self, item: SendItem, retry_after: float = 0.0) -> None:
        """A MESSAGE failed; told while its outcome is."""
        if self._closed:
            return
        now = item.failed_at = self._timers.seconds()
        others = self._aside.get(item.key)
        if others and item.blocking_since < 0:
            # Not those messages, but the page user: all over again, in order.
            items = sorted([*others, item], key=_number)
            items[0].blocking_since = now
            self._rest(item, retry_after)
            self._deliverer.send_again(item, True)
            self._wake(item.key)
            return
        if item.blocking_since < 0:
            item.blocking_since = now
        if now - item.blocking_since < self._block:
            self._rest(item, retry_after)
            self._deliverer.send_again(item, True)
        else:
            delay = self._delay(item.attempts, retry_after)
            item.timer = self._timers.call_later(delay, partial(self._page_due, item))
            self._aside.setdefault(item.key, []).append(item)

    def _rest(self, item: SendItem, retry_after: float) -> None:
        delay = min(self._delay(item.attempts, retry_after), self._block)
        self._pages.rest(item.parties.ruri, delay)

    def _page_due(self, item: SendItem) -> None:
        item.timer = None
        self._leave_aside(item)
        self._deliverer.send_again(item, True)

    def page_ended(self, item: SendItem, delivered: bool) -> None:
        """A message has its outcome: if its page user is back, the turn is with what was set
        aside."""
        others = self._aside.get(item.key)
        if others and delivered:
            silence = self._timers.seconds() - others[-1].failed_at
            if item.attempts or silence >= self._block:
                self._wake(item.key)

    def _wake(self, key: str) -> None:
        """Send what was set aside, before all others, in order."""
        items = self._aside.pop(key)
        for item in sorted(items, key=_number, reverse=True):
            self._unset(item)
            self._deliverer.send_again(item, True)

    def _leave_aside(self, item: SendItem) -> None:
        others = self._aside[item.key]
        others.remove(item)
        if not others:
            del self._aside[item.key]

    @staticmethod
    def _unset(item: SendItem) -> None:
        if item.timer is not None:
            item.timer.cancel()
            item.timer = None

    def withdraw_page(self, item: SendItem) -> bool:
        """Take a message out, if it is set aside here."""
        if item not in self._aside.get(item.key, ()):
            return False
        self._unset(item)
        self._leave_aside(item)
        return True

    # By hand

    def try_now(self, item: PageItem | SendItem) -> bool:
        """Make the next attempt at once.  False when the message does not wait for one."""
        if isinstance(item, PageItem):
            waiting = self._waiting.get(item.route.key)
            if waiting is None or item not in waiting.items:
                return False
            self._deliverer.call_again(item.route.key)
            return True
        if item in self._aside.get(item.key, ()):
            self._unset(item)
            self._page_due(item)
            return True
        return self._pages.wake(item.parties.ruri)

    # Life

    def resume(self, messages: Iterable[PageItem], pages: Iterable[SendItem]) -> None:
        """Go on with what an earlier process left, a little at a time."""
        for item in messages:
            waiting = self._wait(item)
            if waiting.timer is None:
                delay = len(self._waiting) * RESUME_INTERVAL
                waiting.timer = self._timers.call_later(delay, partial(self._due, item.route.key))
        uris: set[str] = set()
        for page in pages:
            if page.parties.ruri not in uris:
                uris.add(page.parties.ruri)
                self._pages.rest(page.parties.ruri, len(uris) * RESUME_INTERVAL)
            self._deliverer.send_again(page, False)

    def close(self) -> None:
        """No more attempts."""
        self._closed = True
        for waiting in self._waiting.values():
            if waiting.timer is not None:
                waiting.timer.cancel()
        for items in self._aside.values():
            for item in items:
                self._unset(item)
        self._waiting.clear()
        self._aside.clear()


def _number(item: PageItem | SendItem) -> int:
    return item.number
