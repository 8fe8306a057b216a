"""`colofd decode`: show every record, packet and message of a recording, byte for byte."""

import json
import lzma
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Final

import click

from colofd.conformance import captures
from colofd.model.decode import Context, FieldValue, Item, decode_main, decode_multifd, decode_reverse
from colofd.model.decode_multifd import UNNAMED_CHANNEL
from colofd.model.decode_reverse import REVERSE_CHANNEL
from colofd.spec.constants import (
    MAIN_CHANNEL,
    TARGET_PAGE_SIZE,
    ColoMessage,
    Command,
    Compression,
    PacketFlag,
    RecordFlag,
    ReturnPathMessage,
    SectionType,
)
from colofd.spec.reasons import Rejected
from colofd.spec.wire.expressions import show
from colofd.spec.wire.ram import BLOCK

XZ_MAGIC: Final = b"\xfd7zXZ\0"
ANY_CHANNELS: Final = 256
"""More channels than an id can name: for a single file, of which nobody said how many channels it had."""

CAPABILITIES: Final = ("multifd", "x-colo", "return-path", "events", "x-ignore-shared")
COMPRESSION_PREFIX: Final = "multifd-compression="

NAMES_OF_VALUES: Final[dict[tuple[str, str], type[IntEnum | IntFlag]]] = {
    ("main", "type"): SectionType,
    ("main", "footer_type"): SectionType,
    ("main", "command"): Command,
    ("ram", "flags"): RecordFlag,
    ("multifd", "flags"): PacketFlag,
    ("colo", "message"): ColoMessage,
    ("return-path", "message"): ReturnPathMessage,
}
"""For people: what the numbers of a field are called, by the first part of the item's name and the field's."""

DECODED, REFUSED = 0, 1


@dataclass
class _Count:
    items: int = 0
    bytes: int = 0
    unaccounted_bytes: int = 0


@dataclass
class _Report:
    """What has been decoded so far, printed as it comes."""

    as_json: bool
    channels: dict[str, _Count] = field(default_factory=dict)

    def show(self, item: Item) -> None:
        if self.as_json:
            fields = {name: _plain(value) for name, value in item.fields.items()}
            line = {"channel": item.channel, "offset": item.offset, "size": item.size, "name": item.name, "fields": fields}
            click.echo(json.dumps(line))
            return
        fields_text = " ".join(f"{name}={_text(item, name)}" for name, value in item.fields.items() if not _is_padding(name, value))
        click.echo(f"{item.channel:8} {item.offset:>10} {item.size:>8}  {item.name:22} {fields_text}".rstrip())

    def end(self, rejected: Rejected | None) -> int:
        if self.as_json:
            summary: dict[str, object] = {"channels": {name: vars(count) for name, count in self.channels.items()}, "ok": rejected is None}
            if rejected is not None:
                summary["error"] = {key: getattr(rejected, key) for key in ("reason", "channel", "offset", "read", "expected")}
            click.echo(json.dumps({"summary": summary}))
        else:
            for name, count in self.channels.items():
                click.echo(f"{name}: {count.items} items, {count.bytes} bytes, {count.unaccounted_bytes} bytes not accounted for")
        if rejected is None:
            return DECODED
        click.echo(f"colofd: refused: {rejected}", err=True)
        return REFUSED


@click.command()
@click.argument("source", metavar="DIR|FILE")
@click.option(
    "--kind", type=click.Choice(["main", "multifd", "reverse"]), help="What a FILE is: a main channel, a multifd channel, or a way back."
)
@click.option("--page-size", type=click.IntRange(1024, 65536), help=f"Bytes of a target page of a FILE; {TARGET_PAGE_SIZE} if not given.")
@click.option(
    "--capabilities",
    metavar="A,B",
    help=f"Capabilities of a FILE: {', '.join(CAPABILITIES)}, {COMPRESSION_PREFIX}none|zlib|zstd.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; the last one is the summary.")
