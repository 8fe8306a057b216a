"""A store as a standby has it: each checkpoint becomes a record, durable when `keep` returns; old records are merged into the image."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from colofd.impl.maps import PageMap
from colofd.impl.store.claim import Claim
from colofd.impl.store.errors import StoreFailed
from colofd.impl.store.folder import File
from colofd.impl.store.identity import NAME, Identity, read_identity, write_identity
from colofd.impl.store.merger import Merger
from colofd.impl.store.record import PARTIAL, Numbers, Record, RecordId
from colofd.impl.store.sessions import CHUNK_BYTES, make_image, newest, next_session, remove_others
from colofd.impl.store.sums import Sums, page_sums, ram_sum

_WRITEBACK_BYTES: Final = 16 << 20
"""So much is written before the system is told to begin with it: what is left for the end is little."""


@dataclass(frozen=True)
class Kept:
    """A checkpoint that is on the disk: pages with content and of zeros in its record, bytes of that, and seconds that it took."""

    id: RecordId
    time: float
    normal_pages: int
    zero_pages: int
    record_bytes: int
    device_state_bytes: int
    seconds: float


class StoreWriter:
    """The store of one standby. A context manager.

    Args:
        claim: its folder.
        identity: whose checkpoints come.
        keep: so many checkpoints of the session stay in the store, the newest ones.

    Attributes:
        last: the last checkpoint of this session, or None.
        failure: why no more can be kept, or None.

    Raises StoreMismatch for the store of another machine, OSError.
    """

    def __init__(self, claim: Claim, identity: Identity, *, keep: int = 1) -> None:
        self.last: Kept | None = None
        self.failure: BaseException | None = None
        self._identity = identity
        self._page_count = identity.layout.page_count
        self._folder = claim.folder
        self._require_own()
        self._session = next_session(self._folder.names())
        make_image(self._folder, self._session, self._page_count, identity.page_size)
        self._merger: Merger | None = Merger(self._folder, self._session, identity.page_size, self._page_count, keep)
        self._sums: Sums = np.zeros(self._page_count, np.uint64)
        self._ram_sum = 0
        rows = max(1, CHUNK_BYTES // identity.page_size)
        self._rooms = [np.empty((rows, identity.page_size), np.uint8) for _ in range(2)]
        self._helper = ThreadPoolExecutor(1, "colofd store")

    def _require_own(self) -> None:
        if NAME in self._folder.names():
            read_identity(self._folder).require_same(self._identity, self._folder.path)
            if not newest(self._folder.names()):
                remove_others(self._folder, 0)
        else:
            write_identity(self._folder, self._identity)

    def keep(self, index: int, device_state: bytes, dirty: PageMap, ram: npt.NDArray[np.uint8]) -> None:
        """Make a checkpoint durable; the first one has index 0, then one after the other.

        Args:
            index: of the checkpoint.
            device_state: FULL sections and the EOF byte.
            dirty: which pages may differ from the checkpoint before (bool, one per page); for index 0, from zeros.
            ram: all of RAM, of shape (pages, page size); only dirty pages are read.

        Raises StoreFailed: the checkpoint before is the last one, and no other can be kept.
        """
        begin = time.perf_counter()
        merger = self._require_usable(index)
        try:
            merger.wait_for_room()
            record = self._write(RecordId(self._session, index), device_state, dirty, ram)
            self._folder.rename(PARTIAL, record.id.file_name)
            self._folder.sync()
        except BaseException as error:
            self.failure = error
            self._remove_partial()
            raise StoreFailed(self._what_failed(error)) from error
        seconds = time.perf_counter() - begin
        self.last = Kept(record.id, record.time, len(record.normal), len(record.zero), record.size, len(device_state), seconds)
        merger.add(record.id)

    def _require_usable(self, index: int) -> Merger:
        expected = 0 if self.last is None else self.last.id.index + 1
        if self.failure is not None or self._merger is None:
            raise StoreFailed(f"the store is closed, or has failed before: {self.failure!r}")
        if index != expected:
            raise StoreFailed(f"checkpoint {index} comes after {expected - 1}")
        return self._merger

    def _write(self, wanted: RecordId, device_state: bytes, dirty: PageMap, ram: npt.NDArray[np.uint8]) -> Record:
        file = self._folder.create(PARTIAL)
        try:
            numbers: Numbers = np.flatnonzero(dirty).astype(np.int64)
            sums, is_zero = self._write_pages(file, numbers, ram)
            self._ram_sum = (self._ram_sum + ram_sum(numbers, sums - self._sums[numbers])) % 2**64
            self._sums[numbers] = sums
            is_normal = ~is_zero
            record = Record(
                wanted,
                time.time(),
                self._identity.page_size,
                numbers[is_normal],
                numbers[is_zero],
                sums[is_normal],
                self._ram_sum,
                device_state,
            )
            file.write(len(record.normal) * record.page_size, record.ending())
            file.sync()
            return record
        finally:
            file.close()

    def _write_pages(self, file: File, numbers: Numbers, ram: npt.NDArray[np.uint8]) -> tuple[Sums, PageMap]:
        """Write the pages that have content; return the sums of all, and which ones are zeros. A helper writes while the next are read."""
        sums: Sums = np.empty(len(numbers), np.uint64)
        is_zero: PageMap = np.zeros(len(numbers), np.bool_)
        at = 0
        writing: Future[None] | None = None
        try:
            for first in range(0, len(numbers), len(self._rooms[0])):
                self._rooms.reverse()
                room = self._rooms[0]
                wanted = numbers[first : first + len(room)]
                rows = room[: len(wanted)]
                np.take(ram, wanted, axis=0, out=rows, mode="clip")
                its = slice(first, first + len(wanted))
                sums[its] = page_sums(rows)
                candidates = np.flatnonzero(sums[its] == 0)
                if len(candidates):
                    is_zero[its][candidates] = ~rows[candidates].any(axis=1)
                    rows = rows[~is_zero[its]]
                if writing is not None:
                    writing.result()
                writing = self._helper.submit(_write, file, at, rows)
                at += rows.nbytes
            if writing is not None:
                writing.result()
        finally:
            if writing is not None:
                # Nobody writes to the file any more when it is closed.
                writing.exception()
        return sums, is_zero

    def _remove_partial(self) -> None:
        try:
            self._folder.remove(PARTIAL)
        except OSError:
            # It is in the way of nobody.
            return

    def _what_failed(self, error: BaseException) -> str:
        if self.last is None:
            return f"the first checkpoint could not be written: {error}"
        age = time.time() - self.last.time
        return f"a checkpoint could not be written: {error}; checkpoint {self.last.id.index} is intact, and {age:.1f} s old"

    def settle(self) -> None:
        """Wait until nothing is left to be merged. Raises what has ended the merging."""
        if self._merger is not None:
            self._merger.wait_until_done()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Finish the merge that goes on. Does nothing a second time."""
        if self._merger is not None:
            self._merger.close()
            self._merger = None
            self._helper.shutdown()


def _write(file: File, at: int, rows: npt.NDArray[np.uint8]) -> None:
    file.write(at, rows)
    if at // _WRITEBACK_BYTES != (at + rows.nbytes) // _WRITEBACK_BYTES:
        file.begin_writeback()
