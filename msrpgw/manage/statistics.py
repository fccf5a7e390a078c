"""Numbers by OpenSIPS's names, ``group:name``, for get_statistics and its kin."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Number(NamedTuple):
    """One statistic."""

    kind: str  #: counter or gauge
    read: Callable[[], int]


class Statistics:
    """All numbers.  Counters can be set back: what they were then is subtracted from then on."""

    def __init__(self, numbers: Mapping[str, Number]) -> None:
        """``numbers`` by ``group:name``."""
        self._numbers = dict(numbers)
        self._offsets: dict[str, int] = {}

    def get(self, names: Sequence[str]) -> dict[str, int]:
        """Values; a name may be a group, ``group:``, or ``all``.  Raises KeyError."""
        return {name: self._value(name) for name in self._find(names)}

    def names(self) -> list[tuple[str, str]]:
        """All names with their kinds, in alphabetical order."""
        return [(name, self._numbers[name].kind) for name in sorted(self._numbers)]

    def reset(self, names: Sequence[str]) -> None:
        """Set counters back to 0.  Raises KeyError, or ValueError for what is no counter."""
        found = self._find(names)
        for name in found:
            if self._numbers[name].kind != "counter" and name in names:
                raise ValueError(f"{name} is no counter")
        for name in found:
            if self._numbers[name].kind == "counter":
                self._offsets[name] = self._numbers[name].read()

    def _value(self, name: str) -> int:
        return self._numbers[name].read() - self._offsets.get(name, 0)

    def _find(self, names: Sequence[str]) -> list[str]:
        found: dict[str, None] = {}
        for name in names:
            matching = [
                each
                for each in sorted(self._numbers)
                if name == "all"
                or each == name
                or (name.endswith(":") and each.startswith(name))
                or (":" not in name and each.partition(":")[2] == name)
            ]
            if not matching:
                raise KeyError(name)
            found.update(dict.fromkeys(matching))
        return list(found)
