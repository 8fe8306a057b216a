"""The language of the wire tables: a table has fields, a field has a kind and checks.

Everything here is data. `colofd.model.decode` interprets it, `colofd.conformance.wire_cases` breaks every check of it, the
documentation prints it, and `canonical` puts it into the hash of the spec.

Names in an expression are, in this order: the fields (and parts of fields) of the same record, and the names in `CONTEXT_NAMES`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from colofd.spec.reasons import Reason
from colofd.spec.wire.expressions import Expression, Name, Operand, term

CONTEXT_NAMES: Final = {
    "page_size": "bytes of a target page",
    "page_count": "offsets in the header of a packet: 524288 / page_size",
    "channels": "number of multifd channels, 0 without multifd",
    "compression": "the flag bits of the agreed compression method: 0 none, 2 zlib, 4 zstd",
    "page_bits": "binary logarithm of page_size",
    "capabilities": "names of those capabilities that the configuration validates and that are on at the destination",
    "level": "the section types that may come here",
    "local_machine": "the machine type of the destination",
    "local_uuid": "the 16 bytes that name the virtual machine",
    "local_blocks": "length of each RAM block of the destination, by name",
    "blocks": "length of each RAM block in the block list of the stream, by name",
    "listed_bytes": "sum of the lengths listed so far",
    "total_bytes": "sum of the lengths as announced",
    "previous_block": "the block of the page record before on this channel, empty if there was none",
    "sections": "ids of the sections that a START has opened",
    "open_section": "id of the section being read",
    "previous_subsection": "name of the configuration subsection before, empty if there was none",
    "return_path": "1 once OPEN_RETURN_PATH was read, 0 before",
    "syncs": "packets with SYNC before this one on the channel",
    "expected_message": "the only COLO message that may come now",
    "device_state_limit": "largest device state of a checkpoint, in bytes",
    "element": "the element of the array being checked",
    "earlier": "the elements of the array before it",
}
"""Names that a condition may use beside the fields, with their meaning."""

OPTIONAL_NAMES: Final = frozenset({"local_machine", "local_uuid", "local_blocks", "blocks"})
"""Context that a reader may not have: a check that mentions a missing one is not applied."""


@dataclass(frozen=True)
class Integer:
    """An unsigned big-endian integer of `size` bytes."""

    size: int

    def __str__(self) -> str:
        return "u8" if self.size == 1 else f"be{8 * self.size}"


@dataclass(frozen=True)
class Raw:
    """Bytes, as many as `length` says."""

    length: Expression

    def __str__(self) -> str:
        return f"bytes[{self.length}]"


@dataclass(frozen=True)
class CountedText:
    """An integer of `prefix` bytes, then so many characters of one byte (Latin-1, so that all bytes can be shown)."""

    prefix: int

    def __str__(self) -> str:
        return f"{Integer(self.prefix)} length, text"


@dataclass(frozen=True)
class PaddedText:
    """`size` bytes of which the text is what stands before the first NUL; all of them if there is none."""

    size: int

    def __str__(self) -> str:
        return f"text[{self.size}], NUL padded"


@dataclass(frozen=True)
class Array:
    """`count` integers, of which the first `used` are meant; checks are made for each of these."""

    element: Integer
    count: Expression
    used: Expression

    def __str__(self) -> str:
        return f"{self.element}[{self.count}], {self.used} used"


Kind: TypeAlias = Integer | Raw | CountedText | PaddedText | Array

U8: Final = Integer(1)
BE16: Final = Integer(2)
BE32: Final = Integer(4)
BE64: Final = Integer(8)


@dataclass(frozen=True)
class Change:
    """One edit of a valid record: the field `field` (of an array: its element `index`) becomes `value`."""

    field: str
    value: Expression
    index: int = 0


@dataclass(frozen=True)
class Check:
    """One condition on a field; who reads the field must refuse the input with `reason` when it is 0.

    Attributes:
        id: stable id, such as `wire.packet.magic`.
        condition: over this field, fields before it and context names.
        reason: the one reason to refuse.
        source: QEMU file:function that makes the check, or that would be the place for it.
        breaking: the edit of a valid record that violates this check and none before it; None if it takes more than one edit.
        qemu: "checked", or "not checked: " and what happens there.
        at: the field whose offset is reported, if it is an earlier one.
    """

    id: str
    condition: Expression
    reason: Reason
    source: str
    breaking: Change | None
    qemu: str = "checked"
    at: str = ""


@dataclass(frozen=True)
class Field:
    """One field of a record.

    Attributes:
        name: what expressions call it.
        kind: its width and reading.
        doc: what it is for.
        checks: made in this order, as soon as the field is read.
        parts: values computed from it; a field with parts is reported by its parts.
        when: present only if this is not 0.
        otherwise: the value, checked like one that was read, if it is not present.
        payload: reported as `payload_offset` and `payload_size`, not by its bytes.
    """

    name: str
    kind: Kind
    doc: str
    checks: tuple[Check, ...] = ()
    parts: tuple[tuple[str, Expression], ...] = ()
    when: Expression | None = None
    otherwise: Expression | None = None
    payload: bool = False


@dataclass(frozen=True)
class Table:
    """One record, packet or message.

    Attributes:
        name: stable name, also that of the decoded item.
        fields: in the order of the wire, without gaps.
        source: QEMU file:function.
        doc: what it is.
        follows: the table that is read first and decides that this one continues the same record.
        refused: the reason, if the record exists in QEMU but is described only: colofd refuses it before its fields are read.
    """

    name: str
    fields: tuple[Field, ...]
    source: str
    doc: str
    follows: str = ""
    refused: Reason | None = None

    def checks(self) -> Iterator[tuple[Field, Check]]:
        """Yield every check of this table with the field it is made on, in order."""
        for field in self.fields:
            for check in field.checks:
                yield field, check


def name(identifier: str) -> Name:
    """Return the name of a field or of the context as an expression."""
    return Name(identifier)


def becomes(field: str, value: Operand, index: int = 0) -> Change:
    """Return the edit that sets one field, or the element `index` of an array field."""
    return Change(field, term(value), index)


def canonical_table(table: Table) -> dict[str, object]:
    """Return what `table` says, without prose, as JSON-able data."""
    return {
        "name": table.name,
        "follows": table.follows,
        "refused": table.refused,
        "fields": [_canonical_field(field) for field in table.fields],
    }


def _canonical_field(field: Field) -> dict[str, object]:
    return {
        "name": field.name,
        "kind": str(field.kind),
        "when": "" if field.when is None else str(field.when),
        "otherwise": "" if field.otherwise is None else str(field.otherwise),
        "parts": {part: str(value) for part, value in field.parts},
        "checks": [{"id": check.id, "condition": str(check.condition), "reason": check.reason, "at": check.at} for check in field.checks],
    }
