"""The garbage collector, so that it holds no message up.

Nearly everything is freed by reference counts, sessions too; what is left for the collector are
circles, as an exception makes with its traceback.  Left alone, it walks through all that lives,
10,000 sessions in 0.4 s, and nothing else happens meanwhile.  Here it looks at what is new, and at
all the rest in a quiet minute now and then.

Imports nothing of msrpgw.
"""

import gc
from collections.abc import Callable
from typing import Literal

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: new objects that one look is at: some 5 ms with 10,000 sessions, where 50,000 took 35 ms.  With
#: fewer, looks meet what belongs to messages under way: 2,000 cost 4 % of a message, 5,000 nothing
YOUNG = 5_000

#: seconds between looks at what is new.  Python counts what comes less what goes: under an even
#: load, where each message's end frees what an earlier one left, that stays below YOUNG, and what
#: is new piles up.  After 30 s of 3,000 messages a second one look took 50 ms of CPU
YOUNG_INTERVAL = 0.2

#: seconds from one look at everything to the next, and between looks for a quiet moment
FULL_INTERVAL = 3_600.0
QUIET_INTERVAL = 10.0

#: share of one core below which it is quiet
QUIET = 0.1

#: how often a quiet moment is looked for before one that isn't has to do: for a day
PATIENCE = 8_640


class Collector(Service):
    """Looks after the garbage collector of the process, of which there is one.

    What survives a look is frozen: not looked at again until everything is.
    """

    def __init__(self, clock: IReactorTime, cpu: Callable[[], float]) -> None:
        """``cpu``: seconds of CPU that the process has used."""
        self._clock = clock
        self._cpu = cpu
        self._used = 0.0  # when we looked last
        self._missed = 0  # moments that were not quiet
        self._call: IDelayedCall | None = None
        self._young_call: IDelayedCall | None = None
        self._thresholds = gc.get_threshold()  # as Python has them

    def startService(self) -> None:
        """From now on; what lives already is left alone."""
        Service.startService(self)
        collect_all()
        gc.set_threshold(YOUNG)
        gc.callbacks.append(_freeze)
        self._wait(FULL_INTERVAL)
        self._wait_for_new()

    def stopService(self) -> None:
        """Leave the collector to itself, as it was."""
        Service.stopService(self)
        gc.callbacks.remove(_freeze)
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()
        for call in (self._call, self._young_call):
            if call is not None:
                call.cancel()
        self._call = self._young_call = None

    def _wait_for_new(self) -> None:
        self._young_call = self._clock.callLater(YOUNG_INTERVAL, self._look_at_new)

    def _look_at_new(self) -> None:
        gc.collect(0)
        self._wait_for_new()

    def _wait(self, delay: float) -> None:
        self._used = self._cpu()
        self._call = self._clock.callLater(delay, self._look)

    def _look(self) -> None:
        quiet = self._cpu() - self._used < QUIET * QUIET_INTERVAL
        if quiet or self._missed >= PATIENCE:
            self._missed = 0
            collect_all()
            self._wait(FULL_INTERVAL)
        else:
            self._missed += 1
            self._wait(QUIET_INTERVAL)


def collect_all() -> None:
    """Look at everything, and at nothing of what is left again."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _freeze(phase: Literal["start", "stop"], info: dict[str, int]) -> None:
    if phase == "stop":
        gc.freeze()
