"""Who may use a store: one standby, or any number of readers; and nobody but its owner."""

import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from colofd.impl.store.errors import StoreMismatch
from colofd.impl.store.folder import Folder
from colofd.impl.store.identity import NAME

_LOCK: Final = "lock"


class Claim:
    """A folder that is had until `close`, by one writer or by readers. A context manager.

    Attributes:
        folder: its files.
    """

    def __init__(self, folder: Folder, *, is_shared: bool, is_locked: bool = True) -> None:
        self.folder = folder
        try:
            self._lock = folder.lock(_LOCK, is_shared=is_shared) if is_locked else -1
        except BaseException:
            folder.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let others have it. Does nothing a second time."""
        self.folder.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def claim_for_writing(path: Path) -> Claim:
    """Claim the folder of a store, or one that becomes a store; it is made if it is not there.

    Raises StoreMismatch for a folder that has other things, or that others may use; StoreBusy; OSError.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    names = {each.name for each in path.iterdir()} if path.is_dir() else set()
    if NAME not in names:
        if names - {_LOCK, f"{NAME}.partial"}:
            raise StoreMismatch(f"{path} is no store, and not empty: it has {', '.join(sorted(names)[:3])}")
        path.chmod(0o700)
    _require_private(path)
    return Claim(Folder(path), is_shared=False)


def claim_for_reading(path: Path, *, is_locked: bool = True) -> Claim:
    """Claim the folder of a store; unless `is_locked`, a standby may write to it meanwhile.

    Raises StoreMismatch for a folder that is none, or that others may use; StoreBusy; OSError.
    """
    _require_private(path)
    if not (path / NAME).exists():
        raise StoreMismatch(f"{path} is no store: it has no {NAME}")
    return Claim(Folder(path), is_shared=True, is_locked=is_locked)


def _require_private(path: Path) -> None:
    mode = path.stat().st_mode
    if not stat.S_ISDIR(mode):
        raise StoreMismatch(f"{path} is no folder")
    if mode & 0o077:
        raise StoreMismatch(f"others may use {path} (mode {stat.S_IMODE(mode):04o}), and RAM holds secrets: chmod 700 it")
