"""The check that every wire fixture gets: whole, byte by byte, with trailing data.

Knows nothing of a protocol: a parser is whatever has ``feed(data)`` and gives back a list.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class FeedParser(Protocol):
    """An incremental parser."""

    def feed(self, data: bytes) -> Sequence[Any]:
        """Take some bytes, give back what became complete."""


def picture(value: Any) -> Any:
    """Show a value as nested tuples of its public parts, so that two can be compared."""
    if isinstance(value, list | tuple):
        return tuple(picture(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, picture(item)) for key, item in value.items())
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    names: list[str] = []
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        names.extend([slots] if isinstance(slots, str) else slots)
    names.extend(getattr(value, "__dict__", {}))
    parts = [(name, getattr(value, name)) for name in sorted(set(names)) if name[0] != "_"]
    if not parts:  # all of it is private: it has to show itself
        shown = repr(value)
        return (type(value).__name__, "" if " at 0x" in shown else shown)
    return (type(value).__name__, *((name, picture(part)) for name, part in parts))


def three_ways(
    make_parser: Callable[[], FeedParser], data: bytes, trailing: bytes = b""
) -> list[Any]:
    """Feed ``data`` to three fresh parsers and want the same of each; returns what came out.

    Whole; byte by byte; and followed by ``trailing`` in one piece, where what comes of
    ``trailing`` may follow but must change nothing before it.
    """
    whole = list(make_parser().feed(data))
    wanted = [picture(item) for item in whole]

    parser = make_parser()
    single = [item for octet in data for item in parser.feed(bytes([octet]))]
    got = [picture(item) for item in single]
    if got != wanted:
        raise AssertionError(f"byte by byte differs:\n{got}\nwhole:\n{wanted}")

    followed = [picture(item) for item in make_parser().feed(data + trailing)]
    if followed[: len(wanted)] != wanted:
        raise AssertionError(f"with trailing data differs:\n{followed}\nwhole:\n{wanted}")
    return whole
