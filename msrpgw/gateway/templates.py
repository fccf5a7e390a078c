"""Templates of the configuration file: ``{field}``, ``{header[Name]}``, ``{{`` and ``}}``.

Compiled once, at the start; filling one in costs a call for each of its fields.
Imports nothing of msrpgw.
"""

import re
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_HEADER = re.compile(r"header\[([A-Za-z0-9!%*_+`'~.\-]+)\]\Z")


class Template(Generic[T]):
    """One template over values of type T.

    Raises ValueError, saying what is wrong and which fields there are.
    """

    __slots__ = ("names", "render")

    def __init__(
        self,
        text: str,
        fields: Mapping[str, Callable[[T], str]],
        header: Callable[[T, str], str] | None = None,
    ) -> None:
        #: fields that it takes something from; ``header[…]`` for any header
        self.names: set[str] = set()
        parts: list[str | Callable[[T], str]] = []
        for match in _PART.finditer(text):
            part, name = match[0], match[1]
            if part in ("{{", "}}"):
                parts.append(part[0])
            elif part in ("{", "}"):
                raise ValueError(f"{part!r} without its other half; write {part * 2!r} for itself")
            elif name is None:
                parts.append(part)
            else:
                parts.append(_field(name, fields, header))
                self.names.add("header[…]" if _HEADER.match(name) else name)
        #: fills it in
        self.render: Callable[[T], str] = _compile(parts)


def _compile(parts: list[str | Callable[[T], str]]) -> Callable[[T], str]:
    if len(parts) == 1 and not isinstance(parts[0], str):
        return parts[0]  # most templates are one field

    def render(source: T) -> str:
        return "".join([part if isinstance(part, str) else part(source) for part in parts])

    return render


def _field(
    name: str,
    fields: Mapping[str, Callable[[T], str]],
    header: Callable[[T, str], str] | None,
) -> Callable[[T], str]:
    match = _HEADER.match(name)
    if match is not None and header is not None:
        wanted, read = match[1], header
        return lambda source: read(source, wanted)
    if name in fields:
        return fields[name]
    known = ", ".join(sorted(fields))
    headers = ", header[NAME]" if header is not None else ""
    raise ValueError(f"unknown field {{{name}}}; there are: {known}{headers}")
