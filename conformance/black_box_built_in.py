"""The built-in receiver, seen from outside only: without hooks it takes ways that it does not take under a gate or a trace."""

import socket
from typing import Final

import numpy as np

from colofd.conformance.black_box_wire import State
from colofd.conformance.subjects import PATIENCE, Options
from colofd.conformance.wire_streams import MACHINE
from colofd.impl import Block, Destination
from colofd.impl.phases import Phase
from colofd.spec.constants import UUID_SIZE
from colofd.spec.reasons import Rejected

_LOOK_SECONDS: Final = 0.01
_IN_COLO: Final = frozenset({Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FLUSHING})


class BuiltInFromOutside:
    """The receiver of `colofd.impl`."""

    def __init__(self, options: Options) -> None:
        blocks = [Block(name, (its.stop - its.start) * options.page_size) for name, its in options.pages_of_blocks.items()]
        self._options = options
        self.destination = Destination(
            blocks,
            options.channels,
            colo=options.colo,
            compression=options.compression,
            page_size=options.page_size,
            machine=MACHINE,
            uuid=bytes(UUID_SIZE),
            deadlines=PATIENCE,
        )

    def connect(self) -> socket.socket:
        """Return our end of a new channel."""
        near, far = socket.socketpair()
        self.destination.attach(far)
        return near

    def guest(self) -> bytes:
        """Return guest RAM as it is now; a receiver that has not started has none, which is zeros."""
        try:
            return b"".join(self.destination.guest(name).tobytes() for name in self._options.pages_of_blocks)
        except Rejected:
            return bytes(self._options.pages * self._options.page_size)

    def write_guest(self, page: int, content: bytes) -> None:
        """Let the guest write a page."""
        block, number = self._options.block_of(page)
        its = self._options.pages_of_blocks[block]
        self.destination.guest(block)[number * len(content) :][: len(content)] = np.frombuffer(content, np.uint8)
        self.destination.guest_wrote(block, np.arange(its.stop - its.start) == number)

    def look(self) -> tuple[State, str]:
        """Return its state, and what was refused; a refusal in COLO is one, too."""
        if self.is_completed():
            return State.COMPLETED, ""
        try:
            self.destination.wait(_LOOK_SECONDS)
        except Rejected as rejected:
            return State.FAILED, str(rejected)
        except TimeoutError:
            pass
        return State.BUSY, ""

    def is_in_colo(self) -> bool:
        """Return whether it is in COLO state."""
        return self.destination.phase in _IN_COLO

    def is_completed(self) -> bool:
        """Return whether a migration without COLO is complete."""
        return self.destination.phase is Phase.COMPLETED

    def has_failed(self) -> bool:
        """Return whether it has given up a migration without COLO."""
        return self.destination.phase is Phase.FAILED

    def failover(self) -> None:
        """Take over."""
        self.destination.failover(PATIENCE.progress)

    def close(self) -> None:
        """End it."""
        self.destination.close()
