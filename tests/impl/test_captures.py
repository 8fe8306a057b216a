"""Recorded migrations of a real QEMU, received over sockets."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import pytest

from colofd.conformance.captures import Capture, load, shipped
from colofd.conformance.replay_player import Player
from colofd.impl import Block, Commit, Destination, Outcome
from colofd.model.decode import Context, blocks_of
from colofd.spec.constants import MAIN_CHANNEL
from tests.impl.source import SECONDS, receive_threads

Mirror = Literal["packet", "deferred"]
MIRRORS: Final[tuple[Mirror, ...]] = ("packet", "deferred")


@dataclass
class Received:
    """What came of a capture: SHA-256 of the recorded block at each commit, bytes read of each channel, and the replies."""

    commits: list[str] = field(default_factory=list)
    consumed: dict[str, int] = field(default_factory=dict)
    replies: bytes = b""
    outcome: Outcome | None = None


def receive(capture: Capture, mirror: Mirror) -> Received:
    context = Context(
        page_size=capture.page_size, channels=capture.channels, compression=capture.compression, capabilities=capture.capabilities
    )
    blocks = [Block(name, length) for name, length in blocks_of(capture.streams[MAIN_CHANNEL], context)]
    received = Received()

    def on_commit(commit: Commit) -> None:
        received.commits.append(hashlib.sha256(commit.blocks[capture.ram_block].tobytes()).hexdigest())

    with Destination(
        blocks, capture.channels, colo=capture.colo, compression=capture.compression, mirror=mirror, on_commit=on_commit
    ) as destination:
        player = Player(capture, destination.attach, patience=SECONDS)
        player.play()
        if capture.colo:
            destination.wait_checkpoint(len(capture.checkpoints) - 1, SECONDS)
            destination.failover(SECONDS)
        received.outcome = destination.wait(SECONDS)
        received.consumed = dict(destination.consumed())
    player.collect()
    received.replies = player.replies
    player.close()
    return received


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("folder", shipped(), ids=lambda folder: folder.name)
def test_a_recorded_migration_is_received(folder: Path, mirror: Mirror) -> None:
    """Given a recorded migration, when it is received with either mirror, then RAM is the primary's at every commit."""
    capture = load(folder)
    received = receive(capture, mirror)
    expected = [checkpoint.sha256 for checkpoint in capture.checkpoints] if capture.colo else [capture.final_sha256]
    assert received.commits == expected
    assert received.consumed == {name: len(stream) for name, stream in capture.streams.items()}
    assert received.replies == capture.replies
    assert not receive_threads()
