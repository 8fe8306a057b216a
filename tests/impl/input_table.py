"""Input that QEMU refuses, and input that it accepts, hangs on or crashes on: what becomes of each here, with the bytes that show it.

The rows are those of two lists that were made from QEMU's sources: the checks that it makes, and those that it does not make.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from colofd.conformance import stream
from colofd.conformance.wire_cases import WireCase, wire_cases
from colofd.conformance.wire_streams import BLOCKS, DEVICE, MACHINE, PAGE
from colofd.model.decode import Context
from colofd.spec.constants import MAIN_CHANNEL, UUID_SIZE, Compression, SectionType, channel_name
from colofd.spec.reasons import Reason

_CASES: Final = {case.id: case for case in wire_cases()}


@dataclass(frozen=True)
class Whole:
    """All channels of a migration, and the reason to refuse it with the channel that is named; None: it is accepted."""

    id: str
    streams: dict[str, bytes]
    expected: Reason | None
    channel: str = ""
    colo: bool = False
    is_recording: bool = False
    """Whether the model accepts it: it reads recordings, and one may end between two checkpoints."""
    is_about_connections: bool = False
    """Whether the model is not asked: it is told which channel is which."""
    rule: str = ""
    """Id of the rule that it breaks; empty if it is accepted."""

    @property
    def channels(self) -> int:
        """How many multifd channels there are."""
        return len(self.streams) - 1


@dataclass(frozen=True)
class Row:
    """One kind of input.

    Attributes:
        input: what is wrong with it.
        in_qemu: what QEMU does with it.
        cases: a wire case for each check that refuses it, or for its acceptance.
        wholes: migrations in which only the channels together show it.
        elsewhere: why there is no input of this kind here, or what else holds it off.
        rule: id of a rule, clause or record that says it where no check does.
    """

    input: str
    in_qemu: str
    cases: tuple[WireCase, ...] = ()
    wholes: tuple[Whole, ...] = ()
    elsewhere: str = ""
    rule: str = ""

    @property
    def rules(self) -> list[str]:
        """The ids of all rules, clauses, checks and records that say what becomes of it."""
        ids = {*(case.check_id for case in self.cases), *(whole.rule for whole in self.wholes), self.rule}
        return sorted(ids - {""})

    @property
    def vectors(self) -> list[str]:
        """The ids of the inputs."""
        return [*(case.id for case in self.cases), *(whole.id for whole in self.wholes)]


def _row(
    text: str,
    in_qemu: str,
    *checks: str,
    also: tuple[WireCase, ...] = (),
    wholes: tuple[Whole, ...] = (),
    elsewhere: str = "",
    rule: str = "",
) -> Row:
    """Return a row: `checks` are ids of cases, or of checks that their cases violate."""
    found = [_CASES.get(f"wire.{check}.violated") or _CASES[f"wire.{check}"] for check in checks]
    return Row(text, in_qemu, (*found, *also), wholes, elsewhere, rule)


_MULTIFD: Final = Context(channels=2, blocks=BLOCKS, uuid=bytes(UUID_SIZE))


def _packets(
    header: bytes, *, expected: Reason | None = None, offset: int = -1, name: str = "", check: str = "", colo: bool = False
) -> WireCase:
    """Return a case of one packet with pages between two of SYNC."""
    sync = stream.PacketWriter(Compression.NONE, PAGE).sync()
    data = stream.hello(1) + sync + header + sync
    return WireCase(name, check, "multifd", data, replace(_MULTIFD, colo=colo), expected, offset)


def _changed(at: int, content: bytes) -> bytes:
    """Return a packet of two pages with other bytes in its header."""
    packet = stream.PacketWriter(Compression.NONE, PAGE).pages("ram0", [(0, b"\x07" * PAGE)], [PAGE])
    return packet[:at] + content + packet[at + len(content) :]


def _at(packet: int) -> int:
    """Return where byte `packet` of the packet with pages stands in its channel."""
    return 64 + 1344 + packet


_LAST_PAGE_OF_ALL: Final = _packets(
    _changed(320, stream.be64((1 << 64) - PAGE)),
    expected=Reason.PAGE_RANGE,
    offset=_at(320),
    name="offset.wraps",
    check="wire.packet.offset-range",
)
_IN_BOTH_LISTS: Final = _packets(
    _changed(328, stream.be64(0)),
    expected=Reason.PAGE_REPEATED,
    offset=_at(328),
    name="offset.in-both-lists",
    check="wire.packet.offset-repeated",
    colo=True,
)
_RESERVED: Final = (
    _packets(_changed(36, stream.be32(1)), name="packet.reserved-word"),
    _packets(_changed(40, stream.be64(1, 2, 3)), name="packet.reserved-words"),
    _packets(_changed(8, stream.be32(0x8000_0000)), name="packet.unknown-flag"),
)
_NUMBERS: Final = (
    _packets(_changed(24, stream.be64(1 << 40)), name="packet.number-far"),
    _packets(_changed(24, stream.be64(0)), name="packet.number-again"),
)


def _main(*, flushes: int = 2, pages: bytes = b"") -> bytes:
    """Return a main channel that lists the blocks, and has so many rounds for two sections."""
    first = stream.flush() if flushes else b""
    second = max(0, flushes - 1) * stream.flush()
    return (
        stream.stream_header(MACHINE)
        + stream.ram_start(tuple(BLOCKS.items()))
        + first
        + stream.ram_close()
        + stream.ram_continue(SectionType.END)
        + pages
        + second
        + stream.ram_close()
        + stream.device_sections(DEVICE)
        + stream.description(len(DEVICE), PAGE)
    )


@dataclass
class _Channel:
    """What one multifd channel says."""

    number: int
    content: bytes = b""
    writer: stream.PacketWriter = field(default_factory=lambda: stream.PacketWriter(Compression.NONE, PAGE))

    def __post_init__(self) -> None:
        self.content += stream.hello(self.number)

    def sync(self) -> "_Channel":
        self.content += self.writer.sync()
        return self

    def pages(self, *blocks: str) -> "_Channel":
        """Put all pages of some blocks into a packet each."""
        for name in blocks:
            zero = list(range(PAGE, BLOCKS[name], PAGE))
            self.content += self.writer.pages(name, [(0, b"\x07" * PAGE)], zero)
        return self


def _whole(name: str, main: bytes, *channels: _Channel, expected: Reason | None, at: str = "", colo: bool = False, rule: str = "") -> Whole:
    said = {channel_name(channel.number): channel.content for channel in channels}
    return Whole(name, {MAIN_CHANNEL: main, **said}, expected, at, colo, is_recording=colo, rule=rule)


_ALL: Final = tuple(BLOCKS)
_ROUNDS: Final = (
    _whole("rounds.whole", _main(), _Channel(0).sync().pages("ram0").sync(), _Channel(1).sync().pages("ram1").sync(), expected=None),
    _whole(
        "rounds.sync-missing",
        _main(),
        _Channel(0).sync().pages(*_ALL).sync(),
        _Channel(1).sync(),
        expected=Reason.CHANNEL_LOST,
        at="mfd1",
        rule="barrier.release",
    ),
    _whole(
        "rounds.flush-too-many",
        _main(flushes=3),
        _Channel(0).sync().pages(*_ALL).sync(),
        expected=Reason.CHANNEL_LOST,
        at="mfd0",
        rule="barrier.release",
    ),
    _whole(
        "rounds.flush-missing",
        _main(flushes=1),
        _Channel(0).sync().pages(*_ALL),
        expected=Reason.FLUSH_MISSING,
        at="main",
        rule="phase.complete",
    ),
    _whole(
        "rounds.one-sync-missing",
        _main(flushes=3),
        _Channel(0).sync().sync().sync(),
        _Channel(1).sync().pages("ram1").pages("ram0").sync(),
        expected=Reason.CHANNEL_LOST,
        at="mfd1",
        rule="barrier.release",
    ),
    _whole(
        "rounds.one-flush-missing",
        _main(flushes=2),
        _Channel(0).sync().pages("ram0").sync().pages("ram0").sync(),
        _Channel(1).sync().pages("ram1").sync().pages("ram1").sync(),
        expected=Reason.FLUSH_MISSING,
        at="main",
        rule="phase.complete",
    ),
)
_TWICE: Final = Whole(
    "channel.twice",
    {MAIN_CHANNEL: _main(), "mfd0": _Channel(0).content, "mfd1": _Channel(0).content},
    Reason.CHANNEL_REPEATED,
    "mfd0",
    is_about_connections=True,
    rule="multifd.hello",
)
_DEAD: Final = _whole(
    "channel.dies",
    _main(),
    _Channel(0).sync().pages("ram0").sync(),
    _Channel(1).sync().pages("ram1"),
    expected=Reason.CHANNEL_LOST,
    at="mfd1",
    rule="barrier.release",
)
_ZEROS: Final = b"".join(stream.zero_record(name, offset) for name, length in BLOCKS.items() for offset in range(0, length, PAGE))
_NO_COLO: Final = _whole(
    "colo.here-only", _main(pages=_ZEROS, flushes=0), expected=Reason.CHANNEL_LOST, at="main", colo=True, rule="checkpoint.begin"
)

CHECKED: Final = (
    _row(
        "main channel: magic, version, marker of the configuration",
        "refused",
        "main.magic",
        "main.version",
        "main.version-obsolete",
        "configuration.present",
    ),
    _row(
        "section: type, name, instance, version, id, footer",
        "refused",
        *("section.type", "section.name", "section.instance", "section.ram-version", "section.id", "footer.present", "footer.id"),
    ),
    _row("another version of the RAM section", "refused", "section.ram-version"),
    _row("block list: unknown name, other length, other page size", "refused", "block.name", "block.length", "configuration.page-bits"),
    _row("page record: CONTINUE without a block, unknown block", "refused", "ram.continue-without-block", "page.block"),
    _row("page record: outside of its block", "refused", "page.range"),
    _row("record: flags, fill byte, XBZRLE", "refused", "ram.flags", "ram.continue-without-page", "ram.supported", "zero.fill"),
    _row(
        "no cache in COLO",
        "refused in COLO; before it not mirrored",
        elsewhere="cannot be: the cache is there before any thread",
        rule="own.cache-lifetime",
    ),
    _row(
        "first packet: magic, version, UUID, id; a second one",
        "refused",
        *("hello.magic", "hello.version", "hello.uuid", "hello.id"),
        wholes=(_TWICE,),
    ),
    _row("packet: magic, version, an end inside of it", "refused", "packet.magic", "packet.version", "truncated.packets-none"),
    _row("packet: more pages than there is room for", "refused", "packet.pages-alloc", "packet.normal-pages", "packet.zero-pages"),
    _row("packet: unknown block, offset outside of it", "refused", "packet.block", "packet.offset-range"),
    _row(
        "packet: another compression, a payload that does not inflate to its pages",
        "refused",
        *("packet.compression", "payload.corrupt-zlib", "payload.short-zlib", "payload.corrupt-zstd", "payload.short-zstd"),
    ),
    _row("packet of device state", "refused if malformed", "packet.device-state"),
    _row("COLO message: number, order; device state too short", "COLO ends", "colo.message", "colo.message-order", "truncated.checkpoints"),
)
"""Checks that QEMU makes."""

UNCHECKED: Final = (
    _row("id of a channel equals the number of channels", "writes past an array", "hello.id"),
    _row("compressed payload larger than the buffer", "writes past the heap", "packet.payload-bound"),
    _row("uncompressed payload of another size than its pages", "ignored", "packet.payload-size"),
    _row("payload without pages", "aborts", "packet.payload-without-pages", "packet.payload-missing"),
    _row("packet of device state of any size", "takes 4 GiB", "packet.device-state"),
    _row("offset in the middle of a page", "page straddles two", "packet.offset-alignment"),
    _row("offset so large that a sum wraps", "any offset passes", also=(_LAST_PAGE_OF_ALL,)),
    _row("a page twice in a packet", "guest and cache may differ", "packet.offset-repeated", also=(_IN_BOTH_LISTS,)),
    _row("packet with a block that is not migrated", "crashes", "packet.block"),
    _row("multifd: pages before the block list", "crashes", "packet.before-first-sync"),
    _row("SYNC missing, MULTIFD_FLUSH missing or without its SYNC", "hangs", wholes=_ROUNDS),
    _row("a channel dies while the others end the round", "hangs", wholes=(_DEAD,)),
    _row("packet number that jumps or comes again", "ignored; accepted here, too", also=_NUMBERS, rule="multifd.packet"),
    _row("reserved bytes, unknown flags", "ignored; accepted here, too", also=_RESERVED, rule="multifd.packet"),
    _row(
        "block list: overshoots its total, name twice, no length",
        "long loop, or silent",
        "block.length-sum",
        "block.name-repeated",
        "block.length-zero",
    ),
    _row("main channel: pages before the block list, or a second list", "accepted", "ram.block-list-missing", "ram.block-list-repeated"),
    _row("block name: empty, or not terminated", "lookup fails", "block.name-empty", "packet.block-empty", "packet.block-terminated"),
    _row("MULTIFD_FLUSH without multifd", "ignored", "ram.flush-without-multifd"),
    _row("address in a record without page", "ignored", "ram.address-without-page"),
    _row("bytes after the last page of a compressed payload", "ignored", "payload.long-zlib", "payload.long-zstd"),
    _row("device state of a checkpoint of any size", "aborts", "colo.size-limit", "colo.size-zero"),
    _row("COLO on one side only", "hangs", "trailing", wholes=(_NO_COLO,)),
    _row(
        "mapped-ram: a page size of 0",
        "crashes",
        elsewhere="cannot be: no files are read here, and a stream that says mapped-ram is refused",
        rule="wire.configuration.capability-count",
    ),
)
"""Checks that QEMU does not make."""
