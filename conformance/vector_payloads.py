"""Vectors of compressed payloads: what a stream of zlib or zstd may look like, and what it may not; the decoder says which is which."""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import zstandard

from colofd.conformance import stream
from colofd.conformance.subjects import Options
from colofd.conformance.vector_format import Await, Vector, Verdict, slug
from colofd.conformance.vector_places import decoded_until, sent_on
from colofd.conformance.vector_script import Schedule, ScriptWriter, setup_of, written
from colofd.spec.constants import COMPRESSION_FLAGS, Compression

FAMILY: Final = "payload"
_ADDRESS: Final = "receive.payload-complete"
_PACKETS: Final = ((0, 1, 2), (3,), (0, 4))
"""The pages of each packet: the last one has a page again, and all of them contents that were there before."""

Pack = Callable[[bytes, int], bytes]
"""Returns the payload of one packet: its pages, and its number."""

_LONG: Final = bytes(range(256)) * 64


def payload_vectors() -> Iterator[tuple[Vector, list[str]]]:
    """Yield the vectors with what each covers."""
    for method, variants in ((Compression.ZLIB, _zlib_variants()), (Compression.ZSTD, _zstd_variants())):
        for name, pack in variants.items():
            yield _vector(method, name, pack), [f"payload: {method}, {name}"]


def _vector(method: Compression, name: str, pack: Pack) -> Vector:
    """Return a vector in which mfd0 is packed like this. What is to be refused differs from the usual stream in one packet."""
    options = Options(pages=6, colo=False, compression=method)
    vector_id = slug(_ADDRESS, f"{method} {name}")
    run = ScriptWriter(options)
    refused = None
    for number, pages in enumerate(_PACKETS):
        for page in pages:
            run.primary_writes(page, (page + number) % 4)
        _put(run, pack, number)
        refused = decoded_until(sent_on(run.script, "mfd0"), "mfd0", setup_of(options))
        if refused is not None:
            break
        run.end_round()
    if refused is None:
        vector = written(FAMILY, vector_id, options, _schedule(pack), [_ADDRESS])
        if vector is None:
            raise ValueError(f"{vector_id} cannot be written")
        return vector
    verdict = Verdict(is_accepted=False, reason=refused.reason.value, channel=refused.channel, offset=refused.offset)
    twin = slug(_ADDRESS, f"{method} {_USUAL}")
    return Vector(vector_id, FAMILY, [_ADDRESS], setup_of(options), verdict, [*run.script, Await("refused")], twin, f"mfd0: {name}")


def _schedule(pack: Pack) -> Schedule:
    def schedule(run: ScriptWriter) -> None:
        for number, pages in enumerate(_PACKETS):
            for page in pages:
                run.primary_writes(page, (page + number) % 4)
            _put(run, pack, number)
            run.end_round()
        run.end_precopy()

    return schedule


def _put(run: ScriptWriter, pack: Pack, number: int) -> None:
    """Put a packet on mfd0 whose payload is packed by `pack`. A page of zeros goes with its content, too."""
    pages = _PACKETS[number]
    run.peer.take(pages)
    payload = pack(b"".join(run.peer.ram[page] for page in pages), number)
    writer = stream.PacketWriter(run.options.compression, run.options.page_size, packet_number=number)
    flags = COMPRESSION_FLAGS[run.options.compression]
    offsets = [page * run.options.page_size for page in pages]
    run.peer.put("mfd0", writer.header(run.options.block, flags, len(pages), 0, len(payload), offsets) + payload)


_USUAL: Final = "as QEMU packs it"


