"""Wire cases: each valid stream, and for each check of the wire tables one stream that violates just this check.

The cases are computed from the tables. The slow decoder and the fast receiver must give the same verdict on each.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import zstandard

from colofd.conformance import stream
from colofd.conformance.wire_streams import BLOCKS, DECOY, DEVICE, MACHINE, PAGE, Kind, ValidStream, packets, precopy, valid_streams
from colofd.model.decode import Context, Item, Visit, decode_main, decode_multifd, decode_reverse
from colofd.model.decode_tables import holds
from colofd.spec.constants import (
    COMPRESSION_FLAGS,
    HELLO_SIZE,
    UUID_SIZE,
    ZSTD_WINDOW_LIMIT,
    Command,
    Compression,
    SectionType,
    packet_size,
)
from colofd.spec.reasons import Reason
from colofd.spec.wire import ALL_TABLES, CHECKS, fields, main_channel, multifd
from colofd.spec.wire.expressions import Value


@dataclass(frozen=True)
class WireCase:
    """One stream and the verdict on it.

    Attributes:
        id: stable id; of a violated check `ID.violated`.
        check_id: the check, or the name of the rule, that this case is about.
        kind: "main" (main channel, source to destination), "multifd" (one multifd channel), "reverse" (main channel, back).
        data: the bytes of the channel.
        context: what the receiver knows before.
        expected: the reason to refuse; None: accepted.
        offset: of what is refused, -1 if accepted.
        twin: id of the accepted case that holds the same check.
    """

    id: str
    check_id: str
    kind: Kind
    data: bytes
    context: Context
    expected: Reason | None = None
    offset: int = -1
    twin: str = ""


def wire_cases() -> list[WireCase]:
    """Return all cases: the accepted ones, one violation for each check, and those that no single field decides."""
    streams = valid_streams()
    accepted = [WireCase(f"wire.valid.{valid.id}", "wire.valid", valid.kind, valid.data, valid.context) for valid in streams]
    visited = [(valid, visit) for valid in streams for visit in visits(valid)]
    violated = [_violated(check, visited) for check in CHECKS.values()]
    return accepted + violated + list(_whole_stream_cases(streams))


def decode_case(case: WireCase | ValidStream, visits_seen: list[Visit] | None = None) -> list[Item]:
    """Decode a case, and note each field that is read. Raises Rejected as the decoders do."""
    observer = None if visits_seen is None else visits_seen.append
    match case.kind:
        case "main":
            return list(decode_main(case.data, case.context, observer=observer))
        case "multifd":
            return list(decode_multifd(case.data, case.context, observer=observer))
        case "reverse":
            return list(decode_reverse(case.data, observer=observer))


def visits(valid: ValidStream) -> list[Visit]:
    """Return every field of a valid stream as the decoder read it."""
    seen: list[Visit] = []
    decode_case(valid, seen)
    return seen


def encode(kind: fields.Kind, value: Value) -> bytes:
    """Return `value` as the bytes of a field."""
    match kind, value:
        case fields.Integer(size=size), int():
            return value.to_bytes(size, "big")
        case fields.Raw(), bytes():
            return value
        case fields.CountedText(prefix=prefix), str():
            return len(value).to_bytes(prefix, "big") + value.encode("latin-1")
        case fields.PaddedText(size=size), str():
            return value.encode("latin-1").ljust(size, b"\0")
        case _:
            raise TypeError(f"{value!r} is not the value of a field of kind {kind}")


def _violated(check: fields.Check, visited: list[tuple[ValidStream, Visit]]) -> WireCase:
    case = _by_hand(check) if check.breaking is None else violation(check, visited)
    if case is None:
        raise LookupError(f"no valid stream has a field in which {check.id} can be violated")
    return case


def violation(check: fields.Check, visited: list[tuple[ValidStream, Visit]]) -> WireCase | None:
    """Return the first valid stream with a field in which the edit of `check` violates it, and nothing else that is refused alike.

    None: no stream has such a field, or it takes more than one edit.
    """
    change = check.breaking
    if change is None:
        return None
    for valid, visit in visited:
        if check in visit.field.checks and _violates_only(check, change, visit):
            data = edited(valid.data, visit, change)
            offset = visit.offsets[check.at or visit.field.name] + change.index * _element_size(visit.field.kind)
            twin = f"wire.valid.{valid.id}"
            return WireCase(f"{check.id}.violated", check.id, valid.kind, data, valid.context, check.reason, offset, twin)
    return None


def _violates_only(check: fields.Check, change: fields.Change, visit: Visit) -> bool:
    kind = visit.field.kind
    if isinstance(kind, fields.Array) and not _is_used(kind, visit.values, change.index):
        return False
    edited = _element_values(visit, _edited_values(visit, change), change.index)
    original = _element_values(visit, visit.values, change.index)
    place = visit.field.checks.index(check)
    others = [other for at, other in enumerate(visit.field.checks) if at < place or (at > place and other.reason is check.reason)]
    return holds(check, original) and not holds(check, edited) and all(holds(other, edited) for other in others)


def _is_used(kind: fields.Array, values: Mapping[str, Value], index: int) -> bool:
    used = kind.used.evaluate(values)
    return isinstance(used, int) and index < used


def _edited_values(visit: Visit, change: fields.Change) -> dict[str, Value]:
    field = _record_fields(visit.table)[change.field]
    values = dict(visit.values)
    value, old = change.value.evaluate(values), values[change.field]
    values[change.field] = (*old[: change.index], value, *old[change.index + 1 :]) if isinstance(old, tuple) else value
    return values | {part: expression.evaluate(values) for part, expression in field.parts}


def _element_values(visit: Visit, values: Mapping[str, Value], index: int) -> dict[str, Value]:
    elements = values[visit.field.name]
    if not isinstance(elements, tuple):
        return dict(values)
    return {**values, "element": elements[index], "earlier": elements[:index]}


def _record_fields(table: fields.Table) -> dict[str, fields.Field]:
    """Return the fields of a record by name: of this table, and of the one that it follows."""
    earlier = _record_fields(_TABLES[table.follows]) if table.follows else {}
    return earlier | {field.name: field for field in table.fields}


def edited(data: bytes, visit: Visit, change: fields.Change) -> bytes:
    """Return a stream in which the field that is visited, or another one of its record, is changed."""
    kind = _record_fields(visit.table)[change.field].kind
    start = visit.offsets[change.field]
    old = visit.values[change.field]
    if isinstance(kind, fields.Array) and isinstance(old, tuple):
        start, old, kind = start + change.index * kind.element.size, old[change.index], kind.element
    return data[:start] + encode(kind, change.value.evaluate(visit.values)) + data[start + len(encode(kind, old)) :]


def _element_size(kind: fields.Kind) -> int:
    return kind.element.size if isinstance(kind, fields.Array) else 0


def _by_hand(check: fields.Check) -> WireCase:
    """Return the violation of a check that takes more than one edit."""
    if check is main_channel.SECTION_IS_NEW:
        start = precopy().index(stream.ram_continue(SectionType.PART))
        data = precopy()[:start] + stream.ram_start(()) + precopy()[start:]
        return replace(_main(f"{check.id}.violated", data, check.reason, start + 1), check_id=check.id)
    if check is main_channel.COMMAND_CAN_BE_ANSWERED:
        opening = stream.command(Command.OPEN_RETURN_PATH)
        start = precopy().index(opening)
        data = precopy().replace(opening, b"", 1)
        return replace(_main(f"{check.id}.violated", data, check.reason, start + 1), check_id=check.id)
    if check is multifd.PAGES_COME_AFTER_SYNC:
        sync = stream.PacketWriter(Compression.NONE, PAGE).sync()
        data = packets(Compression.NONE).replace(sync, b"", 1)
        context = Context(channels=2, blocks=BLOCKS, uuid=bytes(UUID_SIZE))
        name, twin = f"{check.id}.violated", "wire.valid.packets-none"
        return WireCase(name, check.id, "multifd", data, context, check.reason, HELLO_SIZE, twin)
    raise LookupError(f"{check.id} has no violation")


def _whole_stream_cases(streams: list[ValidStream]) -> Iterator[WireCase]:
    """Yield what no single field decides: ends, descriptions, payloads."""
    yield from (_truncated(valid) for valid in streams)
    data = precopy()
    yield _main("wire.trailing", data + b"\0", Reason.TRAILING, len(data))
    data = stream.stream_header(MACHINE)
    missing = Context(machine=MACHINE, capabilities=frozenset({"x-ignore-shared"}))
    yield WireCase("wire.capabilities.missing", "wire.capabilities", "main", data, missing, Reason.CAPABILITY_MISMATCH, len(data))
    yield from _description_cases()
    for method in (Compression.ZLIB, Compression.ZSTD):
        yield from _payload_cases(method)


def _main(name: str, data: bytes, reason: Reason, offset: int, *, context: Context | None = None) -> WireCase:
    return WireCase(name, name, "main", data, context or _PRECOPY, reason, offset, "wire.valid.precopy")


def _truncated(valid: ValidStream) -> WireCase:
    data = valid.data[:-1]
    # Without its last byte a description is no description any more, so these streams end inside a page record.
    if valid.kind == "main" and not valid.context.colo:
        data = valid.data[: valid.data.index(stream.ram_continue(SectionType.PART)) + 7]
    return WireCase(
        f"wire.truncated.{valid.id}",
        "wire.truncated",
        valid.kind,
        data,
        valid.context,
        Reason.TRUNCATED,
        len(data),
        f"wire.valid.{valid.id}",
    )


def _description_cases() -> Iterator[WireCase]:
    data = precopy()
    sections = stream.device_sections(DEVICE)
    start = data.index(sections)
    end = start + len(sections)
    described = stream.description(len(DEVICE), PAGE)
    footer = end - 1 - len(stream.footer(0))
    wrong_name = sections.replace(b"device", b"devise", 1)

    def described_by(text: bytes) -> bytes:
        return data[:end] + text

    yield _main("wire.description.missing", data[:end], Reason.DESCRIPTION_MISSING, start)
    yield _main("wire.description.truncated", data[:-1], Reason.DESCRIPTION_MISSING, start)
    yield _main("wire.description.not-json", described_by(described.replace(b'"devices"', b"'devices'")), Reason.DESCRIPTION_MISSING, start)
    yield _main(
        "wire.description.no-devices", described_by(described.replace(b'"devices"', b'"devises"')), Reason.DESCRIPTION_MISMATCH, end + 5
    )
    yield _main("wire.description.page-size", described_by(stream.description(len(DEVICE), 2 * PAGE)), Reason.DESCRIPTION_MISMATCH, end + 5)
    yield _main(
        "wire.description.size-less", described_by(stream.description(len(DEVICE) - 1, PAGE)), Reason.DESCRIPTION_MISMATCH, footer - 1
    )
    yield _main("wire.description.size-more", described_by(stream.description(len(DEVICE) + 1, PAGE)), Reason.DESCRIPTION_MISMATCH, start)
    yield _main("wire.description.name", data[:start] + wrong_name + described, Reason.DESCRIPTION_MISMATCH, start + 6 + 4)
    yield _main("wire.description.footer", data[: footer + 4] + b"\x09" + data[footer + 5 :], Reason.DESCRIPTION_MISMATCH, footer + 4)
    decoyed = precopy(device=DECOY)
    yield _main("wire.description.decoy-only", decoyed[: decoyed.index(DECOY) + len(DECOY)], Reason.DESCRIPTION_MISMATCH, start)


def _payload_cases(method: Compression) -> Iterator[WireCase]:
    context = Context(channels=2, compression=method, blocks={"ram0": 4 * PAGE})
    before = stream.hello(0) + stream.PacketWriter(method, PAGE).sync()
    offset = len(before) + packet_size(PAGE)
    for name, (data, reason) in damaged_payloads(method, "ram0").items():
        twin = f"wire.valid.packets-{method}"
        yield WireCase(f"wire.payload.{name}-{method}", "wire.payload", "multifd", before + data, context, reason, offset, twin)
    for name, payload in _streams_that_are_refused(method).items():
        header = stream.PacketWriter(method, PAGE).header("ram0", COMPRESSION_FLAGS[method], 2, 0, len(payload), [0, PAGE])
        case = before + header + payload
        yield WireCase(
            f"wire.payload.{name}-{method}",
            "wire.payload",
            "multifd",
            case,
            context,
            Reason.PAYLOAD_CORRUPT,
            offset,
            f"wire.valid.packets-{method}",
        )


def _streams_that_are_refused(method: Compression) -> dict[str, bytes]:
    """Return two pages, compressed: in a stream that ends, though one lasts as long as its channel; in a window that is too large."""
    content = b"\x09" * 2 * PAGE
    if method is Compression.ZLIB:
        return {"ended": zlib.compress(content)}
    wide = zstandard.ZstdCompressionParameters(window_log=ZSTD_WINDOW_LIMIT.bit_length())
    writer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    window = writer.compress(content) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return {"ended": zstandard.ZstdCompressor().compress(content), "window": window}


def damaged_payloads(method: Compression, block: str) -> dict[str, tuple[bytes, Reason]]:
    """Return packets whose payload is damaged, too short or too long for its pages, by what is wrong with it."""

    def packet(pages: int, content: bytes) -> bytes:
        writer = stream.PacketWriter(method, PAGE)
        return writer.pages(block, [(index * PAGE, b"") for index in range(pages - 1)] + [((pages - 1) * PAGE, content)], [])

    whole, offset = packet(2, b"\x09" * 2 * PAGE), packet_size(PAGE)
    return {
        "corrupt": (whole[:offset] + bytes(byte ^ 0xFF for byte in whole[offset:]), Reason.PAYLOAD_CORRUPT),
        "short": (packet(2, b"\x09" * PAGE), Reason.PAYLOAD_LENGTH),
        "long": (packet(1, b"\x09" * 2 * PAGE), Reason.PAYLOAD_LENGTH),
    }


_PRECOPY: Final = Context(machine=MACHINE, blocks=BLOCKS)
_TABLES: Final = {table.name: table for table in ALL_TABLES}
