"""The store of checkpoints: what it keeps, what it refuses, and what it finds when it is damaged. Power cuts are in test_power_cuts.py."""

import errno
import hashlib
import json
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from colofd.impl import Block
from colofd.impl.store import (
    Claim,
    File,
    Folder,
    Identity,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFailed,
    StoreMismatch,
    StoreWriter,
    claim_for_writing,
    open_store,
)
from colofd.impl.store.folder import Content
from colofd.impl.store.record import RecordId
from colofd.impl.store.sums import page_sums, ram_sum

PAGE: Final = 4096
PAGES: Final = 600
"""More than two pieces of a megabyte."""

MACHINE: Final = Identity("pc-i440fx-11.1", PAGE, (Block("ram", 500 * PAGE), Block("/rom", 100 * PAGE)))
Ram = npt.NDArray[np.uint8]


class Guest:
    """RAM that is written at random, and what it was at each checkpoint."""

    def __init__(self, seed: int = 1) -> None:
        self.draw = np.random.default_rng(seed)
        self.ram: Ram = np.zeros((PAGES, PAGE), np.uint8)
        self.digests: list[str] = []

    def keep(self, store: StoreWriter, share: float) -> None:
        """Write a share of the pages, a third of these with zeros, and make a checkpoint."""
        dirty = self.draw.random(PAGES) < share
        self.ram[dirty] = self.draw.integers(0, 256, (int(dirty.sum()), PAGE), np.uint8)
        self.ram[dirty & (self.draw.random(PAGES) < 0.3)] = 0
        store.keep(len(self.digests), self.device_state(len(self.digests)), dirty, self.ram)
        self.digests.append(hashlib.sha256(self.ram.data).hexdigest())

    @staticmethod
    def device_state(index: int) -> bytes:
        """Return the device state of a checkpoint."""
        return f"devices {index}".encode() + b"\0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def filled(path: Path, checkpoints: int = 5, keep: int = 2, identity: Identity = MACHINE) -> Guest:
    guest = Guest()
    with claim_for_writing(path) as claim, StoreWriter(claim, identity, keep=keep) as store:
        for index in range(checkpoints):
            guest.keep(store, 0.2 if index else 0.9)
        store.settle()
    return guest


def digest(path: Path, index: int | None = None) -> str:
    with open_store(path) as opened, opened.checkpoint(index) as reader:
        return hashlib.sha256(b"".join(rows.tobytes() for _, rows in reader.pages())).hexdigest()


def indices(path: Path) -> list[int]:
    with open_store(path) as opened:
        return [each.id.index for each in opened.saved]


def records(path: Path) -> list[Path]:
    return sorted(path.glob("*.checkpoint"))


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_checkpoints_are_kept(path: Path, keep: int) -> None:
    """Given seven checkpoints, then the last ones can be read as they were, with their device state, and no others."""
    guest = filled(path, 7, keep)
    assert indices(path) == list(range(7))[-keep:]
    for index in indices(path):
        assert digest(path, index) == guest.digests[index]
        with open_store(path) as opened, opened.checkpoint(index) as reader:
            assert reader.device_state == guest.device_state(index)
    assert digest(path) == guest.digests[-1]


def test_a_store_that_is_not_settled_is_whole(path: Path) -> None:
    """Given checkpoints that come faster than old ones are merged, then all that are there can be read as they were."""
    guest = Guest()
    with claim_for_writing(path) as claim, StoreWriter(claim, MACHINE) as store:
        for _ in range(12):
            guest.keep(store, 0.1)
    assert indices(path)[-1] == 11
    assert [digest(path, index) for index in indices(path)] == [guest.digests[index] for index in indices(path)]


def test_another_session_takes_over(path: Path) -> None:
    """Given a store, when another session has its first checkpoint, then that is the last one; before, it is that of the old session."""
    old = filled(path)
    new = Guest(2)
    with claim_for_writing(path) as claim, StoreWriter(claim, MACHINE) as store:
        with open_store(path, is_locked=False) as opened:
            assert opened.saved[-1].id == RecordId(1, 4)
        new.keep(store, 0.5)
        store.settle()
    assert digest(path) == new.digests[0] != old.digests[-1]
    assert not list(path.glob("000001*"))


