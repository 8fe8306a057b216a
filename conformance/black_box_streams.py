"""Whole conversations for a receiver that is seen from outside: all that each channel says, put on the wire at once.

Nothing in them waits for a reply: a multifd channel parks after SYNC until the main channel has come to the end of that round, so what
belongs to a checkpoint is read in that checkpoint. They use one RAM block and no devices, as a machine of the type `none` has them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from colofd.conformance import stream
from colofd.conformance.subjects import BLOCK, Options
from colofd.conformance.wire_cases import damaged_payloads, violation, visits
from colofd.conformance.wire_streams import MACHINE, Kind, ValidStream
from colofd.model.decode import Context, Visit
from colofd.spec.constants import (
    HELLO_SIZE,
    MAIN_CHANNEL,
    PACKET_FIXED_SIZE,
    TARGET_PAGE_SIZE,
    UUID_SIZE,
    ColoMessage,
    Command,
    Compression,
    RecordFlag,
    SectionType,
    packet_size,
)
from colofd.spec.wire import CHECKS
from colofd.spec.wire.main_channel import PAGE_BITS_SUBSECTION
from colofd.spec.wire.multifd import PAGES_COME_AFTER_SYNC

PAGE: Final = TARGET_PAGE_SIZE
PAGES: Final = 8
LENGTH: Final = PAGES * PAGE

_FIRST: Final = b"\x01" * PAGE
_SECOND: Final = b"\x02" * PAGE
_MIXED: Final = bytes(range(256)) * (PAGE // 256)
_ONE_DEVICE_BYTE: Final = stream.be32(ColoMessage.VMSTATE_SIZE) + stream.be64(1) + bytes([SectionType.EOF])
_CUT_AT: Final = 7
"""Bytes of the page in whose middle a truncated stream ends."""
_REPLIES: Final = 32
"""PONG, SHUT, CHECKPOINT_READY, and three replies."""
_WITHOUT_RETURN_PATH: Final = 16
"""CHECKPOINT_READY, and three replies."""
_AGAIN: Final = "in another way"
_OWN: Final = "mfd1"
"""The multifd channel that cases edit."""


@dataclass(frozen=True)
class Conversation:
    """What each channel says, and what becomes of RAM.

    Attributes:
        id: stable id.
        options: how the receiver is set up.
        channels: all bytes of each channel, in the order in which they connect.
        own: the channel that cases edit, from byte `start` on.
        start: see there.
        ram: pages that are not zero at the end.
        committed: with COLO, those of the commit before the last checkpoint.
        is_cut: the channels end after what they say, as if the primary were gone.
        check_id: the check that is violated, or the name of a rule about whole streams; empty: it is valid.
        twin: id of the valid one that it was made from.
        replies: with COLO, bytes on the way back of one checkpoint.
    """

    id: str
    options: Options
    channels: Mapping[str, bytes]
    own: str
    ram: Mapping[int, bytes]
    committed: Mapping[int, bytes] = field(default_factory=dict)
    start: int = 0
    is_cut: bool = False
    check_id: str = ""
    twin: str = ""
    replies: int = _REPLIES

    @property
    def kind(self) -> Kind:
        """What kind of a channel is edited."""
        return "main" if self.own == MAIN_CHANNEL else "multifd"

    @property
    def context(self) -> Context:
        """What a decoder must know."""
        return Context(
            channels=self.options.channels,
            compression=self.options.compression,
            machine=MACHINE,
            blocks={BLOCK: LENGTH},
            colo=self.options.colo,
            uuid=bytes(UUID_SIZE),
        )

    def with_own(self, name: str, check_id: str, data: bytes) -> "Conversation":
        """Return this conversation with other bytes on the channel that cases edit."""
        return replace(self, id=name, check_id=check_id, twin=self.id, channels={**self.channels, self.own: data})

    def with_enable_colo(self) -> "Conversation":
        """Return this conversation as a primary before 11.0 has it: with ENABLE_COLO in place of a return path."""
        if not self.options.colo:
            return self
        main = self.channels[MAIN_CHANNEL].replace(stream.open_return_path(), stream.enable_colo(), 1)
        return replace(self, channels={**self.channels, MAIN_CHANNEL: main}, replies=_WITHOUT_RETURN_PATH)


def conversations(*, has_flush: bool = True, colo: bool = True, multifd_colo: bool = True) -> list[Conversation]:
    """Return the valid conversations.

    Args:
        has_flush: a round ends by MULTIFD_FLUSH, and not with its section, as before 8.1.
        colo: those with COLO, too.
        multifd_colo: and among them those with multifd.
    """
    flush = stream.flush() if has_flush else b""
    found = [_main_only(), _subsections(), *(_precopy(method, flush) for method in Compression)]
    if colo:
        found.append(_main_only_colo())
    if colo and multifd_colo:
        found += [_checkpoint(Compression.NONE, MAIN_CHANNEL), *(_checkpoint(method, _OWN) for method in Compression)]
    return found


def violations(valid: Sequence[Conversation]) -> list[Conversation]:
    """Return conversations with one check violated each: the first in precopy, and the first in a checkpoint; damaged payloads all."""
    found: dict[tuple[str, bool], Conversation] = {}
    for each in valid:
        for case in broken(each):
            is_one_of_many = case.check_id == "wire.truncated" or case.check_id.startswith("wire.payload.") or _AGAIN in case.id
            found.setdefault((case.id if is_one_of_many else case.check_id, case.options.colo), case)
    return list(found.values())


def broken(valid: Conversation) -> Iterator[Conversation]:
    """Yield this conversation with one check of the wire tables violated, for each check that it has a field for."""
    # Where the blocks are known, a name is refused for being unknown before anything else is wrong with it.
    known, unknown = (_visits(valid, blocks) for blocks in (valid.context.blocks, None))
    for check in CHECKS.values():
        case = None if check.id in _BY_HAND else violation(check, known) or violation(check, unknown)
        if case is not None:
            yield valid.with_own(f"{check.id}.violated in {valid.id}", check.id, case.data)
    yield from _whole(valid)


def _visits(valid: Conversation, blocks: Mapping[str, int] | None) -> list[tuple[ValidStream, Visit]]:
    """Return the fields that may be edited, as they are read by a decoder that knows these blocks; first those of pages."""
    own = ValidStream(valid.id, valid.kind, valid.channels[valid.own], replace(valid.context, blocks=blocks))
    start_of_pages = own.data.index(stream.ram_continue(SectionType.PART)) if valid.kind == "main" else HELLO_SIZE + packet_size(PAGE)
    found = [visit for visit in visits(own) if visit.offset >= valid.start]
    return [(own, visit) for visit in sorted(found, key=lambda visit: visit.offset < start_of_pages)]


# Valid ones.


def _main(first: bytes, last: bytes = b"", *, head: bytes | None = None, blocks: bytes | None = None) -> bytes:
    """Return a main channel up to the description; `first` stands in the section PART, `last` in END, `blocks` are the list of blocks."""
    return (
        (stream.stream_header(MACHINE) if head is None else head)
        + (stream.ram_start([(BLOCK, LENGTH)]) if blocks is None else blocks)
        + stream.ram_close()
        + stream.ram_continue(SectionType.PART)
        + first
        + stream.ram_close()
        + stream.ram_continue(SectionType.END)
        + last
        + stream.ram_close()
        + stream.no_devices(PAGE)
    )


def _records() -> bytes:
    """Return page records: pages 0 and 1 with content, page 3 zero."""
    continued = stream.be64(PAGE | RecordFlag.PAGE | RecordFlag.CONTINUE) + _SECOND
    return stream.page_record(BLOCK, 0, _FIRST) + continued + stream.zero_record(BLOCK, 3 * PAGE)


def _main_only() -> Conversation:
    options = Options(pages=PAGES, channels=0, colo=False)
    head = stream.stream_header(MACHINE) + stream.open_return_path()
    return Conversation("precopy", options, {MAIN_CHANNEL: _main(_records(), head=head)}, MAIN_CHANNEL, {0: _FIRST, 1: _SECOND})


def _subsections() -> Conversation:
    bits = bytes([SectionType.SUBSECTION]) + stream.counted(PAGE_BITS_SUBSECTION) + stream.be32(1, PAGE.bit_length() - 1)
    main = _main(_records(), head=stream.stream_header(MACHINE) + bits)
    return replace(_main_only(), id="precopy-subsections", channels={MAIN_CHANNEL: main})


def _packets(writer: stream.PacketWriter) -> bytes:
    normal = [(PAGE, _SECOND), (0, _MIXED)]
    return writer.pages(BLOCK, normal, [2 * PAGE, 3 * PAGE]) + writer.pages(BLOCK, [], [4 * PAGE, 5 * PAGE])


def _precopy(method: Compression, flush: bytes) -> Conversation:
    """Pages on the second of two channels. Rounds end, in each version, where sections do: after the list, in PART and in END."""
    writer, sync = stream.PacketWriter(method, PAGE), stream.PacketWriter(method, PAGE).sync()
    own = stream.hello(1) + writer.sync() + _packets(writer) + writer.sync() + writer.sync()
    main = _main(flush, flush, blocks=stream.ram_start([(BLOCK, LENGTH)]) + flush)
    channels = {MAIN_CHANNEL: main, "mfd0": stream.hello(0) + 3 * sync, _OWN: own}
    options = Options(pages=PAGES, channels=2, colo=False, compression=method)
    return Conversation(f"precopy-{method}", options, channels, _OWN, {0: _MIXED, 1: _SECOND})


def in_precopy(name: str, packets: bytes, ram: Mapping[int, bytes], *, colo: bool) -> Conversation:
    """Return a conversation with these packets in precopy; with COLO, a checkpoint without pages follows. Rounds end by MULTIFD_FLUSH."""
    sync, flush = stream.PacketWriter(Compression.NONE, PAGE).sync(), stream.flush()
    head = stream.stream_header(MACHINE) + stream.open_return_path() * colo
    main = _main(b"", flush, head=head, blocks=stream.ram_start([(BLOCK, LENGTH)]) + flush) + _message(2 * flush) * colo
    rest = (1 + 2 * colo) * sync
    channels = {MAIN_CHANNEL: main, "mfd0": stream.hello(0) + sync + rest, _OWN: stream.hello(1) + sync + packets + rest}
    return Conversation(name, Options(pages=PAGES, channels=2, colo=colo), channels, _OWN, ram)


def _message(pages: bytes) -> bytes:
    messages = stream.colo_message(ColoMessage.CHECKPOINT_REQUEST) + stream.colo_message(ColoMessage.VMSTATE_SEND)
    section = stream.ram_continue(SectionType.END) + pages + stream.ram_close()
    return messages + section + bytes([SectionType.EOF]) + _ONE_DEVICE_BYTE


def _main_only_colo() -> Conversation:
    options = Options(pages=PAGES, channels=0, colo=True)
    precopy = _main(stream.page_record(BLOCK, 2 * PAGE, _FIRST), head=stream.stream_header(MACHINE) + stream.open_return_path())
    main = precopy + _message(_records())
    final = {0: _FIRST, 1: _SECOND, 2: _FIRST}
    return Conversation("checkpoint", options, {MAIN_CHANNEL: main}, MAIN_CHANNEL, final, {2: _FIRST}, start=len(precopy))


def _checkpoint(method: Compression, own: str) -> Conversation:
    """Page 2 in precopy; in a checkpoint it turns zero, and others come. Rounds end at: list, END, begin and end of the checkpoint."""
    writer, sync = stream.PacketWriter(method, PAGE), stream.PacketWriter(method, PAGE).sync()
    before = stream.hello(1) + writer.sync() + writer.pages(BLOCK, [(2 * PAGE, _FIRST)], []) + writer.sync() + writer.sync()
    flush = stream.flush()
    head = stream.stream_header(MACHINE) + stream.open_return_path()
    precopy = _main(b"", flush, head=head, blocks=stream.ram_start([(BLOCK, LENGTH)]) + flush)
    channels = {
        MAIN_CHANNEL: precopy + _message(flush + flush),
        "mfd0": stream.hello(0) + 4 * sync,
        _OWN: before + _packets(writer) + writer.sync(),
    }
    options = Options(pages=PAGES, channels=2, compression=method)
    start = len(precopy if own == MAIN_CHANNEL else before)
    final = {0: _MIXED, 1: _SECOND}
    kind = "main" if own == MAIN_CHANNEL else "packets"
    return Conversation(f"checkpoint-{kind}-{method}", options, channels, own, final, {2: _FIRST}, start=start)


# Those that no single field decides, or where the rest of the stream would not fit the edited field.


def _with_blocks(blocks: bytes) -> bytes:
    return _main(_records(), blocks=blocks)


_LIST: Final = [(BLOCK, LENGTH)]
_HEAD_OF_LIST: Final = len(stream.ram_start(())) - 8
"""Bytes of the section START before the list of blocks."""
_NEW_SECTION: Final = stream.footer(stream.RAM_SECTION_ID) + stream.ram_continue(SectionType.PART)

_BY_HAND: Final[Mapping[str, bytes]] = {
    "wire.section.id-reused": _with_blocks(stream.ram_start(_LIST) + stream.ram_close() + stream.ram_start(())),
    "wire.command.return-path": _main(_records(), head=stream.stream_header(MACHINE) + stream.command(Command.PING, stream.be32(1))),
    "wire.ram.continue-without-page": _main(_records() + stream.be64(RecordFlag.EOS | RecordFlag.CONTINUE) + _NEW_SECTION),
    "wire.ram.address-without-page": _main(_records() + stream.be64(PAGE | RecordFlag.EOS) + _NEW_SECTION),
    "wire.ram.flush-without-multifd": _main(stream.flush() + _records()),
    "wire.ram.block-list-missing": _with_blocks(stream.ram_start(())[:_HEAD_OF_LIST]),
    "wire.ram.block-list-repeated": _with_blocks(stream.ram_start(_LIST) + stream.ram_start(_LIST)[_HEAD_OF_LIST:]),
    "wire.ram.block-list-empty": _with_blocks(stream.ram_start(())),
    "wire.block.name-repeated": _with_blocks(stream.ram_start(2 * _LIST)),
    "wire.block.length-zero": _with_blocks(stream.ram_start([(BLOCK, 0), *_LIST])),
}


def _whole(valid: Conversation) -> Iterator[Conversation]:
    own = valid.channels[valid.own]
    cut = replace(valid.with_own(f"wire.truncated in {valid.id}", "wire.truncated", _truncated(valid)), is_cut=True)
    yield replace(cut, ram={0: _FIRST[:_CUT_AT] + bytes(PAGE - _CUT_AT)}) if valid.kind == "main" else cut
    if valid.id == _main_only().id:
        yield from (valid.with_own(f"{check}.violated in {valid.id}", check, data) for check, data in _BY_HAND.items())
        prefix = own.replace(stream.stream_header(MACHINE), stream.stream_header(MACHINE[:-1]), 1)
        yield valid.with_own(f"wire.configuration.machine {_AGAIN} in {valid.id}", "wire.configuration.machine", prefix)
        yield valid.with_own("wire.trailing", "wire.trailing", own + b"\0")
        yield from (replace(valid.with_own(check, check, data), is_cut=True) for check, data in _descriptions(own))
    if valid.own == _OWN and not valid.options.colo and valid.options.compression is Compression.NONE:
        check, sync = PAGES_COME_AFTER_SYNC.id, stream.PacketWriter(Compression.NONE, PAGE).sync()
        late = own.replace(sync, b"", 1) + sync
        yield valid.with_own(f"{check}.violated in {valid.id}", check, late)
    if valid.id == f"precopy-{Compression.NONE}":
        yield from (valid.with_own(f"{check} {_AGAIN} in {valid.id}", check, data) for check, data in _further(own))
    if valid.own == _OWN and not valid.options.colo and valid.options.compression is not Compression.NONE:
        # A later packet of a compressed channel goes on in the middle of a stream: the damaged one is the first.
        before, sync = HELLO_SIZE + packet_size(PAGE), stream.PacketWriter(valid.options.compression, PAGE).sync()
        for name, (packet, _) in damaged_payloads(valid.options.compression, BLOCK).items():
            damaged = valid.with_own(f"wire.payload.{name} in {valid.id}", f"wire.payload.{name}", own[:before] + packet + 2 * sync)
            # The page that a payload ends in, or goes on behind, is the only one whose content arrives as a whole.
            yield replace(damaged, ram={0: b"\x09" * PAGE})


def _further(own: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a check and a multifd channel in which nothing but that is wrong, where another edit may be refused for another reason."""
    at = HELLO_SIZE + packet_size(PAGE)

    def edited(offset: int, data: bytes) -> bytes:
        return own[: at + offset] + data + own[at + offset + len(data) :]

    # Two pages with content and two of zeros: in a packet with less room, and one of them inside of the page that it was.
    yield "wire.packet.normal-pages", edited(12, stream.be32(1))
    yield "wire.packet.zero-pages", edited(12, stream.be32(3))
    yield "wire.packet.offset-alignment", edited(PACKET_FIXED_SIZE, stream.be64(PAGE + 1))


def _truncated(valid: Conversation) -> bytes:
    """Return the channel without its end: without its last byte or, where a description is there, in the middle of a page record."""
    own = valid.channels[valid.own]
    if valid.own == MAIN_CHANNEL and not valid.options.colo:
        return own[: own.index(_FIRST) + _CUT_AT]
    return own[:-1]


def _descriptions(own: bytes) -> Iterator[tuple[str, bytes]]:
    described = stream.no_devices(PAGE)[1:]
    before = own.removesuffix(described)
    yield "wire.description.missing", before
    yield "wire.description.truncated", own[:-1]
    yield "wire.description.not-json", before + described.replace(b'"devices"', b"'devices'")
    yield "wire.description.no-devices", before + described.replace(b'"devices"', b'"devises"')
    yield "wire.description.page-size", before + stream.no_devices(2 * PAGE)[1:]
