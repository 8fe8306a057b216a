"""Guest RAM in two mappings: the receive threads have one of their own, which is read-only from the beginning of COLO on.

So a thread that touches the guest in COLO does not corrupt it: the processor (SIGSEGV) or the kernel (EFAULT) stops it.
"""

import ctypes
import mmap
import os

from colofd.impl.memory import Region

_mprotect = ctypes.CDLL(None, use_errno=True).mprotect
_mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_mprotect.restype = ctypes.c_int


class GuardedRegion(Region):
    """A second mapping of the memory of a file, which can be made read-only."""

    def make_read_only(self) -> None:
        """Let nobody write through this mapping any more. Raises OSError."""
        if _mprotect(self.address, self.rows.nbytes, mmap.PROT_READ):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def map_twice(pages: int, page_size: int, *, prealloc: bool = False) -> tuple[Region, GuardedRegion]:
    """Return fresh memory in two mappings: for the guest, its embedder and flushes; and for the receive threads. Raises OSError."""
    size = pages * page_size
    file = os.memfd_create("colofd guest")
    try:
        os.ftruncate(file, size)
        return (
            Region(pages, page_size, prealloc=prealloc, memory=mmap.mmap(file, size)),
            GuardedRegion(pages, page_size, memory=mmap.mmap(file, size)),
        )
    finally:
        os.close(file)
