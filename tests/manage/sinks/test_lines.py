"""Files of JSON lines: rotation, full and dead disks, bounds."""

import json
import os
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import formatEvent as format_event
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpgw.manage.sinks import lines
from msrpgw.manage.sinks.lines import AppendedFile, LineFile
from msrpgw.manage.sinks.tally import Tally
from msrpgw.timers import Timers
from tests.journal.support import SlowWorker


class FakeDisk:
    """Has as much room as the test says."""

    def __init__(self) -> None:
        self.room = 1_000_000
        self.data = b""
        self.error: OSError | None = None
        self.reopened = 0
        self.closed = False

    def write(self, data: bytes, reopen: bool) -> int:
        """As far as there is room."""
        self.reopened += reopen
        if self.error:
            raise self.error
        taken = data[: self.room]
        self.data += taken
        self.room -= len(taken)
        return len(taken)

    def close(self) -> None:
        """Closed."""
        self.closed = True


class LineCase(SynchronousTestCase):
    """A file, its disk and its worker."""

    def setUp(self) -> None:
        self.log: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.clock = Clock()
        self.disk = FakeDisk()
        self.worker = SlowWorker()
        self.worker.eager = True
        self.tally = Tally()
        self.timers = Timers(self.clock)
        self.file = LineFile("/f", self.disk, self.worker, self.timers, self.tally)

    def observe(self, event: dict[str, Any]) -> None:
        if event.get("log_namespace") == "msrpgw.manage.sinks.lines":
            self.log.append(format_event(event))

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.file.put({"n": number})

    def numbers(self) -> list[int]:
        return [json.loads(line)["n"] for line in self.disk.data.splitlines()]


class LineTests(LineCase):
    """With any disk."""

    def test_gathered_for_one_write(self) -> None:
        self.put(1, 2)
        self.assertEqual(self.disk.data, b"")
        self.clock.advance(0.1)
        self.assertEqual(self.disk.data, b'{"n":1}\n{"n":2}\n')
        self.assertEqual((self.tally.written, self.tally.dropped), (2, 0))

    def test_while_the_disk_is_slow(self) -> None:
        """Lines wait, in order; nobody waits for them."""
        self.worker.eager = False
        self.put(1)
        self.clock.advance(0.1)
        self.put(2, 3)
        self.clock.advance(10)
        self.worker.finish()
        self.worker.finish()
        self.assertEqual(self.numbers(), [1, 2, 3])

    def test_a_disk_that_never_answers(self) -> None:
        self.patch(lines, "MAX_LINES", 5)
        self.worker.eager = False
        self.put(0)
        self.clock.advance(0.1)
        self.put(*range(1, 10))
        self.assertEqual(self.tally.dropped, 5)
        self.worker.eager = True
        self.worker.finish()
        self.assertEqual(self.numbers(), [0, 1, 2, 3, 4])

    def test_bytes_are_bounded(self) -> None:
        self.patch(lines, "MAX_BYTES", 100)
        for _ in range(10):
            self.file.put({"text": "x" * 40})
        self.assertEqual(self.tally.dropped, 8)

    def test_full_disk(self) -> None:
        """Half a line is completed when there is room; told once, recovered."""
        self.disk.room = 12
        self.put(1, 2)
        self.clock.advance(0.1)
        self.disk.error = OSError(28, "No space left on device")
        self.put(3)
        self.clock.advance(10)
        self.disk.error, self.disk.room = None, 1000
        self.clock.advance(2.1)
        self.assertEqual(self.numbers(), [1, 2, 3])
        self.assertEqual(self.tally.written, 3)
        self.assertEqual(
            self.log,
            [
                "/f can't be written: no room for all of it; trying again, up to 10000 lines wait",
                "/f is written again; 0 lines were lost",
            ],
        )

    def test_lost_lines_are_told(self) -> None:
        self.patch(lines, "MAX_LINES", 2)
        self.disk.error = OSError(28, "No space left on device")
        self.put(1, 2)
        self.clock.advance(0.1)
        self.put(3, 4, 5)
        self.disk.error = None
        self.clock.advance(2.1)
        self.put(6)
        self.clock.advance(0.1)
        self.assertEqual(self.numbers(), [1, 2, 6])
        self.assertEqual(
            self.log,
            [
                "/f can't be written: [Errno 28] No space left on device; trying again, up to 2"
                " lines wait",
                "/f is written again; 3 lines were lost",
            ],
        )

    def test_reopen_goes_with_the_next_write(self) -> None:
        self.file.reopen()
        for _ in range(2):
            self.put(1)
            self.clock.advance(0.1)
        self.assertEqual(self.disk.reopened, 1)

    def test_peers_bytes(self) -> None:
        self.file.put({"key": "a\udcffb\n", "more": {"x": "\udcfe"}})
        self.clock.advance(0.1)
        self.assertEqual(self.disk.data, b'{"key":"a\\\\xffb\\n","more":{"x":"\\\\xfe"}}\n')

    def test_close_writes_what_waits(self) -> None:
        self.put(1)
        self.successResultOf(self.file.close())
        self.assertEqual(self.numbers(), [1])
        self.assertTrue(self.disk.closed)
        self.put(2)
        self.successResultOf(self.file.close())
        self.assertEqual(self.tally.dropped, 1)
        self.assertEqual(len(self.timers), 0)

    def test_close_waits_for_the_disk(self) -> None:
        self.worker.eager = False
        self.put(1)
        self.clock.advance(0.1)
        self.put(2)
        closed = self.file.close()
        self.worker.finish()
        self.assertNoResult(closed)
        self.worker.eager = True
        self.worker.finish()
        self.successResultOf(closed)
        self.assertEqual(self.numbers(), [1, 2])

    def test_close_does_not_wait_for_room(self) -> None:
        self.disk.error = OSError(28, "No space left on device")
        self.put(1)
        self.clock.advance(0.1)
        self.successResultOf(self.file.close())
        self.assertEqual(self.tally.dropped, 1)
        self.assertEqual(len(self.timers), 0)


