"""Writes streams as a source does: what generated schedules put on the wire. Layouts are in `spec/wire`."""

import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import zstandard

from colofd.spec.constants import (
    BLOCK_NAME_SIZE,
    COMPRESSION_FLAGS,
    MULTIFD_MAGIC,
    MULTIFD_VERSION,
    RAM_INSTANCE,
    RAM_SECTION,
    RAM_VERSION,
    STREAM_MAGIC,
    STREAM_VERSION,
    UUID_SIZE,
    ColoMessage,
    Command,
    Compression,
    PacketFlag,
    RecordFlag,
    SectionType,
    pages_per_packet,
)

RAM_SECTION_ID: Final = 1
DEVICE_SECTION_ID: Final = 2
DEVICE_NAME: Final = "device"
DEVICE_VERSION: Final = 1


def be32(*values: int) -> bytes:
    """Return 4-byte big-endian integers."""
    return struct.pack(f">{len(values)}I", *values)


def be64(*values: int) -> bytes:
    """Return 8-byte big-endian integers."""
    return struct.pack(f">{len(values)}Q", *values)


def counted(text: str) -> bytes:
    """Return a text with its length in one byte before it."""
    encoded = text.encode()
    return bytes([len(encoded)]) + encoded


# Main channel.


def stream_header(machine: str) -> bytes:
    """Return magic, version and configuration section."""
    return be32(STREAM_MAGIC, STREAM_VERSION) + bytes([SectionType.CONFIGURATION]) + be32(len(machine)) + machine.encode()


def command(number: Command, content: bytes = b"") -> bytes:
    """Return a command section."""
    return bytes([SectionType.COMMAND]) + struct.pack(">HH", number, len(content)) + content


def open_return_path() -> bytes:
    """Return what a source with a return path sends first."""
    return command(Command.OPEN_RETURN_PATH) + command(Command.PING, be32(1))


def enable_colo() -> bytes:
    """Return what a COLO primary sends first that has no return path, before 11.0."""
    return command(Command.ENABLE_COLO)


def footer(section: int) -> bytes:
    """Return the footer of a section."""
    return bytes([SectionType.FOOTER]) + be32(section)


def named_section(kind: SectionType, section: int, name: str, instance: int, version: int) -> bytes:
    """Return the head of a START or FULL section."""
    return bytes([kind]) + be32(section) + counted(name) + be32(instance, version)


def ram_start(blocks: Sequence[tuple[str, int]]) -> bytes:
    """Return the START section of RAM up to the list of blocks (name and length in bytes)."""
    total = sum(length for _, length in blocks)
    head = named_section(SectionType.START, RAM_SECTION_ID, RAM_SECTION, RAM_INSTANCE, RAM_VERSION)
    return head + be64(total | RecordFlag.MEM_SIZE) + b"".join(counted(name) + be64(length) for name, length in blocks)


def ram_continue(kind: SectionType) -> bytes:
    """Return the head of a PART or END section of RAM."""
    return bytes([kind]) + be32(RAM_SECTION_ID)


def ram_close() -> bytes:
    """Return the end of a RAM section: EOS and footer."""
    return be64(RecordFlag.EOS) + footer(RAM_SECTION_ID)


def flush() -> bytes:
    """Return the record that ends a round."""
    return be64(RecordFlag.MULTIFD_FLUSH)


def page_record(block: str, offset: int, content: bytes) -> bytes:
    """Return a page with its content."""
    return be64(offset | RecordFlag.PAGE) + counted(block) + content


def zero_record(block: str, offset: int) -> bytes:
    """Return a page of zeros."""
    return be64(offset | RecordFlag.ZERO) + counted(block) + b"\0"


def device_sections(content: bytes) -> bytes:
    """Return one device section and the EOF byte: device state as a checkpoint carries it."""
    head = named_section(SectionType.FULL, DEVICE_SECTION_ID, DEVICE_NAME, 0, DEVICE_VERSION)
    return head + content + footer(DEVICE_SECTION_ID) + bytes([SectionType.EOF])


