"""The files of one session: an image of RAM with its sums, and the records that follow.

The image is that of the checkpoint before the oldest record, while that record is being merged with any part of it: so it is never read
without all records from the oldest to the one that is wanted. At first it is zeros, and the oldest record is index 0.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from colofd.impl.store.folder import File, Folder
from colofd.impl.store.record import RecordId, record_id
from colofd.impl.store.sums import Sums

CHUNK_BYTES: Final = 1 << 20
"""Pages are copied in pieces of this size, which stay in the processor's cache."""

_SUM_BYTES: Final = 8
_SUMS_IN_A_PIECE: Final = 512


def image_name(session: int) -> str:
    """Return the name of the file with RAM."""
    return f"{session:06}.image"


def sums_name(session: int) -> str:
    """Return the name of the file with the sums of the pages of the image."""
    return f"{session:06}.sums"


def session_of(file_name: str) -> int | None:
    """Return to which session a file belongs; None if it is no file of a session."""
    found = record_id(file_name)
    if found is not None:
        return found.session
    stem, _, kind = file_name.partition(".")
    return int(stem) if kind in {"image", "sums"} and stem.isdecimal() else None


def newest(names: Iterable[str]) -> list[RecordId]:
    """Return the records of the newest session that has any, in order."""
    found = sorted(each for each in map(record_id, names) if each is not None)
    return [each for each in found if each.session == found[-1].session]


def next_session(names: Iterable[str]) -> int:
    """Return a number that no session has, higher than all."""
    return max((each for each in map(session_of, names) if each is not None), default=0) + 1


def make_image(folder: Folder, session: int, page_count: int, page_size: int) -> None:
    """Make the image of zeros that a session begins with, on the disk. Raises OSError."""
    for name, size in ((image_name(session), page_count * page_size), (sums_name(session), page_count * _SUM_BYTES)):
        file = folder.create(name)
        try:
            file.resize(size)
            file.sync()
        finally:
            file.close()
    # A record must not be there without them.
    folder.sync()


def remove_others(folder: Folder, session: int) -> None:
    """Remove the files of all other sessions; a record of this one may be written meanwhile. Raises OSError."""
    for name in folder.names():
        if session_of(name) not in {None, session}:
            # Should it come back after a power cut, then the newest session is read all the same.
            folder.remove(name)


def read_sums(folder: Folder, session: int, page_count: int) -> Sums:
    """Return the sums of all pages of the image. Raises OSError, or EOFError if some are missing."""
    file = folder.open(sums_name(session))
    try:
        sums: Sums = np.empty(page_count, np.uint64)
        file.read_into(0, sums.view(np.uint8))
        return sums
    finally:
        file.close()


def write_sums(file: File, numbers: "np.typing.NDArray[np.int64]", sums: Sums, page_count: int) -> None:
    """Write the sums of some pages (numbers ascending), in pieces of the file that have any. Raises OSError, EOFError."""
    for piece in np.unique(numbers // _SUMS_IN_A_PIECE).tolist():
        first = piece * _SUMS_IN_A_PIECE
        held: Sums = np.empty(min(_SUMS_IN_A_PIECE, page_count - first), np.uint64)
        file.read_into(first * _SUM_BYTES, held.view(np.uint8))
        begin, end = np.searchsorted(numbers, [first, first + len(held)])
        held[numbers[begin:end] - first] = sums[begin:end]
        file.write(first * _SUM_BYTES, held)
