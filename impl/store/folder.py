"""The only place where a store touches the disk: a few operations on the files of one folder.

Nothing else is relied on than that what was written to a file is there after its `sync`, and that names are as they were at the last
`sync` of the folder or later. In between anything may be lost, torn, or in another order.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.impl.store.errors import StoreBusy

Content = bytes | npt.NDArray[np.uint8] | npt.NDArray[np.uint64]

_FILE_MODE: Final = 0o600


class File:
    """An open file. All methods raise OSError."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._descriptor).st_size

    def resize(self, size: int) -> None:
        """Make it shorter, or longer by zeros that take no room."""
        os.ftruncate(self._descriptor, size)

    def write(self, offset: int, content: Content) -> None:
        """Write all of `content` at a byte offset."""
        if not len(content):
            # A view of no bytes has no shape that can be cast.
            return
        left = memoryview(content if isinstance(content, bytes) else content.data).cast("B")
        while left:
            count = os.pwrite(self._descriptor, left, offset)
            left, offset = left[count:], offset + count

    def read_into(self, offset: int, target: npt.NDArray[np.uint8]) -> None:
        """Fill `target` (contiguous) from a byte offset. EOFError at the end of the file."""
        if not len(target):
            return
        left = target.data.cast("B")
        while left:
            count = os.preadv(self._descriptor, [left], offset)
            if not count:
                raise EOFError(f"the file ends {len(left)} bytes too early")
            left, offset = left[count:], offset + count

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from a byte offset. EOFError at the end of the file."""
        target = np.empty(size, np.uint8)
        self.read_into(offset, target)
        return target.tobytes()

    def begin_writeback(self) -> None:
        """Let the system begin to write what it holds, and forget what is written: it need not be in memory."""
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        """Wait until all that was written to the file is on the disk."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close it; does nothing a second time."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class Folder:
    """A folder of files that only its owner may use. All methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def names(self) -> list[str]:
        """Return the names of all files, in order."""
        with os.scandir(self._descriptor) as found:
            return sorted(each.name for each in found)

    def create(self, name: str) -> File:
        """Make a new file, in place of one that has the name."""
        return File(self._open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC))

    def open(self, name: str, *, for_writing: bool = False) -> File:
        """Open a file that is there."""
        return File(self._open(name, os.O_RDWR if for_writing else os.O_RDONLY))

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, and take that from another file that may have it."""
        os.rename(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a file; there need not be one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def sync(self) -> None:
        """Wait until all names are on the disk."""
        os.fsync(self._descriptor)

    def lock(self, name: str, *, is_shared: bool) -> int:
        """Lock a file, alone or with other readers, until the descriptor is closed that is returned. StoreBusy if somebody else has it."""
        descriptor = self._open(name, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise StoreBusy(f"{self.path} is in use: a standby writes to it, or somebody reads it; end that first") from None
            raise
        return descriptor

    def close(self) -> None:
        """Close it; does nothing a second time."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE, dir_fd=self._descriptor)
