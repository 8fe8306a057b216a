"""A store of checkpoints: plain files that survive a crash of the process, of the system, and a power cut, at any moment."""

from colofd.impl.store.claim import Claim, claim_for_writing
from colofd.impl.store.contents import CheckpointReader
from colofd.impl.store.errors import StoreBusy, StoreDamaged, StoreError, StoreFailed, StoreMismatch
from colofd.impl.store.folder import File, Folder
from colofd.impl.store.identity import Identity
from colofd.impl.store.opened import OpenedStore, Saved, open_store
from colofd.impl.store.writer import Kept, StoreWriter

__all__ = [
    "CheckpointReader",
    "Claim",
    "File",
    "Folder",
    "Identity",
    "Kept",
    "OpenedStore",
    "Saved",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreFailed",
    "StoreMismatch",
    "StoreWriter",
    "claim_for_writing",
    "open_store",
]
