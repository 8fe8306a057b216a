"""Reads a checkpoint: the image, and the records up to it laid over that. Every page is checked as it is read."""

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from colofd.impl.store.errors import StoreDamaged
from colofd.impl.store.folder import File, Folder
from colofd.impl.store.identity import Identity
from colofd.impl.store.record import Record
from colofd.impl.store.sessions import CHUNK_BYTES, image_name
from colofd.impl.store.sums import Sums, page_sums


class CheckpointReader:
    """RAM and device state of one checkpoint. A context manager.

    Args:
        folder: of the store.
        identity: whose checkpoints it has.
        records: from the oldest of the session to the wanted one.
        sums: what each page of the checkpoint must have.

    Attributes:
        device_state: FULL sections and the EOF byte.
    """

    def __init__(self, folder: Folder, identity: Identity, records: Sequence[Record], sums: Sums) -> None:
        self.identity = identity
        self.device_state = records[-1].device_state
        self._records = records
        self._sums = sums
        self._files: list[File] = []
        try:
            self._files.append(folder.open(image_name(records[0].id.session)))
            self._files.extend(folder.open(each.id.file_name) for each in records)
        except BaseException:
            self.close()
            raise

    def pages(self) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """Yield all of RAM, in pieces: the number of the first page, and the pages, of shape (pages, page size).

        A piece stands until the next one. Raises StoreDamaged at a page that is not what was written, OSError.
        """
        size, count = self.identity.page_size, len(self._sums)
        step = max(1, CHUNK_BYTES // size)
        room = np.empty((min(step, count), size), np.uint8)
        for first in range(0, count, step):
            yield first, self._read(first, room[: min(step, count - first)])

    def _read(self, first: int, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        image, *files = self._files
        size, end = self.identity.page_size, first + len(rows)
        try:
            image.read_into(first * size, rows)
            for file, record in zip(files, self._records, strict=True):
                begin, stop = np.searchsorted(record.normal, [first, end]).tolist()
                if stop > begin:
                    content = np.empty((stop - begin, size), np.uint8)
                    file.read_into(begin * size, content)
                    rows[record.normal[begin:stop] - first] = content
                begin, stop = np.searchsorted(record.zero, [first, end]).tolist()
                rows[record.zero[begin:stop] - first] = 0
        except EOFError as error:
            raise StoreDamaged(f"page {first} or one after it is missing: {error}") from error
        wrong = np.flatnonzero(page_sums(rows) != self._sums[first:end])
        if len(wrong):
            raise StoreDamaged(f"page {first + int(wrong[0])} is damaged: its checksum differs")
        return rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()
