"""The header of a multifd packet: decoded, and checked completely before anything of it has an effect."""

import struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from colofd.impl import decisions
from colofd.impl.memory import Layout, Selection
from colofd.impl.trace import NO_PAGES, PageNumbers
from colofd.spec.constants import (
    BLOCK_NAME_SIZE,
    COMPRESSED_PAYLOAD_LIMIT,
    COMPRESSION_FLAGS,
    COMPRESSION_MASK,
    MULTIFD_MAGIC,
    MULTIFD_VERSION,
    PACKET_FIXED_SIZE,
    Compression,
    PacketFlag,
    packet_size,
    pages_per_packet,
)
from colofd.spec.reasons import Reason, Rejected

HEAD: Final = struct.Struct(">III")
NAME_OFFSET: Final = 64
FIXED: Final = struct.Struct(f">IIIIIIQI28x{BLOCK_NAME_SIZE}sQ")
"""Magic, version, flags, room for pages, normal pages, bytes that follow, number, zero pages, name of the block; and the first offset."""
LAST: Final = struct.Struct(">Q")
OFFSET: Final = np.dtype(">u8")

# Plain ints: an IntFlag computes its operators in Python.
SYNC: Final = int(PacketFlag.SYNC)
DEVICE_STATE: Final = int(PacketFlag.DEVICE_STATE)

Offsets = npt.NDArray[np.uint64]
NO_OFFSETS: Final[Offsets] = np.empty(0, np.uint64)
OR: Final = np.bitwise_or.reduce


class Packet(NamedTuple):
    """A checked packet. Its arrays are used again for the next one.

    Attributes:
        normal: global page numbers of the pages whose content follows, int64.
        zero: global page numbers of the pages that are zero, int64.
        where: the normal pages again, to select them in a map or in memory; a slice if they follow one another.
        starts: byte of RAM at which each normal page begins, uint64; not of a slice.
        payload_size: bytes that follow the header.
        is_sync: the thread parks after the packet.
        offset: where the packet begins in its channel.
    """

    normal: PageNumbers
    zero: PageNumbers
    where: Selection
    starts: Offsets
    payload_size: int
    is_sync: bool
    offset: int

    @property
    def has_pages(self) -> bool:
        """Whether the packet carries any page."""
        return self.normal.size > 0 or self.zero.size > 0


class Room(NamedTuple):
    """Arrays for so many offsets, made once: as they are on the wire, as numbers, in order, all but the first and the last of these."""

    wire: Offsets
    offsets: Offsets
    in_order: Offsets
    above: Offsets
    below: Offsets
    quotients: Offsets
    pages: PageNumbers


