"""A running gateway under attack: ``make fuzz-live`` in short."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent.parent


class LiveTests(SynchronousTestCase):
    """Spoilt datagrams and connections, and an honest conversation."""

    def test_honest_messages_arrive(self) -> None:
        """None is lost or late; nothing stays open; the log has no traceback."""
        done = subprocess.run(
            [sys.executable, "-m", "fuzz.live", "--count", "2000", "--settling", "2"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("all well", done.stdout)
