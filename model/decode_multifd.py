"""Reads a multifd channel: the first packet, then packets with their payload."""

from collections.abc import Iterator

from colofd.model.decode_tables import Channel, Context, Item, Observer, Record
from colofd.model.payload import PayloadReader
from colofd.spec.constants import PacketFlag, channel_name
from colofd.spec.wire import multifd

UNNAMED_CHANNEL = "mfd"
"""Name of a multifd channel as long as its first packet has not told which one it is."""


def decode_multifd(data: bytes, context: Context, *, observer: Observer | None = None) -> Iterator[Item]:
    """Yield the items of one multifd channel: the first packet, then one item for each packet with its payload.

    The payload of a packet is the part of its item at `payload_offset`; it has been decompressed once, to check it.

    Raises:
        Rejected: at the first bad byte, after the items before it.
    """
    channel = Channel(UNNAMED_CHANNEL, data, observer)
    values = context.values()
    if context.blocks is not None:
        values["blocks"] = context.blocks
    hello = Record(channel, dict(values)).read(multifd.HELLO)
    channel.name = channel_name(hello.integer("id"))
    yield hello.item(multifd.HELLO.name)
    payloads = PayloadReader(context.compression, channel=channel.name)
    syncs = 0
    while not channel.at_end:
        record = Record(channel, {**values, "syncs": syncs}).read(multifd.PACKET)
        syncs += bool(record.integer("flags") & PacketFlag.SYNC)
        offset = channel.position - record.integer("next_packet_size")
        payloads.pages(data[offset : channel.position], record.integer("normal_pages"), context.page_size, offset=offset)
        yield record.item(multifd.PACKET.name)
