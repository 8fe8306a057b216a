"""What an embedding program hands to a destination, and what it gets back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from colofd.impl.phases import Phase
from colofd.spec.reasons import Rejected

MEBIBYTE = 1 << 20

LONGEST = 1e6
"""Seconds of the longest deadline, more than a week: the clocks of the system overflow at much more."""


@dataclass(frozen=True)
class Block:
    """A RAM block of the guest: its name on the wire, and its length in bytes, a multiple of the page size."""

    name: str
    length: int


@dataclass(frozen=True)
class Limits:
    """How much a peer may make the receiver hold, in bytes.

    RAM is what the embedder says, and no more; the name of a block is at most 255 bytes, and one of the embedder's; a packet carries
    512 KiB of pages and, compressed, at most twice as many bytes.
    """

    device_state: int = 256 * MEBIBYTE
    """The device sections at the end of precopy, or of a checkpoint."""
    description: int = 16 * MEBIBYTE
    """The vmdescription."""
    machine: int = 1024
    """The name of the machine type."""
    sections: int = 256
    """How many START sections a migration may have; one of RAM is all that a source sends."""


@dataclass(frozen=True)
class Deadlines:
    """How long to wait, in seconds: more than 0, and at most `LONGEST`. Raises ValueError for others."""

    connect: float = 30.0
    """For all channels to connect and say which they are, from the first one on."""
    progress: float = 30.0
    """For any byte on any channel, inside precopy or a checkpoint."""
    idle: float = 300.0
    """For the next checkpoint to be requested."""
    lease: float = 10.0
    """For snapshots to be given back when a flush wants to begin."""

    def __post_init__(self) -> None:
        for name, seconds in vars(self).items():
            if not 0 < seconds <= LONGEST:
                raise ValueError(f"the deadline {name} must be more than 0 and at most {LONGEST} seconds, not {seconds}")


class Guest(Protocol):
    """The guest of the embedding program, which runs on the guest RAM of the destination."""

    def stop(self) -> Mapping[str, npt.NDArray[np.bool_]]:
        """Stop; return per block which pages the guest itself has written since this was last asked."""

    def run(self) -> None:
        """Run from what guest RAM holds now."""


class Store(Protocol):
    """Keeps commits in place of guest RAM."""

    def keep(self, index: int, device_state: bytes, dirty: npt.NDArray[np.bool_], ram: npt.NDArray[np.uint8]) -> None:
        """Make a checkpoint durable before it is answered; what this raises ends the migration, and the commit before stays the last.

        Args:
            index: of the commit that it will be; 0 is the end of precopy, before CHECKPOINT_READY.
            device_state: FULL sections of all devices, then the EOF byte.
            dirty: the pages that may differ from the commit before, shape (pages,), in the order of the blocks; for 0, from zeros.
            ram: all of RAM, shape (pages, page size), as it is while this runs.
        """


@dataclass(frozen=True)
class Commit:
    """A checkpoint that is in guest RAM: `index` 0 is the state in which COLO began."""

    index: int
    device_state: bytes
    """FULL sections of all devices, then the EOF byte."""
    blocks: Mapping[str, npt.NDArray[np.uint8]]
    """Read-only views of guest RAM, or with a store of the cache; this commit is in them while the hook runs."""


@dataclass(frozen=True)
class Outcome:
    """How it ended: the phase, the number of the last commit (-1: none), and the first error, if there was one."""

    phase: Phase
    commit: int
    error: Rejected | None


@dataclass(frozen=True)
class Ownership:
    """Which memory the caller still holds views of after `close`; it is freed when the last view goes."""

    guest: bool
    cache: bool
