"""Which pages are zero: what a sender asks before it sends them (migration/multifd-zero-page.c:multifd_send_zero_page_detect)."""

from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.impl.maps import PageMap

TOGETHER: Final = 128
"""Pages that are looked at together: they fit into the processor's cache."""


def zero_pages(memory: npt.NDArray[np.uint8]) -> PageMap:
    """Return which pages of `memory`, of shape (pages, page size), hold nothing but zeros: bool, shape (pages,).

    Three words tell most pages apart; only what passes is read as a whole. Raises ValueError for memory of another shape.
    """
    if memory.ndim != 2 or memory.shape[1] % 8 or not memory.flags.c_contiguous:
        raise ValueError(f"memory must be pages of whole words in one piece, not of shape {memory.shape}")
    words = memory.view(np.uint64)
    found: PageMap = words[:, 0] == 0
    likely = np.flatnonzero(found)
    found[likely] = (words[likely, words.shape[1] // 2] | words[likely, -1]) == 0
    for at in np.unique(np.flatnonzero(found) // TOGETHER) * TOGETHER:
        part = words[at : at + TOGETHER]
        left = found[at : at + TOGETHER]
        if left.all():
            left[:] = np.bitwise_or.reduce(part, axis=1) == 0
        else:
            left[left] = np.bitwise_or.reduce(part[left], axis=1) == 0
    return found
