"""A folder in memory that notes what may be lost at each sync."""

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from colofd.impl.store.folder import Content, File, Folder

Write = tuple[int, bytes]
"""Byte offset and content."""

_KINDS: Final = {
    "checkpoint": "a record",
    "incoming": "a record",
    "store": "the identity",
    "image": "an image",
    "sums": "the sums of an image",
}


@dataclass(eq=False)
class Node:
    """A file, whatever its names: what is on the disk for sure, and what was written since."""

    synced: bytes = b""
    since: list[Write] = field(default_factory=list)


def written_over(before: bytes, writes: Sequence[Write], fill: int = 0) -> bytearray:
    """Return the content after some writes; what lies between them and was never written has the byte `fill`."""
    content = bytearray(before)
    for offset, written in writes:
        end = offset + len(written)
        content.extend(bytes([fill]) * (end - len(content)))
        content[offset:end] = written
    return content


Change = tuple[tuple[str, Node | None], ...]
"""Names, and the files that they then are of (None: of none); all of it happens, or nothing."""


@dataclass(frozen=True)
class Barrier:
    """All that may be lost if the power fails before a sync ends.

    Attributes:
        what: the sync that has not ended.
        names: what the folder has for sure.
        changes: what has become of names since.
        files: of each file its content for sure, and what was written since.
        commits: how many checkpoints were answered by then.
    """

    what: str
    names: Mapping[str, Node]
    changes: tuple[Change, ...]
    files: Mapping[Node, tuple[bytes, tuple[Write, ...]]]
    commits: int


class RecordingFolder(Folder):
    """The files of a folder, in memory.

    Args:
        omitted: the syncs that are left out, as `Barrier.what` calls them: they say that all is on the disk, and it is not.

    Attributes:
        barriers: one for each sync.
        commits: how many checkpoints were answered, as the caller says.
        noted: which syncs there were.
        may_merge: set while records may be opened.
    """

    def __init__(self, omitted: str = "") -> None:
        self.path = Path("recorded")
        self.barriers: list[Barrier] = []
        self.commits = 0
        self.noted: set[str] = set()
        self.may_merge = threading.Event()
        self.may_merge.set()
        self._omitted = omitted
        self._durable: dict[str, Node] = {}
        self._names: dict[str, Node] = {}
        self._changes: list[Change] = []
        self._last_change = ""
        self._lock = threading.RLock()

    @classmethod
    def holding(cls, content: Mapping[str, bytes]) -> Self:
        """Return a folder that has these files."""
        made = cls()
        made._durable = {name: Node(each) for name, each in content.items()}
        made._names = dict(made._durable)
        return made

    def names(self) -> list[str]:
        """Return the names of all files, in order."""
        return sorted(self._names)

    def create(self, name: str) -> File:
        """Make a new file, in place of one that has the name."""
        self._change("make", (name, Node()))
        return self.open(name)

    def open(self, name: str, *, for_writing: bool = False) -> File:
        """Open a file that is there."""
        del for_writing
        if name.endswith(".checkpoint"):
            self.may_merge.wait()
        if name not in self._names:
            raise FileNotFoundError(f"there is no {name}")
        return _RecordingFile(self, self._lock, _kind(name), self._names[name])

    def rename(self, old: str, new: str) -> None:
        """Give a file another name."""
        self._change("rename", (new, self._names[old]), (old, None))

    def remove(self, name: str) -> None:
        """Remove a file; there need not be one."""
        if name in self._names:
            self._change("remove", (name, None))

    def _change(self, what: str, *changes: tuple[str, Node | None]) -> None:
        with self._lock:
            self._last_change = f"{what} {_kind(changes[0][0])}"
            self._changes.append(changes)
            for name, node in changes:
                if node is None:
                    del self._names[name]
                else:
                    self._names[name] = node

    def sync(self) -> None:
        """Note that all names are on the disk."""
        with self._lock:
            if self.note(f"the folder, after {self._last_change}"):
                self._durable, self._changes = dict(self._names), []

    def note(self, what: str) -> bool:
        """Note a barrier; return whether the sync is done."""
        with self._lock:
            nodes = {*self._durable.values(), *(node for each in self._changes for _, node in each if node is not None)}
            files = {node: (node.synced, tuple(node.since)) for node in nodes}
            self.barriers.append(Barrier(what, dict(self._durable), tuple(self._changes), files, self.commits))
            self.noted.add(what)
            return what != self._omitted

    def lock(self, name: str, *, is_shared: bool) -> int:
        """Nobody else has it."""
        del name, is_shared
        return -1

    def close(self) -> None:
        """Do nothing: the files stay."""


class _RecordingFile(File):
    def __init__(self, folder: RecordingFolder, lock: "contextlib.AbstractContextManager[object]", kind: str, node: Node) -> None:
        self._folder = folder
        self._lock = lock
        self._kind = kind
        self._node = node

    def _content(self) -> bytearray:
        return written_over(self._node.synced, self._node.since)

    @property
    def size(self) -> int:
        return len(self._content())

    def resize(self, size: int) -> None:
        # Only new files are resized.
        self.write(0, bytes(size))

    def write(self, offset: int, content: Content) -> None:
        with self._lock:
            self._node.since.append((offset, content if isinstance(content, bytes) else content.tobytes()))

    def read_into(self, offset: int, target: npt.NDArray[np.uint8]) -> None:
        there = self._content()[offset : offset + target.nbytes]
        if len(there) < target.nbytes:
            raise EOFError(f"the file ends {target.nbytes - len(there)} bytes too early")
        target.reshape(-1)[:] = np.frombuffer(there, np.uint8)

    def begin_writeback(self) -> None:
        """Do nothing: whatever is written may be on the disk at any time."""

    def sync(self) -> None:
        with self._lock:
            if self._folder.note(self._kind if self._node.synced else f"{self._kind}, new"):
                self._node.synced, self._node.since = bytes(self._content()), []

    def close(self) -> None:
        """Do nothing."""


def _kind(name: str) -> str:
    return next((kind for part, kind in _KINDS.items() if part in name), name)
