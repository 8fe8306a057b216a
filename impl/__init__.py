"""The fast second writing: numpy, mmap and threads. Imports only the constants and reasons of the spec."""

from colofd.impl.destination import Destination
from colofd.impl.interface import Block, Commit, Deadlines, Guest, Limits, Outcome, Ownership, Store
from colofd.impl.phases import Phase
from colofd.impl.snapshot import Snapshot
from colofd.impl.trace import Event
from colofd.impl.zero_pages import zero_pages
from colofd.spec.constants import Compression

__all__ = [
    "Block",
    "Commit",
    "Compression",
    "Deadlines",
    "Destination",
    "Event",
    "Guest",
    "Limits",
    "Outcome",
    "Ownership",
    "Phase",
    "Snapshot",
    "Store",
    "zero_pages",
]
