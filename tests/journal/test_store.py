"""The journal's file: what is written is there again, whatever happened in between."""

import os
import shutil
import sqlite3
import stat
from contextlib import closing

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import JournalError
from msrpgw.journal import store
from msrpgw.journal.store import SCHEMAS, Store
from msrpgw.types import Direction, JournalContents, Outcome, OutcomeKind
from tests.journal.support import dialog, entry

REFUSED = Outcome(OutcomeKind.REFUSED, 404, "Not Found")


class StoreCase(SynchronousTestCase):
    """A file in a directory of its own."""

    def setUp(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        self.path = os.path.join(directory, "journal.db")
        self.store = self.make()

    def make(self, *args: object) -> Store:
        made = Store(self.path, *args)  # type: ignore[arg-type]
        self.addCleanup(made.close)
        return made

    def again(self) -> JournalContents:
        """What another process finds."""
        self.store.close()
        self.store = self.make()
        return self.store.open()


class ContentsTests(StoreCase):
    """What comes back."""

    def test_nothing(self) -> None:
        self.assertEqual(self.store.open(), JournalContents())
        self.assertEqual(self.again(), JournalContents())

    def test_entries(self) -> None:
        """Whole, in order, however strange."""
        entries = (
            entry("1"),
            entry(
                "0",
                bytes(range(256)),
                direction=Direction.TO_MSRP,
                content_types=("text/plain", "text/*"),
                congestion_safe=True,
            ),
            entry("2", b"", key="sip:\udcff@x", from_tag="t", cseq=7, branch="b", sent_at=1500.125),
            entry("3", part=2, parts=5, content_type="text/plain; x=\udce4"),
            entry("'\"; --", "Grüße".encode(), key="Grüße 世界"),
        )
        self.store.open()
        self.store.write([store.entry_put(each) for each in entries])
        self.assertEqual(self.again().entries, entries)

    def test_changed(self) -> None:
        self.store.open()
        self.store.write([store.entry_put(entry("1")), store.entry_put(entry("2"))])
        later = entry("1", cseq=2, branch="b2", sent_at=9.0, part=1, parts=3, from_tag="t")
        self.store.write([store.entry_put(later)])
        self.assertEqual(self.again().entries, (later, entry("2")))

    def test_ended(self) -> None:
        """Only its id is left, and its body is gone from the file; in the end nothing is."""
        self.store.open()
        self.store.write([store.entry_put(entry("1")), store.entry_put(entry("2"))])
        self.store.write([store.entry_ended("1", REFUSED, 5000.0)])
        self.store.write([store.entry_put(entry("1", cseq=9))])  # too late
        found = self.again()
        self.assertEqual((found.entries, found.ended), ((entry("2"),), ("1",)))
        self.store.write([store.ended_forgotten(4999.0)])
        self.assertEqual(self.again().ended, ("1",))
        self.store.write([store.ended_forgotten(5001.0)])
        self.assertEqual(self.again().ended, ())

    def test_dialogs(self) -> None:
        moved = dialog("a", target="sip:bob@192.0.2.9", routes=("<sip:\udcff;lr>",))
        self.store.open()
        self.store.write([store.dialog_put(dialog("a")), store.dialog_put(dialog("b"))])
        self.store.write([store.dialog_put(moved), store.dialog_ended("b")])
        self.assertEqual(self.again().dialogs, (moved,))

    def test_all_or_nothing(self) -> None:
        self.store.open()
        with self.assertRaises(sqlite3.Error):
            self.store.write([store.entry_put(entry("1")), ("INSERT INTO nowhere VALUES (1)", ())])
        self.assertFalse(self.store.is_open)
        self.assertEqual(self.store.open().entries, ())


class CrashTests(StoreCase):
    """The process, or the power, goes away."""

    def test_never_closed(self) -> None:
        """What write() returned from is there, although nobody tidied up."""
        self.store.open()
        self.store.write([store.entry_put(entry("1"))])
        copy = self.copy()
        self.assertEqual(copy.open().entries, (entry("1"),))

    def copy(self, wal: int | None = None) -> Store:
        """The files as they are right now; of the WAL only the first so many bytes."""
        directory = self.mktemp()
        os.mkdir(directory)
        path = os.path.join(directory, "journal.db")
        shutil.copy(self.path, path)
        with open(f"{self.path}-wal", "rb") as file:
            written = file.read()
        with open(f"{path}-wal", "wb") as file:
            file.write(written[:wal])
        copy = Store(path)
        self.addCleanup(copy.close)
        return copy

    def test_truncated_wal(self) -> None:
        """Cut anywhere behind a commit, the WAL still has all up to that commit."""
        self.store.open()
        sizes = []
        for number in range(5):
            self.store.write([store.entry_put(entry(str(number)))])
            sizes.append(os.path.getsize(f"{self.path}-wal"))
        for count, size in enumerate(sizes, 1):
            behind = sizes[count] if count < len(sizes) else size + 1
            for cut in {size, size + 1, (size + behind) // 2, behind - 1}:
                found = self.copy(cut).open()
                self.assertEqual([each.id for each in found.entries], list("01234"[:count]))

    def test_each_commit_is_synchronous(self) -> None:
        """FULL in WAL mode: the WAL is synced before a commit returns."""
        self.store.open()
        connection = self.store._connection
        assert connection is not None
        self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        self.assertEqual(connection.execute("PRAGMA synchronous").fetchone(), (2,))


class FileTests(StoreCase):
    """The file itself."""

    def test_private(self) -> None:
        """Messages are in it."""
        self.addCleanup(os.umask, os.umask(0))
        self.store.open()
        self.store.write([store.entry_put(entry())])
        for name in os.listdir(os.path.dirname(self.path)):
            mode = os.stat(os.path.join(os.path.dirname(self.path), name)).st_mode
            self.assertEqual(stat.S_IMODE(mode), 0o600, name)

    def test_in_use(self) -> None:
        self.store.open()
        with self.assertRaisesRegex(JournalError, "in use by another process"):
            self.make().open()
        self.again()

    def test_damaged(self) -> None:
        with open(self.path, "wb") as file:
            file.write(b"this is no database, but it is long enough to be looked at" * 100)
        with self.assertRaises(sqlite3.Error):
            self.store.open()
        os.remove(self.path)
        self.assertEqual(self.store.open(), JournalContents())

    def test_no_directory(self) -> None:
        with self.assertRaisesRegex(sqlite3.Error, "No such file or directory"):
            Store("/nowhere/journal.db").open()


class UpgradeTests(StoreCase):
    """Files of other versions."""

    NEXT = (*SCHEMAS, "ALTER TABLE messages ADD COLUMN mood TEXT DEFAULT 'fine'")

    def columns(self, path: str) -> list[str]:
        with closing(sqlite3.connect(path)) as connection:
            return [row[1] for row in connection.execute("PRAGMA table_info(messages)")]

    def write_one(self, store_: Store) -> None:
        store_.open()
        store_.write([store.entry_put(entry())])
        store_.close()

    def test_upgrade(self) -> None:
        """What is there stays, and a copy from before as well."""
        self.write_one(self.store)
        upgraded = self.make(self.NEXT)
        self.assertEqual(upgraded.open().entries, (entry(),))
        self.assertIn("mood", self.columns(self.path))
        self.assertNotIn("mood", self.columns(f"{self.path}.version{len(SCHEMAS)}"))

    def test_upgrade_that_fails(self) -> None:
        """The file stays as it was."""
        self.write_one(self.store)
        broken = self.make((*self.NEXT, "SELECT * FROM nowhere"))
        with self.assertRaises(sqlite3.Error):
            broken.open()
        broken.close()
        self.assertEqual(self.make(self.NEXT).open().entries, (entry(),))

    def test_later_version(self) -> None:
        self.write_one(self.make(self.NEXT))
        with self.assertRaisesRegex(JournalError, "written by a later msrpgw"):
            self.store.open()
        self.assertIn("mood", self.columns(self.path))
