"""The payload of a compressed packet: inflated as a whole into a scratch buffer. One stream lives as long as its channel."""

import io
import zlib
from typing import Protocol

import zstandard

from colofd.spec.constants import Compression
from colofd.spec.reasons import Reason, Rejected

ZSTD_WINDOW = 1 << 25
"""Bytes of the largest window that a peer may ask for, on each channel: level 20 does, the highest (migration/options.c)."""


class Inflater(Protocol):
    """One channel's stream of compressed packets."""

    def inflate(self, payload: memoryview, size: int) -> memoryview:
        """Return the `size` bytes that a packet's payload must inflate to; they stand until the next one.

        Raises Rejected (PAYLOAD_CORRUPT, PAYLOAD_LENGTH), without channel and offset. Never makes more than size + 1 bytes.
        """


class ZlibInflater:
    """Packets of one zlib stream, each ended by a sync flush (migration/multifd-zlib.c:multifd_zlib_recv)."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()

    def inflate(self, payload: memoryview, size: int) -> memoryview:
        """See Inflater."""
        try:
            # One byte more than allowed: with exactly `size`, the flush marker would be left unread.
            pages = self._stream.decompress(payload, size + 1)
        except zlib.error as error:
            raise Rejected(Reason.PAYLOAD_CORRUPT, read=error, expected="a zlib stream") from error
        if self._stream.eof:
            raise Rejected(Reason.PAYLOAD_CORRUPT, read="the end of the zlib stream", expected="a stream that goes on")
        _require_size(len(pages), size)
        if self._stream.unconsumed_tail:
            raise Rejected(Reason.PAYLOAD_LENGTH, read=f"{len(self._stream.unconsumed_tail)} bytes left over", expected="none")
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


class ZstdInflater:
    """Packets of one zstd frame, each flushed (migration/multifd-zstd.c:multifd_zstd_recv)."""

    def __init__(self) -> None:
        self._feed = _Feed()
        self._pages = bytearray()
        self._stream = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).stream_reader(self._feed, read_across_frames=False)

    def inflate(self, payload: memoryview, size: int) -> memoryview:
        """See Inflater."""
        if len(self._pages) <= size:
            self._pages = bytearray(size + 1)
        pages = memoryview(self._pages)[: size + 1]
        self._feed.payload = bytes(payload)
        try:
            read = self._stream.readinto1(pages)
        except _Nothing:
            read = 0
        except zstandard.ZstdError as error:
            raise Rejected(Reason.PAYLOAD_CORRUPT, read=error, expected="a zstd frame") from error
        _require_size(read, size)
        if self._feed.payload:
            raise Rejected(Reason.PAYLOAD_CORRUPT, read="bytes after the end of the zstd frame", expected="a frame that goes on")
        return pages[:size]


def _require_size(read: int, size: int) -> None:
    if read != size:
        raise Rejected(Reason.PAYLOAD_LENGTH, read=f"{'more' if read > size else read} bytes", expected=f"{size} bytes")


def inflater(compression: Compression) -> Inflater | None:
    """Return a fresh inflater for a channel, or None if pages are not compressed."""
    return {Compression.NONE: lambda: None, Compression.ZLIB: ZlibInflater, Compression.ZSTD: ZstdInflater}[compression]()
