"""A store as a reader has it: which checkpoints there are, and what is wrong with them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from colofd.impl.store.claim import Claim, claim_for_reading
from colofd.impl.store.contents import CheckpointReader
from colofd.impl.store.errors import StoreDamaged, StoreMismatch
from colofd.impl.store.identity import read_identity
from colofd.impl.store.record import Numbers, Record, RecordId, read_record
from colofd.impl.store.sessions import newest, read_sums
from colofd.impl.store.sums import Sums, ram_sum


@dataclass(frozen=True)
class Saved:
    """A checkpoint that is in the store: which one, when it was written, what it cost, and what is wrong with it (nothing, mostly)."""

    id: RecordId
    time: float = 0.0
    pages: int = 0
    size: int = 0
    device_state_bytes: int = 0
    damage: str = ""


_TRIES: Final = 5
"""How often a store that is written to is looked at, if something seems to be missing."""


class OpenedStore:
    """The checkpoints of the newest session. A context manager.

    Attributes:
        identity: whose checkpoints they are.
        saved: all that there are, oldest first.
    """

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._folder = claim.folder
        self.identity = read_identity(claim.folder)
        self._page_count = self.identity.layout.page_count
        self._records: list[Record] = []
        self._image_sums: Sums = np.zeros(self._page_count, np.uint64)
        self.saved: list[Saved] = []
        self._look()

    def _look(self) -> None:
        """Read all records, and follow the sums from the image on."""
        wanted = newest(self._folder.names())
        damage = ""
        if wanted:
            try:
                self._image_sums = read_sums(self._folder, wanted[0].session, self._page_count)
            except (OSError, EOFError) as error:
                damage = f"the sums of the image cannot be read: {error}"
        follower = _Follower(self._image_sums.copy())
        for number, each in enumerate(wanted):
            if not damage and number and each.index != wanted[number - 1].index + 1:
                damage = f"the record before it is missing: index {each.index - 1}"
            damage = damage or self._add(each, follower)
            if damage:
                self.saved.append(Saved(each, damage=damage))

    def _add(self, wanted: RecordId, follower: "_Follower") -> str:
        """Read a record that follows the ones before it; return what is wrong."""
        try:
            file = self._folder.open(wanted.file_name)
            try:
                record = read_record(file, wanted, self.identity.page_size, self._page_count)
                _require_ascending(record, self._page_count)
            finally:
                file.close()
        except (StoreDamaged, OSError) as error:
            return str(error)
        follower.follow(record)
        if follower.ram_sum != record.ram_sum:
            return f"{wanted.file_name} does not go with the image and the records before it: the checksum of RAM differs"
        self._records.append(record)
        self.saved.append(Saved(wanted, record.time, record.pages, record.size, len(record.device_state)))
        return ""

    def checkpoint(self, index: int | None = None) -> CheckpointReader:
        """Open a checkpoint; None is the newest. Raises StoreMismatch if there is no such one, StoreDamaged, OSError."""
        if not self.saved:
            raise StoreMismatch(f"{self._folder.path} has no checkpoint")
        wanted = self.saved[-1].id.index if index is None else index
        for number, each in enumerate(self.saved):
            if each.id.index == wanted:
                if each.damage:
                    raise StoreDamaged(f"checkpoint {wanted}: {each.damage}")
                follower = _Follower(self._image_sums.copy())
                for record in self._records[: number + 1]:
                    follower.follow(record)
                return CheckpointReader(self._folder, self.identity, self._records[: number + 1], follower.sums)
        first, last = self.saved[0].id.index, self.saved[-1].id.index
        raise StoreMismatch(f"{self._folder.path} has no checkpoint {wanted}: it has {first} to {last}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have the store."""
        self._claim.close()


class _Follower:
    """The sums of all pages, and of RAM, from one checkpoint to the next."""

    def __init__(self, sums: Sums) -> None:
        self.sums = sums
        self.ram_sum = ram_sum(np.arange(len(sums)), sums)

    def follow(self, record: Record) -> None:
        """Go on to the checkpoint of a record."""
        for pages, sums in ((record.normal, record.sums), (record.zero, np.uint64(0))):
            self.ram_sum = (self.ram_sum + ram_sum(pages, sums - self.sums[pages])) % 2**64
            self.sums[pages] = sums


def open_store(path: Path, *, is_locked: bool = True) -> OpenedStore:
    """Open a store for reading; unless `is_locked`, a standby may write to it meanwhile: then only `saved` is to be trusted.

    Raises StoreMismatch for a folder that is none, or that others may use; StoreBusy; OSError.
    """
    claim = claim_for_reading(path, is_locked=is_locked)
    try:
        opened = OpenedStore(claim)
        for _ in range(0 if is_locked else _TRIES):
            if any(each.damage for each in opened.saved):
                # A record may have been merged and removed since it was found.
                opened = OpenedStore(claim)
    except BaseException:
        claim.close()
        raise
    return opened


def _require_ascending(record: Record, page_count: int) -> None:
    def is_ascending(numbers: Numbers) -> bool:
        return not len(numbers) or bool((np.diff(numbers) > 0).all() and numbers[0] >= 0 and numbers[-1] < page_count)

    if not (is_ascending(record.normal) and is_ascending(record.zero)):
        raise StoreDamaged(f"{record.id.file_name} is damaged: its page numbers are not those of RAM")