def decode(source: str, kind: str | None, page_size: int | None, capabilities: str | None, *, as_json: bool) -> None:
    """Show every record, packet and message of a recording.

    DIR is a capture, or the name of one that is shipped; FILE holds the bytes of one channel, raw or as .xz.

    Exit codes: 0 every byte is decoded, 1 the first bad byte is refused, 2 it could not be run.

    Example: colofd decode colo-mfd2-slow
    """
    if kind is not None:
        context = _context(kind, page_size, capabilities)
        parts = _file_parts(Path(source), kind, context)
    elif page_size is not None or capabilities is not None:
        raise click.UsageError("--page-size and --capabilities describe a FILE; say with --kind what it is")
    elif Path(source).is_file():
        raise click.UsageError(f"{source} is a file; say with --kind what it is: main, multifd or reverse")
    else:
        parts = _capture_parts(captures.load(captures.find(source)))
    sys.exit(_run(parts, _Report(as_json)))


@dataclass
class _Part:
    """One channel to decode: its bytes and the items of them."""

    channel: str
    data: bytes
    items: Iterator[Item]


def _run(parts: Iterator[_Part], report: _Report) -> int:
    for part in parts:
        rejected = _decode_part(part, report)
        if rejected is not None:
            return report.end(rejected)
    return report.end(None)


def _decode_part(part: _Part, report: _Report) -> Rejected | None:
    """Show the items of one channel, and count them under the name that they have."""
    name = part.channel
    count = _Count(unaccounted_bytes=len(part.data))
    rejected = None
    try:
        for item in part.items:
            report.show(item)
            name = item.channel
            count.items += 1
            count.bytes += item.size
            count.unaccounted_bytes -= item.size
    except Rejected as error:
        rejected = error
    report.channels[name] = count
    return rejected


def _capture_parts(capture: captures.Capture) -> Iterator[_Part]:
    """Yield the channels of a capture; the main channel first, since it lists the blocks that the others name."""
    blocks: dict[str, int] = {}
    main = capture.streams[MAIN_CHANNEL]
    yield _Part(MAIN_CHANNEL, main, _noting_blocks(decode_main(main, capture.context), blocks))
    context = replace(capture.context, blocks=blocks)
    for channel, data in capture.streams.items():
        if channel != MAIN_CHANNEL:
            yield _Part(channel, data, decode_multifd(data, context))
    yield _Part(REVERSE_CHANNEL, capture.replies, decode_reverse(capture.replies))


def _noting_blocks(items: Iterator[Item], blocks: dict[str, int]) -> Iterator[Item]:
    for item in items:
        if item.name == BLOCK.name:
            blocks[str(item.fields["name"])] = int(str(item.fields["length"]))
        yield item


def _file_parts(path: Path, kind: str, context: Context) -> Iterator[_Part]:
    data = _content(path)
    match kind:
        case "main":
            yield _Part(MAIN_CHANNEL, data, decode_main(data, context))
        case "multifd":
            yield _Part(UNNAMED_CHANNEL, data, decode_multifd(data, context))
        case _:
            yield _Part(REVERSE_CHANNEL, data, decode_reverse(data))


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return lzma.decompress(data) if data.startswith(XZ_MAGIC) else data
    except (OSError, lzma.LZMAError) as error:
        raise click.UsageError(f"{path} cannot be read: {error}") from error


def _context(kind: str, page_size: int | None, capabilities: str | None) -> Context:
    names = {name for name in (capabilities or "").split(",") if name}
    methods = {name.removeprefix(COMPRESSION_PREFIX) for name in names if name.startswith(COMPRESSION_PREFIX)} or {Compression.NONE}
    names = {name for name in names if not name.startswith(COMPRESSION_PREFIX)}
    unknown = sorted(names - set(CAPABILITIES)) + sorted(methods - set(Compression))
    if unknown or len(methods) > 1:
        raise click.UsageError(f"--capabilities cannot have {', '.join(unknown) or 'two methods of compression'}; see --help")
    has_channels = kind == "multifd" or "multifd" in names
    try:
        return Context(
            page_size=page_size or TARGET_PAGE_SIZE,
            channels=ANY_CHANNELS if has_channels else 0,
            compression=Compression(methods.pop()),
            capabilities=frozenset(names),
            colo="x-colo" in names,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _plain(value: FieldValue) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return list(value) if isinstance(value, tuple) else value


def _text(item: Item, name: str) -> str:
    value = item.fields[name]
    names = NAMES_OF_VALUES.get((item.name.partition(".")[0], name))
    return show(names(value) if names is not None and isinstance(value, int) else value)


def _is_padding(name: str, value: FieldValue) -> bool:
    return name == "reserved" and isinstance(value, bytes) and not any(value)
