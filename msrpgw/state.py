"""What is kept in the state directory beside the journal: the key of Message-IDs."""

import os
from collections.abc import Callable

from msrpgw.errors import JournalError

#: name of the key's file
KEY_FILE = "message-id.key"

#: bytes
_KEY_SIZE = 32


def load_key(directory: str, random: Callable[[int], bytes]) -> bytes:
    """The secret that Message-IDs are made with, the same in each process; made when missing.

    With it a MESSAGE that its sender repeats after a restart gets the Message-ID that it had.
    Raises JournalError when it can't be read or made.
    """
    path = os.path.join(directory, KEY_FILE)
    try:
        if not os.path.exists(path):
            _make(path, random(_KEY_SIZE))
        with open(path, "rb") as file:
            key = file.read()
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error
    if len(key) != _KEY_SIZE:
        raise JournalError(f"{path}: {len(key)} bytes in place of {_KEY_SIZE}; remove it")
    return key


def _make(path: str, key: bytes) -> None:
    """Write the key, whole or not at all, for this user alone."""
    unfinished = f"{path}.new"
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, key)
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(unfinished, path)
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
