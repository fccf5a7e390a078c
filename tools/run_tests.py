"""Runs ``trial tests`` under coverage and closes with the counts on a line of their own.

Exits 0 only when tests ran, none failed, and the coverage of the pure rooms holds its floor;
both are set up in setup.cfg.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COUNT = re.compile(r"(\w+)=(\d+)")


def run_trial(arguments: list[str]) -> tuple[int, str]:
    """Run the tests, passing their output on; the exit status and trial's last line."""
    command = [sys.executable, "-m", "coverage", "run", "-m", "twisted.trial", *arguments]
    last = ""
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, errors="replace", bufsize=1
    ) as trial:
        assert trial.stdout is not None
        for line in trial.stdout:
            print(line, end="", flush=True)
            if line.startswith(("PASSED", "FAILED")):
                last = line
    return trial.returncode, last


def closing_line(summary: str) -> tuple[int, str]:
    """How many tests ran, and the counts in words, from trial's last line."""
    counts = {name: int(count) for name, count in COUNT.findall(summary)}
    passed = counts.get("successes", 0) + counts.get("expectedFailures", 0)
    failed = sum(counts.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))
    skipped = counts.get("skips", 0) + counts.get("todos", 0)
    return passed + failed, f"{passed} passed, {failed} failed, {skipped} skipped"


def main() -> int:
    """Run all; the exit status."""
    status, summary = run_trial(sys.argv[1:] or ["tests"])
    report = subprocess.run([sys.executable, "-m", "coverage", "report"], cwd=ROOT, check=False)
    ran, line = closing_line(summary)
    if report.returncode:
        print("The line coverage of the pure rooms is below its floor (setup.cfg).")
    if not ran:
        print("No test ran.")
    print(line)
    return status or report.returncode or (0 if ran else 1)


if __name__ == "__main__":
    sys.exit(main())
