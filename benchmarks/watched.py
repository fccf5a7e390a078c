"""A program that tells on SIGUSR2 what it holds: its objects by type, its timers.

    python -m benchmarks.watched FILE PROGRAM [ARGUMENT ...]

The answer is a JSON object in FILE: what no port of the gateway shows, for the soak.
"""

import collections
import gc
import json
import os
import runpy
import signal
import sys
from types import FrameType

from msrpgw.timers import DelayLine, Timers


def holdings() -> dict[str, int]:
    """How many objects of msrpgw's there are by type, calls to come, and everything in all."""
    gc.collect()
    objects = gc.get_objects()
    found = collections.Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in map(type, objects)
        if kind.__module__.startswith("msrpgw.")
    )
    found["timers"] = sum(len(each) for each in objects if type(each) in (Timers, DelayLine))
    found["objects"] = len(objects)
    return dict(found)


def main() -> None:
    """Run the program."""
    _, file, program, *arguments = sys.argv

    def tell(signum: int, frame: FrameType | None) -> None:
        part = f"{file}.part"
        with open(part, "w") as output:
            json.dump(holdings(), output)
        os.replace(part, file)

    signal.signal(signal.SIGUSR2, tell)
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