def description(size: int, page_size: int) -> bytes:
    """Return the vmdescription of `device_sections` with `size` bytes of content."""
    fields = [{"name": "content", "type": "buffer", "size": size}]
    device = {"name": DEVICE_NAME, "instance_id": 0, "vmsd_name": DEVICE_NAME, "version": DEVICE_VERSION, "fields": fields}
    return _description([device], page_size)


def no_devices(page_size: int) -> bytes:
    """Return the end of the device sections where there are none, and their vmdescription."""
    return bytes([SectionType.EOF]) + _description([], page_size)


def _description(devices: Sequence[Mapping[str, object]], page_size: int) -> bytes:
    text = json.dumps({"page_size": page_size, "devices": devices}).encode()
    return bytes([SectionType.VMDESCRIPTION]) + be32(len(text)) + text


def colo_message(message: ColoMessage) -> bytes:
    """Return a COLO message without content."""
    return be32(message)


def device_state(content: bytes) -> bytes:
    """Return VMSTATE_SIZE and the device state of a checkpoint."""
    blob = device_sections(content)
    return be32(ColoMessage.VMSTATE_SIZE) + be64(len(blob)) + blob


# Multifd channels.


def hello(channel: int) -> bytes:
    """Return the first packet of a multifd channel."""
    return be32(MULTIFD_MAGIC, MULTIFD_VERSION) + bytes(UUID_SIZE) + bytes([channel]) + bytes(39)


class _Stream(Protocol):
    def pack(self, content: bytes) -> bytes: ...


class _Plain:
    def pack(self, content: bytes) -> bytes:
        return content


class _Zlib:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(1)

    def pack(self, content: bytes) -> bytes:
        return self._stream.compress(content) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=1).compressobj()

    def pack(self, content: bytes) -> bytes:
        return self._stream.compress(content) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


_STREAMS: Final[Mapping[Compression, Callable[[], _Stream]]] = {Compression.NONE: _Plain, Compression.ZLIB: _Zlib, Compression.ZSTD: _Zstd}


@dataclass
class PacketWriter:
    """The packets of one multifd channel; a compressed channel is one stream for its whole life."""

    compression: Compression
    page_size: int
    packet_number: int = 0
    _stream: _Stream = field(init=False)

    def __post_init__(self) -> None:
        self._stream = _STREAMS[self.compression]()

    def pages(self, block: str, normal: Sequence[tuple[int, bytes]], zero: Sequence[int], *, is_sync: bool = False) -> bytes:
        """Return a packet with normal pages (offset and content) and zero pages (offset) of one block; one of SYNC, too, as before 9.0."""
        payload = self._stream.pack(b"".join(content for _, content in normal)) if normal else b""
        offsets = [*(offset for offset, _ in normal), *zero]
        flags = COMPRESSION_FLAGS[self.compression] | (PacketFlag.SYNC if is_sync else 0)
        return self.header(block, flags, len(normal), len(zero), len(payload), offsets) + payload

    def sync(self) -> bytes:
        """Return a packet that carries SYNC only."""
        return self.header("", PacketFlag.SYNC, 0, 0, 0, [])

    def header(self, block: str, flags: int, normal: int, zero: int, payload: int, offsets: Sequence[int]) -> bytes:
        """Return the header of a packet: how many normal and zero pages, bytes of the payload, and where the pages lie in the block."""
        room = pages_per_packet(self.page_size)
        allocated = room if offsets else 0
        head = (
            be32(MULTIFD_MAGIC, MULTIFD_VERSION, flags, allocated, normal, payload)
            + be64(self.packet_number)
            + be32(zero, 0)
            + be64(0, 0, 0)
        )
        self.packet_number += 1
        return head + block.encode().ljust(BLOCK_NAME_SIZE, b"\0") + be64(*offsets, *[0] * (room - len(offsets)))
