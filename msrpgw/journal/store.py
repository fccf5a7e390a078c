"""The journal's file: an SQLite database, written in transactions that are on disk when they
return.

Knows nothing of threads, reactors and time; whoever calls waits for the disk.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from msrpgw.errors import JournalError
from msrpgw.types import Direction, JournalContents, JournalDialog, JournalEntry, Outcome

#: one statement and its values
Change = tuple[str, tuple[Any, ...]]

#: name of the file in the state directory
FILE_NAME = "journal.db"

#: What makes each version of the schema from the one before it; a new version is appended, and
#: none is ever changed.  ``PRAGMA user_version`` counts how many a file has had.
SCHEMAS: tuple[str, ...] = (
    """
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        direction TEXT NOT NULL,
        key TEXT NOT NULL,
        message_id TEXT NOT NULL,
        content_type TEXT NOT NULL,
        body BLOB NOT NULL,
        page_uri TEXT NOT NULL,
        msrp_uri TEXT NOT NULL,
        from_uri TEXT NOT NULL,
        to_uri TEXT NOT NULL,
        ruri TEXT NOT NULL,
        content_types TEXT NOT NULL,
        congestion_safe INTEGER NOT NULL,
        received_at REAL NOT NULL,
        expires_at REAL NOT NULL,
        from_tag TEXT NOT NULL,
        cseq INTEGER NOT NULL,
        branch TEXT NOT NULL,
        sent_at REAL NOT NULL,
        part INTEGER NOT NULL,
        parts INTEGER NOT NULL,
        ended_at REAL,
        outcome TEXT,
        status INTEGER,
        reason TEXT
    );
    CREATE INDEX messages_ended ON messages (ended_at) WHERE ended_at IS NOT NULL;
    CREATE TABLE dialogs (
        call_id TEXT PRIMARY KEY,
        key TEXT NOT NULL,
        local TEXT NOT NULL,
        remote TEXT NOT NULL,
        target TEXT NOT NULL,
        routes TEXT NOT NULL,
        cseq INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
)

_ENTRY_FIELDS = JournalEntry.__struct_fields__
_DIALOG_FIELDS = JournalDialog.__struct_fields__

_AS_THEY_ARE = frozenset({int, float, bool, bytes})

_PUT_ENTRY = (
    f"INSERT INTO messages ({', '.join(_ENTRY_FIELDS)})"
    f" VALUES ({', '.join('?' * len(_ENTRY_FIELDS))})"
    " ON CONFLICT (id) DO UPDATE SET "
    # What does not change stays unwritten; the body may be long.
    + ", ".join(
        f"{name} = excluded.{name}"
        for name in ("from_tag", "cseq", "branch", "sent_at", "part", "parts")
    )
    + " WHERE ended_at IS NULL"
)
_END_ENTRY = (
    "UPDATE messages SET body = x'', ended_at = ?, outcome = ?, status = ?, reason = ? WHERE id = ?"
)
_FORGET = "DELETE FROM messages WHERE ended_at < ?"
_PUT_DIALOG = (
    f"INSERT OR REPLACE INTO dialogs ({', '.join(_DIALOG_FIELDS)})"
    f" VALUES ({', '.join('?' * len(_DIALOG_FIELDS))})"
)
_END_DIALOG = "DELETE FROM dialogs WHERE call_id = ?"


def entry_put(entry: JournalEntry) -> Change:
    """Write an entry, or what has changed of it."""
    return _PUT_ENTRY, _to_columns(msgspec.structs.astuple(entry))


def entry_ended(id: str, outcome: Outcome, now: float) -> Change:
    """Remember of an entry only how it ended."""
    reason = _to_column(outcome.reason)
    return _END_ENTRY, (now, outcome.kind.value, outcome.status, reason, _to_column(id))


def ended_forgotten(before: float) -> Change:
    """Forget what ended before this time, in seconds since the epoch."""
    return _FORGET, (before,)


def dialog_put(dialog: JournalDialog) -> Change:
    """Write a dialog."""
    return _PUT_DIALOG, _to_columns(msgspec.structs.astuple(dialog))


def dialog_ended(call_id: str) -> Change:
    """Forget a dialog."""
    return _END_DIALOG, (_to_column(call_id),)


def _to_columns(values: tuple[Any, ...]) -> tuple[Any, ...]:
    # Most are what they are: two calls where there would be twenty.
    return tuple(
        [
            value
            if type(value) in _AS_THEY_ARE or (value.__class__ is str and value.isascii())
            else _to_column(value)
            for value in values
        ]
    )


