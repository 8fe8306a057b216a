"""The RAM section of the main channel: block list, pages, and the ends of rounds (migration/ram.c:ram_load_precopy)."""

from typing import Final

import numpy as np

from colofd.impl import decisions
from colofd.impl.barrier import Barrier
from colofd.impl.memory import Region
from colofd.impl.reception import Reception
from colofd.impl.runs import Run, RunReader
from colofd.impl.stream import MainStream
from colofd.impl.trace import NO_PAGES, PageNumbers
from colofd.spec.constants import MAIN_CHANNEL, RecordFlag, Step
from colofd.spec.reasons import Reason

# Plain ints: the operators of an IntFlag drop bits that it does not know.
CONTINUE: Final = int(RecordFlag.CONTINUE)
ZERO: Final = int(RecordFlag.ZERO)
EOS: Final = int(RecordFlag.EOS)
MEM_SIZE: Final = int(RecordFlag.MEM_SIZE)
MULTIFD_FLUSH: Final = int(RecordFlag.MULTIFD_FLUSH)
PAGES: Final = frozenset({ZERO, int(RecordFlag.PAGE)})
UNSUPPORTED: Final = frozenset(map(int, (RecordFlag.FULL, RecordFlag.XBZRLE, RecordFlag.HOOK, RecordFlag.COMPRESS_PAGE)))
ZERO_BYTE: Final = np.uint8(0)


