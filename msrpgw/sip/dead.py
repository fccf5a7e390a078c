"""The targets that did not answer lately: those that do are asked before them (RFC 3263 §4.3).

Pure: time comes from the timers handed in.
"""

from collections.abc import Callable
from typing import Any

from msrpgw.sip.sending import Target
from msrpgw.timers import Timers

#: most targets remembered
_REMEMBERED = 1024

_Key = tuple[str, str, int]


def _nobody(target: Target, reason: str) -> None:
    """Nobody wants to know."""


class DeadTargets:
    """The black list.  Owned by the user agent.

    A target on it is not refused, it comes last: when nobody else is left, who knows, it may be
    back.  It leaves the list when its time is over, or when it answers.
    """

    def __init__(self, timers: Timers, time: float) -> None:
        """``time``: seconds that a target stays on the list; 0: there is none."""
        self._timers = timers
        self._time = time
        self._until: dict[_Key, float] = {}
        self._heard: dict[_Key, float] = {}  # when somebody answered, the latest last
        #: hears of each target that joins the list, and why
        self.on_dead: Callable[[Target, str], Any] = _nobody

    def __len__(self) -> int:
        """How many targets are on the list."""
        now = self._timers.seconds()
        for key in [key for key, until in self._until.items() if until <= now]:
            del self._until[key]
        return len(self._until)

    def add(self, target: Target, reason: str) -> None:
        """A target did not answer, or sent us away."""
        if not self._time:
            return
        key = target[:3]
        now = self._timers.seconds()
        known = self._until.pop(key, 0.0) > now
        while len(self._until) >= _REMEMBERED:
            del self._until[next(iter(self._until))]
        self._until[key] = now + self._time
        if not known:
            self.on_dead(target, reason)

    def heard(self, target: Target) -> None:
        """A target has answered."""
        key = target[:3]
        if self._until:
            self._until.pop(key, None)
        self._heard.pop(key, None)
        while len(self._heard) >= _REMEMBERED:
            del self._heard[next(iter(self._heard))]
        self._heard[key] = self._timers.seconds()

    def heard_since(self, target: Target, began: float) -> bool:
        """Whether a target has answered anything since a time on the timers' clock."""
        return self._heard.get(target[:3], -1.0) >= began

    def sort(self, targets: list[Target]) -> list[Target]:
        """The same targets, those on the list behind all others."""
        if not self._until or len(targets) < 2:
            return targets
        now = self._timers.seconds()
        dead = [self._until.get(target[:3], 0.0) > now for target in targets]
        if not any(dead):
            return targets
        return [
            *(target for target, is_dead in zip(targets, dead, strict=True) if not is_dead),
            *(target for target, is_dead in zip(targets, dead, strict=True) if is_dead),
        ]
