"""The header of a multifd packet: decoded, and checked completely before anything of it has an effect."""

import struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from colofd.impl import decisions
from colofd.impl.memory import Layout
from colofd.impl.trace import NO_PAGES, PageNumbers
from colofd.spec.constants import (
    BLOCK_NAME_SIZE,
    COMPRESSED_PAYLOAD_LIMIT,
    COMPRESSION_FLAGS,
    COMPRESSION_MASK,
    MULTIFD_MAGIC,
    MULTIFD_VERSION,
    PACKET_FIXED_SIZE,
    PACKET_HEAD_SIZE,
    Compression,
    PacketFlag,
    pages_per_packet,
)
from colofd.spec.reasons import Reason, Rejected

HEAD: Final = struct.Struct(">III")
BODY: Final = struct.Struct(">IIIQI")
NAME_OFFSET: Final = 64
OFFSET: Final = np.dtype(">u8")

# Plain ints: an IntFlag computes its operators in Python.
SYNC: Final = int(PacketFlag.SYNC)
DEVICE_STATE: Final = int(PacketFlag.DEVICE_STATE)

Offsets = npt.NDArray[np.uint64]


class Packet(NamedTuple):
    """A checked packet.

    Attributes:
        normal: global page numbers of the pages whose content follows, int64.
        zero: global page numbers of the pages that are zero, int64.
        payload_size: bytes that follow the header.
        is_sync: the thread parks after the packet.
        offset: where the packet begins in its channel.
    """

    normal: PageNumbers
    zero: PageNumbers
    payload_size: int
    is_sync: bool
    offset: int

    @property
    def has_pages(self) -> bool:
        """Whether the packet carries any page."""
        return bool(self.normal.size or self.zero.size)


class PacketReader:
    """Decodes and checks the headers of one channel."""

    def __init__(self, channel: str, layout: Layout, compression: Compression) -> None:
        self._channel = channel
        self._layout = layout
        self._compression = compression
        self._is_plain = compression is Compression.NONE
        self._method = COMPRESSION_FLAGS[compression]
        self._capacity = pages_per_packet(layout.page_size)
        self._page_mask = np.uint64(layout.page_size - 1)
        self._page_size = np.uint64(layout.page_size)
        self._shift = np.array([layout.page_size.bit_length() - 1], np.uint64)
        self._field = b""
        self._first_page = 0
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

    def parse(self, header: bytes | memoryview, at: int) -> Packet:
        """Return the checked packet of a whole header, whose first 12 bytes have passed `check_head`.

        Source: migration/multifd.c:multifd_recv_unfill_packet, migration/multifd-nocomp.c:multifd_ram_unfill_packet;
        strict where those are not.
        """
        flags = HEAD.unpack_from(header)[2]
        pages_alloc, normal, payload_size, _number, zero = BODY.unpack_from(header, PACKET_HEAD_SIZE)
        if pages_alloc > self._capacity:
            raise self._rejected(Reason.PACKET_PAGES_ALLOC, at + 12, pages_alloc, f"at most {self._capacity}")
        if normal > pages_alloc:
            raise self._rejected(Reason.PACKET_NORMAL_PAGES, at + 16, normal, f"at most {pages_alloc}")
        self._check_payload_size(payload_size, normal, at)
        if zero > pages_alloc - normal:
            raise self._rejected(Reason.PACKET_ZERO_PAGES, at + 32, zero, f"at most {pages_alloc - normal}")
        is_sync = bool(flags & SYNC)
        if not normal + zero:
            return Packet(NO_PAGES, NO_PAGES, payload_size, is_sync, at)
        self._check_compression(flags, at)
        pages = self._pages(header, normal + zero, at)
        return Packet(pages[:normal], pages[normal:], payload_size, is_sync, at)

    def _check_compression(self, flags: int, at: int) -> None:
        # Asked of packets with pages only: a SYNC packet names no method, whatever was agreed.
        method = flags & COMPRESSION_MASK
        if method != self._method:
            expected = f"method {self._method:#x} ({self._compression})"
            raise self._rejected(Reason.PACKET_COMPRESSION, at + 8, f"method {method:#x}", expected)

    def _check_payload_size(self, size: int, normal: int, at: int) -> None:
        if self._is_plain or not normal:
            expected = normal * self._layout.page_size
            if size != expected:
                raise self._rejected(Reason.PAYLOAD_SIZE, at + 20, size, expected)
        elif not 0 < size <= COMPRESSED_PAYLOAD_LIMIT:
            raise self._rejected(Reason.PAYLOAD_SIZE, at + 20, size, f"1 to {COMPRESSED_PAYLOAD_LIMIT}")

    def _pages(self, header: bytes | memoryview, count: int, at: int) -> PageNumbers:
        field = bytes(header[NAME_OFFSET : NAME_OFFSET + BLOCK_NAME_SIZE])
        if field != self._field:
            self._find_block(field, at)
        offsets = np.frombuffer(header, OFFSET, count, PACKET_FIXED_SIZE).astype(np.uint64)
        self._check_offsets(offsets, at)
        offsets >>= self._shift
        pages: PageNumbers = offsets.view(np.int64)
        return pages + self._first_page if self._first_page else pages

    def _find_block(self, field: bytes, at: int) -> None:
        """Look up the block of this packet, and most likely of the next ones."""
        name, terminator, _ = field.partition(b"\0")
        text = name.decode("latin-1")
        if not (name and terminator and text in self._layout.blocks):
            raise self._rejected(Reason.BLOCK_UNKNOWN, at + NAME_OFFSET, repr(text), f"one of {sorted(self._layout.blocks)}")
        self._first_page = self._layout.first_page[text]
        self._length = np.uint64(self._layout.blocks[text].length)
        self._field = field

    def _check_offsets(self, offsets: Offsets, at: int) -> None:
        # All are aligned if none has a low bit, all are inside if the largest is, and equal ones stand side by side when they are sorted.
        in_order = offsets.copy()
        in_order.sort()
        largest = in_order[-1]
        if (
            decisions.is_aligned(np.bitwise_or.reduce(offsets), self._page_mask)
            # Asked twice, for NumPy warns of a single number that wraps around.
            and largest <= self._length
            and decisions.fits(largest, self._length, self._page_size)
            and not np.count_nonzero(in_order[1:] == in_order[:-1])
        ):
            return
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
        raise self._rejected(reason, at + PACKET_FIXED_SIZE + 8 * index, f"offset {offsets[index]:#x}", expected)

    def _rejected(self, reason: Reason, offset: int, read: object, expected: object) -> Rejected:
        return Rejected(reason, channel=self._channel, offset=offset, read=read, expected=expected)
