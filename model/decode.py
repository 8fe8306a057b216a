"""The wire tables, interpreted: every byte of a recorded channel as items, slow and obvious.

A decoder says what a channel says. It knows nothing of the other channels: phases and barriers are the receiver's.
"""

from colofd.model.decode_main import decode_main
from colofd.model.decode_multifd import decode_multifd
from colofd.model.decode_reverse import decode_reverse
from colofd.model.decode_tables import Context, FieldValue, Item, Visit
from colofd.spec.wire.ram import BLOCK, END_OF_SECTION

__all__ = ["Context", "FieldValue", "Item", "Visit", "blocks_of", "decode_main", "decode_multifd", "decode_reverse"]


def blocks_of(data: bytes, context: Context) -> tuple[tuple[str, int], ...]:
    """Return name and length in bytes of each RAM block that a main channel lists, in order.

    Only the channel up to the end of its first RAM section is read.

    Raises:
        Rejected: a bad byte before the end of that section.
    """
    blocks: list[tuple[str, int]] = []
    for item in decode_main(data, context):
        if item.name == END_OF_SECTION.name:
            break
        if item.name == BLOCK.name:
            blocks.append((str(item.fields["name"]), int(str(item.fields["length"]))))
    return tuple(blocks)
