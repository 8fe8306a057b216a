"""Reads the payload of the sections of "ram": the block list and the page records."""

from collections.abc import Iterator
from typing import Final

from colofd.model.decode_tables import Channel, Context, Item, Record
from colofd.spec.constants import RecordFlag
from colofd.spec.wire import ram

_TABLES: Final = {
    RecordFlag.MEM_SIZE: ram.MEMORY_SIZE,
    RecordFlag.ZERO: ram.ZERO,
    RecordFlag.PAGE: ram.PAGE,
    RecordFlag.MULTIFD_FLUSH: ram.FLUSH,
    RecordFlag.EOS: ram.END_OF_SECTION,
}


class RamSection:
    """The reader of all RAM sections of one main channel: what one section says holds for the next."""

    def __init__(self, channel: Channel, context: Context) -> None:
        self.channel = channel
        self.context = context
        self.blocks: dict[str, int] = {}
        self.total_bytes = 0
        self.previous_block = ""

    def items(self) -> Iterator[Item]:
        """Yield the records up to EOS, from the position of the channel."""
        while True:
            record = self._record().read(ram.RECORD)
            flag = RecordFlag(record.integer("flags") & ~RecordFlag.CONTINUE)
            yield record.read(_TABLES[flag]).item(_TABLES[flag].name)
            if flag is RecordFlag.EOS:
                return
            if flag is RecordFlag.MEM_SIZE:
                yield from self._block_list(record.integer("address"))
            elif "block" in record.values:
                self.previous_block = record.text("block")

    def _record(self) -> Record:
        record = Record(self.channel, self.context.values())
        record.values |= {"blocks": dict(self.blocks), "total_bytes": self.total_bytes, "previous_block": self.previous_block}
        return record

    def _block_list(self, total_bytes: int) -> Iterator[Item]:
        self.total_bytes = total_bytes
        while (listed := sum(self.blocks.values())) < total_bytes:
            record = self._record()
            record.values["listed_bytes"] = listed
            yield record.read(ram.BLOCK).item(ram.BLOCK.name)
            self.blocks[record.text("name")] = record.integer("length")
