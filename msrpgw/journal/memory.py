"""A journal that keeps nothing: for tests, and for those who can do without."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from msrpgw.interfaces import IJournal
from msrpgw.journal.bounds import Bounds
from msrpgw.journal.settings import JournalSettings
from msrpgw.types import JournalContents, JournalDialog, JournalEntry, Outcome


@implementer(IJournal)
class MemoryJournal:
    """Says yes at once, within the same bounds as others.  What it was told ends with it."""

    durable = False
    healthy = True

    def __init__(self, settings: JournalSettings) -> None:
        self._bounds = Bounds(settings)

    def open(self, found: Callable[[JournalContents], None]) -> None:
        """There is never anything left."""
        found(JournalContents())

    def put(self, entry: JournalEntry, on_saved: Callable[[bool], None]) -> None:
        """Count it."""
        on_saved(self._bounds.admit(entry))

    def end(self, id: str, outcome: Outcome) -> None:
        """Count it no more."""
        self._bounds.forget(id)

    def put_dialog(self, dialog: JournalDialog) -> None:
        """A dialog dies with the process."""

    def end_dialog(self, call_id: str) -> None:
        """Nothing to forget."""

    def close(self) -> Deferred[None]:
        """Done."""
        return succeed(None)
