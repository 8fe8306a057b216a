"""Power cuts: what is written to a store is recorded, and played again cut, torn and reordered at every point between barriers.

A barrier is a `sync`. What was written to a file before a sync of it is there; what came after the last one may be there in any part, by
sectors of 512 bytes; so may names since the last sync of the folder. Killing a process shows nothing of this: what it has written stays.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np

from colofd.conformance.recording_folder import Barrier, RecordingFolder, Write, written_over
from colofd.impl import Block
from colofd.impl.store import Claim, Identity, OpenedStore, StoreError, StoreWriter

_SECTOR: Final = 512
_GARBAGE: Final = 0xA5
_PAGE: Final = 1024
_PAGES: Final = 12
_IDENTITY: Final = Identity("none", _PAGE, (Block("ram", 8 * _PAGE), Block("rom", 4 * _PAGE)))
_ALL_SUBSETS_OF: Final = 6
"""Of so many things that may be lost, every subset is tried; of more, each one, all but each one, and some drawn at random."""

_DRAWN: Final = 12

_COMMITS: Final = (6, 4)
"""Checkpoints of each session."""

_LATE: Final = 3
"""The index from which on old records are merged, if that is late. There is no room for many more."""


SYNCS: Final = (
    "a record, new",
    "the folder, after rename a record",
    "an image, new",
    "an image",
    "the sums of an image, new",
    "the sums of an image",
    "the folder, after remove a record",
    "the folder, after make the sums of an image",
    "the identity, new",
)
"""Every sync of a store. None can be left out: each one is a negative control."""


@dataclass
class Cuts:
    """What has been found: barriers, states that the disk may have been left in, and how many of them differ; and what is wrong."""

    barriers: int = 0
    states: int = 0
    different: int = 0
    syncs: frozenset[str] = frozenset()
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Commit:
    """What a checkpoint must be: which one, the digest of its RAM, and its device state."""

    session: int
    index: int
    ram: str
    device_state: bytes


class Merging(StrEnum):
    """When old records are merged."""

    ANY_TIME = "at any time"
    AT_ONCE = "before the next checkpoint"
    LATE = "several in a row"


def power_cuts(seed: int, merging: Merging, *, omitted: str = "") -> Cuts:
    """Keep some checkpoints of two sessions, and cut the power at every barrier in every way.

    Args:
        seed: of the pages, and of the cuts that are drawn.
        merging: when it is done.
        omitted: a sync that is left out; the first state that shows it is the last one that is looked at.
    """
    draw = random.Random(seed)  # noqa: S311  # not a secret
    folder = RecordingFolder(omitted)
    commits: list[_Commit] = []
    for session, count in enumerate(_COMMITS, 1):
        _keep_some(folder, session, count, draw, commits, merging)
    folder.note("the end")
    cuts = Cuts(len(folder.barriers), syncs=frozenset(folder.noted))
    judged: dict[tuple[int, bytes], str] = {}
    for barrier in folder.barriers:
        for state in _states(barrier, draw):
            cuts.states += 1
            key = (barrier.commits, _digest(state))
            if key not in judged:
                judged[key] = _judge(state, commits, barrier.commits)
                if judged[key]:
                    cuts.different = len(judged)
                    cuts.wrong.append(f"power cut before the end of a sync ({barrier.what}): {judged[key]}")
                    if omitted:
                        return cuts
    cuts.different = len(judged)
    return cuts


def _keep_some(folder: RecordingFolder, session: int, count: int, draw: random.Random, commits: list[_Commit], merging: Merging) -> None:
    pages = np.random.default_rng(draw.getrandbits(32))
    ram = np.zeros((_PAGES, _PAGE), np.uint8)
    with Claim(folder, is_shared=False, is_locked=False) as claim, StoreWriter(claim, _IDENTITY, keep=draw.choice((1, 2))) as store:
        if merging is Merging.LATE:
            folder.may_merge.clear()
        for index in range(count):
            dirty = pages.random(_PAGES) < (0.9 if index == 0 else 0.4)
            ram[dirty] = pages.integers(0, 256, (int(dirty.sum()), _PAGE), np.uint8)
            ram[dirty & (pages.random(_PAGES) < 0.3)] = 0
            device_state = f"device state {session} {index}".encode() + b"\0"
            commits.append(_Commit(session, index, hashlib.sha256(ram.data).hexdigest(), device_state))
            store.keep(index, device_state, dirty, ram)
            folder.commits = len(commits)
            if merging is Merging.AT_ONCE:
                store.settle()
            if index == _LATE:
                folder.may_merge.set()
        folder.may_merge.set()
        store.settle()


# What the disk may hold.

State = Mapping[str, bytes]


def _states(barrier: Barrier, draw: random.Random) -> Iterator[State]:
    """Yield what the disk may hold if the power fails at this barrier."""
    changes = list(range(len(barrier.changes)))
    writes = [(file, number) for file, (_, since) in barrier.files.items() for number in range(len(since))]
    items: list[object] = [*changes, *writes]
    if len(items) <= _ALL_SUBSETS_OF:
        subsets = [set(chosen) for size in range(len(items) + 1) for chosen in itertools.combinations(items, size)]
    else:
        whole = set(items)
        subsets = [set(), whole, set(changes), set(writes), *({each} for each in items), *(whole - {each} for each in items)]
        subsets += [{each for each in items if draw.random() < 0.5} for _ in range(_DRAWN)]
    for subset in subsets:
        yield _state(barrier, subset, lambda write: [write])
    for fill in (0, _GARBAGE):
        for _ in range(_DRAWN):
            chosen = {each for each in items if draw.random() < 0.8}
            yield _state(barrier, chosen, lambda write: _torn(write, draw), fill)


def _torn(write: Write, draw: random.Random) -> list[Write]:
    """Return some sectors of what was written."""
    offset, content = write
    bounds = [0, *range(_SECTOR - offset % _SECTOR, len(content), _SECTOR), len(content)]
    return [(offset + begin, content[begin:end]) for begin, end in itertools.pairwise(bounds) if draw.random() < 0.7]


def _state(barrier: Barrier, there: set[object], tear: Callable[[Write], list[Write]], fill: int = 0) -> State:
    names = dict(barrier.names)
    for number, changes in enumerate(barrier.changes):
        if number in there:
            for name, file in changes:
                if file is None:
                    names.pop(name, None)
                else:
                    names[name] = file
    state = {}
    for name, file in names.items():
        synced, since = barrier.files[file]
        kept = [piece for number, write in enumerate(since) if (file, number) in there for piece in tear(write)]
        state[name] = bytes(written_over(synced, kept, fill))
    return state


def _digest(state: State) -> bytes:
    digest = hashlib.sha256()
    for name, content in sorted(state.items()):
        digest.update(f"{name} {len(content)} ".encode())
        digest.update(content)
    return digest.digest()


# What must be found there.


def _judge(state: State, commits: list[_Commit], answered: int) -> str:
    """Return what is wrong with a store after a power cut; nothing, if it has the last answered checkpoint, or the one after."""
    allowed = commits[max(answered - 1, 0) : answered + 1]
    try:
        opened = OpenedStore(Claim(RecordingFolder.holding(state), is_shared=True, is_locked=False))
        found = [each.id for each in opened.saved]
        if not found:
            return "" if not answered else f"no checkpoint is left of {answered} that were answered"
        for each in opened.saved:
            with opened.checkpoint(each.id.index) as reader:
                ram = hashlib.sha256(b"".join(rows.tobytes() for _, rows in reader.pages())).hexdigest()
                read = _Commit(each.id.session, each.id.index, ram, reader.device_state)
            if read not in commits:
                return f"torn: checkpoint {each.id} is none that there was"
        if read not in allowed:
            return f"lost: the last checkpoint is {found[-1]}, and {answered} were answered, of {len(commits)}"
    except (StoreError, OSError, EOFError) as error:
        return str(error) if answered else ""
    return ""
