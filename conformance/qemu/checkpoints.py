"""Many checkpoints in a row of a real primary whose guest writes: at each commit our RAM is what the primary has, which waits."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from colofd.conformance.qemu.ends import BLOCK, OurSecondary, Setting, address, sending
from colofd.conformance.qemu.provision import Qemu, has_kvm
from colofd.impl import Commit
from colofd.spec.constants import Compression

_SECONDS_EACH: Final = 0.5
"""How long one checkpoint may take at most, on average."""

SETTINGS: Final = (
    *(Setting(channels, colo=True) for channels in (0, 1, 2, 4, 8)),
    *(Setting(2, compression, colo=True) for compression in (Compression.ZLIB, Compression.ZSTD)),
)


@dataclass(frozen=True)
class Row:
    """Checkpoints in a row, and how many of them were not the primary's RAM.

    Attributes:
        version: what the primary says of its version.
        accelerator: `tcg` or `kvm`.
        channels: number of multifd channels; 0 is the main channel alone.
        compression: method of the multifd channels.
        commits: how many there were behind the end of precopy.
        contents: how many different contents of RAM there were among them, which shows that the guest wrote.
        differing: numbers of the commits that were not the primary's RAM.
        pages: pages with content that came, by channel.
        seconds: from the command `migrate` to the last commit.
        sha256: digest of RAM at the last commit.
    """

    version: str
    accelerator: str
    channels: int
    compression: Compression
    commits: int
    contents: int
    differing: list[int]
    pages: dict[str, int]
    seconds: float
    sha256: str

    @property
    def is_right(self) -> bool:
        """Whether every digest is equal, the guest wrote, and each channel carried pages."""
        carriers = self.channels or 1
        return not self.differing and self.contents > 1 and sum(count > 0 for count in self.pages.values()) >= carriers


def row_of_checkpoints(qemu: Qemu, setting: Setting, accelerator: str, count: int) -> Row:
    """Receive `count` checkpoints of a real primary whose guest writes. QemuFailed, Rejected, TimeoutError if they do not come.

    Under TCG the guest begins to write with COLO: see `lost_writes` for why.
    """
    ours: list[str] = []
    differing: list[int] = []
    with tempfile.TemporaryDirectory(prefix="colofd-") as place, sending(qemu, Path(place), setting, accelerator=accelerator) as machine:

        def compare(commit: Commit) -> None:
            ours.append(hashlib.sha256(commit.blocks[BLOCK].data).hexdigest())
            if machine.digest() != ours[-1]:
                differing.append(commit.index)

        with OurSecondary(Path(place), setting, compare) as secondary:
            begin = time.monotonic()
            machine.command("migrate", uri=address(Path(place)))
            destination = secondary.take()
            destination.wait_checkpoint(count, 10 + count * _SECONDS_EACH)
            seconds = time.monotonic() - begin
            destination.failover()
            pages = dict(secondary.normal_pages)
    return Row(
        qemu.version,
        accelerator,
        setting.channels,
        setting.compression,
        len(ours) - 1,
        len(set(ours)),
        differing,
        pages,
        round(seconds, 3),
        ours[-1],
    )


def rows(qemu: Qemu, count: int, progress: Callable[[str], None] = lambda _what: None) -> list[Row]:
    """Receive `count` checkpoints in each setting that the version has, with each accelerator."""
    settings = [Setting(0, colo=True, enables_colo=True)] if qemu.needs_enable_colo else SETTINGS
    found = []
    for accelerator in dict.fromkeys([qemu.accelerator_of_primary, *["kvm"] * has_kvm()]):
        for setting in settings:
            progress(f"{count} checkpoints, {accelerator}, {setting.channels} channels, {setting.compression}")
            found.append(row_of_checkpoints(qemu, setting, accelerator, count))
    return found
