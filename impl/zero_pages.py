"""Which pages are zero: what a sender asks before it sends them (migration/multifd-zero-page.c:multifd_send_zero_page_detect)."""

from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.impl.maps import PageMap

OR: Final = np.bitwise_or.reduce
TOGETHER: Final = 128
"""Pages that are copied together: they fit into the processor's cache."""
SPARSE: Final = 4
"""One page of so many may be zero: from then on, to read all pages costs less than to copy those together."""


def zero_pages(memory: npt.NDArray[np.uint8]) -> PageMap:
    """Return which pages of `memory`, of shape (pages, page size), hold nothing but zeros: bool, shape (pages,).

    A word tells most pages apart, and two more most others; only what passes is read as a whole.
    Raises ValueError for memory of another shape.
    """
    if memory.ndim != 2 or memory.shape[1] % 8 or not memory.flags.c_contiguous:
        raise ValueError(f"memory must be pages of whole words in one piece, not of shape {memory.shape}")
    words = memory.view(np.uint64)
    found: PageMap = words[:, 0] == 0
    count = int(np.count_nonzero(found))
    if count * SPARSE > len(words):
        np.equal(OR(words, axis=1), 0, found)
        return found
    if count:
        likely = np.flatnonzero(found)
        found[likely] = (words[likely, words.shape[1] // 2] | words[likely, -1]) == 0
        likely = np.flatnonzero(found)
        for at in range(0, len(likely), TOGETHER):
            some = likely[at : at + TOGETHER]
            found[some] = OR(words[some], axis=1) == 0
    return found