def _zlib_variants() -> Mapping[str, Pack]:
    """Return ways to pack a channel as one stream of zlib (RFC 1950 and 1951), and ways that are wrong."""
    return {
        _USUAL: _zlib(level=1),
        "stored blocks": _zlib(level=0),
        "best compression": _zlib(level=9),
        "fixed Huffman codes": _zlib(strategy=zlib.Z_FIXED),
        "Huffman codes only": _zlib(strategy=zlib.Z_HUFFMAN_ONLY),
        "runs only": _zlib(strategy=zlib.Z_RLE),
        "smallest window": _zlib(window=9),
        "full flush": _zlib(flush=zlib.Z_FULL_FLUSH),
        "partial flush": _zlib(flush=zlib.Z_PARTIAL_FLUSH),
        "block flush": _zlib(flush=zlib.Z_BLOCK),
        "a flush within a page": _zlib_flushed_twice(),
        "an empty block more": _zlib_but(1, lambda payload: payload + b"\x00\x00\x00\xff\xff"),
        "the stream ends with a packet": _zlib(flush=zlib.Z_FINISH),
        "a new stream for each packet": _zlib_new_stream(),
        "without header": _zlib(window=-15),
        "gzip": _zlib(window=31),
        "a header with a wrong check": _zlib_but(0, lambda payload: payload[:1] + bytes([payload[1] ^ 1]) + payload[2:]),
        "another method than deflate": _zlib_but(0, lambda payload: _header(0x79) + payload[2:]),
        "a window larger than 32 KiB": _zlib_but(0, lambda payload: _header(0x88) + payload[2:]),
        "a preset dictionary": _zlib(dictionary=_LONG),
        "a block of a reserved type": _zlib_but(1, lambda payload: b"\x07" + payload),
        "a stored block whose length does not fit its complement": _zlib_but(1, lambda payload: b"\x00\x04\x00\x00\x00" + payload),
        "a packet is left out": _zlib_but(1, lambda _payload: b"\x00\x00\x00\xff\xff"),
        "a packet comes twice": _zlib_but(1, lambda payload: payload * 2),
        "a byte of the second packet is another one": _zlib_but(1, _flipped),
        "the payload lacks its last byte": _zlib_but(1, lambda payload: payload[:-6]),
    }


def _but(usual: Pack, packet: int, change: Callable[[bytes], bytes]) -> Pack:
    def pack(content: bytes, number: int) -> bytes:
        payload = usual(content, number)
        return change(payload) if number == packet else payload

    return pack


def _header(first: int) -> bytes:
    """Return a header of zlib with this first byte: its check is right."""
    return bytes([first, 31 - first * 256 % 31])


def _flipped(payload: bytes) -> bytes:
    return bytes([payload[0] ^ 0x06]) + payload[1:]


def _zlib(
    *, level: int = 1, window: int = 15, strategy: int = zlib.Z_DEFAULT_STRATEGY, flush: int = zlib.Z_SYNC_FLUSH, dictionary: bytes = b""
) -> Pack:
    current: list[Any] = []

    def pack(content: bytes, number: int) -> bytes:
        if number == 0:
            extra = (dictionary,) if dictionary else ()
            current[:] = [zlib.compressobj(level, zlib.DEFLATED, window, 8, strategy, *extra)]
        return bytes(current[0].compress(content) + current[0].flush(flush))

    return pack


def _zlib_but(packet: int, change: Callable[[bytes], bytes]) -> Pack:
    """Return the usual way, but for the payload of one packet."""
    return _but(_zlib(), packet, change)


def _zlib_new_stream() -> Pack:
    def pack(content: bytes, _number: int) -> bytes:
        made = zlib.compressobj(1)
        return made.compress(content) + made.flush(zlib.Z_SYNC_FLUSH)

    return pack


def _zlib_flushed_twice() -> Pack:
    usual = _zlib()

    def pack(content: bytes, number: int) -> bytes:
        return usual(content[:1000], number) + usual(content[1000:], number or 1)

    return pack