def test_a_checkpoint_costs_what_is_dirty(path: Path) -> None:
    """Given RAM of 600 pages, when 6 are dirty, then the record has 6 pages and less than a page more; zeros take nothing."""
    with claim_for_writing(path) as claim, StoreWriter(claim, MACHINE) as store:
        dirty = np.zeros(PAGES, np.bool_)
        ram: Ram = np.ones((PAGES, PAGE), np.uint8)
        store.keep(0, b"\0", ~dirty, ram)
        dirty[100:106] = True
        ram[103] = 0
        store.keep(1, b"\0", dirty, ram)
        assert store.last is not None
        assert (store.last.normal_pages, store.last.zero_pages) == (5, 1)
        assert 5 * PAGE < store.last.record_bytes < 6 * PAGE


def test_nobody_else_may_read_it(path: Path) -> None:
    """Given a store, then the folder has mode 0700 and all files 0600."""
    filled(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.iterdir()} == {0o600}


def test_a_store_that_others_may_read_is_refused(path: Path) -> None:
    """Given a store whose folder was opened to others, then neither a standby nor a reader takes it, and both say what to do."""
    filled(path)
    path.chmod(0o750)
    for use in (claim_for_writing, open_store):
        with pytest.raises(StoreMismatch, match=r"mode 0750.*chmod 700"):
            use(path)


def test_a_second_standby_is_refused(path: Path) -> None:
    """Given a standby on a store, then a second one and a reader are refused, but a list may be had; afterwards all may."""
    filled(path)
    with claim_for_writing(path):
        for use in (claim_for_writing, open_store):
            with pytest.raises(StoreBusy, match="in use"):
                use(path)
        with open_store(path, is_locked=False) as opened:
            assert len(opened.saved) == 2
    with open_store(path), pytest.raises(StoreBusy):
        claim_for_writing(path)
    claim_for_writing(path).close()


def test_a_store_is_listed_while_it_is_written_to(path: Path) -> None:
    """Given a standby that makes checkpoints, when its store is listed again and again, then nothing ever seems to be damaged."""
    guest = Guest()
    with claim_for_writing(path) as claim, StoreWriter(claim, MACHINE) as store:
        guest.keep(store, 0.1)

        def write() -> None:
            for _ in range(40):
                guest.keep(store, 0.02)

        writer = threading.Thread(target=write)
        writer.start()
        seen = []
        while writer.is_alive():
            with open_store(path, is_locked=False) as opened:
                assert [each.damage for each in opened.saved if each.damage] == []
                seen.append(opened.saved[-1].id.index)
        writer.join()
    assert seen == sorted(seen)
    assert len(guest.digests) == 41


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (Identity("pc-q35-11.1", PAGE, MACHINE.blocks), "machine type pc-q35-11.1 here and pc-i440fx-11.1 in the store"),
        (Identity(MACHINE.machine, 8192, MACHINE.blocks), "page size 8192 here and 4096 in the store"),
        (Identity(MACHINE.machine, PAGE, (Block("ram", 600 * PAGE),)), "RAM ram of 2457600 bytes here and ram of 2048000 bytes, /rom of"),
    ],
    ids=["machine type", "page size", "RAM"],
)
def test_another_machine_is_refused(path: Path, other: Identity, differs: str) -> None:
    """Given a store, when a primary of another machine comes, then it is refused with what differs, and the store stays."""
    guest = filled(path)
    with claim_for_writing(path) as claim, pytest.raises(StoreMismatch, match=differs):
        StoreWriter(claim, other)
    assert digest(path) == guest.digests[-1]


