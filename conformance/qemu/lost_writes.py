"""How often a real primary leaves out what its guest wrote: under TCG, where a guest wrote in precopy.

Two lookups of the dirty log in a row (physical_memory_sync_dirty_bitmap, up to 10.1 cpu_physical_memory_sync_dirty_bitmap): the second
one finds only pages that the first one has noted already. It takes them out of the log, and leaves the CPU's TLB as it is, for it counts
no new page. From then on writes to these pages are not logged. The destination is right at the end of precopy, and misses them at each
checkpoint.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from colofd.conformance.qemu.ends import BLOCK, SECONDS, OurSecondary, Setting, address, sending
from colofd.conformance.qemu.provision import Qemu
from colofd.impl import Commit
from colofd.spec.constants import TARGET_PAGE_SIZE

CHECKPOINTS: Final = 3


@dataclass(frozen=True)
class LostWrites:
    """In how many of the tries a checkpoint was not the stopped primary's RAM, and in how many pages at most.

    Attributes:
        accelerator: `tcg` or `kvm`.
        is_running: whether the guest wrote in precopy, too.
        tries: how many pairs there were; each had a few checkpoints.
        lost: how many of them had a checkpoint that was not the primary's RAM.
        at_the_end_of_precopy: how many of them were wrong before the first checkpoint.
        most_pages: pages that differed in one checkpoint, at most.
    """

    accelerator: str
    is_running: bool
    tries: int
    lost: int
    at_the_end_of_precopy: int
    most_pages: int


def count_lost_writes(
    qemu: Qemu, accelerator: str, tries: int, *, is_running: bool, progress: Callable[[str], None] = lambda _what: None
) -> LostWrites:
    """Let a primary with the main channel alone make checkpoints, and compare its RAM with each commit while it waits. QemuFailed."""
    lost = early = most = 0
    for number in range(tries):
        progress(f"{accelerator}, try {number + 1} of {tries}")
        with tempfile.TemporaryDirectory(prefix="colofd-") as folder:
            differing = _differing(qemu, Path(folder), accelerator, is_running=is_running)
        lost += any(differing[1:])
        early += bool(differing[0])
        most = max(most, *differing)
    return LostWrites(accelerator, is_running, tries, lost, early, most)


def _differing(qemu: Qemu, folder: Path, accelerator: str, *, is_running: bool) -> list[int]:
    """Return how many pages differed at each commit."""
    setting = Setting(0, colo=True)
    differing: list[int] = []
    with sending(qemu, folder, setting, is_running=is_running, accelerator=accelerator) as machine:

        def compare(commit: Commit) -> None:
            there = np.frombuffer(bytes(machine.ram), np.uint8).reshape(-1, TARGET_PAGE_SIZE)
            differing.append(int((there != commit.blocks[BLOCK].reshape(-1, TARGET_PAGE_SIZE)).any(axis=1).sum()))

        with OurSecondary(folder, setting, compare) as ours:
            machine.command("migrate", uri=address(folder))
            destination = ours.take()
            destination.wait_checkpoint(CHECKPOINTS, SECONDS)
            destination.failover(SECONDS)
    return differing
