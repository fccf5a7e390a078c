"""A running gateway under attack: ``make fuzz-live`` in short."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent.parent


class LiveTests(SynchronousTestCase):
    """Spoilt datagrams and connections, and an honest conversation."""

    def test_spoilt(self) -> None:
        """No honest message is lost or late; nothing stays open; the log has no traceback."""
        self.check("fuzz.live", "--count", "2000", "--settling", "2")

    def test_flood(self) -> None:
        """Slow connections, calls without ACK, new users: refused, counted, nobody else late."""
        self.check("fuzz.flood", "--connections", "900", "--count", "600")

    def check(self, *command: str) -> None:
        """Run it."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("all well", done.stdout)
