"""Stopping and running the embedder's guest, once each, whoever asks first: the main thread or failover."""

import threading
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from colofd.impl.interface import Guest
from colofd.impl.memory import Layout
from colofd.impl.threads import call_hook
from colofd.impl.trace import NO_PAGES, PageNumbers
from colofd.spec.reasons import Reason, Rejected


class GuestControl:
    """The embedder's guest, or none.

    Attributes:
        lock: held from the stop of the guest to its run, with all that lies between: a whole flush, and on_commit; taken before
            the lock of the reception. Whoever holds it calls hooks, so it is waited for with a bound.
    """

    def __init__(self, guest: Guest | None, layout: Layout) -> None:
        self.lock = threading.Lock()
        self._guest = guest
        self._layout = layout
        self.is_running = False

    def run(self) -> None:
        """Run the guest if it does not run. Hold `lock`. Raises Rejected (EMBEDDER)."""
        if not self.is_running:
            self.is_running = True
            if self._guest is not None:
                call_hook("guest.run", Reason.EMBEDDER, self._guest.run)

    def stop(self) -> PageNumbers:
        """Stop the guest if it runs; return the global numbers of the pages it has written. Hold `lock`. Raises Rejected (EMBEDDER)."""
        was_running, self.is_running = self.is_running, False
        if self._guest is None or not was_running:
            return NO_PAGES
        guest = self._guest
        return call_hook("guest.stop", Reason.EMBEDDER, lambda: self._pages(guest.stop()))

    def _pages(self, written: Mapping[str, npt.NDArray[np.bool_]]) -> PageNumbers:
        return np.concatenate([NO_PAGES, *(written_pages(self._layout, name, mask) for name, mask in written.items())])


def written_pages(layout: Layout, block: str, mask: npt.NDArray[np.bool_]) -> PageNumbers:
    """Return the global page numbers that a block's mask names. Raises Rejected (EMBEDDER) for another block or shape."""
    if block not in layout.blocks:
        raise Rejected(Reason.EMBEDDER, read=f"pages written in block {block!r}", expected=f"one of {sorted(layout.blocks)}")
    pages = layout.pages_of(block)
    expected = (pages.stop - pages.start,)
    mask = np.asarray(mask)
    if mask.dtype != np.bool_ or mask.shape != expected:
        raise Rejected(Reason.EMBEDDER, read=f"a mask of {mask.dtype} {mask.shape} for {block}", expected=f"bool {expected}")
    written: PageNumbers = np.flatnonzero(mask).astype(np.int64) + pages.start
    return written
