"""What a receiver must make of a migration, by the slow decoder: the first refusal in the order in which one thread reads, and RAM.

The channels are read as `fuzz_in_process` reads them: each up to its SYNC when a round is to end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.conformance.fuzz_in_process import Seen
from colofd.conformance.fuzz_targets import Target
from colofd.impl import Phase
from colofd.model.decode import Item, decode_main, decode_multifd
from colofd.model.sent import Layout, packet_rounds, page_records
from colofd.model.trace import Sent
from colofd.spec.constants import HELLO_SIZE, MAIN_CHANNEL, MULTIFD_MAGIC, STREAM_MAGIC, PacketFlag, channel_name
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire import colo as colo_tables
from colofd.spec.wire import main_channel, ram

Refusal = tuple[Reason, str, int]
"""Reason, channel and offset."""

_MAGIC_SIZE: Final = 4
_MACHINE_AT: Final = 9
"""Where the length of the machine's name stands."""
_PAYLOAD: Final = frozenset({Reason.PAYLOAD_CORRUPT, Reason.PAYLOAD_LENGTH})
_CUT: Final = frozenset({Reason.TRUNCATED, Reason.PAYLOAD_CORRUPT, Reason.PAYLOAD_LENGTH})
"""With these, the pages that were announced may have arrived in part."""


class _Refused(Exception):  # noqa: N818  # says what happened
    """The decoder refuses; the argument is one or more refusals, each as right as the others."""


@dataclass
class Expected:
    """The verdict, and what RAM must hold: pages by their number, zeros where there is none.

    Attributes:
        refusals: each as right as the others; none: it is accepted.
        pages: of guest RAM at the last commit, or in precopy up to the refusal.
        arriving: of a checkpoint that is not committed: above these in the cache.
        commits: how many there are.
    """

    refusals: tuple[Refusal, ...] = ()
    pages: dict[int, bytes] = field(default_factory=dict)
    arriving: dict[int, bytes] = field(default_factory=dict)
    commits: int = 0

    @property
    def is_cut(self) -> bool:
        """Whether pages may have arrived in part."""
        return any(reason in _CUT for reason, _, _ in self.refusals)


def expected(target: Target, streams: dict[str, bytes]) -> Expected:
    """Return what a receiver must make of all channels of a migration."""
    reading = _Reading(target, streams)
    found = Expected()
    try:
        reading.identify()
        reading.run()
    except _Refused as refused:
        found.refusals = refused.args
    for commits, sent in reading.arrived():
        contents = dict(zip(sent.pages, sent.contents, strict=True)) | dict.fromkeys(sent.zero_pages, bytes(target.context.page_size))
        (found.arriving if commits and commits == reading.commits else found.pages).update(contents)
    found.commits = reading.commits
    return found


