"""Vectors that differ from a valid one by one fact: one field of one record has another value, or a channel ends before it.

The decoder reads what was sent up to there, and says what is to be refused, or that nothing is.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from colofd.conformance.subjects import Options
from colofd.conformance.vector_ends import end_vectors
from colofd.conformance.vector_format import Act, Send, Vector, Verdict, pieces_of, slug
from colofd.conformance.vector_places import Place, decoded, decoded_until, places, sent_on
from colofd.conformance.vector_script import ScriptWriter, refused_after, reordered, written
from colofd.conformance.wire_cases import edited
from colofd.model.decode import Item
from colofd.model.decode_multifd import UNNAMED_CHANNEL
from colofd.spec.constants import MAIN_CHANNEL, Command, Compression, PacketFlag, SectionType, Step, channel_name
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire import ALL_TABLES, CHECKS, fields

FAMILY: Final = "field"

_TABLES: Final = {table.name: table for table in ALL_TABLES}


def edit_vectors(base: Vector, seen: set[str]) -> Iterator[tuple[Vector, list[str]]]:
    """Yield what differs from a valid vector by one field, at its first place in each stage, and by a channel that ends before it.

    `seen` is what was covered by other bases, which is left out, and added to.
    """
    here: set[str] = set()
    for place in places(base):
        if str(place) in here:
            continue
        here.add(str(place))
        if f"ends {place}" not in seen:
            seen.add(f"ends {place}")
            yield from end_vectors(base, place)
        for name, change in _changes(place):
            what = f"{place} {name}{_method(base, place, name)}"
            edit = _edit(base, place, name, change)
            if edit is not None and what not in seen:
                seen.add(what)
                yield from _vectors(edit)


def _method(base: Vector, place: Place, name: str) -> str:
    """Return the compression, if it is what a field is about."""
    is_about = place.kind == "multifd" and place.visit.field.name in _OF_COMPRESSION and name not in _UNKNOWN_BITS
    return f", {base.setup.compression}" if is_about else ""


_BREAKS: Final = "breaks "
_BITS: Final = 32
_UNKNOWN_BITS: Final = frozenset(f"bit {bit} changed" for bit in range(_BITS) if bit >= PacketFlag.DEVICE_STATE.bit_length())

_OF_COMPRESSION: Final = ("flags", "normal_pages", "zero_pages", "next_packet_size")
"""Fields of a packet that are read in the light of the compression."""


_KINDS: Final[dict[str, type[SectionType | Command]]] = {"type": SectionType, "command": Command}
"""Fields that say what follows, with all that they may say somewhere."""


def _changes(place: Place) -> Iterator[tuple[str, fields.Change]]:
    """Yield other values of a field by what they are: those that break its checks, its lowest and highest ones, neighbours and bits."""
    visit = place.visit
    for check in visit.field.checks:
        if check.breaking is not None and check.breaking.field == visit.field.name:
            yield f"{_BREAKS}{check.id}", check.breaking
    kind = visit.field.kind
    value = visit.values[visit.field.name]
    if isinstance(kind, fields.Array) and isinstance(value, tuple):
        if not value:
            return
        kind, value = kind.element, value[0]
    if not isinstance(kind, fields.Integer) or not isinstance(value, int):
        return
    highest = (1 << 8 * kind.size) - 1
    numbers = {f"becomes {named.name}": named.value for named in _KINDS.get(visit.field.name, ())}
    numbers |= {"lowest": 0, "highest": highest, "one more": value + 1, "one less": value - 1, "sign bit": value ^ (highest + 1 >> 1)}
    if visit.field.name in ("flags", "header"):
        # Of a record, the flags are the bits below the page size.
        numbers |= {f"bit {bit} changed": value ^ (1 << bit) for bit in range(min(_BITS, 8 * kind.size))}
    for name, number in numbers.items():
        if 0 <= number <= highest and number != value:
            yield name, fields.becomes(visit.field.name, number)


@dataclass(frozen=True)
class _Edit:
    """A field of a valid vector that has another value, of which `name` says which; `data` is all that its channel says then."""

    base: Vector
    place: Place
    name: str
    data: bytes

    @property
    def what(self) -> str:
        """Which value of which field, and when."""
        return f"{self.place.field} {self.name} in {self.place.stage}"

    @property
    def said(self) -> Send:
        """The act that sends the field."""
        return Send(self.place.channel, pieces_of(self.data[self.place.start : self.place.end]))

    @property
    def differs(self) -> str:
        """The bytes that are other ones."""
        before = sent_on(self.base.script, self.place.channel)
        places = [at for at in range(len(before)) if before[at] != self.data[at]]
        first, end = places[0], places[-1] + 1
        return f"{self.place.channel}, byte {first}: {self.data[first:end].hex()}, not {before[first:end].hex()}"

    def vector(self, rule: str, verdict: Verdict, script: list[Act]) -> Vector:
        """Return what was edited as a vector."""
        name = f"{self.base.id.rpartition('/')[2]} {self.place.channel} {self.what}"
        return Vector(slug(rule, name), FAMILY, [rule], self.base.setup, verdict, script, self.base.id, self.differs)


def _edit(base: Vector, place: Place, name: str, change: fields.Change) -> _Edit | None:
    """Return a vector with this change; None if it says something of what is not there, changes nothing, or makes the field longer."""
    before = sent_on(base.script, place.channel)
    try:
        data = edited(before, place.visit, change)
    except (KeyError, ValueError, OverflowError, TypeError):
        return None
    return None if data == before or len(data) != len(before) else _Edit(base, place, name, data)


def _vectors(edit: _Edit) -> Iterator[tuple[Vector, list[str]]]:
    """Yield the vector of an edit, with what it covers; none if it is neither refused at once nor without effect."""
    base, place = edit.base, edit.place
    method = _method(base, place, edit.name)
    before, after = base.script[: place.act], base.script[place.act + 1 :]
    rejected = decoded_until(edit.data[: place.end], place.channel, base.setup)
    if rejected is None:
        vector = edit.vector(_ADDRESSES[place.kind], base.verdict, [*before, edit.said, *after])
        if _is_without_effect(vector, base, place):
            yield vector, [f"field: {edit.what}: accepted{method}"]
        return
    # What the main channel says later, as something else, may be waited for before it is refused.
    is_later = place.kind == "main" and rejected.offset >= place.visit.offset + place.visit.size
    rule = _rule_of(place, edit.name, rejected.reason)
    if rule and not is_later:
        vector = edit.vector(rule, _verdict(edit, rejected), [*before, edit.said, *refused_after(before)])
        yield vector, [f"field: {edit.what}: {rejected.reason}{method}"]


def _verdict(edit: _Edit, rejected: Rejected) -> Verdict:
    """Return what a receiver says: a channel is named by what it says first, or not at all if that is nothing to begin with."""
    reason, channel = rejected.reason, rejected.channel
    if reason in (Reason.STREAM_MAGIC, Reason.CHANNEL_MAGIC):
        reason, channel = Reason.CHANNEL_MAGIC, ""
    elif channel == UNNAMED_CHANNEL:
        channel = channel_name(edit.data[_HELLO_ID])
    return Verdict(is_accepted=False, reason=reason.value, channel=channel, offset=rejected.offset)


_HELLO_ID: Final = 24
"""Where the number of the channel is in its hello."""

_ADDRESSES: Final = {"main": str(Step.MAIN_PREPARE), "multifd": str(Step.PREPARE)}
"""The rule that reads a record or packet in which a field means nothing."""


def _rule_of(place: Place, name: str, reason: Reason) -> str:
    """Return the check that refuses: the one that is broken, or the first one of field, record or format with that reason.

    Empty if what was to be broken is not what is refused.
    """
    if name.startswith(_BREAKS):
        broken = name.removeprefix(_BREAKS)
        return broken if CHECKS[broken].reason is reason else ""
    own = place.visit.field.checks
    of_record = [check for _, check in _TABLES[place.visit.table.name].checks()]
    return next((check.id for check in (*own, *of_record, *CHECKS.values()) if check.reason is reason), f"reason.{reason}")


def _is_without_effect(vector: Vector, base: Vector, place: Place) -> bool:
    """Return whether a field says nothing that matters: the decoder reads the same otherwise, and so the model comes to the same RAM."""
    both = (list(_items(each, place.channel)) for each in (vector, base))
    for one, other in itertools.zip_longest(*both):
        if one is None or other is None or (one.name, one.offset, one.size) != (other.name, other.offset, other.size):
            return False
        changed = {name for name in one.fields if one.fields[name] != other.fields.get(name)}
        if changed - _MEANINGLESS or _is_sync(one) != _is_sync(other):
            return False
    return True


def _is_sync(item: Item) -> bool:
    """Return whether it ends a round, too."""
    flags = item.fields.get("flags")
    return isinstance(flags, int) and bool(flags & PacketFlag.SYNC)


_MEANINGLESS: Final = frozenset({"packet_num", "reserved", "pages_alloc", "flags", "section_id", "footer_id"})
"""Fields that may have other values in the same run. Of `flags` the decoder looks at some bits only, which it reads as another item."""


def _items(vector: Vector, channel: str) -> Iterator[Item]:
    try:
        yield from decoded(sent_on(vector.script, channel), channel, vector.setup)
    except Rejected:
        return


def field_vectors() -> Iterator[tuple[Vector, list[str]]]:
    """Yield the edits of a migration with COLO, by every kind of channel: with each compression, and without multifd."""
    seen: set[str] = set()
    for channels, method in (*((2, method) for method in Compression), (0, Compression.NONE)):
        options = Options(pages=6, channels=channels, compression=method)
        name = f"{channels} channels, {method}"
        # All channels are there before the main one says anything, which may then be refused at once.
        base = written(FAMILY, slug(Step.COMMIT, name), options, _migration)
        if base is None:
            raise ValueError(f"{name} cannot be written")
        order = [*(channel_name(number) for number in range(channels)), MAIN_CHANNEL]
        base = msgspec.structs.replace(base, script=reordered(base.script, order))
        yield base, [f"migration: {name}"]
        yield from edit_vectors(base, seen)


def _migration(run: ScriptWriter) -> None:
    """Send pages with content and without by every kind of channel, before COLO and in a checkpoint, which another one follows."""
    for page in range(4):
        run.primary_writes(page, page)
    run.send(MAIN_CHANNEL, [0, 1])
    if run.peer.channels:
        run.send("mfd0", [2, 3, 4])
    run.end_precopy()
    for number in range(2):
        run.begin_checkpoint()
        for page in range(6):
            run.primary_writes(page, (page + number + 1) % 4)
        run.send(MAIN_CHANNEL, [2, 3])
        if run.peer.channels:
            run.send("mfd0", [0, 1, 4])
        run.receive_checkpoint()
        run.commit()
