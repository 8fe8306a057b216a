"""Runs of page records on the main channel: records of one size, decoded all at once as views with a stride.

A source sends a page as a be64 and its content, and a zero page as a be64 and a byte, as long as it stays in one block
(migration/ram.c:save_page_header).
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from colofd.impl import decisions
from colofd.impl.stream import MainStream
from colofd.impl.trace import PageNumbers
from colofd.spec.constants import RecordFlag

NORMAL: Final = int(RecordFlag.PAGE | RecordFlag.CONTINUE)
ZERO: Final = int(RecordFlag.ZERO | RecordFlag.CONTINUE)
RUN_FLAGS: Final = frozenset({NORMAL, ZERO})
WORD: Final = np.dtype(">u8")
MOST: Final = 4096
"""Records that are looked at together: zero records are so small that many thousands may be there."""


class Run(NamedTuple):
    """Records of one kind that are read ahead.

    Attributes:
        pages: numbers inside the block, int64.
        content: one item per page, a view of what is read ahead; None: the pages are zero.
        size: bytes of all records.
    """

    pages: PageNumbers
    content: npt.NDArray[np.void] | None
    size: int


def next_run(stream: MainStream, page_size: int, length: int) -> Run | None:
    """Return the records at the head of the stream that are of one kind and right, for a block of `length` bytes; None without any.

    Waits for the first one to be complete.
    """
    flags = int.from_bytes(stream.peek(WORD.itemsize)) & (page_size - 1)
    stride = WORD.itemsize + (page_size if flags == NORMAL else 1)
    if not stream.fill(stride):
        return None
    ahead, begin, end = stream.window
    most = min((end - begin) // stride, MOST)
    offsets = np.ndarray((most,), WORD, ahead, begin, (stride,)).astype(np.uint64)
    offsets -= np.uint64(flags)
    count = _right(offsets, page_size, length)
    if flags == ZERO:
        wrong = np.flatnonzero(np.ndarray((count,), np.uint8, ahead, begin + WORD.itemsize, (stride,)))
        count = int(wrong[0]) if wrong.size else count
    if not count:
        return None
    content = None
    if flags == NORMAL:
        content = np.ndarray((count,), np.dtype((np.void, page_size)), ahead, begin + WORD.itemsize, (stride,))
    pages = offsets[:count]
    pages >>= np.uint64(page_size.bit_length() - 1)
    return Run(pages.view(np.int64), content, count * stride)


def _right(offsets: npt.NDArray[np.uint64], page_size: int, length: int) -> int:
    """Return how many offsets at the head have no other flags left in them, and lie inside the block."""
    mask, size, limit = np.uint64(page_size - 1), np.uint64(page_size), np.uint64(length)
    largest = np.maximum.reduce(offsets)
    # Asked twice, for NumPy warns of a single number that wraps around.
    if decisions.is_aligned(np.bitwise_or.reduce(offsets), mask) and largest <= limit and decisions.fits(largest, limit, size):
        return len(offsets)
    return int(np.argmin(decisions.is_aligned(offsets, mask) & decisions.fits(offsets, limit, size)))
