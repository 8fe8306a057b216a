"""What a vector covers: transitions of pages, packets that follow each other, faults, reasons, boundaries; and which vectors are needed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from colofd.conformance.vector_format import Connect, End, Failover, Ram, Reply, Send, Vector, bytes_of
from colofd.model.decode import Context, Item, decode_main, decode_multifd
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, PacketFlag, Step
from colofd.spec.reasons import Rejected
from colofd.spec.wire import multifd, ram

_REPLY = ColoMessage.CHECKPOINT_REPLY.to_bytes(4, "big").hex()
_RECEIVED = ColoMessage.VMSTATE_RECEIVED.to_bytes(4, "big").hex()


@dataclass
class _Reader:
    """Goes through a script, and notes what happens to which page, at which stage."""

    vector: Vector
    items: Mapping[str, Sequence[Item]]
    stage: str = "precopy"
    sent: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    before: dict[tuple[str, int], str] = field(default_factory=dict)
    again: set[tuple[str, int]] = field(default_factory=set)
    last: str = "begin"

    def covered(self) -> Iterator[str]:
        setup = self.vector.setup
        shape = f"{len(setup.blocks)} blocks of {setup.page_size}-byte pages"
        yield f"set-up: {setup.channels} channels, {setup.compression}, {'colo' if setup.colo else 'precopy'}, {shape}"
        for act in self.vector.script:
            yield from self._act(act)

    def _act(self, act: object) -> Iterator[str]:
        match act:
            case Send(channel=channel, data=data):
                self.sent[channel] += len(bytes_of(data))
                yield from self._items(channel)
            case End(channel=channel):
                yield from self._cut(channel)
            case Failover():
                yield f"failover: in {self.stage} after {self.last}"
                self.stage = "failover"
            case Reply(bytes=digits):
                self._reply(digits)
            case Ram(rule=rule) if rule in (Step.ENTER_COLO, Step.COMMIT, Step.COMPLETE):
                self.stage = "colo" if rule != Step.COMPLETE else "completed"
                self.again.clear()
                yield f"commit: {rule} after {self.last}"
                self.last = rule

    def _reply(self, digits: str) -> None:
        if digits.endswith(_REPLY):
            self.stage = "checkpoint"
        elif digits.endswith(_RECEIVED):
            self.stage = "answered"

    def _items(self, channel: str) -> Iterator[str]:
        """Yield what the items say that are whole by now."""
        items = self.items.get(channel, ())
        while self.taken[channel] < len(items):
            item = items[self.taken[channel]]
            if item.offset + item.size > self.sent[channel]:
                return
            self.taken[channel] += 1
            yield from self._item("main" if channel == MAIN_CHANNEL else "multifd", item)

    def _item(self, kind: str, item: Item) -> Iterator[str]:
        if item.name == multifd.PACKET.name:
            pages = {"normal": _offsets(item, "normal_offsets"), "zero": _offsets(item, "zero_offsets")}
            names = [name for name, offsets in pages.items() if offsets]
            names += ["sync"] if int(str(item.fields["flags"])) & PacketFlag.SYNC else []
        elif item.name in (ram.PAGE.name, ram.ZERO.name):
            pages = {"zero" if item.name == ram.ZERO.name else "normal": (int(str(item.fields["address"])),)}
            names = list(pages)
        else:
            return
        label = f"{self.stage} {kind} {'+'.join(names)}"
        yield f"packet: {label}, {self.vector.setup.compression}"
        yield f"packet: {label} after {self.last}"
        self.last = label
        block = str(item.fields.get("block", ""))
        for name, offsets in pages.items():
            for offset in offsets:
                yield self._page(kind, (block, offset), name)

    def _page(self, kind: str, page: tuple[str, int], now: str) -> str:
        before = self.before.get(page, "never")
        again = ", again in this checkpoint" if page in self.again else ""
        self.before[page] = now
        self.again.add(page)
        return f"page: {self.stage} {kind}: {before} to {now}{again}"

    def _cut(self, channel: str) -> Iterator[str]:
        whole = sum(item.size for item in self.items.get(channel, ()))
        kind = "main" if channel == MAIN_CHANNEL else "multifd"
        rest = self.sent[channel] - whole
        where = "between records" if rest == 0 else "in the header" if rest < _HEADER[kind] else "in the pages"
        yield f"channel ends: {self.stage} {channel} {where}, {self.vector.setup.compression}, after {self.last}"


_HEADER = {"main": 13, "multifd": 1344}
"""Bytes of what stands before the pages of a record or packet."""


def _offsets(item: Item, name: str) -> tuple[int, ...]:
    offsets = item.fields[name]
    return offsets if isinstance(offsets, tuple) else ()


def covered_by(vector: Vector) -> list[str]:
    """Return what a schedule covers, each once."""
    return list(dict.fromkeys(_Reader(vector, _items_of(vector)).covered()))


def _items_of(vector: Vector) -> dict[str, list[Item]]:
    """Return what each channel says, as far as it can be decoded."""
    sent: dict[str, bytes] = {act.channel: b"" for act in vector.script if isinstance(act, Connect)}
    for act in vector.script:
        if isinstance(act, Send):
            sent[act.channel] += bytes_of(act.data)
    setup = vector.setup
    context = Context(
        page_size=setup.page_size,
        channels=setup.channels,
        compression=setup.compression,
        colo=setup.colo,
        blocks={block.name: block.length for block in setup.blocks},
    )
    return {name: list(_decoded(name, data, context)) for name, data in sent.items()}


def _decoded(name: str, data: bytes, context: Context) -> Iterator[Item]:
    try:
        yield from (decode_main if name == MAIN_CHANNEL else decode_multifd)(data, context)
    except Rejected:
        return


def needed(covers: Mapping[str, Sequence[str]], twins: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the vectors that are needed, with what each alone covers.

    Kept is, in order, what covers something new; then whatever the others make up for is dropped, the last ones first.
    The twin of a vector that is kept is kept, too: it covers that it is the twin.

    Args:
        covers: what each vector covers, by its id.
        twins: the id of the twin of each vector; empty if it has none.
    """
    count: Counter[str] = Counter()
    kept: list[str] = []
    for name, its in covers.items():
        if any(not count[each] for each in its):
            kept.append(name)
            count.update(set(its))
    for name in reversed(kept.copy()):
        if all(count[each] > 1 for each in set(covers[name])):
            kept.remove(name)
            count.subtract(set(covers[name]))
    alone = {name: [each for each in dict.fromkeys(covers[name]) if count[each] == 1] for name in kept}
    wanted = {twins[name] for name in kept if twins.get(name)}
    return {name: alone.get(name) or [f"twin: {name}"] for name in covers if name in alone or name in wanted}
