"""Whose checkpoints a store has: the machine type, the size of a page, and the RAM blocks."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from colofd.impl.interface import Block
from colofd.impl.memory import Layout
from colofd.impl.store.errors import StoreMismatch
from colofd.impl.store.folder import Folder

NAME: Final = "store.json"
_FORMAT: Final = "colofd store"
_VERSION: Final = 1


@dataclass(frozen=True)
class Identity:
    """What must be the same for all checkpoints of a store; `machine` is the machine type as the source names it."""

    machine: str
    page_size: int
    blocks: tuple[Block, ...]

    @property
    def layout(self) -> Layout:
        """Where the pages of each block lie."""
        return Layout(self.blocks, self.page_size)

    def require_same(self, other: "Identity", where: object) -> None:
        """Raise StoreMismatch, with all that differs, unless `other` is the same machine."""
        differing = [
            f"{name} {theirs} here and {ours} in the store"
            for name, ours, theirs in (
                ("machine type", self.machine, other.machine),
                ("page size", self.page_size, other.page_size),
                ("RAM", _described(self.blocks), _described(other.blocks)),
            )
            if ours != theirs
        ]
        if differing:
            raise StoreMismatch(f"{where} is the store of another machine: {'; '.join(differing)}")


def _described(blocks: tuple[Block, ...]) -> str:
    return ", ".join(f"{block.name} of {block.length} bytes" for block in blocks)


def write_identity(folder: Folder, identity: Identity) -> None:
    """Make an empty folder a store. Raises OSError."""
    partial = f"{NAME}.partial"
    file = folder.create(partial)
    try:
        file.write(0, json.dumps({"format": _FORMAT, "version": _VERSION, **asdict(identity)}, indent=1).encode())
        file.sync()
    finally:
        file.close()
    # It is on the disk by this name when the folder is synced for the first session.
    folder.rename(partial, NAME)


def read_identity(folder: Folder) -> Identity:
    """Return whose store a folder is. Raises StoreMismatch if it is none, or none that is known here."""
    try:
        file = folder.open(NAME)
    except FileNotFoundError:
        raise StoreMismatch(f"{folder.path} is no store: it has no {NAME}") from None
    try:
        read: dict[str, Any] = json.loads(file.read(0, file.size))
        kind, version = read["format"], read["version"]
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise StoreMismatch(f"{folder.path} is no store: {NAME} cannot be read ({error})") from error
    finally:
        file.close()
    if kind != _FORMAT:
        raise StoreMismatch(f"{folder.path} is no store: {NAME} says {kind!r}")
    if version != _VERSION:
        raise StoreMismatch(f"{folder.path} is a store of version {version}, and version {_VERSION} is known here")
    try:
        blocks = tuple(Block(str(block["name"]), int(block["length"])) for block in read["blocks"])
        identity = Identity(str(read["machine"]), int(read["page_size"]), blocks)
        _ = identity.layout
    except (ValueError, KeyError, TypeError) as error:
        raise StoreMismatch(f"{folder.path} is no store: {NAME} describes no machine ({error})") from error
    return identity
