"""Power cuts: a store is whole after each of them, and would not be if any sync were left out."""

import pytest

from colofd.conformance.power_cuts import SYNCS, Merging, power_cuts
from colofd.conformance.recording_folder import RecordingFolder, written_over


@pytest.mark.parametrize("merging", list(Merging))
def test_a_store_survives_every_power_cut(merging: Merging) -> None:
    """Given what is written for two sessions, cut, torn and reordered at every barrier, then each time the last checkpoint is there."""
    cuts = power_cuts(1, merging)
    assert not cuts.wrong, cuts.wrong[:3]
    assert cuts.barriers > 40
    assert cuts.different > 400
    assert cuts.syncs - {"the end"} == set(SYNCS)


@pytest.mark.parametrize("omitted", SYNCS)
def test_no_sync_can_be_left_out(omitted: str) -> None:
    """Given a store that leaves out one of its syncs, then some power cut shows it."""
    assert power_cuts(1, Merging.LATE, omitted=omitted).wrong


def test_a_recorded_folder_is_a_folder() -> None:
    """Given a file that is made, written, named and removed, then it reads as on a disk; a barrier has what is not there for sure."""
    folder = RecordingFolder()
    file = folder.create("new")
    file.write(0, b"one")
    assert (file.size, file.read(1, 2)) == (3, b"ne")
    with pytest.raises(EOFError, match="too early"):
        file.read(2, 2)
    folder.rename("new", "old")
    assert folder.names() == ["old"]
    file.sync()
    folder.remove("old")
    folder.sync()
    with pytest.raises(FileNotFoundError):
        folder.open("old")
    first, second = folder.barriers
    ((synced, since),) = first.files.values()
    assert (first.names, len(first.changes), synced, since) == ({}, 2, b"", ((0, b"one"),))
    assert len(second.changes) == 3


def test_what_was_never_written_is_filled() -> None:
    """Given a write behind the end of a file, then what lies between is filled."""
    assert written_over(b"ab", [(4, b"e"), (0, b"A")], 0x2E) == b"Ab..e"
