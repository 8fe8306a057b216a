"""The cells of the interop matrix: which QEMU at which end of what migration, and which of them need not or cannot be run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import combinations, product
from typing import Final

from colofd.conformance.primary import Dialect, RoundEnd, ZeroPages
from colofd.conformance.qemu.provision import VERSIONS, has_kvm
from colofd.spec.constants import Compression

CHANNELS: Final = (0, 1, 2, 4, 8)
"""Numbers of multifd channels; 0 is the main channel alone."""

OLD: Final = "7.2"
NEW: Final = "11.1"


class Role(StrEnum):
    """What QEMU is; the other end is ours."""

    SOURCE = "source"
    DESTINATION = "destination"
    PRIMARY = "primary"
    SECONDARY = "secondary"

    @property
    def is_colo(self) -> bool:
        """Whether the migration is one of COLO."""
        return self in (Role.PRIMARY, Role.SECONDARY)

    @property
    def is_receiving(self) -> bool:
        """Whether QEMU receives."""
        return self in (Role.DESTINATION, Role.SECONDARY)


@dataclass(frozen=True)
class Cell:
    """One migration between a QEMU and one of our ends."""

    version: str
    role: Role
    channels: int
    compression: Compression
    zero_pages: ZeroPages

    def why_skipped(self) -> str:
        """Return why it is not run; nothing if it is."""
        if self.role.is_colo and self.version != NEW and self.channels:
            return "multifd and COLO do not go together before 11.0: lacks.multifd-with-colo"
        if self.accelerator == "kvm" and not has_kvm():
            return "a primary before 11.0 hangs under TCG (primary.hangs-under-tcg), and there is no KVM here"
        if self.version == OLD and self.zero_pages is ZeroPages.MULTIFD:
            return "7.2 knows no zero pages in packets: lacks.zero-pages-in-packets"
        if self.version == OLD and self.role is Role.SOURCE and self.channels:
            return "7.2 ends a round with its section, which our receiver does not know: lacks.multifd-flush"
        if self.version == OLD and not self.role.is_receiving and self.zero_pages is ZeroPages.NONE:
            return "7.2 has no parameter zero-page-detection"
        return ""

    @property
    def dialect(self) -> Dialect:
        """How our source speaks to it."""
        return Dialect(self.zero_pages, RoundEnd.SECTION if self.version == OLD else RoundEnd.FLUSH)

    @property
    def accelerator(self) -> str:
        """What QEMU's CPUs run by: TCG where it can."""
        return "kvm" if self.role is Role.PRIMARY and self.version != NEW else "tcg"


def all_cells() -> tuple[Cell, ...]:
    """Return every cell. Compression is of multifd alone, and so are zero pages in packets."""
    kinds = [(0, Compression.NONE, zero) for zero in (ZeroPages.LEGACY, ZeroPages.NONE)]
    kinds += list(product(CHANNELS[1:], Compression, ZeroPages))
    return tuple(Cell(version, role, *kind) for version, role, kind in product(VERSIONS, Role, kinds))


def pairwise(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Return some of the cells in which each two values that go together in any cell go together: greedily, always the same ones."""
    wanted = {cell: set(combinations(asdict(cell).items(), 2)) for cell in cells}
    missing = set().union(*wanted.values())
    chosen = []
    while missing:
        best = max(cells, key=lambda cell: len(wanted[cell] & missing))
        missing -= wanted[best]
        chosen.append(best)
    return tuple(chosen)
