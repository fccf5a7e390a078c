"""``python -m msrpgw.journal``."""

import contextlib
import io
import json
import math
import os

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.journal import store
from msrpgw.journal.__main__ import main
from msrpgw.journal.store import FILE_NAME, Store
from msrpgw.types import Direction, Outcome, OutcomeKind
from tests.journal.support import dialog, entry


class CommandTests(SynchronousTestCase):
    """What it prints."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.store = Store(os.path.join(self.directory, FILE_NAME))
        self.addCleanup(self.store.close)

    def fill(self) -> None:
        """The gateway runs, and holds the file."""
        self.store.open()
        self.store.write(
            [
                store.entry_put(entry("one", "Grüße".encode())),
                store.entry_put(
                    entry("two", direction=Direction.TO_MSRP, msrp_uri="sip:\x1b[2J", body=b"\xff")
                ),
                store.entry_put(entry("three", expires_at=math.inf, key="\udcff")),
                store.entry_put(entry("gone")),
                store.entry_ended("gone", Outcome(OutcomeKind.DELIVERED, 200), 0.0),
                store.dialog_put(dialog()),
            ]
        )

    def run_it(self, *arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = main([*arguments, self.directory])
        return status, out.getvalue()

    def test_list(self) -> None:
        self.fill()
        status, printed = self.run_it("list")
        self.assertEqual(status, 0)
        self.assertEqual(
            printed.splitlines(),
            [
                "1970-01-01T00:16:40Z  to_page  one  7 bytes of text/plain"
                "  from sip:bob@x to sip:alice@y  until 1970-01-01T00:33:20Z",
                "1970-01-01T00:16:40Z  to_msrp  two  1 bytes of text/plain"
                "  from sip:alice@y to sip:?[2J  until 1970-01-01T00:33:20Z",
                "1970-01-01T00:16:40Z  to_page  three  5 bytes of text/plain"
                "  from sip:bob@x to sip:alice@y  until the end",
                "call  call  with <sip:bob@x>;tag=b",
                "3 messages to deliver, 1 calls",
            ],
        )

    def test_export(self) -> None:
        self.fill()
        status, printed = self.run_it("export")
        self.assertEqual(status, 0)
        found = [json.loads(line) for line in printed.splitlines()]
        self.assertEqual([each["kind"] for each in found], ["message"] * 3 + ["call"])
        self.assertEqual([each.get("body") for each in found], ["Grüße", "\\xff", "hello", None])
        self.assertEqual(found[2]["key"], "\\xff")
        self.assertEqual(found[3]["routes"], ["<sip:proxy1;lr>", "<sip:proxy2;lr>"])

    def test_nothing_there(self) -> None:
        status, printed = self.run_it("list")
        self.assertEqual(status, 1)
        self.assertIn("no such file", printed)
        self.assertEqual(os.listdir(self.directory), [])

    def test_no_journal(self) -> None:
        with open(os.path.join(self.directory, FILE_NAME), "wb") as file:
            file.write(b"something else" * 1000)
        self.assertEqual(self.run_it("list")[0], 1)

    def test_another_version(self) -> None:
        other = Store(self.store.path, (*store.SCHEMAS, "CREATE TABLE more (x)"))
        other.open()
        other.close()
        status, printed = self.run_it("list")
        self.assertEqual(status, 1)
        self.assertIn("version 2", printed)
