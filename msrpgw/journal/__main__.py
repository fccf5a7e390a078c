"""``python -m msrpgw.journal``: what is in a journal, for people and for programs.

Reads only, also while the gateway runs.
"""

import argparse
import os
import sqlite3
import sys
import urllib.parse
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

import msgspec

from msrpgw.journal.store import FILE_NAME, SCHEMAS, read_contents
from msrpgw.types import JournalContents, JournalEntry

_EPILOG = """\
list prints a line for each message and each call, export a JSON object for each, with the message's
text.  DIRECTORY is the [state] directory of the gateway's configuration.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or 1 when the journal can't be read."""
    parser = argparse.ArgumentParser(
        prog="python -m msrpgw.journal",
        description="Show what is in msrpgw's journal.",
        epilog=_EPILOG,
    )
    parser.add_argument("command", choices=("list", "export"))
    parser.add_argument("directory", nargs="?", default=".", metavar="DIRECTORY")
    options = parser.parse_args(arguments)
    path = os.path.join(options.directory, FILE_NAME)
    try:
        contents = _read(path)
    except (sqlite3.Error, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    if options.command == "list":
        _list(contents)
    else:
        _export(contents)
    return 0


def _read(path: str) -> JournalContents:
    if not os.path.exists(path):
        raise ValueError("no such file")
    uri = f"file:{urllib.parse.quote(os.path.abspath(path))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != len(SCHEMAS):
            raise ValueError(f"version {version}; this program reads {len(SCHEMAS)}")
        return read_contents(connection)


def _list(contents: JournalContents) -> None:
    for entry in contents.entries:
        print(
            _time(entry.received_at),
            entry.direction.value,
            _plain(entry.id),
            f"{len(entry.body)} bytes of {_plain(entry.content_type)}",
            f"from {_plain(_sender(entry))} to {_plain(_receiver(entry))}",
            f"until {_time(entry.expires_at)}",
            sep="  ",
        )
    for dialog in contents.dialogs:
        print("call", _plain(dialog.call_id), f"with {_plain(dialog.remote)}", sep="  ")
    print(f"{len(contents.entries)} messages to deliver, {len(contents.dialogs)} calls")


def _export(contents: JournalContents) -> None:
    for item in (*contents.entries, *contents.dialogs):
        fields = msgspec.structs.asdict(item)
        kind = "message" if isinstance(item, JournalEntry) else "call"
        if isinstance(item, JournalEntry):
            # Text as such, whatever its bytes; what is no text is no use to a reader either.
            fields["body"] = item.body.decode("utf-8", "backslashreplace")
        safe = {name: _printable(value) for name, value in fields.items()}
        print(msgspec.json.encode({"kind": kind, **safe}).decode())


def _printable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, tuple):
        return [_printable(each) for each in value]
    return value


def _plain(text: str) -> str:
    """A peer's text, without what could play tricks on a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _sender(entry: JournalEntry) -> str:
    return entry.page_uri if entry.direction.value == "to_msrp" else entry.msrp_uri


def _receiver(entry: JournalEntry) -> str:
    return entry.msrp_uri if entry.direction.value == "to_msrp" else entry.page_uri


def _time(epoch: float) -> str:
    try:
        return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError):  # no end, as with message_ttl = 0
        return "the end"


if __name__ == "__main__":
    sys.exit(main())
