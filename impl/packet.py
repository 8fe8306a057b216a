"""The header of a multifd packet: decoded, and checked completely before anything of it has an effect."""

import struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from colofd.impl import decisions
from colofd.impl.memory import Layout, Selection, numbers_of
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
FIXED: Final = struct.Struct(f">IIIIIIQI28x{BLOCK_NAME_SIZE}s")
"""Magic, version, flags, room for pages, normal pages, bytes that follow, number, zero pages, name of the block."""
KIND: Final = struct.Struct(f">24s8x{PACKET_FIXED_SIZE - 32}s")
"""All of a header up to the offsets but the number, which is another one in each packet."""
OFFSET: Final = np.dtype(">u8")

# Plain ints: an IntFlag computes its operators in Python.
SYNC: Final = int(PacketFlag.SYNC)
DEVICE_STATE: Final = int(PacketFlag.DEVICE_STATE)

Offsets = npt.NDArray[np.uint64]
NO_OFFSETS: Final[Offsets] = np.empty(0, np.uint64)


class Packet(NamedTuple):
    """A checked packet. Its arrays are used again for the next one.

    Attributes:
        where: global page numbers of the pages whose content follows, int64, or a slice if they follow one another.
        zero: global page numbers of the pages that are zero, int64.
        starts: byte of RAM at which each normal page begins, uint64; not of a slice.
        has_pages: whether the packet carries any page.
        payload_size: bytes that follow the header.
        is_sync: the thread parks after the packet.
        offset: where the packet begins in its channel.
    """

    where: Selection
    zero: PageNumbers
    starts: Offsets
    has_pages: bool
    payload_size: int
    is_sync: bool
    offset: int

    @property
    def normal(self) -> PageNumbers:
        """Global page numbers of the pages whose content follows, int64."""
        return numbers_of(self.where)


class Counts(NamedTuple):
    """What the header of a packet says before its offsets."""

    normal: int
    zero: int
    payload_size: int
    is_sync: bool


