"""What the C library does with large blocks."""

import ctypes
import subprocess
import sys
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

#: says by how many bytes the blocks with pages of their own grow for one of 4 MB, after a larger
#: one has come and gone
PROGRAM = """
import ctypes
from msrpgw import memory

class Told(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split())]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Told
if {setting}:
    assert memory.keep_large_blocks_apart()
bytearray(20_000_000)
before = mallinfo().hblkhd
block = bytearray(4_000_000)
print(mallinfo().hblkhd - before)
"""


class MemoryTests(SynchronousTestCase):
    """In a process of its own each: the setting is for good."""

    def grown(self, setting: bool) -> int:
        """By how much they grow."""
        program = PROGRAM.format(setting=setting)
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        return int(done.stdout)

    def test_large_blocks(self) -> None:
        """They keep pages of their own, which glibc does not promise."""
        if not hasattr(ctypes.CDLL(None), "mallinfo2"):
            raise SkipTest("no glibc")
        self.assertEqual(self.grown(False), 0)
        self.assertGreaterEqual(self.grown(True), 4_000_000)
