"""Merges old records into the image, in the background: a store takes RAM once, and what the kept checkpoints differ in."""

import threading
from collections import deque
from typing import Final

import numpy as np

from colofd.impl.store.errors import StoreDamaged
from colofd.impl.store.folder import File, Folder
from colofd.impl.store.record import Record, RecordId, read_record
from colofd.impl.store.sessions import CHUNK_BYTES, image_name, remove_others, sums_name, write_sums
from colofd.impl.store.sums import page_sums

_BACKLOG: Final = 4
"""So many records may wait to be merged; then checkpoints wait, and the store does not grow."""


class Merger:
    """The image of a session, and the thread that merges into it.

    A record is removed when all of it is in the image and on the disk, and the next one begins when that is on the disk, too: so the
    image is always that of the checkpoint before the oldest record, with any part of this record, and of no other.
    """

    def __init__(self, folder: Folder, session: int, page_size: int, page_count: int, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"a store keeps at least one checkpoint, not {keep}")
        self._folder = folder
        self._session = session
        self._page_size = page_size
        self._page_count = page_count
        self._keep = keep
        self._records: deque[RecordId] = deque()
        self._change = threading.Condition()
        self._is_closing = False
        self._are_others_removed = False
        self._failure: BaseException | None = None
        self._image = folder.open(image_name(session), for_writing=True)
        self._sums = folder.open(sums_name(session), for_writing=True)
        self._thread = threading.Thread(target=self._run, name="colofd merger", daemon=True)
        self._thread.start()

    def add(self, record: RecordId) -> None:
        """Say that a record is on the disk."""
        with self._change:
            self._records.append(record)
            self._change.notify_all()

    def wait_for_room(self) -> None:
        """Wait until another record may come. Raises what has ended the merging."""
        with self._change:
            self._change.wait_for(lambda: self._failure is not None or len(self._records) < self._keep + _BACKLOG)
            if self._failure is not None:
                raise self._failure

    def wait_until_done(self) -> None:
        """Wait until nothing is left to do. Raises what has ended the merging."""
        with self._change:
            self._change.wait_for(lambda: self._failure is not None or self._is_done())
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """Finish the record at hand, and end. Does nothing a second time."""
        with self._change:
            self._is_closing = True
            self._change.notify_all()
        self._thread.join()
        self._image.close()
        self._sums.close()

    def _is_done(self) -> bool:
        return len(self._records) <= self._keep and (self._are_others_removed or not self._records)

    def _run(self) -> None:
        try:
            while True:
                with self._change:
                    self._change.wait_for(lambda: self._is_closing or not self._is_done())
                    if self._is_closing:
                        return
                    oldest = self._records[0]
                self._work(oldest)
                with self._change:
                    self._change.notify_all()
        except BaseException as error:  # noqa: BLE001  # whoever waits must be woken, and told
            with self._change:
                self._failure = error
                self._change.notify_all()

    def _work(self, oldest: RecordId) -> None:
        if not self._are_others_removed:
            # The first checkpoint of this session is on the disk: no other session is needed any more.
            remove_others(self._folder, self._session)
            self._are_others_removed = True
            return
        self._merge(oldest)
        self._folder.remove(oldest.file_name)
        # Before the next record is touched: should this one come back, it would be laid over an image that is newer.
        self._folder.sync()
        with self._change:
            self._records.popleft()

    def _merge(self, wanted: RecordId) -> None:
        file = self._folder.open(wanted.file_name)
        try:
            record = read_record(file, wanted, self._page_size, self._page_count)
            self._copy_pages(file, record)
            if wanted.index:
                self._clear_pages(record)
        finally:
            file.close()
        self._image.sync()
        numbers = np.concatenate([record.normal, record.zero])
        sums = np.concatenate([record.sums, np.zeros(len(record.zero), np.uint64)])
        order = np.argsort(numbers)
        write_sums(self._sums, numbers[order], sums[order], self._page_count)
        self._sums.sync()

    def _copy_pages(self, file: File, record: Record) -> None:
        step = max(1, CHUNK_BYTES // self._page_size)
        room = np.empty((step, self._page_size), np.uint8)
        for first in range(0, len(record.normal), step):
            numbers = record.normal[first : first + step]
            rows = room[: len(numbers)]
            file.read_into(first * self._page_size, rows)
            if (page_sums(rows) != record.sums[first : first + len(numbers)]).any():
                raise StoreDamaged(f"{record.id.file_name} is damaged: the checksum of a page differs")
            for begin, end in _runs(numbers):
                self._image.write(int(numbers[begin]) * self._page_size, rows[begin:end])
        self._image.begin_writeback()

    def _clear_pages(self, record: Record) -> None:
        """Write the zeros; an image that has only just been made has them."""
        zeros = np.zeros((max(1, CHUNK_BYTES // self._page_size), self._page_size), np.uint8)
        for begin, end in _runs(record.zero):
            for first in range(begin, end, len(zeros)):
                self._image.write(int(record.zero[first]) * self._page_size, zeros[: min(len(zeros), end - first)])


def _runs(numbers: "np.typing.NDArray[np.int64]") -> list[tuple[int, int]]:
    """Return from where to where in `numbers` (ascending) they follow one another."""
    if not len(numbers):
        return []
    breaks = (np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()
    return list(zip([0, *breaks], [*breaks, len(numbers)], strict=True))
