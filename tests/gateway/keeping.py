"""A journal that outlives the gateway of a Town, and test cases about what it is good for."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from msrpgw.gateway.settings import DeliverySettings
from msrpgw.interfaces import IJournal
from msrpgw.types import JournalContents, JournalDialog, JournalEntry, Outcome
from tests.gateway.meeting import AliceTestCase
from tests.gateway.support import Town


@implementer(IJournal)
class KeepingJournal:
    """Durable as far as a Town can tell.  ``full``: nothing new finds room."""

    durable = True
    healthy = True

    def __init__(self) -> None:
        self.entries: dict[str, JournalEntry] = {}
        self.dialogs: dict[str, JournalDialog] = {}
        self.ended: dict[str, Outcome] = {}
        self.full = False
        self.calls = 0  #: of any method, but open and close

    def open(self, found: Callable[[JournalContents], None]) -> None:
        """Another process."""
        found(
            JournalContents(
                entries=tuple(self.entries.values()),
                dialogs=tuple(self.dialogs.values()),
                ended=tuple(self.ended),
            )
        )

    def put(self, entry: JournalEntry, on_saved: Callable[[bool], None]) -> None:
        """Keep it at once."""
        self.calls += 1
        if entry.id in self.ended:
            return
        fits = not self.full or entry.id in self.entries
        if fits:
            self.entries[entry.id] = entry
        on_saved(fits)

    def end(self, id: str, outcome: Outcome) -> None:
        """Note it."""
        self.calls += 1
        if self.entries.pop(id, None) is not None:
            self.ended[id] = outcome

    def put_dialog(self, dialog: JournalDialog) -> None:
        """Keep it."""
        self.calls += 1
        self.dialogs[dialog.call_id] = dialog

    def end_dialog(self, call_id: str) -> None:
        """Forget it."""
        self.calls += 1
        self.dialogs.pop(call_id, None)

    def close(self) -> Deferred[None]:
        """Done."""
        return succeed(None)


class KeepingTestCase(AliceTestCase):
    """Alice is there; what is accepted is kept and tried again."""

    def setUp(self) -> None:
        self.settle()

    def settle(self, delivery: dict[str, Any] | None = None, **settings: Any) -> None:
        """A town with a journal, and these settings."""
        self.journal = KeepingJournal()
        self.found(
            Town(journal=self.journal, delivery=DeliverySettings(**(delivery or {})), **settings)
        )

    def restart(self, seconds: float = 1.0) -> None:
        """The gateway is killed, and some time later there is another."""
        self.town.kill()
        self.town.run(seconds)
        self.town.live()
        self.town.run(0.1)

    def check_all_told(self) -> None:
        """Nothing is kept that has its outcome, and nothing else is left."""
        self.assertEqual(self.journal.entries, {})
        self.assertEqual(len(self.town.gateway.custody), 0)
        self.assertEqual(self.town.gateway.delivery._waiting, {})
        self.assertEqual(self.town.gateway.delivery._aside, {})
        self.town.check_settled(self, sessions=len(self.town.gateway.sessions))