class AppendedFileTests(SynchronousTestCase):
    """A real file."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.file = AppendedFile(self.path)
        self.addCleanup(self.file.close)

    def read(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def test_appends(self) -> None:
        self.assertEqual(self.file.write(b"a\n", False), 2)
        self.file.close()
        self.file.write(b"b\n", False)
        self.assertEqual(self.read(self.path), b"a\nb\n")
        self.assertEqual(os.stat(self.path).st_mode & 0o777 & ~0o640, 0)

    def test_moved_or_removed(self) -> None:
        """As logrotate does, with or without a signal."""
        self.file.write(b"a\n", False)
        os.rename(self.path, self.path + ".1")
        self.file.write(b"b\n", False)
        os.remove(self.path)
        self.file.write(b"c\n", False)
        self.assertEqual((self.read(self.path + ".1"), self.read(self.path)), (b"a\n", b"c\n"))

    def test_moved_and_made_anew(self) -> None:
        self.file.write(b"a\n", False)
        os.rename(self.path, self.path + ".1")
        with open(self.path, "wb"):
            self.file.write(b"b\n", False)
        self.assertEqual(self.read(self.path), b"b\n")

    def test_told_to_reopen(self) -> None:
        self.file.write(b"a\n", False)
        self.file.write(b"b\n", True)
        self.assertEqual(self.read(self.path), b"a\nb\n")

    def test_no_directory(self) -> None:
        self.assertRaises(FileNotFoundError, AppendedFile("/nowhere/f").write, b"a", False)

    def test_full_device(self) -> None:
        """/dev/full answers as a full disk does."""
        self.assertRaises(OSError, AppendedFile("/dev/full").write, b"a", False)
