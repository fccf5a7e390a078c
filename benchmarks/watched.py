"""A program that tells on SIGUSR2 what it holds: its objects by type, its timers, its memory.

    python -m benchmarks.watched FILE PROGRAM [ARGUMENT ...]

The answer is a JSON object in FILE: what no port of the gateway shows, for the soak.
"""

import collections
import functools
import gc
import json
import os
import runpy
import signal
import sys
from types import FrameType

from msrpgw.gateway.routes import Routes
from msrpgw.timers import DelayLine, Timers

#: seconds: what is put off for longer is remembered, and that has a bound of its own
MEMORY = 100.0


def pending(each: object) -> int:
    """Calls to come, where that is what an object is for."""
    if type(each) is Timers or (type(each) is DelayLine and each.delay < MEMORY):
        return len(each)
    return 0


def forget() -> None:
    """Forget what is only remembered to be quick, or for a while, as far as it has a bound."""
    for each in gc.get_objects():
        if type(each) is functools._lru_cache_wrapper and each.cache_parameters()["maxsize"]:
            each.cache_clear()
        elif type(each) is Routes:
            each.use(each.policy)
        elif type(each) is DelayLine and each.delay >= MEMORY:
            while each:
                each._callback(each.pop())


def holdings() -> dict[str, int]:
    """How many objects of msrpgw's there are by type, timers, and everything in all.

    ``blocks`` is the memory that Python has in use, objects that the garbage collector does not
    know as well: strings, numbers.
    """
    frozen = gc.get_freeze_count()
    gc.unfreeze()  # what the gateway told the collector not to look at counts, too
    forget()
    gc.collect()
    blocks = sys.getallocatedblocks()
    gc.unfreeze()  # it may tell so after each collection
    objects = gc.get_objects()
    if frozen:
        gc.freeze()
    found = collections.Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in map(type, objects)
        if str(kind.__module__).startswith("msrpgw.")
    )
    found["timers"] = sum(map(pending, objects))
    found["objects"] = len(objects)
    found["blocks"] = blocks
    return dict(found)


def main() -> None:
    """Run the program."""
    _, file, program, *arguments = sys.argv

    def tell() -> None:
        part = f"{file}.part"
        with open(part, "w") as output:
            json.dump(holdings(), output)
        os.replace(part, file)

    def asked(signum: int, frame: FrameType | None) -> None:
        # Imported late: the program decides which reactor there is.
        from twisted.internet import reactor

        reactor.callFromThread(tell)  # type: ignore[attr-defined]

    signal.signal(signal.SIGUSR2, asked)
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
