"""The C library's allocator, so that an even load keeps an even amount of memory.

A large block has pages of its own, which go back to the kernel when it is freed.  What is large is
128 KiB at first; but with glibc each of them that is freed makes its own size the new bound, up to
32 MiB.  So after some minutes of load the tables of what is remembered, which are made anew as
they grow, lie among the small blocks and leave holes there: 200 MB became 228 in half an hour.

Imports nothing of msrpgw.
"""

import ctypes

#: bytes from which on a block has pages of its own
LARGE = 2**20
#: bytes at the end of the heap that are kept though nobody uses them: they will be used again
SPARE = 8 * 2**20

# From <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_large_blocks_apart() -> bool:
    """Set these bounds for good.  Returns whether the C library knows them."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE) and mallopt(_M_TRIM_THRESHOLD, SPARE))
