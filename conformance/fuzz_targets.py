"""Valid migrations to be damaged: all channels of each, small enough that thousands are read in a second."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final, Literal

from colofd.conformance import stream
from colofd.conformance.wire_streams import DECOY, DEVICE, MACHINE, UUID
from colofd.model.decode import Context, Item, Visit, decode_main, decode_multifd
from colofd.model.sent import Layout, packet_rounds
from colofd.model.trace import Sent
from colofd.spec.constants import MAIN_CHANNEL, UUID_SIZE, ColoMessage, Command, Compression, RecordFlag, SectionType, channel_name
from colofd.spec.wire.main_channel import CAPABILITIES_SUBSECTION, DESCRIPTION, PAGE_BITS_SUBSECTION, UUID_SUBSECTION

SMALL: Final = 1024
"""Bytes of a page on main channels alone: records are short."""
LARGE: Final = 65536
"""Bytes of a page beside multifd channels: the header of a packet has few offsets."""
CHANNELS: Final = 2
ROUNDS: Final = 2
"""Of precopy: the block list, and the pages."""
_NAMES: Final = tuple(channel_name(number) for number in range(CHANNELS))


@dataclass(frozen=True)
class Target:
    """A migration that every receiver accepts, and what one has to know before it reads it."""

    id: str
    streams: Mapping[str, bytes]
    context: Context
    mirror: Literal["packet", "deferred"] = "packet"

    @property
    def blocks(self) -> Mapping[str, int]:
        """Length of each RAM block."""
        return _blocks(self.context.page_size)

    @cached_property
    def items(self) -> Mapping[str, tuple[Item, ...]]:
        """All items of all channels."""
        return {
            name: tuple((decode_main if name == MAIN_CHANNEL else decode_multifd)(data, self.context))
            for name, data in self.streams.items()
        }

    @cached_property
    def rounds(self) -> Mapping[str, tuple[tuple[Sent, ...], ...]]:
        """The packets of each multifd channel, up to each SYNC."""
        layout = Layout(tuple(self.blocks.items()), self.context.page_size)
        names = (name for name in self.streams if name != MAIN_CHANNEL)
        return {name: packet_rounds(name, self.streams[name], self.items[name], self.context.compression, layout) for name in names}

    @cached_property
    def places(self) -> tuple["Place", ...]:
        """All fields of all channels."""
        found: list[Place] = []
        for channel, data in self.streams.items():
            seen: list[Visit] = []
            decode = decode_main if channel == MAIN_CHANNEL else decode_multifd
            list(decode(data, self.context, observer=seen.append))
            found += [Place(channel, visit, _item_at(self.items[channel], visit.offset)) for visit in seen]
        return tuple(found)

    @cached_property
    def packets(self) -> tuple["Place", ...]:
        """A field of each packet with pages that have contents; of a migration without, all fields."""
        found = [place for place in self.places if place.item.fields.get("normal_pages") and place.visit.field.name == "flags"]
        return tuple(found) or self.places

    @cached_property
    def descriptions(self) -> tuple["Place", ...]:
        """The fields of the vmdescription."""
        return tuple(place for place in self.places if place.item.name == DESCRIPTION.name)


@dataclass(frozen=True)
class Place:
    """A field of a stream that may be damaged, and the item that it is in."""

    channel: str
    visit: Visit
    item: Item


def _blocks(page_size: int) -> dict[str, int]:
    return {"ram0": 4 * page_size, "ram1": 2 * page_size}


@cache
def targets() -> tuple[Target, ...]:
    """Return the migrations that are damaged."""
    small, large = _blocks(SMALL), _blocks(LARGE)
    plain = Context(SMALL, machine=MACHINE, blocks=small)
    named = Context(SMALL, machine=MACHINE, blocks=small, uuid=UUID)
    colo = Context(SMALL, machine=MACHINE, blocks=small, colo=True)
    found = [
        Target("main", {MAIN_CHANNEL: _precopy(SMALL, DEVICE, is_answered=False)}, plain),
        Target("main-subsections", {MAIN_CHANNEL: _precopy(SMALL, DECOY, head=_subsections())}, named),
        Target("main-devices", {MAIN_CHANNEL: _precopy(SMALL, DEVICE).removesuffix(_one_device()) + _two_devices()}, plain),
        Target("main-colo", {MAIN_CHANNEL: _precopy(SMALL, DEVICE) + _checkpoint(SMALL) * 2}, colo),
        Target("main-colo-deferred", {MAIN_CHANNEL: _precopy(SMALL, DEVICE) + _checkpoint(SMALL) * 2}, colo, "deferred"),
    ]
    for method in Compression:
        beside = Context(LARGE, CHANNELS, method, machine=MACHINE, blocks=large, uuid=bytes(UUID_SIZE))
        in_colo = Context(LARGE, CHANNELS, method, machine=MACHINE, blocks=large, uuid=bytes(UUID_SIZE), colo=True)
        found.append(Target(f"multifd-{method}", _beside(method, checkpoints=0), beside))
        found.append(Target(f"multifd-{method}-colo", _beside(method, checkpoints=1), in_colo))
    return tuple(found)


def _item_at(items: Sequence[Item], offset: int) -> Item:
    return next(item for item in reversed(items) if item.offset <= offset)


def _precopy(
    size: int, device: bytes, *, head: bytes = b"", flush: bytes = b"", pages: bytes | None = None, is_answered: bool = True
) -> bytes:
    """Return a main channel up to the description; `flush` ends each of two rounds."""
    return (
        (head or stream.stream_header(MACHINE))
        + stream.open_return_path() * is_answered
        + stream.ram_start(tuple(_blocks(size).items()))
        + flush
        + stream.ram_close()
        + stream.ram_continue(SectionType.PART)
        + (_pages(size) if pages is None else pages)
        + stream.ram_close()
        + stream.command(Command.SWITCHOVER_START)
        + stream.ram_continue(SectionType.END)
        + flush
        + stream.ram_close()
        + stream.device_sections(device)
        + stream.description(len(device), size)
    )


def _pages(size: int) -> bytes:
    """Return a page, two that go on alike, two zero pages that go on alike, and one of another block."""
    more = b"".join(stream.be64(at * size | RecordFlag.PAGE | RecordFlag.CONTINUE) + bytes([at]) * size for at in (1, 2))
    zeros = b"".join(stream.be64(at * size | RecordFlag.ZERO | RecordFlag.CONTINUE) + b"\0" for at in (3, 0))
    return stream.page_record("ram0", 0, b"\x07" * size) + more + zeros + stream.zero_record("ram1", size)


def _subsections() -> bytes:
    """Return a header whose configuration has all subsections that are received."""
    bits = stream.be32(1, SMALL.bit_length() - 1)
    subsection = bytes([SectionType.SUBSECTION])
    page_bits = subsection + stream.counted(PAGE_BITS_SUBSECTION) + bits
    capabilities = subsection + stream.counted(CAPABILITIES_SUBSECTION) + stream.be32(1, 0)
    uuid = subsection + stream.counted(UUID_SUBSECTION) + stream.be32(1) + UUID
    return stream.stream_header(MACHINE) + page_bits + capabilities + uuid


def _one_device() -> bytes:
    return stream.device_sections(DEVICE) + stream.description(len(DEVICE), SMALL)


def _two_devices() -> bytes:
    """Return the sections of two devices, one with a subsection in a subsection, and their vmdescription."""
    inner = {"vmsd_name": "device/in/deep", "version": 1, "fields": [{"name": "c", "size": 2, "array_len": 3}]}
    outer = {"vmsd_name": "device/in", "version": 2, "fields": [{"name": "b", "size": 5}], "subsections": [inner]}
    first = {"name": "device", "instance_id": 0, "version": 3, "fields": [{"name": "a", "size": 4}], "subsections": [outer]}
    second = {"name": "other", "instance_id": 1, "version": 1, "fields": [{"name": "d", "size": 1, "array_len": 9}]}
    subsection = bytes([SectionType.SUBSECTION])
    state = b"aaaa" + subsection + stream.counted("device/in") + stream.be32(2) + b"bbbbb"
    state += subsection + stream.counted("device/in/deep") + stream.be32(1) + b"cccccc"
    text = json.dumps({"page_size": SMALL, "devices": [first, second]}).encode()
    return (
        stream.named_section(SectionType.FULL, 2, "device", 0, 3)
        + state
        + stream.footer(2)
        + stream.named_section(SectionType.FULL, 3, "other", 1, 1)
        + b"d" * 9
        + stream.footer(3)
        + bytes([SectionType.EOF, SectionType.VMDESCRIPTION])
        + stream.be32(len(text))
        + text
    )


def _checkpoint(size: int, pages: bytes | None = None) -> bytes:
    own = stream.page_record("ram1", size, b"\x05" * size) + stream.zero_record("ram0", 0)
    return (
        stream.colo_message(ColoMessage.CHECKPOINT_REQUEST)
        + stream.colo_message(ColoMessage.VMSTATE_SEND)
        + stream.ram_continue(SectionType.END)
        + (own if pages is None else own + pages)
        + stream.ram_close()
        + bytes([SectionType.EOF])
        + stream.device_state(DEVICE)
    )


def _beside(method: Compression, *, checkpoints: int) -> dict[str, bytes]:
    """Return a main channel and two multifd channels, with pages on all of them."""
    pages = stream.zero_record("ram0", 3 * LARGE)
    main = _precopy(LARGE, DEVICE, flush=stream.flush(), pages=pages) + checkpoints * _checkpoint(LARGE, stream.flush())
    said = {MAIN_CHANNEL: main}
    for number, name in enumerate(_NAMES):
        writer = stream.PacketWriter(method, LARGE)
        said[name] = stream.hello(number) + writer.sync()
        for each in range(ROUNDS - 1 + checkpoints):
            said[name] += _packets(writer, number, each) + writer.sync()
    return said


def _packets(writer: stream.PacketWriter, number: int, each: int) -> bytes:
    """Return the packets of one channel in one round: pages that follow one another, or do not, or zero pages, too."""
    content = bytes([number + 1, each + 1]) * (LARGE // 2)
    if number:
        if each:
            return writer.pages("ram1", [], [0, LARGE])
        return writer.pages("ram1", [(LARGE, content), (0, content)], []) + writer.pages("ram0", [(2 * LARGE, content)], [])
    return writer.pages("ram0", [(0, content), (LARGE, content)], [2 * LARGE] if each else [])
