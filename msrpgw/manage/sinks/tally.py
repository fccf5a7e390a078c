"""What became of the lines and requests of all sinks of a kind, across reloads."""

from typing import Any

import msgspec


class Tally:
    """Counters.  Owned by the Sinks; shared by the sinks of one kind."""

    __slots__ = ("dropped", "written")

    def __init__(self) -> None:
        self.written = 0  #: events or records that arrived
        self.dropped = 0  #: that were given up, or for which there was no room


def encode(value: dict[str, Any]) -> bytes:
    """JSON; bytes of a peer that are no UTF-8 become backslash escapes."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_readable(value))


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {name: _readable(each) for name, each in value.items()}
    return value