def test_a_foreign_folder_is_refused(path: Path) -> None:
    """Given a folder with other things, then it is refused, and nothing in it is changed; a reader refuses an empty one, too."""
    path.mkdir()
    with pytest.raises(StoreMismatch, match=r"others may use|no store\.json"):
        open_store(path)
    (path / "letters").write_text("dear")
    with pytest.raises(StoreMismatch, match="not empty: it has letters"):
        claim_for_writing(path)
    assert [each.name for each in path.iterdir()] == ["letters"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        (json.dumps({"format": "album", "version": 1}), "says 'album'"),
        (json.dumps({"format": "colofd store", "version": 2}), "version 2, and version 1 is known"),
        (json.dumps({"format": "colofd store", "version": 1, "machine": "pc", "page_size": 4096, "blocks": []}), "describes no machine"),
        (
            json.dumps({"format": "colofd store", "version": 1, "machine": "pc", "page_size": 1, "blocks": [["a", 1]]}),
            "describes no machine",
        ),
    ],
)
def test_a_store_of_another_kind_is_refused(path: Path, text: str, why: str) -> None:
    """Given a folder whose description is damaged, foreign, or of another version, then it is refused with what it says."""
    filled(path)
    (path / "store.json").write_text(text)
    with pytest.raises(StoreMismatch, match=re.escape(why)):
        open_store(path)


def flip(file: Path, offset: int) -> None:
    content = bytearray(file.read_bytes())
    content[offset] ^= 0x80
    file.write_bytes(content)


@pytest.mark.parametrize("file", ["000001.image", "last record"])
def test_a_damaged_page_is_found(path: Path, file: str) -> None:
    """Given a store in which one bit of a page has changed, when it is read, then the page is named, and never given out."""
    filled(path)
    damaged = records(path)[-1] if file == "last record" else path / file
    flip(damaged, 0 if file == "last record" else _first_page_of_image(path) * PAGE + 77)
    with pytest.raises(StoreDamaged, match=r"page \d+ is damaged"):
        digest(path)


def _first_page_of_image(path: Path) -> int:
    """Return a page that the last checkpoint has from the image alone."""
    with open_store(path) as opened:
        there = np.concatenate([np.concatenate([each.normal, each.zero]) for each in opened._records])
    image = np.fromfile(path / "000001.image", np.uint8).reshape(PAGES, PAGE)
    return int(np.setdiff1d(np.flatnonzero(image.any(axis=1)), there)[0])


@pytest.mark.parametrize("offset", [-1, -40, -80, -200])
def test_a_damaged_record_is_named(path: Path, offset: int) -> None:
    """Given a record whose end is damaged, then it and what comes after are named, and the one before can still be read."""
    guest = filled(path, 5, 3)
    flip(records(path)[1], offset)
    with open_store(path) as opened:
        assert [bool(each.damage) for each in opened.saved] == [False, True, True]
        with pytest.raises(StoreDamaged, match="checkpoint 4"):
            opened.checkpoint()
    assert digest(path, 2) == guest.digests[2]


def test_a_missing_record_is_named(path: Path) -> None:
    """Given a store without one of its records, then those after it are not read as if nothing were missing."""
    filled(path, 5, 3)
    records(path)[1].unlink()
    with open_store(path) as opened:
        assert [each.damage for each in opened.saved] == ["", "the record before it is missing: index 3"]


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_a_short_record_is_named(path: Path, size: int) -> None:
    """Given a record that was cut off, then it is damaged."""
    filled(path)
    with records(path)[-1].open("r+b") as file:
        file.truncate(size)
    with pytest.raises(StoreDamaged, match="is damaged"):
        digest(path)


def test_an_image_of_another_time_is_found(path: Path, tmp_path: Path) -> None:
    """Given a store whose image was put back to what it was, with its sums, then the checksum of RAM tells, though all pages are well."""
    old = tmp_path / "old"
    filled(old, 2, 1)
    filled(path, 5, 1)
    for name in ("000001.image", "000001.sums"):
        (path / name).write_bytes((old / name).read_bytes())
    with open_store(path) as opened:
        assert "the checksum of RAM differs" in opened.saved[-1].damage


def test_there_is_no_such_checkpoint(path: Path) -> None:
    """Given a store with two checkpoints, or with none, then another one is not there, and it is said which are."""
    filled(path)
    with open_store(path) as opened, pytest.raises(StoreMismatch, match="no checkpoint 1: it has 3 to 4"):
        opened.checkpoint(1)
    with claim_for_writing(path.parent / "empty") as claim, StoreWriter(claim, MACHINE):
        pass
    with open_store(path.parent / "empty") as opened, pytest.raises(StoreMismatch, match="has no checkpoint"):
        opened.checkpoint()


