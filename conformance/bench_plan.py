"""What the sender of a benchmark plays: the same bytes for whoever receives, written before the clock runs.

A plan is one file for each channel: words of 8 bytes, little-endian, and after them the bytes that they name (see bench_reference.c).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from colofd.conformance import stream
from colofd.spec.constants import TARGET_PAGE_SIZE as PAGE
from colofd.spec.constants import (
    ColoMessage,
    Command,
    Compression,
    RecordFlag,
    ReturnPathMessage,
    SectionType,
    channel_name,
    pages_per_packet,
)

BLOCK: Final = "ram"
DEVICE: Final = b"a device"
SOURCE_PAGES: Final = pages_per_packet(PAGE)
"""Pages of the sender's memory. It stays in the sender's cache, so that the receiver is what is measured."""
IN_SOURCE: Final = 1 << 63
SEND, EXPECT, CLOCK, MEET = 1, 2, 3, 4

PageNumbers = npt.NDArray[np.int64]
Pattern = Literal["random", "sequential"]


class Clock(IntEnum):
    """What has just happened on the main channel when the sender looks at its clock."""

    BEGIN = 0
    END = 1
    REQUESTED = 2
    RECEIVED = 3
    COMMITTED = 4


@dataclass(frozen=True)
class Load:
    """What a source sends.

    Attributes:
        pages: of guest RAM.
        channels: multifd channels; without any, pages go on the main channel.
        pattern: the order of pages; no page twice in a round.
        rounds: how often all of RAM is sent in precopy; 0: only a single page.
        checkpoints: how many follow; each is preceded by COLO's messages.
        dirty: pages of each checkpoint.
        compression: of the multifd channels.
        has_device: whether there is a device, which a machine without any does not know.
    """

    pages: int
    channels: int
    pattern: Pattern = "random"
    rounds: int = 1
    colo: bool = False
    checkpoints: int = 0
    dirty: int = 0
    compression: Compression = Compression.NONE
    has_device: bool = True

    @property
    def precopy_bytes(self) -> int:
        """Bytes of page content in precopy."""
        return self.pages * self.rounds * PAGE

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of page content in all checkpoints."""
        return self.dirty * self.checkpoints * PAGE


@dataclass
class _Channel:
    """The plan of one channel."""

    words: list[bytes] = field(default_factory=list)
    literals: bytearray = field(default_factory=bytearray)

    def literal(self, content: bytes) -> int:
        at = len(self.literals)
        self.literals += content
        return at

    def send(self, content: bytes) -> None:
        self.words.append(struct.pack("<4Q", SEND, 1, self.literal(content), len(content)))

    def gather(self, pieces: npt.NDArray[np.uint64]) -> None:
        """Send pieces with one call: rows of where they are and how long."""
        self.words += [struct.pack("<2Q", SEND, len(pieces)), pieces.astype("<u8").tobytes()]

    def expect(self, reply: bytes) -> None:
        self.words.append(struct.pack("<3Q", EXPECT, len(reply), self.literal(reply)))

    def clock(self, label: Clock) -> None:
        self.words.append(struct.pack("<2Q", CLOCK, label))

    def meet(self) -> None:
        self.words.append(struct.pack("<2Q", MEET, 0))

    def write(self, path: Path) -> None:
        words = b"".join(self.words)
        path.write_bytes(struct.pack("<Q", 8 + len(words)) + words + self.literals)