class _Reading:
    def __init__(self, target: Target, streams: dict[str, bytes]) -> None:
        self._target = target
        self._context = target.context
        self._streams = streams
        self._layout = Layout(tuple(target.blocks.items()), target.context.page_size)
        self._items: dict[str, list[Item]] = {name: [] for name in streams}
        self._channels: dict[str, Iterator[Item]] = {}
        self._rounds: dict[str, int] = {}
        # What arrives, in its order: commits before it, and a record of the main channel, or a round of another one.
        self._order: list[tuple[int, str, int]] = []
        self.commits = 0

    def identify(self) -> None:
        """Say which channel each is. Raises _Refused."""
        for name, data in self._streams.items():
            if len(data) < _MAGIC_SIZE:
                raise _Refused((Reason.TRUNCATED, "", len(data)))
            if int.from_bytes(data[:_MAGIC_SIZE]) not in {STREAM_MAGIC, MULTIFD_MAGIC}:
                raise _Refused((Reason.CHANNEL_MAGIC, "", 0))
            known = name if self._is_whole(name) else self._identified(data)
            if known in self._channels:
                raise _Refused((Reason.CHANNEL_REPEATED, known, 0))
            self._channels[known] = iter(())
            if known != name:
                self._streams = {**self._streams, known: data}
        if set(self._channels) != {MAIN_CHANNEL, *map(channel_name, range(self._context.channels))}:
            raise _Refused((Reason.DEADLINE, "", -1))
        self._channels = {name: self._decoded(name) for name in self._channels if name != MAIN_CHANNEL}
        for name, channel in self._channels.items():
            self._items[name].append(next(channel))
            self._rounds[name] = 0

    def _is_whole(self, name: str) -> bool:
        """Return whether a channel is not damaged: then it is decoded already."""
        return self._streams[name] is self._target.streams[name]

    def _decoded(self, name: str) -> Iterator[Item]:
        if self._is_whole(name):
            return iter(self._target.items[name])
        return (decode_main if name == MAIN_CHANNEL else decode_multifd)(self._streams[name], self._context)

    def _identified(self, data: bytes) -> str:
        if int.from_bytes(data[:_MAGIC_SIZE]) == STREAM_MAGIC:
            return MAIN_CHANNEL
        if len(data) < HELLO_SIZE:
            raise _Refused((Reason.TRUNCATED, "", len(data)))
        try:
            return next(decode_multifd(data, self._context)).channel
        except Rejected as rejected:
            raise _Refused((rejected.reason, channel_name(data[24]), rejected.offset)) from None

    def run(self) -> None:
        """Read everything. Raises _Refused."""
        data, main = self._streams[MAIN_CHANNEL], self._decoded(MAIN_CHANNEL)
        previous = ""
        while (item := self._next_of_main(main)) is not None:
            self._items[MAIN_CHANNEL].append(item)
            if item.name in {ram.PAGE.name, ram.ZERO.name}:
                self._order.append((self.commits, MAIN_CHANNEL, item.offset))
            elif item.name == ram.FLUSH.name:
                self._end_round()
            elif self._is_commit(previous, item):
                self.commits += 1
            previous = item.name
        if self._context.colo:
            raise _Refused((Reason.CHANNEL_LOST, MAIN_CHANNEL, len(data)))
        if any(self._left(name) for name in self._channels):
            raise _Refused((Reason.FLUSH_MISSING, MAIN_CHANNEL, len(data)))

    def _next_of_main(self, main: Iterator[Item]) -> Item | None:
        try:
            return next(main, None)
        except Rejected as rejected:
            refusal = rejected.reason, MAIN_CHANNEL, rejected.offset
            if rejected.reason is not Reason.TRUNCATED:
                raise _Refused(refusal) from None
            # An end between two items; and a name of a length that is out of all proportion, of which no end is looked for.
            others = [(reason, MAIN_CHANNEL, rejected.offset) for reason in (Reason.CHANNEL_LOST, Reason.DESCRIPTION_MISSING)]
            raise _Refused(refusal, *others, (Reason.MACHINE_MISMATCH, MAIN_CHANNEL, _MACHINE_AT)) from None

    def _is_commit(self, previous: str, item: Item) -> bool:
        """Return whether with this item the end of precopy is complete, or a checkpoint."""
        if item.name == main_channel.DESCRIPTION.name:
            return True
        ends_sections = previous == main_channel.DEVICE_SECTION.name and item.name == main_channel.SECTION_TYPE.name
        return self.commits > 0 and (ends_sections or item.name == colo_tables.DEVICE_STATE.name)

    def _end_round(self) -> None:
        lost = [name for name in sorted(self._channels) if not self._reads_sync(name)]
        if lost:
            raise _Refused((Reason.CHANNEL_LOST, lost[0], len(self._streams[lost[0]])))

    def _reads_sync(self, name: str) -> bool:
        """Read a channel up to its next SYNC; return whether there is one. With COLO, a channel that ends is lost at once."""
        self._order.append((self.commits, name, self._rounds[name]))
        try:
            for item in self._channels[name]:
                self._items[name].append(item)
                if int(str(item.fields["flags"])) & PacketFlag.SYNC:
                    self._rounds[name] += 1
                    return True
        except Rejected as rejected:
            # The receiver reads a header as a whole; the decoder field by field.
            refusals = [(rejected.reason, name, rejected.offset), (Reason.TRUNCATED, name, len(self._streams[name]))]
            if rejected.reason in _PAYLOAD:
                # Of nothing that can be inflated, one may say that it is too little, or that it is wrong.
                refusals += [(reason, name, rejected.offset) for reason in _PAYLOAD]
            raise _Refused(*refusals) from None
        if self._context.colo:
            raise _Refused((Reason.CHANNEL_LOST, name, len(self._streams[name])))
        return False

    def _left(self, name: str) -> bool:
        return sum(item.size for item in self._items[name]) < len(self._streams[name])

    def arrived(self) -> Iterator[tuple[int, Sent]]:
        """Yield the pages that have arrived, in their order, with the number of commits before them."""
        layout, method = self._layout, self._context.compression
        records = page_records(self._streams[MAIN_CHANNEL], self._items[MAIN_CHANNEL], layout)
        rounds = {
            name: self._target.rounds[name]
            if self._is_whole(name)
            else packet_rounds(name, self._streams[name], self._items[name], method, layout)
            for name in self._rounds
        }
        for commits, name, which in self._order:
            for sent in (records[which],) if name == MAIN_CHANNEL else rounds[name][which]:
                yield commits, sent


def wrong(target: Target, wanted: Expected, seen: Seen) -> str:
    """Return what is wrong with what a receiver made of a migration; empty if nothing is."""
    if seen.refused not in (wanted.refusals or (None,)):
        return f"expected {' or '.join(map(str, wanted.refusals)) or 'all accepted'}, got {seen.refused}"
    if seen.guest is None:
        return ""
    is_committed = not target.context.colo or wanted.commits > 0
    is_whole = not wanted.is_cut or (target.context.colo and is_committed)
    in_guest = wanted.pages if is_committed or target.mirror == "packet" else {}
    if is_whole and (different := _differing(seen.guest, in_guest)):
        return f"guest RAM differs at pages {different} in phase {seen.phase}"
    if seen.cache is not None and not wanted.is_cut and (different := _differing(seen.cache, wanted.pages | wanted.arriving)):
        return f"the cache differs at pages {different} in phase {seen.phase}"
    if seen.phase is Phase.COMPLETED and wanted.refusals:
        return f"completed, and refused: {wanted.refusals}"
    return ""


def _differing(memory: npt.NDArray[np.uint8], pages: dict[int, bytes]) -> list[int]:
    return [
        page for page in range(len(memory)) if (memory[page].tobytes() if page in pages else memory[page].any()) != pages.get(page, False)
    ]
