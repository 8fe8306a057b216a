"""What a source says from the first byte to the last, drawn at random, and what guest RAM must be at each commit."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from colofd.conformance import stream
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, Compression, SectionType, channel_name

PAGE: Final = 4096
PAGES: Final = 8
BLOCK: Final = "ram"
DEVICE: Final = b"state of a device"


@dataclass(frozen=True)
class Put:
    """The source puts bytes on a channel."""

    channel: str
    content: bytes


@dataclass(frozen=True)
class Expect:
    """The source reads a reply, and hangs up if it is another one."""

    message: ColoMessage


Action = Put | Expect


@dataclass
class Script:
    """A migration: its set-up, what is said in which order, and guest RAM at each commit (without COLO: at the end)."""

    channels: int
    compression: Compression
    colo: bool
    length: int = PAGES * PAGE
    actions: list[Action] = field(default_factory=list)
    commits: list[bytes] = field(default_factory=list)

    def size(self, channel: str) -> int:
        """Return how many bytes a channel carries."""
        return sum(len(action.content) for action in self.actions if isinstance(action, Put) and action.channel == channel)


class _Writer:
    def __init__(self, script: Script, chance: random.Random) -> None:
        self._script = script
        self._chance = chance
        self._ram = [bytes(PAGE)] * PAGES
        self._names = [channel_name(number) for number in range(script.channels)]
        self._writers = {name: stream.PacketWriter(script.compression, PAGE) for name in self._names}

    def write(self, checkpoints: int) -> None:
        for number, name in enumerate(self._names):
            self._put(name, stream.hello(number))
        self._put(MAIN_CHANNEL, stream.stream_header("none") + stream.ram_start([(BLOCK, self._script.length)]))
        self._end_round()
        self._put(MAIN_CHANNEL, stream.ram_close() + stream.ram_continue(SectionType.PART))
        for _ in range(self._chance.randint(1, 2)):
            self._pages()
            self._end_round()
        self._put(MAIN_CHANNEL, stream.ram_close() + stream.ram_continue(SectionType.END) + stream.ram_close())
        self._put(MAIN_CHANNEL, stream.device_sections(DEVICE) + stream.description(len(DEVICE), PAGE))
        self._commit()
        if self._script.colo:
            self._script.actions.append(Expect(ColoMessage.CHECKPOINT_READY))
            for _ in range(checkpoints):
                self._checkpoint()

    def _checkpoint(self) -> None:
        self._put(MAIN_CHANNEL, stream.colo_message(ColoMessage.CHECKPOINT_REQUEST))
        self._script.actions.append(Expect(ColoMessage.CHECKPOINT_REPLY))
        self._put(MAIN_CHANNEL, stream.colo_message(ColoMessage.VMSTATE_SEND) + stream.ram_continue(SectionType.END))
        self._pages()
        self._end_round()
        self._put(MAIN_CHANNEL, stream.ram_close() + bytes([SectionType.EOF]) + stream.device_state(DEVICE))
        self._script.actions += [Expect(ColoMessage.VMSTATE_RECEIVED), Expect(ColoMessage.VMSTATE_LOADED)]
        self._commit()

    def _pages(self) -> None:
        """Write some pages anew, some of them with zeros, and send each on any channel."""
        changed = self._chance.sample(range(PAGES), self._chance.randint(1, PAGES))
        while changed:
            count = self._chance.randint(1, len(changed))
            self._packet(self._chance.choice([*self._names, *self._names, MAIN_CHANNEL]), changed[:count])
            changed = changed[count:]

    def _packet(self, channel: str, pages: Sequence[int]) -> None:
        zero = [page for page in pages if self._chance.random() < 1 / 3]
        normal = [page for page in pages if page not in zero]
        for page in pages:
            self._ram[page] = bytes(PAGE) if page in zero else self._chance.randbytes(PAGE)
        contents = [(page * PAGE, self._ram[page]) for page in normal]
        if channel != MAIN_CHANNEL:
            self._put(channel, self._writers[channel].pages(BLOCK, contents, [page * PAGE for page in zero]))
            return
        records = [stream.page_record(BLOCK, offset, content) for offset, content in contents]
        self._put(channel, b"".join([*records, *(stream.zero_record(BLOCK, page * PAGE) for page in zero)]))

    def _end_round(self) -> None:
        for name, writer in self._writers.items():
            self._put(name, writer.sync())
        if self._names:
            self._put(MAIN_CHANNEL, stream.flush())

    def _put(self, channel: str, content: bytes) -> None:
        self._script.actions.append(Put(channel, content))

    def _commit(self) -> None:
        self._script.commits.append(b"".join(self._ram))


def draw_script(chance: random.Random, *, length: int = PAGES * PAGE) -> Script:
    """Return a migration of 0 to 3 multifd channels, with 1 to 3 checkpoints or without COLO. `length`: of the RAM block, as announced."""
    script = Script(chance.randint(0, 3), chance.choice(list(Compression)), colo=chance.random() < 0.75, length=length)
    _Writer(script, chance).write(chance.randint(1, 3))
    return script
