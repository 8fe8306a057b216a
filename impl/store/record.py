"""A record: the file of one checkpoint. It has the pages that differ from the checkpoint before, and what is needed to check them.

Little-endian, without gaps: the pages with content; the numbers of these pages and of pages of zeros (int64, ascending); the sums of the
pages with content (uint64); the device state; a trailer. A record has its name only once it is on the disk as a whole.
"""

import hashlib
import re
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.impl.store.errors import StoreDamaged
from colofd.impl.store.folder import File
from colofd.impl.store.sums import Sums

PARTIAL: Final = "incoming.partial"
"""The name of a record that is not there yet."""

_MAGIC: Final = b"colofdCP"
_VERSION: Final = 1
_TRAILER: Final = struct.Struct("<8sIIQQdQQQQ")
_DIGEST: Final = hashlib.sha256
_END: Final = _TRAILER.size + _DIGEST().digest_size
_NAME: Final = re.compile(r"(\d{6,})-(\d{10,})\.checkpoint")

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, order=True)
class RecordId:
    """Which checkpoint: a session is one connection of a primary; its index 0 is the end of precopy, the first one that is whole."""

    session: int
    index: int

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"{self.session:06}-{self.index:010}.checkpoint"


def record_id(file_name: str) -> RecordId | None:
    """Return which checkpoint has this file name, or None for another file."""
    found = _NAME.fullmatch(file_name)
    return None if found is None else RecordId(int(found[1]), int(found[2]))


@dataclass(frozen=True)
class Record:
    """What a record says of its checkpoint.

    Attributes:
        id: which one.
        time: when it was written (seconds since 1970).
        normal: numbers of the pages with content, ascending; the first one is at the beginning of the file, and so on.
        zero: numbers of the pages of zeros, ascending.
        sums: of the pages with content.
        ram_sum: of all RAM at this checkpoint.
        device_state: FULL sections and the EOF byte.
    """

    id: RecordId
    time: float
    page_size: int
    normal: Numbers
    zero: Numbers
    sums: Sums
    ram_sum: int
    device_state: bytes

    @property
    def pages(self) -> int:
        """How many pages differ from the checkpoint before."""
        return len(self.normal) + len(self.zero)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.normal) * self.page_size + len(self._metadata()) + _END

    def _metadata(self) -> bytes:
        return b"".join([self.normal.tobytes(), self.zero.tobytes(), self.sums.tobytes(), self.device_state])

    def ending(self) -> bytes:
        """Return what follows the pages."""
        metadata = self._metadata()
        counts = (len(self.normal), len(self.zero), len(self.device_state), self.ram_sum)
        trailer = _TRAILER.pack(_MAGIC, _VERSION, self.page_size, self.id.session, self.id.index, self.time, *counts)
        return metadata + trailer + _DIGEST(metadata + trailer).digest()


def read_record(file: File, expected: RecordId, page_size: int, page_count: int) -> Record:
    """Read all but the pages. Raises StoreDamaged if it is not what was written, OSError."""
    try:
        return _read(file, expected, page_size, page_count)
    except (EOFError, ValueError, struct.error) as error:
        raise StoreDamaged(f"{expected.file_name} is damaged: {error}") from error


def _read(file: File, expected: RecordId, page_size: int, page_count: int) -> Record:
    end = file.size
    if end < _END:
        raise EOFError(f"it has {end} bytes, and the end alone has {_END}")
    trailer = file.read(end - _END, _END)
    magic, version, size, session, index, time, normal, zero, device, ram_sum = _TRAILER.unpack(trailer[: _TRAILER.size])
    if (magic, version, size, session, index) != (_MAGIC, _VERSION, page_size, expected.session, expected.index):
        raise ValueError("its end is not that of a record, or of another one")
    length = 16 * normal + 8 * zero + device
    if normal + zero > page_count or normal * page_size + length + _END != end:
        raise ValueError(f"it has {end} bytes, and its end tells of {normal} pages and {length} bytes")
    metadata = file.read(normal * page_size, length)
    if _DIGEST(metadata + trailer[: _TRAILER.size]).digest() != trailer[_TRAILER.size :]:
        raise ValueError("the checksum of its end differs")
    numbers = np.frombuffer(metadata, np.int64, normal + zero)
    sums = np.frombuffer(metadata, np.uint64, normal, 8 * len(numbers))
    return Record(expected, time, page_size, numbers[:normal], numbers[normal:], sums, ram_sum, metadata[length - device :])