def _zstd_variants() -> Mapping[str, Pack]:
    """Return ways to pack a channel as one frame of zstd (RFC 8878), and ways that are wrong."""
    end = zstandard.COMPRESSOBJ_FLUSH_FINISH
    return {
        _USUAL: _zstd(),
        "best compression": _zstd(level=19),
        "fastest": _zstd(level=-5),
        "with a checksum": _zstd(write_checksum=1),
        "smallest window": _zstd(window_log=10),
        "a window of 1 MiB": _zstd(window_log=20),
        "a window of 8 MiB": _zstd(window_log=23),
        "a flush within a page": _zstd_flushed_twice(),
        "raw and repeated blocks": _zstd_blocks(),
        "a skippable frame before it": _zstd_but(0, lambda payload: _skippable() + payload),
        "the frame ends with a packet": _zstd(flush=end),
        "a new frame for each packet": _zstd_new_frame(),
        "a byte of the magic is another one": _zstd_but(0, lambda payload: b"\x29" + payload[1:]),
        "a reserved bit of the header is set": _zstd_but(0, lambda payload: payload[:4] + bytes([payload[4] | 8]) + payload[5:]),
        "a dictionary is needed": _zstd_but(
            0, lambda payload: payload[:4] + bytes([payload[4] | 1]) + payload[5:6] + b"\x07" + payload[6:]
        ),
        "a window of 1 TiB": _zstd_but(0, lambda payload: payload[:5] + b"\xf0" + payload[6:]),
        "a block of a reserved type": _zstd_but(1, lambda payload: _block(3, 1) + payload),
        "a block longer than may be": _zstd_but(1, lambda payload: _block(0, 1 << 20) + payload),
        "a block is the last one": _zstd_but(1, lambda payload: payload + _block(0, 0, is_last=True)),
        "a packet is left out": _zstd_but(1, lambda _payload: _block(0, 0)),
        "a packet comes twice": _zstd_but(1, lambda payload: payload * 2),
        "an empty block more": _zstd_but(1, lambda payload: payload + _block(0, 0)),
        "the payload lacks its last byte": _zstd_but(1, lambda payload: payload[:-1]),
    }


def _block(kind: int, size: int, *, is_last: bool = False) -> bytes:
    """Return the head of a block of zstd: 0 raw, 1 one byte many times, 2 compressed, 3 reserved."""
    return struct.pack("<I", size << 3 | kind << 1 | is_last)[:3]


def _skippable() -> bytes:
    return struct.pack("<II", 0x184D2A50, 4) + b"skip"


def _zstd_blocks() -> Pack:
    """Return packets of blocks that are written by hand: pages of one byte as such, others raw."""
    frame = struct.pack("<I", 0xFD2FB528) + bytes([0, 0x38])

    def pack(content: bytes, number: int) -> bytes:
        pages = [content[at : at + 4096] for at in range(0, len(content), 4096)]
        blocks = [_block(1, 4096) + page[:1] if page == page[:1] * 4096 else _block(0, 4096) + page for page in pages]
        return (b"" if number else frame) + b"".join(blocks)

    return pack


def _zstd(*, level: int = 1, flush: int = zstandard.COMPRESSOBJ_FLUSH_BLOCK, **parameters: int) -> Pack:
    current: list[Any] = []

    def pack(content: bytes, number: int) -> bytes:
        if number == 0:
            wanted = zstandard.ZstdCompressionParameters.from_level(level, write_content_size=0, **parameters)
            current[:] = [zstandard.ZstdCompressor(compression_params=wanted).compressobj()]
        return bytes(current[0].compress(content) + current[0].flush(flush))

    return pack


def _zstd_but(packet: int, change: Callable[[bytes], bytes]) -> Pack:
    """Return the usual way, but for the payload of one packet."""
    return _but(_zstd(), packet, change)


def _zstd_new_frame() -> Pack:
    def pack(content: bytes, _number: int) -> bytes:
        made = zstandard.ZstdCompressor(level=1).compressobj()
        return made.compress(content) + made.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    return pack


def _zstd_flushed_twice() -> Pack:
    usual = _zstd()

    def pack(content: bytes, number: int) -> bytes:
        return usual(content[:1000], number) + usual(content[1000:], number or 1)

    return pack
