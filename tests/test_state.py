"""The key of Message-IDs."""

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from msrpgw.errors import JournalError
from msrpgw.state import KEY_FILE, load_key
from tests.support import CountingRandom


class KeyTests(SynchronousTestCase):
    """Made once."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, KEY_FILE)
        self.random = CountingRandom("key")

    def test_the_same_in_each_process(self) -> None:
        key = load_key(self.directory, self.random)
        self.assertEqual(len(key), 32)
        self.assertEqual(load_key(self.directory, self.random), key)
        self.assertEqual(os.listdir(self.directory), [KEY_FILE])

    def test_secret(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        load_key(self.directory, self.random)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    def test_cut_short(self) -> None:
        """It says what to do."""
        with open(self.path, "wb") as file:
            file.write(b"short")
        with self.assertRaisesRegex(JournalError, "5 bytes in place of 32; remove it"):
            load_key(self.directory, self.random)

    def test_can_not_be_made(self) -> None:
        with self.assertRaisesRegex(JournalError, "No such file or directory"):
            load_key(os.path.join(self.directory, "nowhere"), self.random)
