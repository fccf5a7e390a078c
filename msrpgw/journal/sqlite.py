"""The journal in a file: changes are gathered for a moment and written in one commit.

    put, end, … ──► gathered ──commit_interval, or a full batch──► being written ──► told
                       ▲                                                │
                       └────────── ends, dialogs ◄── the disk failed ───┘

Dialogs are gathered longer, each for once or twice ``DIALOG_INTERVAL``: nobody waits for them, and
most of a commit's cost is its own.  What begins and ends meanwhile is not written at all.

One batch is under way at a time; what comes meanwhile is the next.  When the disk fails, each
``put`` of the batch is told so; the rest is kept, and tried again every second.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpgw.errors import JournalError
from msrpgw.interfaces import IJournal
from msrpgw.journal import store
from msrpgw.journal.bounds import Bounds
from msrpgw.journal.settings import JournalSettings
from msrpgw.journal.store import Change, Store
from msrpgw.journal.worker import Worker
from msrpgw.timers import Timer, Timers
from msrpgw.types import JournalContents, JournalDialog, JournalEntry, Outcome

_log = Logger()

#: seconds from one attempt at a disk that fails to the next
RETRY = 1.0

#: seconds that the id of a message is remembered after its end: longer than any of its
#: retransmissions can be under way (RFC 3261 timer F, and as much again)
REMEMBERED = 300.0

#: seconds in which changes of dialogs are gathered, and after that wait once more: a call so young
#: may outlive a crash, as one whose 2xx is still on its way does; commits were a tenth of what a
#: set-up costs
DIALOG_INTERVAL = 0.1

#: seconds from one clearing away of what ended to the next
_CLEAR_INTERVAL = 60.0

_NOBODY: Callable[[bool], None] = lambda saved: None  # noqa: E731 - nobody waits for this change


class _Waiting(NamedTuple):
    """A change that is not on disk yet."""

    change: Change
    on_saved: Callable[[bool], None]


@implementer(IJournal)
class SqliteJournal:
    """IJournal over a Store.  Owned by the service."""

    durable = True

    def __init__(
        self,
        file: Store,
        worker: Worker,
        timers: Timers,
        settings: JournalSettings,
        now: Callable[[], float],
    ) -> None:
        """``now`` gives seconds since the epoch."""
        self._store = file
        self._worker = worker
        self._timers = timers
        self._interval = settings.commit_interval
        self._batch = settings.commit_batch
        self._bounds = Bounds(settings)
        self._dialogs: set[str] = set()  # Call-IDs that were written
        # By Call-ID: what is gathered, and what was gathered before; None: that it ended.
        self._changed: dict[str, JournalDialog | None] = {}
        self._gathered: dict[str, JournalDialog | None] = {}
        self._gathering: Timer | None = None
        self._now = now
        self._found: Callable[[JournalContents], None] | None = None  # until it was told
        self._waiting: deque[_Waiting] = deque()
        self._writing = False
        self._timer: Timer | None = None
        self._closed: Deferred[None] | None = None
        self._next_clearing = 0.0
        self.healthy = True
        self.commits = 0  #: batches that are on disk

    # Life

    def open(self, found: Callable[[JournalContents], None]) -> None:
        """Open the file.  When the disk fails, go on without, and try again later.

        Raises JournalError when the file is another process's, or of a later version.
        """
        self._found = found
        try:
            contents = self._store.open()
        except JournalError:
            raise
        except Exception as error:
            self._failed(error)
            self._schedule()
        else:
            self._opened(contents)

    def _opened(self, contents: JournalContents) -> None:
        found, self._found = self._found, None
        if found is not None:
            for entry in contents.entries:
                self._bounds.count(entry)
            self._dialogs.update(dialog.call_id for dialog in contents.dialogs)
            found(contents)

    def close(self) -> Deferred[None]:
        """Write what waits, once; what fails now is not tried again."""
        closed = self._closed = Deferred()
        for _ in range(2):  # what was gathered before, and what was since
            self._hand_over_dialogs()
        if not self._writing:
            if self._waiting:
                self._commit()
            else:
                self._close(closed)
        return closed

    # What is kept

    def put(self, entry: JournalEntry, on_saved: Callable[[bool], None]) -> None:
        """Keep an entry."""
        if self._bounds.admit(entry):
            self._add(store.entry_put(entry), partial(self._put, entry.id, on_saved))
        else:
            on_saved(False)

    def _put(self, id: str, on_saved: Callable[[bool], None], saved: bool) -> None:
        if not saved:
            self._bounds.forget(id)
        on_saved(saved)

    def end(self, id: str, outcome: Outcome) -> None:
        """Remember of a message only how it ended."""
        self._bounds.forget(id)
        self._add(store.entry_ended(id, outcome, self._now()), _NOBODY)

    def put_dialog(self, dialog: JournalDialog) -> None:
        """Keep a dialog, unless the disk fails: then it is not worth the memory."""
        if self.healthy:
            self._gather(dialog.call_id, dialog)

    def end_dialog(self, call_id: str) -> None:
        """Forget a dialog."""
        if call_id in self._dialogs:
            self._gather(call_id, None)
        else:
            self._changed.pop(call_id, None)
            self._gathered.pop(call_id, None)

    def _gather(self, call_id: str, dialog: JournalDialog | None) -> None:
        (self._gathered if call_id in self._gathered else self._changed)[call_id] = dialog
        if self._gathering is None:
            self._gathering = self._timers.call_later(DIALOG_INTERVAL, self._hand_over_dialogs)

    def _hand_over_dialogs(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        gathered, self._gathered, self._changed = self._gathered, self._changed, {}
        if self._gathered:
            self._gathering = self._timers.call_later(DIALOG_INTERVAL, self._hand_over_dialogs)
        for call_id, dialog in gathered.items():
            if dialog is not None:
                self._dialogs.add(call_id)
                self._add(store.dialog_put(dialog), _NOBODY)
            else:
                self._dialogs.discard(call_id)
                self._add(store.dialog_ended(call_id), _NOBODY)

    def _add(self, change: Change, on_saved: Callable[[bool], None]) -> None:
        self._waiting.append(_Waiting(change, on_saved))
        if self._writing:
            return
        if len(self._waiting) >= self._batch or (not self.healthy and on_saved is not _NOBODY):
            self._commit()
        elif self._timer is None:
            self._timer = self._timers.call_later(self._interval, self._commit)

    # Writing

    def _schedule(self) -> None:
        if self._timer is None:
            delay = self._interval if self.healthy else RETRY
            self._timer = self._timers.call_later(delay, self._commit)

    def _commit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch))]
        changes = [each.change for each in batch]
        now = self._now()
        if now >= self._next_clearing:
            self._next_clearing = now + _CLEAR_INTERVAL
            changes.append(store.ended_forgotten(now - REMEMBERED))
        self._writing = True
        self._worker.run(partial(self._write, changes), partial(self._written, batch))

    def _write(self, changes: list[Change]) -> JournalContents | None:
        """In the worker's thread: the only place that touches the store after ``open``."""
        contents = None if self._store.is_open else self._store.open()
        self._store.write(changes)
        return contents

    def _written(self, batch: list[_Waiting], result: JournalContents | Failure | None) -> None:
        self._writing = False
        if isinstance(result, Failure):
            self._failed(result.value)
            # In order, and before what came meanwhile.
            self._waiting.extendleft(each for each in reversed(batch) if each.on_saved is _NOBODY)
        else:
            self.commits += 1
            self._recovered()
            if result is not None:
                self._opened(result)
        saved = self.healthy
        for each in batch:
            try:
                each.on_saved(saved)
            except Exception:
                _log.failure("what follows a commit failed; the others go on")
        if self._closed is not None:
            self._close(self._closed)
        elif self._waiting or self._found is not None:
            if len(self._waiting) >= self._batch and saved:
                self._commit()
            else:
                self._schedule()

    def _close(self, closed: Deferred[None]) -> None:
        if self._waiting and self.healthy:
            self._commit()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._worker.stop()
        self._store.close()
        closed.callback(None)

    # How it goes

    def _failed(self, error: BaseException | None) -> None:
        if self.healthy:
            self.healthy = False
            _log.critical(
                "journal {path}: {error}; messages that their receiver can't have at once are"
                " refused until this is mended: make room on the disk, see to its permissions,"
                " or move a damaged file away",
                path=self._store.path,
                error=str(error),
            )

    def _recovered(self) -> None:
        if not self.healthy:
            self.healthy = True
            _log.warn("journal {path}: can be written to again", path=self._store.path)
