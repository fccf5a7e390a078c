"""Where something was measured, and of which versions.

May import: nothing of the suite but where the checkout and Kamailio are.
"""

import os
import platform
import re
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from benchmarks.driving import HERE
from benchmarks.subjects import kamailio

#: looks at how fast a core is, and steps of the work that each of them does
LOOKS, STEPS = 20, 200_000


def paces(clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Milliseconds that the same work takes, several times within a second.

    They differ by what else the host does with the core, which the kernel does not know.
    """
    found = []
    for _ in range(LOOKS):
        began, total = clock(), 0
        for number in range(STEPS):
            total += number * number % 7
        found.append(1e3 * (clock() - began))
        time.sleep(0.03)
    return found


def processor(information: str) -> str:
    """The model of the processor, from ``/proc/cpuinfo``."""
    found = re.search(r"^model name\s*: (.*)$", information, re.M)
    return found[1].strip() if found else platform.machine()


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def revision() -> str:
    """What of msrpgw is measured."""
    commit = _said("git", "rev-parse", "--short=12", "HEAD")
    changed = " with changes" if _said("git", "status", "--porcelain", "--", "../msrpgw") else ""
    return f"msrpgw {version('msrpgw')}, commit {commit or 'unknown'}{changed}"


def machine() -> list[str]:
    """Lines for people."""
    from OpenSSL.SSL import OPENSSL_VERSION, OpenSSL_version

    libssl = OpenSSL_version(OPENSSL_VERSION).decode()
    relay = re.search(r"kamailio [\d.]+", _said(kamailio(), "-v")) if kamailio() else None
    return [
        f"{processor(Path('/proc/cpuinfo').read_text())}, {os.cpu_count()} cores;"
        f" Linux {platform.release()}",
        f"Python {platform.python_version()}, Twisted {version('twisted')}, {libssl};"
        f" {relay[0] if relay else 'no Kamailio'}",
        revision(),
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, load"
        f" {os.getloadavg()[0]:.1f} at the start",
    ]
