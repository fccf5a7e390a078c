"""The targets of a URI, and in which order a request tries them (RFC 2782, RFC 3263 §4.3).

Pure: chance comes from the bytes handed in.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msrpgw.dns.records import Srv
from msrpgw.sip.sending import Target

#: most targets that are tried for one request
MAX_TARGETS = 16


class Choice(NamedTuple):
    """One of several among which chance decides."""

    weight: int  #: share (RFC 2782)
    targets: tuple[Target, ...]  #: the addresses of one host


class Plan(NamedTuple):
    """What a look-up has found, good for many requests."""

    groups: tuple[tuple[Choice, ...], ...]  #: best first; within a group chance decides
    until: float  #: on the clock of the timers

    def targets(self, random: Callable[[int], bytes]) -> list[Target]:
        """The targets, best first, of one request."""
        found: list[Target] = []
        for group in self.groups:
            for choice in group if len(group) == 1 else shuffle(group, random):
                found.extend(choice.targets)
        return found[:MAX_TARGETS]


def single_plan(targets: Iterable[Target], until: float) -> Plan:
    """What is tried in the order given."""
    return Plan(((Choice(0, tuple(targets)),),), until)


def shuffle(choices: Iterable[Choice], random: Callable[[int], bytes]) -> list[Choice]:
    """Order by chance, in proportion to the weights (RFC 2782, "Usage rules")."""
    # Those without a weight come first, so that they have their very small chance.
    left = sorted(choices, key=lambda choice: choice.weight)
    ordered = []
    while left:
        at = int.from_bytes(random(4), "big") % (sum(choice.weight for choice in left) + 1)
        running = 0
        for choice in left:
            running += choice.weight
            if running >= at:
                break
        left.remove(choice)
        ordered.append(choice)
    return ordered


def by_priority(records: Sequence[Srv]) -> list[list[Srv]]:
    """Records grouped by priority, best first; those that say "not here" are left out."""
    groups: dict[int, list[Srv]] = {}
    for record in sorted(records, key=lambda record: record.priority):
        if record.host and record.port:
            groups.setdefault(record.priority, []).append(record)
    return list(groups.values())
