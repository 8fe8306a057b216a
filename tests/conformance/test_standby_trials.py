"""A slice of the trials of a standby with real QEMUs. Skipped where no QEMU can be had."""

from dataclasses import replace

import numpy as np
import pytest

from colofd.conformance.qemu.counting_guest import BASE, STATE, Counting, what_is_wrong
from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get
from colofd.conformance.qemu.standby_trials import End, Trial, standby_trials, table
from colofd.conformance.qemu_standby_command import NEW, accelerator
from colofd.spec.constants import TARGET_PAGE_SIZE

WORK = Counting(pages=4)


@pytest.fixture
def qemu() -> Qemu:
    try:
        return get(NEW)
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU {NEW} here: {unavailable}")


def test_a_guest_goes_on_from_what_was_answered(qemu: Qemu) -> None:
    """Given real primaries that are ended in every way, then each time the guest goes on from the last checkpoint, and finds no error."""
    trials = list(standby_trials(qemu, accelerator(), len(End), 11))
    assert [each.end for each in trials] == list(End)
    assert [each.wrong for each in trials] == [""] * len(End)
    assert all(each.answered >= 0 and each.steps > 0 for each in trials)


def ram_at(number: int, written: int = 0) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return RAM of a guest that has come to this number, and has written so many words of the page at hand."""
    ram = np.zeros(BASE + WORK.pages * TARGET_PAGE_SIZE, np.uint8)
    ram[STATE : STATE + 4].view("<u4")[:] = number
    pages = ram[BASE:].view("<u4").reshape(WORK.pages, -1)
    for step in range(number):
        pages[step % WORK.pages] = step
    pages[number % WORK.pages][:written] = number
    return ram


@pytest.mark.parametrize("written", [0, 1, 1023, 1024])
@pytest.mark.parametrize("number", [4, 5, 11])
def test_ram_of_one_moment_is_right(number: int, written: int) -> None:
    """Given RAM of a guest in the middle of any step, then nothing is wrong."""
    assert not what_is_wrong(ram_at(number, written), WORK)


def test_torn_ram_is_found() -> None:
    """Given RAM in which a page is of another step than the number, or half of one, or the guest has found an error, then that is said."""
    newer, older = ram_at(11), ram_at(9)
    for page in range(4):
        torn = newer.copy()
        its = slice(BASE + page * TARGET_PAGE_SIZE, BASE + (page + 1) * TARGET_PAGE_SIZE)
        torn[its] = older[its]
        assert bool(what_is_wrong(torn, WORK)) == bool((newer[its] != older[its]).any())
    newer[BASE + 5 * 4] ^= 1
    assert "pages [0] are not of step 11" in what_is_wrong(newer, WORK)
    newer[STATE + 4] = 2
    assert "found 2 errors" in what_is_wrong(newer, WORK)


def test_the_table_counts_what_went_wrong() -> None:
    """Given three trials, one ahead and one lost, then the table says so."""
    well = Trial(End.LINE, 0.1, 2, "none", answered=4, found=4)
    lines = table([well, replace(well, found=5, was_ahead=True), replace(well, found=3, wrong="lost")]).splitlines()
    assert lines[-1] == "| all | 3 | 15 | 1 | 1 | 1 |"
    assert lines[2] == "| kill -9 of the primary | 0 | 0 | 0 | 0 | 0 |"
