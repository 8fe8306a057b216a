"""A destination whose commits go to a store: they are there before they are answered, and guest RAM takes no memory."""

import threading
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from colofd.impl import Commit, Destination, Phase
from colofd.spec.constants import ColoMessage
from colofd.spec.reasons import Reason, Rejected
from tests.impl.source import BLOCK, BLOCKS, PAGES, SECONDS, Counter, Source, content, in_colo

PRECOPY: Final = {0: 1, 1: 2, 2: 3}


class Shelf:
    """A store that notes what it is given; it waits at a checkpoint until it may go on, or fails there."""

    def __init__(self, held_at: int = -1, failing_at: int = -1) -> None:
        self.kept: list[tuple[int, list[int], list[int]]] = []
        self.arrived = threading.Event()
        self.go = threading.Event()
        self._held_at = held_at
        self._failing_at = failing_at

    def keep(self, index: int, device_state: bytes, dirty: npt.NDArray[np.bool_], ram: npt.NDArray[np.uint8]) -> None:
        """Keep the number of the checkpoint, which pages are dirty, and what RAM has."""
        assert device_state
        if index == self._held_at:
            self.arrived.set()
            assert self.go.wait(SECONDS)
        if index == self._failing_at:
            raise OSError("no room")
        self.kept.append((index, np.flatnonzero(dirty).tolist(), content(ram.reshape(-1))))


def second_checkpoint(source: Source, channels: int) -> None:
    source.begin_checkpoint()
    if channels:
        source.put("mfd0", source.pages("mfd0", {1: 7}, (2,)))
    source.end_checkpoint()


@pytest.mark.parametrize("mirror", ["packet", "deferred"])
def test_a_checkpoint_is_kept_as_a_whole(mirror: str) -> None:
    """Given a store, when checkpoints come, then it is given each with its dirty pages, and on_commit sees the same RAM."""
    shelf = Shelf()
    seen: list[list[int]] = []

    def on_commit(commit: Commit) -> None:
        seen.append(content(commit.blocks[BLOCK]))

    with Destination(BLOCKS, 2, colo=True, store=shelf, mirror=mirror, on_commit=on_commit) as destination:  # type: ignore[arg-type]
        source = Source(destination, 2)
        in_colo(source, PRECOPY)
        second_checkpoint(source, 2)
        source.expect(ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
        source.close()
    (first, second) = shelf.kept
    assert (first[0], first[2]) == (0, [1, 2, 3, 0, 0, 0, 0, 0])
    assert set(first[1]) >= {0, 1, 2}
    assert second == (1, [1, 2], [1, 7, 0, 0, 0, 0, 0, 0])
    assert seen == [first[2], second[2]]


def test_nothing_is_answered_that_is_not_kept() -> None:
    """Given a store that takes its time, when a checkpoint is there, then it is not answered before the store has it."""
    shelf = Shelf(held_at=1)
    with Destination(BLOCKS, 2, colo=True, store=shelf) as destination:
        source = Source(destination, 2)
        in_colo(source, PRECOPY)
        second_checkpoint(source, 2)
        assert shelf.arrived.wait(SECONDS)
        end = source.ends["main"]
        end.settimeout(0.05)
        with pytest.raises(TimeoutError):
            end.recv(4)
        end.settimeout(SECONDS)
        assert destination.phase is Phase.RECEIVED
        shelf.go.set()
        source.expect(ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
        source.close()


def test_a_store_that_fails_ends_replication() -> None:
    """Given a store without room, when a checkpoint comes, then it is never answered, the error says why, and the last commit stays."""
    shelf = Shelf(failing_at=1)
    with Destination(BLOCKS, 2, colo=True, store=shelf) as destination:
        source = Source(destination, 2)
        in_colo(source, PRECOPY)
        second_checkpoint(source, 2)
        with pytest.raises(Rejected, match="no room") as refused:
            destination.wait(SECONDS)
        assert refused.value.reason is Reason.EMBEDDER
        assert source.ends["main"].recv(4) == b""
        destination.failover(SECONDS)
        assert destination.wait(SECONDS).commit == 0
        source.close()
    assert [index for index, _, _ in shelf.kept] == [0]


def test_a_first_checkpoint_that_cannot_be_kept_fails() -> None:
    """Given a store without room from the beginning, then COLO never begins."""
    with Destination(BLOCKS, 2, colo=True, store=Shelf(failing_at=0)) as destination:
        source = Source(destination, 2)
        source.begin()
        source.put("mfd0", source.pages("mfd0", {0: 1}, tuple(range(1, PAGES))))
        source.end_precopy()
        with pytest.raises(Rejected, match="no room"):
            destination.wait(SECONDS)
        assert destination.phase is Phase.FAILED
        source.close()


def test_there_is_no_guest_ram_in_memory() -> None:
    """Given a store, then guest RAM cannot be had here: by a view, or a lease; and nobody could have written it."""
    with Destination(BLOCKS, 2, colo=True, store=Shelf()) as destination:
        source = Source(destination, 2)
        in_colo(source, PRECOPY)
        with pytest.raises(Rejected, match="commits are in a store"):
            destination.guest(BLOCK)
        with destination.snapshot() as snapshot, pytest.raises(Rejected, match="commits are in a store"):
            snapshot.block(BLOCK)
        region = destination._reception.require_guest()
        assert not region.rows.flags.writeable
        assert not region.rows.any()
        source.close()


def test_a_store_is_in_place_of_a_guest() -> None:
    """Given a store with a guest, with the guard of guest RAM, or without COLO, then a destination is not made."""
    with pytest.raises(ValueError, match="in place of a guest"):
        Destination(BLOCKS, 2, colo=True, store=Shelf(), guest=Counter())
    with pytest.raises(ValueError, match="in place of a guest"):
        Destination(BLOCKS, 2, colo=True, store=Shelf(), guard=True)
    with pytest.raises(ValueError, match="is for COLO"):
        Destination(BLOCKS, 2, store=Shelf())
