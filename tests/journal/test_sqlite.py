"""The journal in a file: gathered commits, bounds, a disk that fails and recovers."""

import os
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import formatEvent as format_event
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from msrpgw.errors import JournalError
from msrpgw.interfaces import IJournal
from msrpgw.journal.memory import MemoryJournal
from msrpgw.journal.settings import JournalSettings
from msrpgw.journal.sqlite import DIALOG_INTERVAL, REMEMBERED, RETRY, SqliteJournal
from msrpgw.timers import Timers
from msrpgw.types import JournalContents, JournalEntry, Outcome, OutcomeKind
from tests.journal.support import FlakyStore, SlowWorker, dialog, entry
from tests.support import check_no_timers

INTERVAL = 0.01
SLACK = 0.002  # timers are this exact
DELIVERED = Outcome(OutcomeKind.DELIVERED, 200, "OK")


class JournalCase(SynchronousTestCase):
    """A journal on a disk and a clock that obey."""

    def setUp(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        self.path = os.path.join(directory, "journal.db")
        self.clock = Clock()
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.make()

    def observe(self, event: dict[str, Any]) -> None:
        if str(event.get("log_namespace", "")).startswith("msrpgw.journal"):
            self.lines.append(format_event(event))

    def make(self, **settings: Any) -> None:
        """Another process, so to speak."""
        self.timers = Timers(self.clock, 0.001)
        self.store = FlakyStore(self.path)
        self.addCleanup(self.store.close)
        self.worker = SlowWorker()
        self.found: list[JournalContents] = []
        self.saved: list[bool] = []
        self.journal = SqliteJournal(
            self.store,
            self.worker,
            self.timers,
            JournalSettings(commit_interval=INTERVAL, **settings),
            lambda: 1e9 + self.clock.seconds(),
        )

    def open(self, **settings: Any) -> None:
        """Another process with these settings, open."""
        self.store.close()
        self.make(**settings)
        self.journal.open(self.found.append)

    def put(self, *entries: JournalEntry) -> None:
        for each in entries:
            self.journal.put(each, self.saved.append)

    def commit(self, *, dialogs: bool = False) -> None:
        """The interval is over, and the disk does its work."""
        if dialogs:
            for _ in range(2):
                self.clock.advance(DIALOG_INTERVAL + SLACK)
                if self.worker.busy:
                    self.worker.finish()
        self.clock.advance(INTERVAL + SLACK)
        if self.worker.busy or not dialogs:
            self.worker.finish()

    def reopened(self) -> JournalContents:
        """What the next process finds."""
        self.open()
        return self.found[0]


class CommitTests(JournalCase):
    """When things are on disk."""

    def test_interface(self) -> None:
        verifyObject(IJournal, self.journal)
        verifyObject(IJournal, MemoryJournal(JournalSettings()))

    def test_told_when_it_is_on_disk(self) -> None:
        self.open()
        self.assertEqual(self.found, [JournalContents()])
        self.put(entry())
        self.assertFalse(self.worker.busy)
        self.clock.advance(INTERVAL)
        self.assertTrue(self.worker.busy)
        self.assertEqual(self.saved, [])
        self.worker.finish()
        self.assertEqual(self.saved, [True])
        self.assertEqual(self.reopened().entries, (entry(),))

    def test_grouped(self) -> None:
        """All that comes within the interval is one commit; what comes meanwhile is the next."""
        self.open()
        self.put(*(entry(str(number)) for number in range(10)))
        self.clock.advance(INTERVAL / 2)
        self.put(entry("10"))
        self.clock.advance(INTERVAL / 2)
        self.put(entry("11"), entry("12"))
        self.worker.finish()
        self.assertEqual((self.store.writes, len(self.saved)), (1, 11))
        self.commit()
        self.assertEqual((self.store.writes, len(self.saved)), (2, 13))
        check_no_timers(self, self.clock, self.timers)

    def test_full_batch(self) -> None:
        """It does not wait for the interval, nor does the next full one."""
        self.open(commit_batch=3)
        self.put(*(entry(str(number)) for number in range(7)))
        self.worker.finish()
        self.assertEqual(len(self.saved), 3)
        self.worker.finish()
        self.assertEqual(len(self.saved), 6)
        self.assertFalse(self.worker.busy)
        self.commit()
        self.assertEqual(len(self.saved), 7)

    def test_order(self) -> None:
        """What is put and ended in one breath is at its end."""
        self.open()
        self.put(entry("1"), entry("2"))
        self.journal.end("1", DELIVERED)
        self.journal.put_dialog(dialog("a"))
        self.journal.put_dialog(dialog("b"))
        self.journal.end_dialog("a")
        self.journal.end_dialog("unknown")
        self.commit(dialogs=True)
        found = self.reopened()
        self.assertEqual((found.entries, found.ended), ((entry("2"),), ("1",)))
        self.assertEqual(found.dialogs, (dialog("b"),))

    def test_dialogs(self) -> None:
        """Those that last are written together, with their latest target; the others never."""
        self.open()
        for number in range(10):
            self.journal.put_dialog(dialog(str(number)))
            self.journal.put_dialog(dialog(str(number), target="sip:moved@192.0.2.9"))
        for number in range(7):
            self.journal.end_dialog(str(number))
        self.clock.advance(DIALOG_INTERVAL + SLACK)
        self.journal.end_dialog("7")
        self.clock.advance(DIALOG_INTERVAL - 2 * SLACK)
        self.assertFalse(self.journal._waiting)
        self.commit(dialogs=True)
        self.assertEqual(self.store.writes, 1)
        found = self.reopened()
        self.assertEqual({each.call_id for each in found.dialogs}, {"8", "9"})
        self.assertEqual({each.target for each in found.dialogs}, {"sip:moved@192.0.2.9"})
        self.journal.end_dialog("8")
        self.journal.end_dialog("9")
        self.journal.put_dialog(dialog("9"))
        self.commit(dialogs=True)
        self.assertEqual(self.reopened().dialogs, (dialog("9"),))
        check_no_timers(self, self.clock, self.timers)

    def test_ids_are_forgotten_in_the_end(self) -> None:
        self.open()
        self.put(entry("1"))
        self.journal.end("1", DELIVERED)
        self.commit()
        self.clock.advance(REMEMBERED - 1)
        self.put(entry("2"))
        self.commit()
        self.assertEqual(self.reopened().ended, ("1",))
        self.clock.advance(100)
        self.put(entry("3"))
        self.commit()
        self.assertEqual(self.reopened().ended, ())

    def test_close(self) -> None:
        """What waits is written first."""
        self.open(commit_batch=2)
        self.put(*(entry(str(number)) for number in range(5)))
        closed = self.journal.close()
        for _ in range(3):
            self.assertNoResult(closed)
            self.worker.finish()
        self.successResultOf(closed)
        self.assertEqual(self.saved, [True] * 5)
        self.assertTrue(self.worker.stopped)
        self.assertEqual(len(self.reopened().entries), 5)


class BoundsTests(JournalCase):
    """How much there may be."""

    def test_messages(self) -> None:
        self.open(max_messages=2)
        self.worker.eager = True
        self.put(entry("1"), entry("2"), entry("3"))
        self.assertEqual(self.saved, [False])
        self.put(entry("1", cseq=2))  # has its place
        self.clock.advance(INTERVAL)
        self.assertEqual(self.saved, [False, True, True, True])
        self.journal.end("1", DELIVERED)
        self.put(entry("3"))
        self.clock.advance(INTERVAL)
        self.assertEqual(self.saved[-1], True)

    def test_bytes(self) -> None:
        self.open(max_bytes=10)
        self.put(entry("1", b"12345"), entry("2", b"12345"), entry("3", b"1"), entry("4", b""))
        self.assertEqual(self.saved, [False])

    def test_of_an_earlier_process(self) -> None:
        self.open()
        self.put(entry("1"), entry("2"))
        self.commit()
        self.open(max_messages=2)
        self.put(entry("3"))
        self.assertEqual(self.saved, [False])

    def test_memory(self) -> None:
        journal = MemoryJournal(JournalSettings(max_messages=1))
        journal.open(self.found.append)
        self.assertEqual(self.found, [JournalContents()])
        for id in ("1", "2", "1"):
            journal.put(entry(id), self.saved.append)
        self.assertEqual(self.saved, [True, False, True])
        journal.end("1", DELIVERED)
        journal.put(entry("2"), self.saved.append)
        self.assertEqual(self.saved[-1], True)
        self.successResultOf(journal.close())


class DiskTests(JournalCase):
    """The disk fails."""

    FULL = "database or disk is full"

    def test_full_and_mended(self) -> None:
        """Each put is told; ends are kept until they can be written; the log says it once."""
        self.open()
        self.put(entry("1"), entry("2"))
        self.journal.put_dialog(dialog("a"))
        self.commit(dialogs=True)
        self.store.broken = self.FULL
        self.put(entry("3"))
        self.journal.end("1", DELIVERED)
        self.journal.end_dialog("a")
        self.commit()
        self.clock.advance(2 * DIALOG_INTERVAL)
        self.assertEqual(self.saved, [True, True, False])
        self.assertFalse(self.journal.healthy)
        for _ in range(5):
            self.clock.advance(RETRY + SLACK)
            self.worker.finish()
        self.put(entry("4"))
        self.worker.finish()
        self.assertEqual(self.saved, [True, True, False, False])
        self.assertEqual(len(self.lines), 1)
        self.assertIn(self.FULL, self.lines[0])
        self.store.broken = ""
        self.put(entry("5"))
        self.worker.finish()
        self.assertEqual(self.saved[-1], True)
        self.assertTrue(self.journal.healthy)
        self.assertEqual(len(self.lines), 2)
        found = self.reopened()
        self.assertEqual([each.id for each in found.entries], ["2", "5"])
        self.assertEqual((found.ended, found.dialogs), (("1",), ()))

    def test_nothing_grows(self) -> None:
        """Calls come and go while the disk is away."""
        self.open()
        self.store.broken = self.FULL
        self.put(entry("1"))
        self.commit()
        for number in range(1000):
            self.journal.put_dialog(dialog(str(number)))
            self.journal.end_dialog(str(number))
            self.put(entry(str(number)))
            self.worker.finish()
        self.assertEqual(len(self.journal._waiting), 0)

    def test_recovers_by_itself(self) -> None:
        """Without any new message."""
        self.open()
        self.put(entry("1"))
        self.commit()
        self.store.broken = self.FULL
        self.journal.end("1", DELIVERED)
        self.commit()
        self.store.broken = ""
        self.clock.advance(RETRY)
        self.worker.finish()
        self.assertTrue(self.journal.healthy)
        check_no_timers(self, self.clock, self.timers)

    def test_away_at_the_start(self) -> None:
        """What an earlier process left is found when the disk is back."""
        self.open()
        self.put(entry("1"))
        self.commit()
        self.store.close()
        self.make()
        self.store.broken = "disk I/O error"
        self.journal.open(self.found.append)
        self.assertEqual(self.found, [])
        self.put(entry("2"))
        self.worker.finish()
        self.assertEqual(self.saved, [False])
        self.store.broken = ""
        self.clock.advance(RETRY + SLACK)
        self.worker.finish()
        self.assertEqual([each.id for each in self.found[0].entries], ["1"])
        self.assertEqual(len(self.found), 1)

    def test_damaged_file(self) -> None:
        """The operator moves it away; nothing needs to be started again."""
        with open(self.path, "wb") as file:
            file.write(b"no database" * 1000)
        self.journal.open(self.found.append)
        self.assertIn("not a database", self.lines[0])
        os.rename(self.path, f"{self.path}.damaged")
        self.clock.advance(RETRY)
        self.worker.finish()
        self.put(entry("1"))
        self.commit()
        self.assertEqual(self.saved, [True])

    def test_of_another_process(self) -> None:
        """No use in starting."""
        self.open()
        other = FlakyStore(self.path)
        journal = SqliteJournal(
            other, self.worker, self.timers, JournalSettings(), self.clock.seconds
        )
        with self.assertRaises(JournalError):
            journal.open(self.found.append)

    def test_close_while_it_fails(self) -> None:
        """It is not waited for."""
        self.open()
        self.put(entry("1"))
        self.commit()
        self.store.broken = self.FULL
        self.journal.end("1", DELIVERED)
        closed = self.journal.close()
        self.worker.finish()
        self.successResultOf(closed)

    def test_one_callback_fails(self) -> None:
        """The others are told."""
        self.open()
        self.journal.put(entry("1"), lambda saved: 1 / 0)  # type: ignore[arg-type,return-value]
        self.put(entry("2"))
        self.commit()
        self.assertEqual(self.saved, [True])
        self.flushLoggedErrors(ZeroDivisionError)
