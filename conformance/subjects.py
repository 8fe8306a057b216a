"""What can be checked: a subject makes receivers that a schedule can drive and look into."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from colofd.impl import Block, Deadlines, Destination
from colofd.model.trace import TraceEvent
from colofd.spec.constants import UUID_SIZE, Compression, Step

BLOCK: Final = "ram"
"""Name of the first RAM block of a generated schedule."""

PATIENCE: Final = Deadlines(connect=20.0, progress=20.0, idle=20.0, lease=5.0)
"""Longer than any schedule holds a thread, so that a deadline is never what ends a schedule."""


@dataclass(frozen=True)
class Options:
    """How a receiver is set up: RAM in pages, multifd channels, and the choices that it makes.

    Pages are numbered over all RAM blocks, which are of the same length, but for the last one.
    """

    pages: int = 12
    blocks: int = 1
    channels: int = 2
    colo: bool = True
    is_mirror_deferred: bool = False
    compression: Compression = Compression.NONE
    page_size: int = 4096
    block: str = BLOCK
    """Name of the first RAM block; what the names of the others begin with."""
    machine: str = field(default="none", repr=False)
    """The machine type that the source must have."""
    uuid: bytes = field(default=bytes(UUID_SIZE), repr=False)
    """What the multifd channels of the source must name."""
    devices: tuple[str, ...] = field(default=(), repr=False)
    """Names of devices that have sections in the stream; their state is opaque."""

    @property
    def pages_of_blocks(self) -> dict[str, slice]:
        """The numbers of the pages of each RAM block, by its name, in the order of the blocks."""
        size = self.pages // self.blocks
        ends = [size * number for number in range(1, self.blocks)] + [self.pages]
        return {f"{self.block}{number or ''}": slice(size * number, end) for number, end in enumerate(ends)}

    def block_of(self, page: int) -> tuple[str, int]:
        """Return the RAM block of a page, and the page's number in it."""
        return next((name, page - its.start) for name, its in self.pages_of_blocks.items() if its.start <= page < its.stop)


class Guest(Protocol):
    """The secondary's guest, as the receiver asks for it."""

    def stop(self) -> Mapping[str, npt.NDArray[np.bool_]]:
        """Stop; return which pages the guest has written itself."""

    def run(self) -> None:
        """Run."""


@dataclass(frozen=True)
class Observed:
    """What a receiver's memory holds now: whole RAM as bytes, maps with one entry for each page; None: cannot be seen."""

    guest: bytes
    cache: bytes | None
    received: npt.NDArray[np.bool_]
    peer_dirty: npt.NDArray[np.bool_]


class Receiver(Protocol):
    """One receiver under test."""

    def attach(self, channel: socket.socket) -> None:
        """Take one connected channel."""

    def failover(self) -> None:
        """Take over: the primary is gone."""

    def close(self) -> None:
        """End, and free everything."""

    def guest_wrote(self, mask: npt.NDArray[np.bool_]) -> None:
        """Learn that the guest itself has written pages."""

    def write_guest(self, page: int, content: bytes) -> None:
        """Write guest RAM as the guest does."""

    def observe(self, *, has_cache: bool, has_maps: bool) -> Observed:
        """Look into memory, as far as it is allocated."""


Factory = Callable[[Options, Guest, Callable[[TraceEvent], None], Callable[[Step, str], None]], Receiver]
"""Makes a receiver: options, the guest, and the two callbacks `trace` and `gate`."""


class BuiltIn:
    """The receiver of `colofd.impl`."""

    is_guarded = False
    """Whether its threads have guest RAM read-only in COLO."""

    def __init__(self, options: Options, guest: Guest, trace: Callable[[TraceEvent], None], gate: Callable[[Step, str], None]) -> None:
        self._options = options
        self._destination = Destination(
            [Block(name, (its.stop - its.start) * options.page_size) for name, its in options.pages_of_blocks.items()],
            options.channels,
            colo=options.colo,
            compression=options.compression,
            mirror="deferred" if options.is_mirror_deferred else "packet",
            page_size=options.page_size,
            guest=guest,
            guard=self.is_guarded,
            deadlines=PATIENCE,
            trace=trace,
            gate=gate,
        )

    def attach(self, channel: socket.socket) -> None:
        """Take one connected channel."""
        self._destination.attach(channel)

    def failover(self) -> None:
        """Take over: the primary is gone."""
        self._destination.failover(PATIENCE.progress)

    def close(self) -> None:
        """End, and free everything."""
        self._destination.close()

    def guest_wrote(self, mask: npt.NDArray[np.bool_]) -> None:
        """Learn that the guest itself has written pages."""
        for block, its in self._options.pages_of_blocks.items():
            self._destination.guest_wrote(block, mask[its])

    def write_guest(self, page: int, content: bytes) -> None:
        """Write guest RAM as the guest does."""
        block, number = self._options.block_of(page)
        at = number * self._options.page_size
        self._destination.guest(block)[at : at + self._options.page_size] = np.frombuffer(content, np.uint8)

    def observe(self, *, has_cache: bool, has_maps: bool) -> Observed:
        """Look into memory, as far as it is allocated."""
        blocks = self._options.pages_of_blocks
        nothing = [np.zeros(0, np.bool_)]
        return Observed(
            guest=b"".join(self._destination.guest(block).tobytes() for block in blocks),
            cache=b"".join(self._destination.cache(block).tobytes() for block in blocks) if has_cache else None,
            received=np.concatenate([self._destination.received(block) for block in blocks] if has_maps else nothing),
            peer_dirty=np.concatenate([self._destination.dirty(block) for block in blocks] if has_maps else nothing),
        )


SUBJECTS: Final[Mapping[str, Factory]] = {"impl": BuiltIn}
"""The subjects by name."""