class _FullFile(File):
    """A file on a disk that becomes full."""

    left = 0

    def write(self, offset: int, content: Content) -> None:
        _FullFile.left -= len(content) if isinstance(content, bytes) else content.nbytes
        if _FullFile.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(offset, content)


class _FullFolder(Folder):
    def create(self, name: str) -> File:
        file = super().create(name)
        full = _FullFile(file._descriptor)
        file._descriptor = -1
        return full


@pytest.fixture
def full(path: Path) -> Iterator[tuple[StoreWriter, Guest]]:
    """A store with two checkpoints, on a disk with room for half of a third one."""
    path.mkdir(mode=0o700)
    guest = Guest()
    _FullFile.left = 1 << 30
    with Claim(_FullFolder(path), is_shared=False) as claim, StoreWriter(claim, MACHINE) as store:
        guest.keep(store, 0.9)
        guest.keep(store, 0.2)
        store.settle()
        _FullFile.left = 40 * PAGE
        yield store, guest


def test_a_full_disk_leaves_the_last_checkpoint(path: Path, full: tuple[StoreWriter, Guest]) -> None:
    """Given a full disk, then a checkpoint fails with the reason and the age of the last one, which is intact; no other can come."""
    store, guest = full
    with pytest.raises(StoreFailed, match=r"No space left on device; checkpoint 1 is intact, and \d+\.\d s old"):
        guest.keep(store, 0.9)
    assert not (path / "incoming.partial").exists()
    with pytest.raises(StoreFailed, match="has failed before"):
        guest.keep(store, 0.01)
    store.close()
    with open_store(path, is_locked=False) as opened, opened.checkpoint() as reader:
        ram = hashlib.sha256(b"".join(rows.tobytes() for _, rows in reader.pages())).hexdigest()
    assert ram == guest.digests[1]


def test_checkpoints_come_one_after_the_other(path: Path) -> None:
    """Given a store, when a checkpoint is left out, or comes after the end, then it is refused."""
    guest = Guest()
    with claim_for_writing(path) as claim, StoreWriter(claim, MACHINE) as store:
        guest.keep(store, 0.1)
        guest.digests.append("left out")
        with pytest.raises(StoreFailed, match="checkpoint 2 comes after 0"):
            guest.keep(store, 0.1)
    with pytest.raises(StoreFailed, match="closed"):
        guest.keep(store, 0.1)
    with claim_for_writing(path) as claim, pytest.raises(ValueError, match="at least one"):
        StoreWriter(claim, MACHINE, keep=0)


def test_every_change_of_a_bit_changes_the_sum() -> None:
    """Given a page, when any one bit changes, then its sum does; and so it is with two bits of the highest byte of two words."""
    size = 1024
    page: Ram = np.random.default_rng(3).integers(0, 256, (1, size), np.uint8)
    changed: Ram = np.repeat(page, 8 * size, axis=0)
    bits = np.arange(8 * size)
    changed[bits, bits // 8] ^= (1 << (bits % 8)).astype(np.uint8)
    assert not (page_sums(changed) == page_sums(page)).any()
    highest: Ram = np.repeat(page, 127, axis=0)
    highest[:, 7] ^= 0x80
    highest[np.arange(127), 15 + 8 * np.arange(127)] ^= 0x80
    assert not (page_sums(highest) == page_sums(page)).any()
    assert page_sums(np.zeros((1, size), np.uint8)) == 0


def test_the_sum_of_ram_knows_places() -> None:
    """Given two pages, when they change places, then the sum of RAM is another one."""
    sums = page_sums(np.random.default_rng(4).integers(0, 256, (2, PAGE), np.uint8))
    assert ram_sum(np.arange(2), sums) != ram_sum(np.arange(2), sums[::-1])


def test_errors_are_of_one_family() -> None:
    """Given what can be wrong with a store, then one name catches all of it."""
    assert all(issubclass(each, StoreError) for each in (StoreBusy, StoreDamaged, StoreFailed, StoreMismatch))
