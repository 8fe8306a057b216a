"""What a source sent, as a recording of its channels has it: rounds of packets, and the records of the main channel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from colofd.model.decode import Context, Item, blocks_of, decode_main, decode_multifd
from colofd.model.payload import PayloadReader
from colofd.model.trace import Sent
from colofd.spec.constants import MAIN_CHANNEL, Compression, PacketFlag, channel_name
from colofd.spec.wire import multifd, ram


@dataclass(frozen=True)
class Layout:
    """The RAM blocks in the order of the stream; pages are numbered block after block."""

    blocks: tuple[tuple[str, int], ...]
    page_size: int

    @property
    def pages(self) -> int:
        """Pages of all blocks together."""
        return sum(length for _, length in self.blocks) // self.page_size

    def first_page(self, block: str) -> int:
        """Return the number of a block's first page."""
        names = [name for name, _ in self.blocks]
        return sum(length for _, length in self.blocks[: names.index(block)]) // self.page_size

    def page(self, block: str, offset: int) -> int:
        """Return the number of the page at an offset of a block, in bytes."""
        return self.first_page(block) + offset // self.page_size


@dataclass(frozen=True)
class Recording:
    """All channels of a migration, decoded."""

    layout: Layout
    main: tuple[Item, ...]
    rounds: Mapping[str, tuple[tuple[Sent, ...], ...]]
    """For each multifd channel, the packets with pages up to each SYNC; what follows the last SYNC is the last round."""
    records: Mapping[int, Sent]
    """The page records of the main channel by their offset."""
    consumed: Mapping[str, int]
    """Bytes of each channel that were decoded: all of them."""


def read_recording(streams: Mapping[str, bytes], *, channels: int, compression: Compression, colo: bool, page_size: int) -> Recording:
    """Decode the bytes of all channels to the destination; Rejected at the first bad byte."""
    context = Context(page_size=page_size, channels=channels, compression=compression, colo=colo)
    main = streams[MAIN_CHANNEL]
    layout = Layout(blocks_of(main, context), page_size)
    items = tuple(decode_main(main, context))
    known = Context(page_size=page_size, channels=channels, compression=compression, colo=colo, blocks=dict(layout.blocks))
    names = [channel_name(number) for number in range(channels)]
    packets = {name: tuple(decode_multifd(streams[name], known)) for name in names}
    return Recording(
        layout=layout,
        main=items,
        rounds={name: packet_rounds(name, streams[name], packets[name], compression, layout) for name in names},
        records=page_records(main, items, layout),
        consumed={name: sum(item.size for item in of_channel) for name, of_channel in ({MAIN_CHANNEL: items} | packets).items()},
    )


def page_records(data: bytes, items: Sequence[Item], layout: Layout) -> dict[int, Sent]:
    """Return the page records among the items of a main channel, by their offset."""
    records = {}
    block = ""
    for item in items:
        if item.name in (ram.PAGE.name, ram.ZERO.name):
            block = str(item.fields.get("block", block))
            page = layout.page(block, _integer(item, "address"))
            content = data[item.offset + item.size - layout.page_size : item.offset + item.size]
            records[item.offset] = Sent((), (), (page,)) if item.name == ram.ZERO.name else Sent((page,), (content,), ())
    return records


def packet_rounds(name: str, data: bytes, items: Sequence[Item], compression: Compression, layout: Layout) -> tuple[tuple[Sent, ...], ...]:
    """Return the packets with pages among the items of a multifd channel, up to each SYNC; what follows the last SYNC is the last round."""
    payloads = PayloadReader(compression, channel=name)
    rounds: list[list[Sent]] = [[]]
    for item in items:
        if item.name != multifd.PACKET.name:
            continue
        sent = _packet(data, item, payloads, layout)
        if sent.pages or sent.zero_pages:
            rounds[-1].append(sent)
        if _integer(item, "flags") & PacketFlag.SYNC:
            rounds.append([])
    return tuple(tuple(packets) for packets in rounds)


def _packet(data: bytes, item: Item, payloads: PayloadReader, layout: Layout) -> Sent:
    normal = _integer(item, "normal_pages")
    size = _integer(item, "payload_size")
    start = _integer(item, "payload_offset")
    contents = payloads.pages(data[start : start + size], normal, layout.page_size, offset=start)
    return Sent(_pages(item, "normal_offsets", layout), tuple(contents), _pages(item, "zero_offsets", layout))


def _pages(item: Item, name: str, layout: Layout) -> tuple[int, ...]:
    offsets = item.fields[name]
    if not isinstance(offsets, tuple):
        raise TypeError(f"{name} of {item.name} is no list of offsets")
    return tuple(layout.page(str(item.fields["block"]), offset) for offset in offsets)


def _integer(item: Item, name: str) -> int:
    value = item.fields[name]
    if not isinstance(value, int):
        raise TypeError(f"{name} of {item.name} is no number")
    return value
