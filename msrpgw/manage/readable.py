"""JSON of values that may hold a peer's bytes.

Imports nothing of msrpgw.
"""

from typing import Any

import msgspec


def encode(value: object) -> bytes:
    """JSON; bytes of a peer that are no UTF-8 become ``\\xNN``."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_readable(value))


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {_readable(key): _readable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(each) for each in value]
    return value
