"""RAM as anonymous memory, and where the pages of each block lie in it."""

import contextlib
import mmap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from colofd.impl.interface import Block

Selection = npt.NDArray[np.int64] | slice
"""Some pages, by their numbers: what selects them in a map or a region."""

LARGE = 32 << 20
"""Bytes from which on huge pages are asked for."""


class Region:
    """Memory of whole pages, fresh zeros at first; with `prealloc`, every page is there before the first one arrives.

    The memory is anonymous, or the `memory` that is given.

    Attributes:
        rows: uint8, shape (pages, page size).
        pages: the same memory as one item per page, shape (pages,): whole pages are assigned at the speed of memcpy.
        flat: all bytes, one after the other.
        address: of the first byte.
    """

    def __init__(self, pages: int, page_size: int, *, prealloc: bool = False, memory: mmap.mmap | None = None) -> None:
        size = pages * page_size
        self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if memory is None else memory
        if size >= LARGE:
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_HUGEPAGE)
        self.rows: npt.NDArray[np.uint8] = np.frombuffer(self._map, np.uint8).reshape(pages, page_size)
        self.pages: npt.NDArray[np.void] = np.frombuffer(self._map, np.dtype((np.void, page_size)))
        self.flat: memoryview = self.rows.reshape(-1).data
        self.address: int = self.rows.ctypes.data
        if prealloc:
            self.rows[:, 0] = 0

    def release(self) -> bool:
        """Give up the memory; return whether somebody still holds a view, whose memory it then is."""
        del self.rows, self.pages, self.flat
        try:
            self._map.close()
        except BufferError:
            return True
        return False


def untouched(pages: int, page_size: int) -> Region:
    """Return a region that nobody can write, and that takes no memory."""
    return Region(
        pages, page_size, memory=mmap.mmap(-1, pages * page_size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    )


def numbers_of(pages: Selection) -> npt.NDArray[np.int64]:
    """Return the numbers of some pages, int64."""
    return np.arange(pages.start, pages.stop) if isinstance(pages, slice) else pages


class Layout:
    """The blocks, concatenated in their order: block and offset to global page number."""

    def __init__(self, blocks: Sequence[Block], page_size: int) -> None:
        if not 1024 <= page_size <= 65536 or page_size & (page_size - 1):
            raise ValueError(f"page_size must be a power of two from 1024 to 65536, not {page_size}")
        if not blocks or len({block.name for block in blocks}) != len(blocks):
            raise ValueError("blocks must be some, with different names")
        self.page_size = page_size
        self.blocks = {block.name: block for block in blocks}
        self.first_page: dict[str, int] = {}
        self.page_count = 0
        for block in blocks:
            if block.length <= 0 or block.length % page_size:
                raise ValueError(f"the length of block {block.name} must be a positive multiple of {page_size}, not {block.length}")
            self.first_page[block.name] = self.page_count
            self.page_count += block.length // page_size

    def pages_of(self, name: str) -> slice:
        """Return the global page numbers of a block. Raises KeyError for an unknown one."""
        first = self.first_page[name]
        return slice(first, first + self.blocks[name].length // self.page_size)

    def bytes_of(self, region: Region, name: str, *, writable: bool = False) -> npt.NDArray[np.uint8]:
        """Return a flat view of a block in `region`. Raises KeyError for an unknown one."""
        view = region.rows[self.pages_of(name)].reshape(-1)
        view.flags.writeable = writable
        return view
