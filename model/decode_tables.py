"""Reads bytes by the tables of `colofd.spec.wire`: one field after the other, one check after the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

from colofd.model.compiled_expressions import condition_of, value_of
from colofd.spec.constants import COMPRESSION_FLAGS, DEVICE_STATE_LIMIT, TARGET_PAGE_SIZE, Compression, pages_per_packet
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire import fields as wire
from colofd.spec.wire.expressions import Expression, Value, show
from colofd.spec.wire.main_channel import VALIDATED_CAPABILITIES

_SHOWN_NAMES: Final = frozenset({"blocks", "local_blocks", "earlier", "sections"})
"""Context that is too long to stand in an error text."""


@dataclass(frozen=True)
class Context:
    """What a reader knows before it reads.

    Attributes:
        page_size: bytes of a target page.
        channels: number of multifd channels, 0 without multifd.
        compression: of the multifd channels.
        capabilities: names of the capabilities that are on; mapped-ram is not read (ValueError).
        machine: machine type of the destination, None: any.
        blocks: length of each RAM block of the destination; None: any, they are learnt from the stream (of a multifd channel:
            block names and the range of offsets are not checked then).
        colo: whether checkpoints follow the migration.
        uuid: of the machine, None: any.
        device_state_limit: largest device state of a checkpoint, in bytes.
    """

    page_size: int = TARGET_PAGE_SIZE
    channels: int = 0
    compression: Compression = Compression.NONE
    capabilities: frozenset[str] = frozenset()
    machine: str | None = None
    blocks: Mapping[str, int] | None = None
    colo: bool = False
    uuid: bytes | None = None
    device_state_limit: int = DEVICE_STATE_LIMIT

    def __post_init__(self) -> None:
        if self.page_size <= 0 or self.page_size & (self.page_size - 1):
            raise ValueError(f"page size {self.page_size} is not a power of two")
        if "mapped-ram" in self.capabilities:
            raise ValueError("streams with the capability mapped-ram are not read")

    def values(self) -> dict[str, Value]:
        """Return this context by the names that the tables use; what is not known is left out."""
        return dict(self._values)

    @cached_property
    def _values(self) -> dict[str, Value]:
        values: dict[str, Value] = {
            "page_size": self.page_size,
            "page_bits": self.page_size.bit_length() - 1,
            "page_count": pages_per_packet(self.page_size),
            "channels": self.channels,
            "compression": COMPRESSION_FLAGS[self.compression],
            "capabilities": tuple(name for name in VALIDATED_CAPABILITIES if name in self.capabilities),
            "device_state_limit": self.device_state_limit,
        }
        optional = {"local_machine": self.machine, "local_uuid": self.uuid, "local_blocks": self.blocks}
        return values | {name: value for name, value in optional.items() if value is not None}


FieldValue: TypeAlias = int | str | bytes | tuple[int, ...]


@dataclass(frozen=True)
class Item:
    """One record, packet or message of a channel. The items of a channel cover each of its bytes exactly once.

    Attributes:
        channel: name of the channel.
        offset: of its first byte in the channel.
        size: bytes, with payload.
        name: of its table.
        fields: in the order of the wire. A payload is not in it: `payload_offset` (in the channel) and `payload_size` are.
    """

    channel: str
    offset: int
    size: int
    name: str
    fields: dict[str, FieldValue]


@dataclass(frozen=True)
class Visit:
    """A field that has been read and is about to be checked, as shown to an observer of the decoder.

    Attributes:
        table: the table being read.
        field: the field.
        offset: of the field in the channel.
        size: bytes of the field.
        offsets: of this and the earlier fields of the record in the channel.
        values: of this and the earlier fields, and the context.
    """

    table: wire.Table
    field: wire.Field
    offset: int
    size: int
    offsets: Mapping[str, int]
    values: Mapping[str, Value]


Observer: TypeAlias = Callable[[Visit], None]


class Channel:
    """The bytes of one channel and how far they have been read."""

    def __init__(self, name: str, data: bytes, observer: Observer | None = None) -> None:
        self.name = name
        self.data = data
        self.position = 0
        self.observer = observer

    @property
    def at_end(self) -> bool:
        """Whether all bytes have been read."""
        return self.position == len(self.data)

    def peek(self) -> int:
        """Return the next byte, -1 at the end."""
        return -1 if self.at_end else self.data[self.position]

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes. Fewer left: Rejected(TRUNCATED), its offset is the end of the channel."""
        taken = self.data[self.position : self.position + size]
        if len(taken) < size:
            read = f"{len(taken)} bytes, then the end of the channel"
            raise self.rejected(Reason.TRUNCATED, len(self.data), read=read, expected=f"{size} bytes from byte {self.position}")
        self.position += size
        return taken

    def integer(self, kind: wire.Integer) -> int:
        """Read an unsigned big-endian integer."""
        return int.from_bytes(self.take(kind.size), "big")

    def rejected(self, reason: Reason, offset: int, *, read: object, expected: object) -> Rejected:
        """Return the error for this channel."""
        return Rejected(reason, channel=self.name, offset=offset, read=read, expected=expected)


