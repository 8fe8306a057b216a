"""How often a real source leaves out what its guest wrote: under TCG, where a guest writes in precopy.

Two lookups of the dirty log in a row (physical_memory_sync_dirty_bitmap, up to 10.1 cpu_physical_memory_sync_dirty_bitmap): the second
one finds only pages that the first one has noted already. It takes them out of the log, and leaves the CPU's TLB as it is, for it counts
no new page. From then on writes to these pages are not logged. A COLO primary makes two at the end of precopy: the secondary is right
there, and misses writes at each checkpoint. In precopy alone, 7.2 does the same now and then, and the destination is wrong at its end.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.conformance.qemu.ends import BLOCK, SECONDS, OurSecondary, Setting, address, sending
from colofd.conformance.qemu.machine import Machine
from colofd.conformance.qemu.provision import Qemu
from colofd.spec.constants import TARGET_PAGE_SIZE

CHECKPOINTS: Final = 3


class Guest(StrEnum):
    """When the guest writes."""

    ALWAYS = "COLO; it writes in precopy, too"
    IN_COLO = "COLO; it writes in COLO only"
    IN_PRECOPY = "precopy; it writes"


@dataclass(frozen=True)
class LostWrites:
    """In how many of the tries the other side did not get what the stopped source had, and in how many pages at most.

    Attributes:
        version: what the source says of its version.
        accelerator: `tcg` or `kvm`.
        guest: when its guest writes.
        tries: how many migrations there were; with COLO each had a few checkpoints.
        checkpoints: how many of them had a checkpoint that was not the primary's RAM.
        at_the_end_of_precopy: how many of them were wrong there.
        most_pages: pages that differed at once, at most.
    """

    version: str
    accelerator: str
    guest: Guest
    tries: int
    checkpoints: int
    at_the_end_of_precopy: int
    most_pages: int

    @property
    def is_lossless(self) -> bool:
        """Whether nothing was lost."""
        return not self.checkpoints and not self.at_the_end_of_precopy


def count_lost_writes(
    qemu: Qemu, accelerator: str, guest: Guest, tries: int, progress: Callable[[str], None] = lambda _what: None
) -> LostWrites:
    """Let a source migrate by the main channel alone, and compare its RAM with ours whenever it waits. QemuFailed."""
    look = _at_the_end if guest is Guest.IN_PRECOPY else _at_each_commit
    lost = early = most = 0
    for number in range(tries):
        progress(f"{accelerator}, {guest}, try {number + 1} of {tries}")
        with tempfile.TemporaryDirectory(prefix="colofd-") as folder:
            differing = look(qemu, Path(folder), accelerator, guest)
        lost += any(differing[1:])
        early += bool(differing[0])
        most = max(most, *differing)
    return LostWrites(qemu.version, accelerator, guest, tries, lost, early, most)


def _at_each_commit(qemu: Qemu, folder: Path, accelerator: str, guest: Guest) -> list[int]:
    """Return how many pages differed at each commit, while the primary waited."""
    setting = Setting(0, colo=True, enables_colo=qemu.needs_enable_colo)
    differing: list[int] = []
    with sending(qemu, folder, setting, is_running=guest is Guest.ALWAYS, accelerator=accelerator) as machine:
        with OurSecondary(folder, setting, lambda commit: differing.append(_differing(machine, commit.blocks[BLOCK]))) as ours:
            machine.command("migrate", uri=address(folder))
            destination = ours.take()
            # Under TCG an old primary hangs after its first checkpoint.
            destination.wait_checkpoint(1 if qemu.needs_enable_colo else CHECKPOINTS, SECONDS)
            destination.failover(SECONDS)
        machine.kill()
    return differing


def _at_the_end(qemu: Qemu, folder: Path, accelerator: str, _guest: Guest) -> list[int]:
    """Return how many pages differed when precopy was over, and the source had stopped."""
    setting = Setting(0)
    with (
        sending(qemu, folder, setting, is_running=True, accelerator=accelerator, is_busy=True) as machine,
        OurSecondary(folder, setting) as ours,
    ):
        machine.command("migrate", uri=address(folder))
        destination = ours.take()
        destination.wait(SECONDS)
        machine.wait_for_migration("completed", within=SECONDS)
        return [_differing(machine, destination.guest(BLOCK))]


def _differing(machine: Machine, ours: npt.NDArray[np.uint8]) -> int:
    there = np.frombuffer(bytes(machine.ram), np.uint8).reshape(-1, TARGET_PAGE_SIZE)
    return int((there != ours.reshape(-1, TARGET_PAGE_SIZE)).any(axis=1).sum())
