"""Reads the payload of multifd packets: one stream for each channel, which lives as long as the channel."""

import zlib
from typing import Final

import zstandard

from colofd.spec.constants import ZSTD_WINDOW_LIMIT, Compression
from colofd.spec.reasons import Reason, Rejected

_FEED: Final = 64
"""Bytes given to the zstd decoder at a time: what they may expand to fits into memory, so that a bomb is noticed early."""


class PayloadReader:
    """The pages of the packets of one channel. Packets must be given in order, from the first one.

    Args:
        compression: the agreed method.
        channel: name of the channel, for errors.
    """

    def __init__(self, compression: Compression, *, channel: str = "") -> None:
        self._compression = compression
        self._channel = channel
        self._inflate = zlib.decompressobj()
        self._zstd = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_LIMIT).decompressobj()

    def pages(self, payload: bytes, count: int, page_size: int, *, offset: int = -1) -> list[bytes]:
        """Return the `count` pages of one packet, of `page_size` bytes each; `offset` is that of the payload in the channel.

        Raises:
            Rejected: PAYLOAD_CORRUPT if the payload does not decompress, or ends a stream that lasts as long as the channel;
                PAYLOAD_LENGTH if it has more or less than the pages.
        """
        expected = count * page_size
        read = self._read(payload, expected, offset) if payload or count else b""
        if len(read) != expected:
            more = "more than " if len(read) > expected else "only "
            raise self._rejected(
                Reason.PAYLOAD_LENGTH, offset, f"{more}{min(len(read), expected)} bytes", f"{count} pages: {expected} bytes"
            )
        return [read[start : start + page_size] for start in range(0, expected, page_size)]

    def _read(self, payload: bytes, expected: int, offset: int) -> bytes:
        match self._compression:
            case Compression.NONE:
                return payload
            case Compression.ZLIB:
                return self._read_zlib(payload, expected, offset)
            case Compression.ZSTD:
                return self._read_zstd(payload, expected, offset)

    def _read_zlib(self, payload: bytes, expected: int, offset: int) -> bytes:
        try:
            read = self._inflate.decompress(payload, expected + 1)
        except zlib.error as error:
            raise self._rejected(Reason.PAYLOAD_CORRUPT, offset, str(error), "the next part of the zlib stream") from error
        if self._inflate.eof:
            raise self._rejected(Reason.PAYLOAD_CORRUPT, offset, "the end of the zlib stream", "a sync flush")
        return read

    def _read_zstd(self, payload: bytes, expected: int, offset: int) -> bytes:
        read = bytearray()
        for start in range(0, len(payload), _FEED):
            try:
                read += self._zstd.decompress(payload[start : start + _FEED])
            except zstandard.ZstdError as error:
                raise self._rejected(Reason.PAYLOAD_CORRUPT, offset, str(error), "the next part of the zstd frame") from error
            if len(read) > expected:
                break
            if self._zstd.eof:
                raise self._rejected(Reason.PAYLOAD_CORRUPT, offset, "the end of the zstd frame", "a flushed block")
        return bytes(read)

    def _rejected(self, reason: Reason, offset: int, read: str, expected: str) -> Rejected:
        return Rejected(reason, channel=self._channel, offset=offset, read=read, expected=expected)
