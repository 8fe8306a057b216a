"""Failover at no particular moment: recorded checkpoints, threads that run freely, and RAM that must be one whole commit."""

import contextlib
import hashlib
import threading
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pytest

from colofd.conformance.captures import Capture, find, load
from colofd.conformance.replay_player import Player
from colofd.impl import Block, Commit, Destination, Phase, decisions
from colofd.model.decode import Context, blocks_of
from colofd.spec.constants import MAIN_CHANNEL
from colofd.spec.reasons import Rejected
from tests.impl.source import SECONDS, receive_threads

CAPTURES: Final = ("qtest-colo-mfd2-none", "qtest-colo-mfd4-zlib", "colo-mfd4-zstd")
MIRRORS: Final[tuple[Literal["packet", "deferred"], ...]] = ("packet", "deferred")
ROUNDS: Final = 12
LONGEST_DELAY: Final = 0.02
"""Seconds after a commit within which failover comes."""


def digest(memory: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(memory.data).hexdigest()


@dataclass
class Watched:
    """A guest that notes when it is run or stopped out of turn, and commits that are not what was recorded."""

    capture: Capture
    is_running: bool = False
    is_told: bool = False
    wrong: list[str] = field(default_factory=list)

    def stop(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Stop."""
        self._turn(to=False)
        return {}

    def run(self) -> None:
        """Run."""
        self._turn(to=True)

    def _turn(self, *, to: bool) -> None:
        if self.is_told or self.is_running is to:
            self.wrong.append(f"running: {self.is_running} to {to}, on_commit: {self.is_told}")
        self.is_running = to

    def on_commit(self, commit: Commit) -> None:
        """Compare a commit with the recorded one."""
        self.is_told = True
        if digest(commit.blocks[self.capture.ram_block]) != self.capture.checkpoints[commit.index].sha256:
            self.wrong.append(f"commit {commit.index} is not what was recorded")
        self.is_told = False

    def look(self, destination: Destination, stop: threading.Event) -> None:
        """Lease one commit after the other; what is read while a lease lasts must be what was recorded."""
        while not stop.is_set():
            with contextlib.suppress(Rejected), destination.snapshot(LONGEST_DELAY) as snapshot:
                read = digest(snapshot.block(self.capture.ram_block))
                if not snapshot.ended and read != self.capture.checkpoints[snapshot.index].sha256:
                    self.wrong.append(f"the lease of commit {snapshot.index} shows something else")


def blocks(capture: Capture) -> list[Block]:
    context = Context(
        page_size=capture.page_size,
        channels=capture.channels,
        compression=capture.compression,
        colo=capture.colo,
        capabilities=capture.capabilities,
    )
    return [Block(name, length) for name, length in blocks_of(capture.streams[MAIN_CHANNEL], context)]


def end_at_random(capture: Capture, chance: np.random.Generator) -> list[str]:
    """Replay a capture, let failover and perhaps close come at a moment of its own, and return what is wrong."""
    watched, stop = Watched(capture), threading.Event()
    destination = Destination(
        blocks(capture),
        capture.channels,
        colo=True,
        compression=capture.compression,
        mirror=MIRRORS[chance.integers(2)],
        guest=watched,
        on_commit=watched.on_commit,
    )
    player = Player(capture, destination.attach, patience=SECONDS)
    threads = [threading.Thread(target=player.play), threading.Thread(target=watched.look, args=(destination, stop))]
    for thread in threads:
        thread.start()
    destination.wait_checkpoint(int(chance.integers(len(capture.checkpoints))), SECONDS)
    threading.Event().wait(chance.random() * LONGEST_DELAY)
    memory = destination.guest(capture.ram_block)
    closer = threading.Thread(target=destination.close)
    if chance.random() < 1 / 3:
        closer.start()
    # Close may have come first: then COLO has been left already.
    with contextlib.suppress(RuntimeError):
        destination.failover(SECONDS)
    stop.set()
    for thread in threads:
        thread.join(SECONDS)
    outcome = destination.wait(SECONDS)
    if digest(memory) != capture.checkpoints[outcome.commit].sha256:
        watched.wrong.append(f"RAM is not commit {outcome.commit}")
    if watched.is_running is not (outcome.phase is Phase.FAILOVER):
        watched.wrong.append(f"running: {watched.is_running} in phase {outcome.phase}")
    destination.close()
    if receive_threads():
        watched.wrong.append(f"left: {receive_threads()}")
    player.close()
    return watched.wrong


@pytest.mark.parametrize("name", CAPTURES)
def test_failover_at_any_moment_leaves_one_whole_commit(name: str) -> None:
    """Given recorded checkpoints, when failover comes at random moments, then RAM, leases and the guest are as one commit has them."""
    capture, chance = load(find(name)), np.random.default_rng(1)
    for number in range(ROUNDS):
        assert not end_at_random(capture, chance), f"round {number}"


def test_the_hammer_notices_a_checkpoint_that_is_received_into_the_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a receiver that puts packets of a checkpoint into guest RAM (control), when it is hammered, then that is noticed."""
    monkeypatch.setattr(decisions, "packet_lands_in_guest", lambda colo: colo | ~colo)
    capture, chance = load(find(CAPTURES[0])), np.random.default_rng(1)
    assert any(end_at_random(capture, chance) for _ in range(ROUNDS))
