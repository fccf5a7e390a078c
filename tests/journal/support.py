"""Entries, a disk that fails when told to, and a worker without a thread."""

import sqlite3
from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from msrpgw.journal.store import Store
from msrpgw.types import Direction, JournalDialog, JournalEntry


def entry(id: str = "id", body: bytes = b"hello", **fields: Any) -> JournalEntry:
    """Some entry."""
    defaults: dict[str, Any] = {
        "direction": Direction.TO_PAGE,
        "key": "sip:bob@x:sip:alice@y",
        "message_id": "m1",
        "content_type": "text/plain",
        "page_uri": "sip:alice@y",
        "msrp_uri": "sip:bob@x",
        "from_uri": "sip:bob@x",
        "to_uri": "sip:alice@y",
        "ruri": "sip:alice@y;transport=tcp",
        "received_at": 1000.5,
        "expires_at": 2000.25,
    }
    return JournalEntry(id=id, body=body, **{**defaults, **fields})


def dialog(call_id: str = "call", **fields: Any) -> JournalDialog:
    """Some dialog."""
    defaults: dict[str, Any] = {
        "key": "sip:bob@x:sip:alice@y",
        "local": "<sip:alice@y>;tag=a",
        "remote": "<sip:bob@x>;tag=b",
        "target": "sip:bob@192.0.2.2",
        "routes": ("<sip:proxy1;lr>", "<sip:proxy2;lr>"),
        "cseq": 3,
    }
    return JournalDialog(call_id=call_id, **{**defaults, **fields})


class FlakyStore(Store):
    """A store whose disk fails when it is told to."""

    broken = ""
    writes = 0

    def open(self) -> Any:
        """Open, unless the disk is broken."""
        self._check()
        return super().open()

    def write(self, changes: Any) -> None:
        """Write, unless the disk is broken."""
        self._check()
        self.writes += 1
        super().write(changes)

    def _check(self) -> None:
        if self.broken:
            self._disconnect()
            raise sqlite3.OperationalError(self.broken)


class SlowWorker:
    """Does its work when it is told to.  ``eager``: at once."""

    def __init__(self) -> None:
        self.eager = False
        self.stopped = False
        self._work: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []

    def run(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Keep it."""
        assert not self._work, "two pieces of work at a time"
        self._work.append((work, done))
        if self.eager:
            self.finish()

    @property
    def busy(self) -> bool:
        """Whether there is work."""
        return bool(self._work)

    def finish(self) -> None:
        """Do it."""
        work, done = self._work.pop()
        try:
            result = work()
        except Exception:
            result = Failure()
        done(result)

    def stop(self) -> None:
        """No more."""
        self.stopped = True
