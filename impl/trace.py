"""One event per micro-step, with digests read back from memory; and gates, through which a harness drives the threads."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colofd.impl.memory import Region
from colofd.spec.constants import Step

PageNumbers = npt.NDArray[np.int64]
NO_PAGES: PageNumbers = np.empty(0, np.int64)
DIGEST_BYTES = 8


@dataclass(frozen=True)
class Event:
    """A micro-step that has happened.

    Pages are global page numbers: blocks in the order of the constructor, concatenated.
    `digests` has one entry for each of `pages`, then for each of `zero_pages`, or is empty: blake2b of 8 bytes, in hex.
    """

    step: Step
    channel: str = ""
    pages: tuple[int, ...] = ()
    zero_pages: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()


class Tracer:
    """Calls the embedder's `trace` after each micro-step, and its `gate` before. Costs nothing where neither is given."""

    def __init__(self, trace: Callable[[Event], None] | None, gate: Callable[[Step, str], None] | None) -> None:
        self._trace = trace
        self._gate = gate
        self.is_on = trace is not None
        self.is_quiet = trace is None and gate is None
        self.failure: BaseException | None = None
        """The first exception of a hook. It is kept and not raised, for a flush that has begun must end."""

    def gate(self, step: Step, channel: str) -> None:
        """Say that a micro-step comes next. May block for long; no lock may be held."""
        if self._gate is not None:
            try:
                self._gate(step, channel)
            except BaseException as error:  # noqa: BLE001  # whatever a hook raises, SystemExit too, is its failure
                self.failure = self.failure or error

    def emit(
        self, step: Step, channel: str = "", pages: PageNumbers = NO_PAGES, zero_pages: PageNumbers = NO_PAGES, region: Region | None = None
    ) -> None:
        """Say that a micro-step has happened; digests are taken from `region` as it is now, if one is given."""
        if self._trace is None:
            return
        digests: tuple[str, ...] = ()
        if region is not None:
            digests = tuple(
                hashlib.blake2b(region.rows[page].tobytes(), digest_size=DIGEST_BYTES).hexdigest() for page in (*pages, *zero_pages)
            )
        try:
            self._trace(Event(step, channel, tuple(pages.tolist()), tuple(zero_pages.tolist()), digests))
        except BaseException as error:  # noqa: BLE001  # whatever a hook raises, SystemExit too, is its failure
            self.failure = self.failure or error
