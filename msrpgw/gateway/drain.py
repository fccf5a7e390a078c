"""The end of the gateway, in order.

ARRIVING ──nothing on its way, or grace over──► SAVING ──journal has it──► ENDING ──► done
                                                                             │
                                              BYEs answered, or grace over ──┘
"""

import enum
from typing import Protocol

from twisted.internet.defer import Deferred

from msrpgw.timers import Timer, Timers


class Drainable(Protocol):
    """What comes to its end: the gateway."""

    def under_way(self) -> bool:
        """Whether a message may still arrive by itself."""

    def take_over_held(self) -> None:
        """Let the journal have what is held; ``Drain.saved`` follows."""

    def end_sessions(self) -> None:
        """Say BYE to everybody."""

    def farewells(self) -> bool:
        """Whether a BYE or CANCEL still has no answer."""

    def close(self) -> None:
        """Forget everything."""


class DrainState(enum.Enum):
    """What the drain waits for."""

    ARRIVING = "arriving"  #: messages on their way
    SAVING = "saving"  #: the journal
    ENDING = "ending"  #: answers to BYEs
    DONE = "done"  #: nothing


class Drain:
    """Owned by the gateway; made when it is to stop.  ``done`` fires once."""

    def __init__(self, timers: Timers, grace: float, gateway: Drainable) -> None:
        """``grace``: seconds for messages to arrive, and then once more for BYEs."""
        self._timers = timers
        self._grace = grace
        self._gateway = gateway
        self._timer: Timer | None = timers.call_later(grace, self._save)
        self.state = DrainState.ARRIVING
        self.done: Deferred[None] = Deferred()

    @property
    def ending(self) -> bool:
        """Whether sessions are being ended."""
        return self.state in (DrainState.ENDING, DrainState.DONE)

    def check(self) -> None:
        """Something has ended: go on if that was the last."""
        if self.state is DrainState.ARRIVING and not self._gateway.under_way():
            self._save()
        elif self.state is DrainState.ENDING and not self._gateway.farewells():
            self._finish()

    def _save(self) -> None:
        self._stop_timer()
        self.state = DrainState.SAVING
        self._gateway.take_over_held()

    def saved(self) -> None:
        """The journal has what was held."""
        if self.state is DrainState.SAVING:
            self.state = DrainState.ENDING
            self._timer = self._timers.call_later(self._grace, self._finish)
            self._gateway.end_sessions()
            self.check()

    def _finish(self) -> None:
        self._stop_timer()
        self.state = DrainState.DONE
        self._gateway.close()
        self.done.callback(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
