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


class RunReader:
    """Finds the runs of a stream of pages of `page_size` bytes."""

    def __init__(self, stream: MainStream, page_size: int) -> None:
        self._stream = stream
        self._strides = {NORMAL: WORD.itemsize + page_size, ZERO: WORD.itemsize + 1}
        self._in_page = page_size - 1
        self._page = np.dtype((np.void, page_size))
        # Arrays of one number: single numbers take NumPy longer.
        self._flags = {flags: np.array([flags], np.uint64) for flags in self._strides}
        self._shift = np.array([page_size.bit_length() - 1], np.uint64)
        self._mask, self._size = np.uint64(page_size - 1), np.uint64(page_size)
        self._length = 0
        self._largest, self._stray_bits = np.array(0, np.uint64), np.array(0, np.uint64)
        self._is_learned = False

    def next_run(self, length: int) -> Run | None:
        """Return the records at the head of the stream that are of one kind and right, for a block of `length` bytes; None without any.

        Waits for the first one to be complete.
        """
        stream = self._stream
        if not stream.fill(WORD.itemsize):
            return None
        ahead, begin, _ = stream.window
        flags = ahead[begin + WORD.itemsize - 1] | ahead[begin + WORD.itemsize - 2] << 8
        flags &= self._in_page
        stride = self._strides.get(flags)
        if stride is None or not stream.fill(stride):
            return None
        ahead, begin, end = stream.window
        offsets = np.ndarray((min((end - begin) // stride, MOST),), WORD, ahead, begin, (stride,)).astype(np.uint64)
        offsets -= self._flags[flags]
        count = self._right(offsets, length)
        if flags == ZERO:
            wrong = np.flatnonzero(np.ndarray((count,), np.uint8, ahead, begin + WORD.itemsize, (stride,)))
            count = int(wrong[0]) if wrong.size else count
        if not count:
            return None
        content = np.ndarray((count,), self._page, ahead, begin + WORD.itemsize, (stride,)) if flags == NORMAL else None
        offsets >>= self._shift
        return Run(offsets.view(np.int64)[:count], content, count * stride)

    def _right(self, offsets: npt.NDArray[np.uint64], length: int) -> int:
        """Return how many offsets at the head have no other flags left in them, and lie inside the block."""
        if length != self._length:
            self._learn(length)
        # As bytes, of which Python tells what NumPy takes six times as long to reduce to one number.
        is_inside, stray = (offsets <= self._largest).tobytes(), (offsets & self._stray_bits).tobytes()
        if self._is_learned and 0 not in is_inside and stray == bytes(len(stray)):
            return len(offsets)
        return int(np.argmin(decisions.is_aligned(offsets, self._mask) & decisions.fits(offsets, np.uint64(length), self._size)))

    def _learn(self, length: int) -> None:
        """Ask of the block, once, which offset is the largest that fits, and which bits none has that is aligned.

        Whatever is less than an offset that fits, fits, and what has no other bits than one that is aligned, is aligned.
        """
        self._length = length
        largest, bits = np.uint64(length) - self._size, ~self._mask
        self._largest[...], self._stray_bits[...] = largest, ~bits
        self._is_learned = bool(decisions.fits(largest, np.uint64(length), self._size) & decisions.is_aligned(bits, self._mask))