class Plan:
    """The plan of a load.

    Attributes:
        landed: for each page of RAM, which page of the sender's memory it holds at the end; -1: zeros.
        payloads: of the first compressed channel: the pages of each packet, compressed.
    """

    def __init__(self, load: Load, seed: int = 1) -> None:
        self._load = load
        self._random = np.random.default_rng(seed)
        self._main = _Channel()
        self._channels = [_Channel() for _ in range(load.channels)]
        self._writers = [stream.PacketWriter(load.compression, PAGE) for _ in range(load.channels)]
        self.landed: PageNumbers = np.full(load.pages, -1, np.int64)
        self.payloads: list[bytes] = []
        self._is_named = False
        self._build()

    def write(self, folder: Path) -> None:
        """Write one file for each channel: 0 is the main one."""
        for number, channel in enumerate((self._main, *self._channels)):
            channel.write(folder / str(number))

    def _build(self) -> None:
        self._begin()
        for _ in range(self._load.rounds):
            self._main.send(stream.ram_continue(SectionType.PART))
            self._round(self._order(self._load.pages))
            self._main.send(stream.ram_close())
        self._end_precopy()
        for _ in range(self._load.checkpoints):
            self._checkpoint()
        # A channel that ends before the last commit is one too few.
        self._meet()

    def _begin(self) -> None:
        main = self._main
        main.send(stream.stream_header("none") + stream.command(Command.OPEN_RETURN_PATH))
        # Pages come after a first SYNC, as a source has it (migration/ram.c:ram_save_setup).
        first = stream.flush() if self._channels else b""
        main.send(stream.ram_start([(BLOCK, self._load.pages * PAGE)]) + first + stream.ram_close())
        for number, (channel, writer) in enumerate(zip(self._channels, self._writers, strict=True)):
            channel.send(stream.hello(number) + writer.sync())
        self._ping(1)
        self._meet()
        main.clock(Clock.BEGIN)

    def _ping(self, value: int) -> None:
        # The answer says that all before it was read.
        self._main.send(stream.command(Command.PING, stream.be32(value)))
        self._main.expect(struct.pack(">HHI", ReturnPathMessage.PONG, 4, value))

    def _meet(self) -> None:
        for channel in (self._main, *self._channels):
            channel.meet()

    def _end_precopy(self) -> None:
        main = self._main
        main.send(stream.ram_continue(SectionType.END) + stream.ram_close())
        if not self._load.colo:
            self._ping(2)
            main.clock(Clock.END)
        has_device = self._load.has_device
        main.send(stream.device_sections(DEVICE) + stream.description(len(DEVICE), PAGE) if has_device else stream.no_devices(PAGE))
        main.expect(struct.pack(">HHI", ReturnPathMessage.SHUT, 4, 0))
        if self._load.colo:
            # Not before the mirror, deferred or not, is complete.
            main.expect(stream.colo_message(ColoMessage.CHECKPOINT_READY))
            main.clock(Clock.END)

    def _checkpoint(self) -> None:
        main = self._main
        main.clock(Clock.REQUESTED)
        main.send(stream.colo_message(ColoMessage.CHECKPOINT_REQUEST))
        main.expect(stream.colo_message(ColoMessage.CHECKPOINT_REPLY))
        self._meet()
        main.send(stream.colo_message(ColoMessage.VMSTATE_SEND) + stream.ram_continue(SectionType.END))
        self._round(np.sort(self._order(self._load.pages)[: self._load.dirty]))
        main.send(stream.ram_close() + bytes([SectionType.EOF]) + stream.device_state(DEVICE))
        main.expect(stream.colo_message(ColoMessage.VMSTATE_RECEIVED))
        main.clock(Clock.RECEIVED)
        main.expect(stream.colo_message(ColoMessage.VMSTATE_LOADED))
        main.clock(Clock.COMMITTED)

    def _order(self, count: int) -> PageNumbers:
        order: PageNumbers = np.arange(count, dtype=np.int64)
        return self._random.permutation(order) if self._load.pattern == "random" else order

    def _round(self, pages: PageNumbers) -> None:
        """Send pages, and end the round. Packets go to the channels by turns."""
        if not self._channels:
            self._is_named = False
            for some in _packets(pages):
                self._records(some)
            return
        for turn, some in enumerate(_packets(pages)):
            self._packet(turn % len(self._channels), some)
        for channel, writer in zip(self._channels, self._writers, strict=True):
            channel.send(writer.sync())
        self._main.send(stream.flush())

    def _contents(self, pages: PageNumbers) -> npt.NDArray[np.uint64]:
        """Return pieces of the sender's memory for pages that are sent now."""
        at = self._random.permutation(SOURCE_PAGES)[: len(pages)]
        self.landed[pages] = at
        pieces = np.empty((len(pages), 2), np.uint64)
        pieces[:, 0] = at * PAGE
        pieces[:, 0] |= np.uint64(IN_SOURCE)
        pieces[:, 1] = PAGE
        return pieces

    def _records(self, pages: PageNumbers) -> None:
        words = (pages * PAGE | (RecordFlag.PAGE | RecordFlag.CONTINUE)).astype(">u8").tobytes()
        pieces = np.empty((2 * len(pages), 2), np.uint64)
        pieces[1::2] = self._contents(pages)
        pieces[0::2, 0] = self._main.literal(words) + 8 * np.arange(len(pages), dtype=np.uint64)
        pieces[0::2, 1] = 8
        if not self._is_named:
            # Only the first page of a round names its block (migration/ram.c:save_page_header).
            named = stream.be64(int(pages[0]) * PAGE | RecordFlag.PAGE) + stream.counted(BLOCK)
            pieces[0] = self._main.literal(named), len(named)
            self._is_named = True
        self._main.gather(pieces)

    def _packet(self, number: int, pages: PageNumbers) -> None:
        channel, writer, offsets = self._channels[number], self._writers[number], (pages * PAGE).tolist()
        if self._load.compression is not Compression.NONE:
            packet = writer.pages(BLOCK, list(zip(offsets, _texts(self._random, len(pages)), strict=True)), [])
            self.payloads.append(packet[-int.from_bytes(packet[20:24]) :])
            channel.send(packet)
            return
        header = writer.header(BLOCK, 0, len(pages), 0, len(pages) * PAGE, offsets)
        pieces = np.array([[channel.literal(header), len(header)]], np.uint64)
        channel.gather(np.concatenate([pieces, self._contents(pages)]))


def _packets(pages: PageNumbers) -> Iterator[PageNumbers]:
    size = pages_per_packet(PAGE)
    for at in range(0, len(pages), size):
        yield pages[at : at + size]


def _texts(random: np.random.Generator, count: int) -> Sequence[bytes]:
    """Return pages of words: they compress to about a half."""
    words = [b"%x " % number for number in range(0, 1 << 20, 511)]
    return [b"".join(words[each] for each in random.integers(0, len(words), 1024))[:PAGE] for _ in range(count)]


def digest(landed: PageNumbers) -> int:
    """Return the digest that a receiver's RAM must have: both receivers take it from the first and last word of each page."""
    words = np.where(landed >= 0, (landed + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15), np.uint64(0))
    return int(np.sum(np.arange(1, len(landed) + 1, dtype=np.uint64) * words * np.uint64(4)))


def names(channels: int) -> list[str]:
    """Return the names of the channels of a plan, in the order of its files."""
    return ["main", *(channel_name(number) for number in range(channels))]
