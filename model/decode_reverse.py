"""Reads the way back: return-path messages, then the replies of a COLO secondary."""

from collections.abc import Iterator
from itertools import chain, cycle

from colofd.model.decode_tables import Channel, Context, Item, Observer, Record
from colofd.spec.constants import ColoMessage, ReturnPathMessage
from colofd.spec.wire import colo, return_path

REVERSE_CHANNEL = "main.rev"
"""Name of the way back on the main channel, as recordings call it."""


def decode_reverse(data: bytes, *, observer: Observer | None = None) -> Iterator[Item]:
    """Yield the items of a main channel from destination to source.

    Raises:
        Rejected: at the first bad byte, after the items before it. COLO replies may end after any of them.
    """
    channel = Channel(REVERSE_CHANNEL, data, observer)
    shut = False
    while not shut and not channel.at_end:
        record = Record(channel, {}).read(return_path.MESSAGE)
        yield record.item(return_path.MESSAGE.name)
        shut = record.integer("message") == ReturnPathMessage.SHUT
    replies = chain([ColoMessage.CHECKPOINT_READY], cycle(colo.CHECKPOINT_REPLIES))
    while not channel.at_end:
        record = Record(channel, Context().values() | {"expected_message": next(replies)})
        yield record.read(colo.MESSAGE).item(colo.MESSAGE.name)
