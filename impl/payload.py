"""The payload of a compressed packet: inflated as a whole into a scratch buffer. One stream lives as long as its channel."""

import io
import zlib
from typing import Protocol

import zstandard

from colofd.spec.constants import ZSTD_WINDOW_LIMIT, Compression
from colofd.spec.reasons import Reason, Rejected

BLOCK_HEAD = 3
"""Bytes that open a block of a zstd frame: whether it is the last one, its kind, and its size."""
RUN_OF_ONE_BYTE = 1
"""The kind of block whose size is not that of its content."""


class Inflater(Protocol):
    """One channel's stream of compressed packets."""

    def inflate(self, payload: bytes | memoryview, size: int) -> memoryview:
        """Return the `size` bytes that a packet's payload must inflate to; they stand until the next one.

        Raises Rejected (PAYLOAD_CORRUPT, PAYLOAD_LENGTH), without channel and offset. Never makes more than size + 1 bytes.
        """


class ZlibInflater:
    """Packets of one zlib stream, each ended by a sync flush (migration/multifd-zlib.c:multifd_zlib_recv)."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()

    def inflate(self, payload: bytes | memoryview, size: int) -> memoryview:
        """See Inflater."""
        try:
            # One byte more than allowed: with exactly `size`, the flush marker would be left unread.
            pages = self._stream.decompress(payload, size + 1)
        except zlib.error as error:
            raise Rejected(Reason.PAYLOAD_CORRUPT, read=error, expected="a zlib stream") from error
        if self._stream.eof:
            raise Rejected(Reason.PAYLOAD_CORRUPT, read="the end of the zlib stream", expected="a stream that goes on")
        # Less than might have come: so nothing of the payload is left over.
        _require_size(len(pages), size)
        return memoryview(pages)


class _Nothing(Exception):  # noqa: N818  # says that a packet has no more bytes, which is no error
    """The decompressor asks for bytes that the packet does not have."""


class _Feed(io.BytesIO):
    """Gives the bytes of one packet, once."""

    def __init__(self) -> None:
        super().__init__()
        self.payload = b""

    def read(self, _size: int | None = -1, /) -> bytes:
        # An empty answer would end the stream for good.
        if not self.payload:
            raise _Nothing
        payload, self.payload = self.payload, b""
        return payload


class ZstdFrame:
    """Follows the blocks of a frame, for the decompressor does not tell where one ends (RFC 8878, 3.1.1)."""

    def __init__(self) -> None:
        self._has_begun = self._is_last = False
        self._checksum = 0
        self._left = 0
        self._head = b""

    def ends_in(self, payload: bytes) -> bool:
        """Return whether the frame ends in the next bytes of it, of which at least one page was made.

        Raises Rejected (PAYLOAD_CORRUPT) if it does not begin with them.
        """
        at = 0
        if not self._has_begun:
            at = self._begin(payload)
        while True:
            taken = min(self._left, len(payload) - at)
            at, self._left = at + taken, self._left - taken
            if self._left:
                return False
            if self._is_last:
                return True
            head = self._head + payload[at : at + BLOCK_HEAD - len(self._head)]
            at, self._head = at + len(head) - len(self._head), head
            if len(head) < BLOCK_HEAD:
                return False
            self._next_block(int.from_bytes(head, "little"))

    def _begin(self, payload: bytes) -> int:
        if payload[: len(zstandard.FRAME_HEADER)] != zstandard.FRAME_HEADER:
            raise Rejected(Reason.PAYLOAD_CORRUPT, read=payload[:4].hex(), expected="a zstd frame")
        self._has_begun = True
        self._checksum = 4 * zstandard.get_frame_parameters(payload).has_checksum
        return zstandard.frame_header_size(payload)

    def _next_block(self, head: int) -> None:
        self._head = b""
        self._is_last = bool(head & 1)
        size = 1 if head >> 1 & 3 == RUN_OF_ONE_BYTE else head >> 3
        self._left = size + (self._checksum if self._is_last else 0)


class ZstdInflater:
    """Packets of one zstd frame, each flushed (migration/multifd-zstd.c:multifd_zstd_recv)."""

    def __init__(self) -> None:
        self._feed = _Feed()
        self._pages = bytearray()
        self._frame = ZstdFrame()
        self._stream = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_LIMIT).stream_reader(self._feed, read_across_frames=False)

    def inflate(self, payload: bytes | memoryview, size: int) -> memoryview:
        """See Inflater."""
        if len(self._pages) <= size:
            self._pages = bytearray(size + 1)
        pages = memoryview(self._pages)[: size + 1]
        self._feed.payload = content = bytes(payload)
        try:
            read = self._stream.readinto1(pages)
        except _Nothing:
            read = 0
        except zstandard.ZstdError as error:
            raise Rejected(Reason.PAYLOAD_CORRUPT, read=error, expected="a zstd frame") from error
        if 0 < read <= size and self._frame.ends_in(content):
            raise Rejected(Reason.PAYLOAD_CORRUPT, read="the end of the zstd frame", expected="a frame that goes on")
        _require_size(read, size)
        return pages[:size]


def _require_size(read: int, size: int) -> None:
    if read != size:
        raise Rejected(Reason.PAYLOAD_LENGTH, read=f"{'more' if read > size else read} bytes", expected=f"{size} bytes")


def inflater(compression: Compression) -> Inflater | None:
    """Return a fresh inflater for a channel, or None if pages are not compressed."""
    return {Compression.NONE: lambda: None, Compression.ZLIB: ZlibInflater, Compression.ZSTD: ZstdInflater}[compression]()
