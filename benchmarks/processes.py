"""What other processes use, from ``/proc``: CPU, memory, descriptors.

May import: nothing of the suite.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

TICK = 1.0 / os.sysconf("SC_CLK_TCK")


class Kernel(NamedTuple):
    """Kernel memory in bytes, of the whole machine."""

    slab: int
    tcp: int  #: buffers of TCP


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += _of_task(task)
    return total


def _of_task(task: Path) -> float:
    with contextlib.suppress(OSError):
        run = int((task / "schedstat").read_text().split()[0])
        if run:
            return run / 1e9
    # A kernel without scheduler statistics.
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def resident(pid: int) -> int:
    """Bytes of memory that are its own or shared, and present."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """How many it has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def kernel_memory() -> Kernel:
    """What the kernel needs now."""
    found = re.search(r"^Slab:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    pages = re.search(r"^TCP: .* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.M)
    page = os.sysconf("SC_PAGE_SIZE")
    return Kernel(int(found[1]) * 1024 if found else 0, int(pages[1]) * page if pages else 0)


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for each in found:
        found.extend(parents.get(each, ()))
    return found
