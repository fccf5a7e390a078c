"""Which events a sink wants."""

import fnmatch
from collections.abc import Iterable

import msgspec

from msrpgw.types import Event

#: parameters that name a party
_PARTIES = ("from_uri", "to_uri", "ruri", "uri")


class EventFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Patterns with ``*`` and ``?``; an event must fit one of each kind.

    An event without a key, or without parties, fits patterns for these when they are ``*``.
    """

    #: names of events
    events: tuple[str, ...] = ("*",)
    #: keys of sessions
    keys: tuple[str, ...] = ("*",)
    #: URIs of either party
    parties: tuple[str, ...] = ("*",)

    def names(self, known: Iterable[str], pattern: str | None = None) -> frozenset[str]:
        """Those of the known events that may be wanted, by all patterns or by one."""
        patterns = self.events if pattern is None else (pattern,)
        return frozenset(name for name in known if _fits(name, patterns))

    def wants(self, event: Event) -> bool:
        """Whether an event, whose name is wanted, fits the other patterns."""
        parameters = event.parameters
        if self.keys != ("*",) and not _fits(str(parameters.get("key", "")), self.keys):
            return False
        if self.parties == ("*",):
            return True
        return any(
            name in parameters and _fits(str(parameters[name]), self.parties) for name in _PARTIES
        )


def _fits(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)