@dataclass
class Record:
    """One record while it is read: the values that expressions see, and what the item will show."""

    channel: Channel
    values: dict[str, Value]
    fields: dict[str, FieldValue] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.offset = self.channel.position

    def read(self, table: wire.Table) -> "Record":
        """Read and check all fields of `table` at the position of the channel; return this record."""
        for one in table.fields:
            self._read_field(table, one)
        return self

    def item(self, name: str) -> Item:
        """Return what has been read as an item."""
        return Item(self.channel.name, self.offset, self.channel.position - self.offset, name, self.fields)

    def integer(self, name: str) -> int:
        """Return the value of the field or part `name`, which is a number."""
        value = self.values[name]
        if not isinstance(value, int):
            raise TypeError(f"{name} is not a number")
        return value

    def text(self, name: str) -> str:
        """Return the value of the field or part `name`, which is a text."""
        value = self.values[name]
        if not isinstance(value, str):
            raise TypeError(f"{name} is not a text")
        return value

    def _read_field(self, table: wire.Table, one: wire.Field) -> None:
        start = self.channel.position
        present = one.when is None or bool(value_of(one.when)(self.values))
        if not present and one.otherwise is None:
            return
        self.offsets[one.name] = start
        value = self._take(one.kind) if present or one.otherwise is None else one.otherwise.evaluate(self.values)
        self.values[one.name] = value
        parts = {part: value_of(expression)(self.values) for part, expression in one.parts}
        self.values.update(parts)
        if self.channel.observer is not None:
            size = self.channel.position - start
            self.channel.observer(Visit(table, one, start, size, dict(self.offsets), dict(self.values)))
        self._check(one)
        if one.payload:
            self.fields |= {"payload_offset": start, "payload_size": self.channel.position - start}
        else:
            self.fields |= {name: _shown(shown) for name, shown in (parts or {one.name: value}).items()}

    def _take(self, kind: wire.Kind) -> Value:
        match kind:
            case wire.Integer():
                return self.channel.integer(kind)
            case wire.Raw():
                return self.channel.take(self._number(kind.length))
            case wire.CountedText():
                return self.channel.take(self.channel.integer(wire.Integer(kind.prefix))).decode("latin-1")
            case wire.PaddedText():
                return self.channel.take(kind.size).split(b"\0", 1)[0].decode("latin-1")
            case wire.Array():
                return tuple(self.channel.integer(kind.element) for _ in range(self._number(kind.count)))

    def _number(self, expression: Expression) -> int:
        value = value_of(expression)(self.values)
        if not isinstance(value, int):
            raise TypeError(f"{expression} is not a number")
        return value

    def _check(self, one: wire.Field) -> None:
        if not isinstance(one.kind, wire.Array):
            for check in one.checks:
                self._apply(check, self.offsets[check.at or one.name], self.values)
            return
        elements = self.values[one.name]
        if not isinstance(elements, tuple):
            raise TypeError(f"{one.name} is not an array")
        for index in range(self._number(one.kind.used)):
            values = {**self.values, "element": elements[index], "earlier": elements[:index]}
            for check in one.checks:
                self._apply(check, self.offsets[one.name] + index * one.kind.element.size, values)

    def _apply(self, check: wire.Check, offset: int, values: Mapping[str, Value]) -> None:
        if holds(check, values):
            return
        read = ", ".join(f"{name}={show(values[name])}" for name in sorted(check.condition.names() - _SHOWN_NAMES))
        raise self.channel.rejected(check.reason, offset, read=read, expected=f"{check.condition} ({check.id})")


def holds(check: wire.Check, values: Mapping[str, Value]) -> bool:
    """Return whether `check` has nothing against `values`. A check that mentions unknown optional context is not applied."""
    optional, condition = condition_of(check)
    if optional and not optional <= values.keys():
        return True
    return bool(condition(values))


def _shown(value: Value) -> FieldValue:
    if isinstance(value, int | str | bytes):
        return value
    if isinstance(value, tuple):
        return tuple(element for element in value if isinstance(element, int))
    raise TypeError(f"{show(value)} is not the value of a field")