def _to_column(value: Any) -> Any:
    if isinstance(value, str):
        if value.isascii():
            return value
        try:
            value.encode()
        except UnicodeEncodeError:  # bytes of a peer that were no UTF-8
            return value.encode("utf-8", "surrogateescape")
    elif isinstance(value, tuple):
        return msgspec.json.encode([_escaped(each) for each in value]).decode()
    elif isinstance(value, Direction):
        return value.value
    return value


def _escaped(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _from_column(name: str, value: Any) -> Any:
    if name in ("content_types", "routes"):
        return tuple(
            each.encode("latin-1").decode("utf-8", "surrogateescape")
            for each in msgspec.json.decode(value, type=list[str])
        )
    if name == "direction":
        return Direction(value)
    if name == "congestion_safe":
        return bool(value)
    if isinstance(value, bytes) and name != "body":
        return value.decode("utf-8", "surrogateescape")
    return value


def _rows(
    connection: sqlite3.Connection, query: str, fields: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for row in connection.execute(query):
        yield {name: _from_column(name, value) for name, value in zip(fields, row, strict=True)}


def read_contents(connection: sqlite3.Connection) -> JournalContents:
    """Everything that is kept.  Raises sqlite3.Error."""
    entries = _rows(
        connection,
        f"SELECT {', '.join(_ENTRY_FIELDS)} FROM messages WHERE ended_at IS NULL ORDER BY number",
        _ENTRY_FIELDS,
    )
    dialogs = _rows(connection, f"SELECT {', '.join(_DIALOG_FIELDS)} FROM dialogs", _DIALOG_FIELDS)
    ended = _rows(connection, "SELECT id FROM messages WHERE ended_at IS NOT NULL", ("id",))
    return JournalContents(
        entries=tuple(JournalEntry(**row) for row in entries),
        dialogs=tuple(JournalDialog(**row) for row in dialogs),
        ended=tuple(row["id"] for row in ended),
    )


class Store:
    """One journal file.

    Opened and written by one thread at a time; one process at a time has it, by a lock on a file
    beside it that ends with the process.
    """

    def __init__(self, path: str, schemas: Sequence[str] = SCHEMAS) -> None:
        self.path = path
        self._schemas = schemas
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to the file."""
        return self._connection is not None

    def open(self) -> JournalContents:
        """Open the file, make it or bring it to this version, and read it.

        Raises JournalError when another process has it, or it is of a later version;
        sqlite3.Error when it can't be read or written.
        """
        self._take_lock()
        os.close(_open_private(self.path))
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: each commit is on disk when it returns, also if the power fails right then.
            connection.execute("PRAGMA synchronous = FULL")
            self._upgrade(connection)
            contents = read_contents(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return contents

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = _open_private(f"{self.path}.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise JournalError(f"{self.path} is in use by another process") from error
        self._lock = lock

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        wanted = len(self._schemas)
        if version > wanted:
            raise JournalError(
                f"{self.path} was written by a later msrpgw: its version is {version}, this"
                f" program knows {wanted}; run the later one, or move the file away"
            )
        if 0 < version < wanted:
            self._back_up(connection, version)
        for number in range(version, wanted):
            connection.executescript(
                f"BEGIN IMMEDIATE; {self._schemas[number]}; PRAGMA user_version = {number + 1};"
                " COMMIT;"
            )

    def _back_up(self, connection: sqlite3.Connection, version: int) -> None:
        path = f"{self.path}.version{version}"
        os.close(_open_private(path))
        with contextlib.closing(sqlite3.connect(path)) as backup:
            connection.backup(backup)

    def write(self, changes: Sequence[Change]) -> None:
        """Make changes, all or none, and wait until they are on disk.

        Raises sqlite3.Error; the file must be opened again then.
        """
        connection = self._connection
        assert connection is not None
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement, values in changes:
                connection.execute(statement, values)
            connection.execute("COMMIT")
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()  # which rolls back

    def close(self) -> None:
        """Close the file, and let others have it."""
        self._disconnect()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _open_private(path: str) -> int:
    """A file that is there, and for this user only when it was not: messages are in it."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        # As SQLite would put it: what follows is the same as when it can't open the file.
        raise sqlite3.OperationalError(f"{path}: {error.strerror}") from error