class Room:
    """Arrays for the offsets of packets with `count` pages, made once, with the views of them that are needed each time.

    NumPy takes longer to make a view than to add up 128 numbers.
    """

    def __init__(self, header: memoryview, count: int, page_size: int) -> None:
        self.wire = np.frombuffer(header, OFFSET, count, PACKET_FIXED_SIZE)
        self.offsets = np.empty(count, np.uint64)
        self.in_order = np.empty(count, np.uint64)
        self.quotients = np.empty(count, np.uint64)
        self.pages = self.quotients.view(np.int64)
        # Of neighbours, as they came and in order: how far they are apart, and whether they are the same; of each, bits it must not have.
        self.next, self.previous = self.offsets[1:], self.offsets[:-1]
        self.above, self.below = self.in_order[1:], self.in_order[:-1]
        self.step_bytes, self.same_bytes = bytearray(8 * count), bytearray(count)
        self.steps: Offsets = np.frombuffer(self.step_bytes, np.uint64)[1:]
        self.same = np.frombuffer(self.same_bytes, np.bool_)[1:]
        self.stray_bytes, self.no_bytes = bytearray(8 * count), bytes(8 * count)
        self.stray: Offsets = np.frombuffer(self.stray_bytes, np.uint64)
        self.run_bytes = bytes(8) + np.full(count - 1, page_size, np.uint64).tobytes()
        self.last = count - 1
        self.distance = self.last * page_size


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
        # Arrays without a dimension: of one number, or a number by itself, takes NumPy twice as long.
        self._shift = np.array(layout.page_size.bit_length() - 1, np.uint64)
        self.header = memoryview(bytearray(packet_size(layout.page_size)))
        self._room = Room(self.header, self._capacity, layout.page_size)
        self.has_synced = False
        self._name = b""
        self._first_page = 0
        self._first_byte = np.array(0, np.uint64)
        self._length = np.uint64(0)
        self._largest = -1
        self._stray_bits = np.array(0, np.uint64)
        self._kind: tuple[bytes, ...] = ()
        self._counts = Counts(0, 0, 0, is_sync=False)

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
        """Return the checked packet of the header.

        Source: migration/multifd.c:multifd_recv_unfill_packet, migration/multifd-nocomp.c:multifd_ram_unfill_packet;
        strict where those are not.
        """
        kind = KIND.unpack_from(self.header)
        if kind != self._kind:
            # What was found right of the same bytes is right.
            self.check_head(self.header, at)
            self._counts = self.counts(at)
            self._kind = kind
        normal, zero, payload_size, is_sync = self._counts
        count = normal + zero
        if not count:
            return Packet(NO_PAGES, NO_PAGES, NO_OFFSETS, False, payload_size, is_sync, at)
        room = self._room
        offsets = room.offsets
        offsets[:] = room.wire
        if not zero and offsets.item(room.last) - offsets.item(0) == room.distance and self._is_run(room):
            begin = self._first_page + self._first_of_run(room, at) // self._page_bytes
            return Packet(slice(begin, begin + count), NO_PAGES, NO_OFFSETS, True, payload_size, is_sync, at)
        self._number(room, at)
        if not zero:
            return Packet(room.pages, NO_PAGES, offsets, True, payload_size, is_sync, at)
        return Packet(room.pages[:normal], room.pages[normal:], offsets[:normal], True, payload_size, is_sync, at)

    def counts(self, at: int) -> Counts:
        """Return what a header, whose first 12 bytes have passed `check_head`, says before its offsets, all checked."""
        _, _, flags, pages_alloc, normal, payload_size, _, zero, name = FIXED.unpack_from(self.header)
        if pages_alloc > self._capacity:
            raise self._rejected(Reason.PACKET_PAGES_ALLOC, at + 12, pages_alloc, f"at most {self._capacity}")
        if normal > pages_alloc:
            raise self._rejected(Reason.PACKET_NORMAL_PAGES, at + 16, normal, f"at most {pages_alloc}")
        self._check_payload_size(payload_size, normal, at)
        if zero > pages_alloc - normal:
            raise self._rejected(Reason.PACKET_ZERO_PAGES, at + 32, zero, f"at most {pages_alloc - normal}")
        is_sync = flags & SYNC != 0
        count = normal + zero
        if count:
            if flags & COMPRESSION_MASK != self._method:
                raise self._other_method(flags, at)
            if not self.has_synced:
                raise self._rejected(Reason.PACKET_OUT_OF_PHASE, at, f"{count} pages", "a SYNC before the first pages")
            if name != self._name:
                self._find_block(name, at)
            self._make_room(count)
        return Counts(normal, zero, payload_size, is_sync)

    def _make_room(self, count: int) -> None:
        if count != len(self._room.offsets):
            self._room = Room(self.header, count, self._page_bytes)

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

    def _is_run(self, room: Room) -> bool:
        """Return whether the pages follow one another."""
        np.subtract(room.next, room.previous, room.steps)
        return room.step_bytes == room.run_bytes

    def _first_of_run(self, room: Room, at: int) -> int:
        """Return the first offset of some that follow one another."""
        first, last = room.offsets.item(0), room.offsets.item(room.last)
        if last > self._largest or first & int(self._stray_bits):
            raise self._wrong_offset(room.offsets, at)
        return first

    def _number(self, room: Room, at: int) -> None:
        """Put into the room where the pages start in RAM, and their numbers."""
        offsets, in_order = room.offsets, room.in_order
        in_order[:] = offsets
        in_order.sort()
        # Equal ones stand side by side when they are in order.
        np.equal(room.above, room.below, room.same)
        # Not reduced to one number, which takes NumPy six times as long.
        np.bitwise_and(offsets, self._stray_bits, room.stray)
        if 1 in room.same_bytes or in_order.item(room.last) > self._largest or room.stray_bytes != room.no_bytes:
            raise self._wrong_offset(offsets, at)
        if self._first_page:
            np.add(offsets, self._first_byte, offsets)
        np.right_shift(offsets, self._shift, room.quotients)

    def _find_block(self, field: bytes, at: int) -> None:
        """Look up the block of this packet, and most likely of the next ones."""
        name, terminator, _ = field.partition(b"\0")
        text = name.decode("latin-1")
        if not (name and terminator and text in self._layout.blocks):
            raise self._rejected(Reason.BLOCK_UNKNOWN, at + NAME_OFFSET, repr(text), f"one of {sorted(self._layout.blocks)}")
        self._first_page = self._layout.first_page[text]
        self._first_byte[...] = self._first_page * self._page_bytes
        self._length = np.uint64(self._layout.blocks[text].length)
        self._learn()
        self._name = field

    def _learn(self) -> None:
        """Ask of the block, once, what then need not be asked of each offset: the largest that fits, and the bits of all that are aligned.

        Whatever is less than an offset that fits, fits, and what has no other bits than one that is aligned, is aligned.
        """
        largest, bits = self._length - self._page_size, ~self._page_mask
        self._largest = int(largest) if decisions.fits(largest, self._length, self._page_size) else -1
        self._stray_bits[...] = ~bits if decisions.is_aligned(bits, self._page_mask) else ~np.uint64(0)

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
