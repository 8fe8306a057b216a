"""Small valid streams, one for each part of the wire format: what `colofd.conformance.wire_cases` breaks."""

from dataclasses import dataclass
from typing import Final, Literal

from colofd.conformance import stream
from colofd.model.decode import Context
from colofd.spec.constants import (
    TARGET_PAGE_SIZE,
    UUID_SIZE,
    ColoMessage,
    Command,
    Compression,
    RecordFlag,
    ReturnPathMessage,
    SectionType,
)
from colofd.spec.wire.main_channel import CAPABILITIES_SUBSECTION, PAGE_BITS_SUBSECTION, UUID_SUBSECTION

Kind = Literal["main", "multifd", "reverse"]

PAGE: Final = TARGET_PAGE_SIZE
MACHINE: Final = "none"
UUID: Final = bytes(range(1, UUID_SIZE + 1))
BLOCKS: Final = {"ram0": 4 * PAGE, "ram1": 2 * PAGE}
DEVICE: Final = b"state of a device"
DECOY: Final = b"\0\x06" + stream.be32(14) + b'{"devices":[]}'
"""Inside a device, what looks like the end of the device sections and a description."""


@dataclass(frozen=True)
class ValidStream:
    """A stream that every receiver accepts, and what it has to know before it reads it."""

    id: str
    kind: Kind
    data: bytes
    context: Context


def valid_streams() -> list[ValidStream]:
    """Return the valid streams. Together they hold every table and evaluate every check."""
    context = Context(machine=MACHINE, blocks=BLOCKS)
    colo = Context(machine=MACHINE, blocks=BLOCKS, colo=True)
    return [
        ValidStream("precopy", "main", precopy(), context),
        ValidStream("decoy", "main", precopy(device=DECOY), context),
        ValidStream("learnt-blocks", "main", precopy(), Context()),
        ValidStream("rounds", "main", precopy(rounds=True), Context(machine=MACHINE, blocks=BLOCKS, channels=2)),
        ValidStream("subsections", "main", _with_subsections(), Context(machine=MACHINE, blocks=BLOCKS, uuid=UUID)),
        ValidStream("ignore-shared", "main", _ignore_shared(), Context(blocks=BLOCKS, capabilities=frozenset({"x-ignore-shared"}))),
        ValidStream("opaque-device-state", "main", precopy() + checkpoint(device=DEVICE + b"!"), colo),
        ValidStream("checkpoints", "main", precopy() + checkpoint() * 2, colo),
        *(ValidStream(f"packets-{method}", "multifd", packets(method), _multifd_context(method)) for method in Compression),
        ValidStream("unknown-blocks", "multifd", packets(Compression.NONE), Context(channels=2)),
        ValidStream("replies", "reverse", replies(), Context(colo=True)),
    ]


def precopy(*, device: bytes = DEVICE, rounds: bool = False) -> bytes:
    """Return a main channel up to the description: pages on it, or, with `rounds`, the marks of rounds on multifd channels."""
    pages = stream.flush() if rounds else _pages()
    return (
        stream.stream_header(MACHINE)
        + stream.open_return_path()
        + stream.ram_start(tuple(BLOCKS.items()))
        + (stream.flush() if rounds else b"")
        + stream.ram_close()
        + stream.ram_continue(SectionType.PART)
        + pages
        + stream.ram_close()
        + stream.command(Command.SWITCHOVER_START)
        + stream.ram_continue(SectionType.END)
        + (stream.flush() if rounds else b"")
        + stream.ram_close()
        + stream.device_sections(device)
        + stream.description(len(device), PAGE)
    )


def checkpoint(*, device: bytes = DEVICE) -> bytes:
    """Return what a primary sends for one checkpoint."""
    return (
        stream.colo_message(ColoMessage.CHECKPOINT_REQUEST)
        + stream.colo_message(ColoMessage.VMSTATE_SEND)
        + stream.ram_continue(SectionType.END)
        + stream.page_record("ram1", PAGE, b"\x05" * PAGE)
        + stream.ram_close()
        + bytes([SectionType.EOF])
        + stream.device_state(device)
    )


def packets(compression: Compression) -> bytes:
    """Return multifd channel 1 of two: a packet of pages between two of SYNC, and one with zero pages only."""
    writer = stream.PacketWriter(compression, PAGE)
    normal = [(PAGE, b"\x07" * PAGE), (0, bytes(range(256)) * (PAGE // 256))]
    return (
        stream.hello(1)
        + writer.sync()
        + writer.pages("ram0", normal, [2 * PAGE, 3 * PAGE])
        + writer.pages("ram1", [], [0, PAGE])
        + writer.sync()
    )


def replies() -> bytes:
    """Return a way back: PONG, SHUT, and the replies of a secondary to two checkpoints."""
    message = stream.command(Command.PING, stream.be32(1))[1:]
    pong = stream.be32(ReturnPathMessage.PONG << 16 | 4) + message[4:]
    shut = stream.be32(ReturnPathMessage.SHUT << 16 | 4, 0)
    once = stream.be32(ColoMessage.CHECKPOINT_REPLY, ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
    return pong + shut + stream.be32(ColoMessage.CHECKPOINT_READY) + once * 2


def _pages() -> bytes:
    continued = stream.be64(PAGE | RecordFlag.PAGE | RecordFlag.CONTINUE) + b"\x02" * PAGE
    continued_zero = stream.be64(3 * PAGE | RecordFlag.ZERO | RecordFlag.CONTINUE) + b"\0"
    return stream.page_record("ram0", 0, b"\x01" * PAGE) + continued + continued_zero + stream.zero_record("ram1", 0)


def _with_subsections() -> bytes:
    header = stream.stream_header(MACHINE)
    page_bits = _subsection(PAGE_BITS_SUBSECTION, stream.be32(PAGE.bit_length() - 1))
    return header + page_bits + _subsection(UUID_SUBSECTION, UUID) + precopy()[len(header) :]


def _ignore_shared() -> bytes:
    header = stream.stream_header(MACHINE)
    capabilities = _subsection(CAPABILITIES_SUBSECTION, stream.be32(1) + stream.counted("x-ignore-shared"))
    listed = stream.ram_start(tuple(BLOCKS.items()))
    head = stream.ram_start(())[:-8] + stream.be64(sum(BLOCKS.values()) | RecordFlag.MEM_SIZE)
    addressed = b"".join(stream.counted(name) + stream.be64(length, index << 32) for index, (name, length) in enumerate(BLOCKS.items()))
    return header + capabilities + precopy()[len(header) :].replace(listed, head + addressed)


def _subsection(name: str, body: bytes) -> bytes:
    return bytes([SectionType.SUBSECTION]) + stream.counted(name) + stream.be32(1) + body


def _multifd_context(compression: Compression) -> Context:
    return Context(channels=2, compression=compression, blocks=BLOCKS, uuid=bytes(UUID_SIZE))