class RamSection:
    """Reads the records of the RAM sections, one section at a time."""

    def __init__(self, stream: MainStream, reception: Reception, barrier: Barrier) -> None:
        self._stream = stream
        self._reception = reception
        self._barrier = barrier
        self._tracer = reception.tracer
        self._layout = reception.layout
        self._guest = reception.require_guest_for_threads()
        self._cache = reception.cache
        self._maps = reception.require_maps()
        self._has_channels = reception.options.channels > 0
        self._page_mask = np.array([self._layout.page_size - 1], np.uint64)
        self._page_size = np.array([self._layout.page_size], np.uint64)
        self._last_block: str | None = None
        self._runs = RunReader(stream, self._layout.page_size)

    def read(self) -> None:
        """Read records up to and with the one that ends the section. Raises Rejected, or EndedError."""
        while True:
            at = self._stream.begin_item()
            if self._tracer.is_quiet and self._run(at):
                continue
            word = self._stream.be64()
            address = word & -self._layout.page_size
            flags = word - address
            if flags & ~CONTINUE in PAGES:
                self._page(at, address, flags)
                continue
            self._check_kind(flags, at)
            if flags == MEM_SIZE:
                self._block_list(at, address)
                continue
            if address:
                raise self._stream.rejected(Reason.RECORD_ADDRESS, at, f"address {address:#x} with flags {flags:#x}", "no address")
            if self._ends_round(flags, at):
                self._barrier.end_round(at)
            if flags == EOS:
                return

    def _check_kind(self, flags: int, at: int) -> None:
        if flags & ~CONTINUE in UNSUPPORTED:
            raise self._stream.rejected(Reason.RECORD_UNSUPPORTED, at, f"flags {flags:#x}", "a record that is received here")
        if flags not in {EOS, MULTIFD_FLUSH, MEM_SIZE}:
            raise self._stream.rejected(Reason.RECORD_FLAGS, at, f"flags {flags:#x}", "one kind of record")

    def _ends_round(self, flags: int, at: int) -> bool:
        if flags == MULTIFD_FLUSH and not self._has_channels:
            raise self._stream.rejected(Reason.FLUSH_WITHOUT_MULTIFD, at, "MULTIFD_FLUSH", "none without multifd channels")
        if flags == MULTIFD_FLUSH and not self._reception.block_list_known:
            raise self._stream.rejected(Reason.BLOCK_LIST_MISSING, at, "MULTIFD_FLUSH", "the list of RAM blocks before it")
        return self._has_channels == (flags == MULTIFD_FLUSH)

    def _block_list(self, at: int, total: int) -> None:
        if self._reception.block_list_known:
            raise self._stream.rejected(Reason.BLOCK_LIST_REPEATED, at, "a list of RAM blocks", "one list in a migration")
        if not total:
            raise self._stream.rejected(Reason.BLOCK_LIST_LENGTH, at, "a list of no bytes", "at least one block")
        seen: set[str] = set()
        listed = 0
        while listed < total:
            listed += self._block(seen, total - listed)
        with self._reception.lock:
            self._reception.block_list_known = True

    def _block(self, seen: set[str], left: int) -> int:
        at = self._stream.offset
        name = self._block_name(at)
        if name in seen:
            raise self._stream.rejected(Reason.BLOCK_REPEATED, at, repr(name), "each block once")
        seen.add(name)
        length_at = self._stream.offset
        length = self._stream.be64()
        if not 0 < length <= left:
            raise self._stream.rejected(Reason.BLOCK_LIST_LENGTH, length_at, f"{length} bytes of {name}", f"1 to {left} bytes")
        expected = self._layout.blocks[name].length
        if length != expected:
            raise self._stream.rejected(Reason.BLOCK_LENGTH, length_at, f"{length} bytes of {name}", f"{expected} bytes")
        return length

    def _block_name(self, at: int) -> str:
        name = self._stream.text()
        if name not in self._layout.blocks:
            raise self._stream.rejected(Reason.BLOCK_UNKNOWN, at, repr(name), f"one of {sorted(self._layout.blocks)}")
        return name

    def _page(self, at: int, address: int, flags: int) -> None:
        if not self._reception.block_list_known:
            raise self._stream.rejected(Reason.BLOCK_LIST_MISSING, at, "a page", "the list of RAM blocks before it")
        if flags & CONTINUE:
            name = self._last_block
            if name is None:
                raise self._stream.rejected(Reason.CONTINUE_WITHOUT_BLOCK, at, "CONTINUE", "a block named before it")
        else:
            name = self._last_block = self._block_name(self._stream.offset)
        offset, length = np.array([address], np.uint64), np.array([self._layout.blocks[name].length], np.uint64)
        if not decisions.fits(offset, length, self._page_size)[0]:
            raise self._stream.rejected(Reason.PAGE_RANGE, at, f"offset {address:#x}", f"a page inside the {length[0]} bytes of {name}")
        page = (offset // self._page_size).astype(np.int64) + self._layout.first_page[name]
        if flags & ZERO:
            self._zero_page(page, at)
        else:
            self._normal_page(page, at)

    def _run(self, at: int) -> bool:
        """Receive all records at once that are read ahead and continue the last block alike; return whether there were any.

        What is wrong with a record is left to be found where it stands alone. Not done where anybody watches single micro-steps.
        """
        name = self._last_block
        if name is None:
            return False
        run = self._runs.next_run(self._layout.blocks[name].length)
        if run is None:
            return False
        first_page = self._layout.first_page[name]
        self._receive_run(run, run.pages + first_page if first_page else run.pages, at)
        return True

    def _receive_run(self, run: Run, pages: PageNumbers, at: int) -> None:
        normal, zero = (NO_PAGES, pages) if run.content is None else (pages, NO_PAGES)
        mirrored = self._reception.prepare(Step.MAIN_PREPARE, MAIN_CHANNEL, normal, zero, at)
        self._maps.received[pages] = True
        for region in (self._buffer(mirrored), self._cache if mirrored else None):
            if region is not None and run.content is None:
                region.rows[pages] = ZERO_BYTE
            elif region is not None:
                region.pages[pages] = run.content
        self._stream.skip(run.size)

    def _zero_page(self, page: PageNumbers, at: int) -> None:
        fill_at = self._stream.offset
        if fill := self._stream.be8():
            raise self._stream.rejected(Reason.ZERO_FILL, fill_at, f"{fill:#04x}", "0x00")
        self._tracer.gate(Step.MAIN_PREPARE, MAIN_CHANNEL)
        mirrored = self._reception.prepare(Step.MAIN_PREPARE, MAIN_CHANNEL, NO_PAGES, page, at)
        buffer = self._buffer(mirrored)
        self._tracer.gate(Step.MAIN_ZERO_PAGE, MAIN_CHANNEL)
        cleared = decisions.record_clears(self._maps.received[page])
        buffer.rows[page[cleared]] = ZERO_BYTE
        self._maps.received[page] = True
        self._tracer.emit(Step.MAIN_ZERO_PAGE, MAIN_CHANNEL, NO_PAGES, page, buffer)
        self._mirror(mirrored, NO_PAGES, page)

    def _normal_page(self, page: PageNumbers, at: int) -> None:
        self._tracer.gate(Step.MAIN_PREPARE, MAIN_CHANNEL)
        mirrored = self._reception.prepare(Step.MAIN_PREPARE, MAIN_CHANNEL, page, NO_PAGES, at)
        buffer = self._buffer(mirrored)
        self._tracer.gate(Step.MAIN_READ_PAGE, MAIN_CHANNEL)
        self._maps.received[page] = True
        content_at = self._stream.offset
        read = self._stream.take_into(memoryview(buffer.rows[page[0]]))
        if read < self._layout.page_size:
            self._tracer.emit(Step.MAIN_READ_PART, MAIN_CHANNEL, page, NO_PAGES, buffer)
            raise self._stream.rejected(
                Reason.TRUNCATED, content_at + read, f"{read} bytes, then the end", f"{self._layout.page_size} bytes"
            )
        self._tracer.emit(Step.MAIN_READ_PAGE, MAIN_CHANNEL, page, NO_PAGES, buffer)
        self._mirror(mirrored, page, NO_PAGES)

    def _mirror(self, mirrored: np.bool_, normal: PageNumbers, zero: PageNumbers) -> None:
        self._tracer.gate(Step.MAIN_MIRROR, MAIN_CHANNEL)
        if mirrored and self._cache is not None:
            self._cache.pages[normal] = self._guest.pages[normal]
            self._cache.pages[zero] = self._guest.pages[zero]
        self._tracer.emit(Step.MAIN_MIRROR, MAIN_CHANNEL, normal, zero, self._cache or self._guest)

    def _buffer(self, mirrored: np.bool_) -> Region:
        if decisions.record_lands_in_guest(self._reception.colo, mirrored) or self._cache is None:
            return self._guest
        return self._cache