class PacketReader:
    """Decodes and checks the headers of one channel.

    Attributes:
        header: where a whole header is put before it is parsed.
        has_synced: a SYNC was read: by then the block list is there, and pages may come.
    """

    def __init__(self, channel: str, layout: Layout, compression: Compression) -> None:
        self._channel = channel
        self._layout = layout
        self._compression = compression
        self._is_plain = compression is Compression.NONE
        self._method = COMPRESSION_FLAGS[compression]
        self._page_bytes = layout.page_size
        self._capacity = pages_per_packet(layout.page_size)
        self._page_mask = np.uint64(layout.page_size - 1)
        self._page_size = np.uint64(layout.page_size)
        self._shift = np.array([layout.page_size.bit_length() - 1], np.uint64)
        self.header = memoryview(bytearray(packet_size(layout.page_size)))
        self._wire = np.frombuffer(self.header, OFFSET, self._capacity, PACKET_FIXED_SIZE)
        self._arrays = np.empty((3, self._capacity), np.uint64)
        self._room = self._room_for(self._capacity)
        # Offsets that follow one another, read as one large number, are the first one times `ones`, and `steps` more.
        self._ones = int.from_bytes(b"\0\0\0\0\0\0\0\1" * self._capacity)
        self._steps = int.from_bytes((np.arange(self._capacity) * layout.page_size).astype(OFFSET).tobytes())
        self.has_synced = False
        self._name = b""
        self._first_byte = 0
        self._length = np.uint64(0)

    def check_head(self, head: bytes | memoryview, at: int) -> None:
        """Check the first 12 bytes of a packet that begins at byte `at`: they say how the rest is to be read.

        Source: migration/multifd.c:multifd_recv_unfill_packet_header.
        """
        magic, version, flags = HEAD.unpack_from(head)
        if magic != MULTIFD_MAGIC:
            raise self._rejected(Reason.PACKET_MAGIC, at, f"{magic:#010x}", f"{MULTIFD_MAGIC:#010x}")
        if version != MULTIFD_VERSION:
            raise self._rejected(Reason.PACKET_VERSION, at + 4, version, MULTIFD_VERSION)
        if flags & DEVICE_STATE:
            raise self._rejected(Reason.PACKET_DEVICE_STATE, at + 8, f"flags {flags:#x}", "a packet of RAM pages")

    def parse(self, at: int) -> Packet:
        """Return the checked packet of the header, whose first 12 bytes have passed `check_head`.

        Source: migration/multifd.c:multifd_recv_unfill_packet, migration/multifd-nocomp.c:multifd_ram_unfill_packet;
        strict where those are not.
        """
        _, _, flags, pages_alloc, normal, payload_size, _, zero, name, first = FIXED.unpack_from(self.header)
        if pages_alloc > self._capacity:
            raise self._rejected(Reason.PACKET_PAGES_ALLOC, at + 12, pages_alloc, f"at most {self._capacity}")
        if normal > pages_alloc:
            raise self._rejected(Reason.PACKET_NORMAL_PAGES, at + 16, normal, f"at most {pages_alloc}")
        if not self._is_plain or payload_size != normal * self._page_bytes:
            self._check_payload_size(payload_size, normal, at)
        if zero > pages_alloc - normal:
            raise self._rejected(Reason.PACKET_ZERO_PAGES, at + 32, zero, f"at most {pages_alloc - normal}")
        is_sync = flags & SYNC != 0
        count = normal + zero
        if not count:
            return Packet(NO_PAGES, NO_PAGES, NO_PAGES, NO_OFFSETS, payload_size, is_sync, at)
        if flags & COMPRESSION_MASK != self._method:
            raise self._other_method(flags, at)
        if name != self._name:
            self._find_block(name, at)
        if not zero and self._is_run(first, count):
            begin = self._run(first, count, at)
            return Packet(np.arange(begin, begin + count), NO_PAGES, slice(begin, begin + count), NO_OFFSETS, payload_size, is_sync, at)
        offsets, pages = self._pages(count, at)
        if not zero:
            return Packet(pages, NO_PAGES, pages, offsets, payload_size, is_sync, at)
        return Packet(pages[:normal], pages[normal:], pages[:normal], offsets[:normal], payload_size, is_sync, at)

    def _other_method(self, flags: int, at: int) -> Rejected:
        # Asked of packets with pages only: a SYNC packet names no method, whatever was agreed.
        expected = f"method {self._method:#x} ({self._compression})"
        return self._rejected(Reason.PACKET_COMPRESSION, at + 8, f"method {flags & COMPRESSION_MASK:#x}", expected)

    def _check_payload_size(self, size: int, normal: int, at: int) -> None:
        if self._is_plain or not normal:
            expected = normal * self._layout.page_size
            if size != expected:
                raise self._rejected(Reason.PAYLOAD_SIZE, at + 20, size, expected)
        elif not 0 < size <= COMPRESSED_PAYLOAD_LIMIT:
            raise self._rejected(Reason.PAYLOAD_SIZE, at + 20, size, f"1 to {COMPRESSED_PAYLOAD_LIMIT}")

    def _is_run(self, first: int, count: int) -> bool:
        """Return whether the pages follow one another."""
        end = PACKET_FIXED_SIZE + LAST.size * count
        if LAST.unpack_from(self.header, end - LAST.size)[0] - first != (count - 1) * self._page_bytes:
            return False
        missing = 64 * (self._capacity - count)
        return int.from_bytes(self.header[PACKET_FIXED_SIZE:end]) == first * (self._ones >> missing) + (self._steps >> missing)

    def _run(self, first: int, count: int, at: int) -> int:
        """Return the number of the first page of some that follow one another."""
        begin, last = np.uint64(first), np.uint64(first + (count - 1) * self._page_bytes)
        if not self._are_inside(begin, last):
            raise self._wrong_offset(self._wire[:count].astype(np.uint64), at)
        return (self._first_byte + first) // self._page_bytes

    def _pages(self, count: int, at: int) -> tuple[Offsets, PageNumbers]:
        """Return where the pages that a header names start in RAM, and their numbers."""
        room = self._room
        if len(room.pages) != count:
            room = self._room = self._room_for(count)
        offsets = room.offsets
        offsets[:] = room.wire
        room.in_order[:] = offsets
        room.in_order.sort()
        # All are aligned if none has a low bit, all are inside if the largest is, and equal ones stand side by side when they are in order.
        is_right = self._are_inside(OR(offsets), room.in_order[-1])
        if not is_right or np.count_nonzero(room.above == room.below):
            raise self._wrong_offset(offsets, at)
        if self._first_byte:
            offsets += np.uint64(self._first_byte)
        np.right_shift(offsets, self._shift, room.quotients)
        return offsets, room.pages

    def _room_for(self, count: int) -> Room:
        offsets, in_order, quotients = self._arrays[:, :count]
        return Room(self._wire[:count], offsets, in_order, in_order[1:], in_order[:-1], quotients, quotients.view(np.int64))

    def _find_block(self, field: bytes, at: int) -> None:
        """Look up the block of this packet, and most likely of the next ones. Before the first SYNC there is none."""
        if not self.has_synced:
            raise self._rejected(Reason.PACKET_OUT_OF_PHASE, at, "pages", "a SYNC before the first pages")
        name, terminator, _ = field.partition(b"\0")
        text = name.decode("latin-1")
        if not (name and terminator and text in self._layout.blocks):
            raise self._rejected(Reason.BLOCK_UNKNOWN, at + NAME_OFFSET, repr(text), f"one of {sorted(self._layout.blocks)}")
        self._first_byte = self._layout.first_page[text] * self._page_bytes
        self._length = np.uint64(self._layout.blocks[text].length)
        self._name = field

    def _are_inside(self, bits: np.uint64, largest: np.uint64) -> bool:
        """Return whether pages lie in the block, of which are given all bits that any offset has below a page, and the largest offset."""
        # Asked twice, for NumPy warns of a single number that wraps around.
        is_inside = largest <= self._length and decisions.fits(largest, self._length, self._page_size)
        return bool(is_inside and decisions.is_aligned(bits, self._page_mask))

    def _wrong_offset(self, offsets: Offsets, at: int) -> Rejected:
        """Return the error of the first offset that is wrong."""
        is_aligned, is_inside = decisions.is_aligned(offsets, self._page_mask), decisions.fits(offsets, self._length, self._page_size)
        is_new = np.zeros(len(offsets), np.bool_)
        is_new[np.unique(offsets // self._page_size, return_index=True)[1]] = True
        index = int(np.argmin(is_aligned & is_inside & is_new))
        reason, expected = (
            (Reason.PAGE_ALIGNMENT, f"a multiple of {self._layout.page_size}")
            if not is_aligned[index]
            else (Reason.PAGE_RANGE, f"a page inside of {self._length} bytes")
            if not is_inside[index]
            else (Reason.PAGE_REPEATED, "each page once in a packet")
        )
        return self._rejected(reason, at + PACKET_FIXED_SIZE + 8 * index, f"offset {offsets[index]:#x}", expected)

    def _rejected(self, reason: Reason, offset: int, read: object, expected: object) -> Rejected:
        return Rejected(reason, channel=self._channel, offset=offset, read=read, expected=expected)
