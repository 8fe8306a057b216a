"""The receivedmap and the dirty bitmaps: one bool per page, global page numbers.

Distinct elements of a bool array may be set by several threads at once; packed bits would lose updates.
"""

import numpy as np
import numpy.typing as npt

PageMap = npt.NDArray[np.bool_]


class PageMaps:
    """What is remembered per page.

    Attributes:
        received: the page has arrived at least once, by whatever channel.
        dirty: the primary has sent the page since the last flush; during a flush: the page is copied.
        own_dirty: the guest itself has written the page since the last flush.
    """

    def __init__(self, page_count: int) -> None:
        self.received: PageMap = np.zeros(page_count, np.bool_)
        self.dirty: PageMap = np.zeros(page_count, np.bool_)
        self.own_dirty: PageMap = np.zeros(page_count, np.bool_)
