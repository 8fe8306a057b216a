"""What a run puts on the wire, byte for byte: each record with its fields, as the wire tables read it, up to what is refused."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from colofd.conformance.black_box_streams import conversations, violations
from colofd.conformance.counterexample import vector_of
from colofd.conformance.put_schedule import tried
from colofd.conformance.saved_schedule import Move, SavedSchedule
from colofd.conformance.vector_format import Send, Vector, bytes_of
from colofd.conformance.wire_cases import WireCase, wire_cases
from colofd.model.decode import Context, Item, Visit, decode_main, decode_multifd
from colofd.model.decode_multifd import UNNAMED_CHANNEL
from colofd.spec.constants import MAIN_CHANNEL
from colofd.spec.reasons import Rejected
from colofd.spec.wire.expressions import show
from colofd.spec.wire.multifd import PACKET
from colofd.spec.wire.ram import PAGE, ZERO

MOST_RECORDS: Final = 150
"""Of a channel so many records are shown, the last ones: a violation is at the end of a run."""
MOST_BYTES: Final = 24
"""Of a field so many bytes are shown."""
_MOST_WORDS: Final = 120


class FieldBytes(msgspec.Struct, frozen=True):
    """A field: its offset in the channel and its size in bytes, its first bytes as hex digits, and its value in words."""

    name: str
    offset: int
    size: int
    bytes: str
    value: str


class RecordBytes(msgspec.Struct, frozen=True):
    """A record, packet or message; `is_refused`: it ends in the field that is refused. `is_about`: the page that is wrong is in it."""

    name: str
    offset: int
    size: int
    fields: list[FieldBytes]
    is_refused: bool = False
    is_about: bool = False


class ChannelBytes(msgspec.Struct, frozen=True):
    """What one channel says; `left_out`: how many records stand before those that are shown. `refused`: by the tables, if it is."""

    name: str
    size: int
    records: list[RecordBytes]
    left_out: int
    refused: str


def bytes_of_schedule(schedule: SavedSchedule, page: int | None = None) -> list[ChannelBytes]:
    """Return what each channel says in a schedule, and which records are about a page.

    Nothing if the primary cannot say it without being led through the receiver's steps.
    """
    # What a thread does, and when, changes nothing of what the primary says.
    moves = [move for move in schedule.moves if move.do not in ("step", "hold", "drain", "close", "failover")]
    moves = [Move("answer") if move.do == "begin_flush" else move for move in moves]
    vectors = []
    tried(lambda wanted: vectors.append(vector_of(wanted)))(msgspec.structs.replace(schedule, moves=moves))
    return [] if not vectors or vectors[0] is None else bytes_of_vector(vectors[0], page)


def bytes_of_vector(vector: Vector, page: int | None = None) -> list[ChannelBytes]:
    """Return what each channel says in a vector, and which records are about a page."""
    said: dict[str, bytes] = {}
    for act in vector.script:
        if isinstance(act, Send):
            said[act.channel] = said.get(act.channel, b"") + bytes_of(act.data)
    setup = vector.setup
    context = Context(setup.page_size, setup.channels, setup.compression, colo=setup.colo)
    # Pages are numbered over all blocks; those behind the first one are left to the reader.
    return _channels(said, context, None if page is None else page * setup.page_size)


def bytes_of_case(name: str, *, is_seen_within: bool) -> list[ChannelBytes]:
    """Return what each channel says in a wire case, or the one that the case is about if the receiver is ours; nothing if it is none."""
    if is_seen_within:
        return _of_wire_case(next((case for case in wire_cases() if case.id == name and case.kind != "reverse"), None))
    valid = conversations()
    case = next((case for case in violations(valid) if case.id == name), None)
    return [] if case is None else _channels(case.channels, case.context)


def _of_wire_case(case: WireCase | None) -> list[ChannelBytes]:
    if case is None:
        return []
    return _channels({MAIN_CHANNEL if case.kind == "main" else UNNAMED_CHANNEL: case.data}, case.context)


def _channels(said: Mapping[str, bytes], context: Context, about: int | None = None) -> list[ChannelBytes]:
    return [_channel(name, data, context, about) for name, data in said.items()]


def _channel(name: str, data: bytes, context: Context, about: int | None) -> ChannelBytes:
    visits: list[Visit] = []
    items: list[Item] = []
    refused = ""
    decode = decode_main if name == MAIN_CHANNEL else decode_multifd
    try:
        items.extend(decode(data, context, observer=visits.append))
    except Rejected as rejected:
        refused = str(rejected)
    # Where there is no payload, it is looked at all the same, and has no bytes.
    records = list(_records(data, items, [visit for visit in visits if visit.size], about, is_refused=bool(refused)))
    return ChannelBytes(name, len(data), records[-MOST_RECORDS:], max(0, len(records) - MOST_RECORDS), refused)


def _records(data: bytes, items: list[Item], visits: list[Visit], about: int | None, *, is_refused: bool) -> Iterator[RecordBytes]:
    at = 0
    for item in items:
        end = at
        while end < len(visits) and visits[end].offset < item.offset + item.size:
            end += 1
        its = visits[at:end]
        yield RecordBytes(
            item.name, item.offset, item.size, [_field(data, visit) for visit in its], is_about=_is_about(item.name, its, about)
        )
        at = end
    if rest := visits[at:]:
        fields = [_field(data, visit) for visit in rest]
        yield RecordBytes(rest[-1].table.name, rest[0].offset, len(data) - rest[0].offset, fields, is_refused=is_refused)


def _is_about(name: str, visits: list[Visit], about: int | None) -> bool:
    """Return whether a record carries the page at this offset of a block."""
    if about is None or not visits:
        return False
    values: Mapping[str, Any] = visits[-1].values
    if name == PACKET.name:
        return about in tuple(values["offsets"])[: values["normal_pages"] + values["zero_pages"]]
    return name in (PAGE.name, ZERO.name) and values["header"] & -values["page_size"] == about


def _field(data: bytes, visit: Visit) -> FieldBytes:
    shown = data[visit.offset : visit.offset + min(visit.size, MOST_BYTES)].hex(" ")
    words = show(visit.values[visit.field.name])
    cut = f"{words[:_MOST_WORDS]} ..." if len(words) > _MOST_WORDS else words
    return FieldBytes(visit.field.name, visit.offset, visit.size, shown + " ..." * (visit.size > MOST_BYTES), cut)
