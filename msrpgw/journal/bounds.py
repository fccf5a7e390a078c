"""How much a journal may hold.  Pure."""

from msrpgw.journal.settings import JournalSettings
from msrpgw.types import JournalEntry


class Bounds:
    """Counts the entries of a journal and their bytes."""

    def __init__(self, settings: JournalSettings) -> None:
        self._max_messages = settings.max_messages
        self._max_bytes = settings.max_bytes
        self._sizes: dict[str, int] = {}  # by id
        self.bytes = 0

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._sizes)

    def admit(self, entry: JournalEntry) -> bool:
        """Count an entry in, if there is room for it; one that is counted already stays so."""
        if entry.id in self._sizes:
            return True
        size = len(entry.body)
        if len(self._sizes) >= self._max_messages or self.bytes + size > self._max_bytes:
            return False
        self.count(entry)
        return True

    def count(self, entry: JournalEntry) -> None:
        """Count an entry in, room or not: it is there."""
        self._sizes[entry.id] = len(entry.body)
        self.bytes += len(entry.body)

    def forget(self, id: str) -> None:
        """An entry is gone."""
        self.bytes -= self._sizes.pop(id, 0)
