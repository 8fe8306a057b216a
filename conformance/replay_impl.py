"""The fast receiver's reading of a recorded migration: it is fed over sockets, as its peer once was."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.conformance.captures import Capture
from colofd.conformance.replay import Digests, Reading
from colofd.conformance.replay_player import Player
from colofd.impl import Block, Destination, Event
from colofd.model.decode import blocks_of
from colofd.spec.constants import MAIN_CHANNEL
from colofd.spec.reasons import Reason, Rejected

PATIENCE: Final = 30.0
"""Seconds without any progress after which a replay is given up."""


def read(capture: Capture, trace: Callable[[Event], None] | None = None) -> Reading:
    """Play a capture to a receiver in this process, and look at its guest RAM at every commit; `trace` is told of each micro-step."""
    commits: list[Digests] = []
    final: Digests | None = None
    refused: Rejected | None = None
    blocks = _blocks(capture)
    destination = Destination(
        blocks,
        capture.channels,
        colo=capture.colo,
        compression=capture.compression,
        page_size=capture.page_size,
        on_commit=lambda commit: commits.append(_digests(commit.blocks)),
        trace=trace,
    )
    player = Player(capture, destination.attach, patience=PATIENCE)
    try:
        player.play()
        if capture.colo:
            destination.wait_checkpoint(len(capture.checkpoints) - 1, PATIENCE)
        else:
            destination.wait(PATIENCE)
            final = _digests({block.name: destination.guest(block.name) for block in blocks})
    except Rejected as rejected:
        refused = _first_error(destination) or rejected
    except TimeoutError as late:
        refused = Rejected(Reason.DEADLINE, read=late, expected="all that was sent to be received")
    consumed = destination.consumed()
    destination.close()
    player.collect()
    player.close()
    return Reading(tuple(commits) if capture.colo else (), final, consumed, player.replies, refused)


def _blocks(capture: Capture) -> list[Block]:
    """Return the RAM blocks that the source lists; if its main channel is bad before that, the one whose digests were recorded."""
    try:
        return [Block(name, length) for name, length in blocks_of(capture.streams[MAIN_CHANNEL], capture.context)]
    except Rejected:
        return [Block(capture.ram_block, capture.ram_bytes)]


def _first_error(destination: Destination) -> Rejected | None:
    """Return what the receiver itself refused, if it did: that says more than that it has hung up."""
    try:
        destination.wait(0)
    except Rejected as first:
        return first
    except TimeoutError:
        return None
    return None


def _digests(blocks: Mapping[str, npt.NDArray[np.uint8]]) -> Digests:
    return {name: hashlib.sha256(memory.data).hexdigest() for name, memory in blocks.items()}
