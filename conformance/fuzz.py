"""Valid streams with drawn damage, put to the slow decoder and to the receiver: the verdict of one is what the other must give.

The damage follows the wire tables: a field gets another value, bytes come, go or change, a record comes again, the channel ends.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from colofd.conformance.rulings import Outcome
from colofd.conformance.wire_cases import WireCase, decode_case, encode, visits
from colofd.conformance.wire_check import ROUNDS, Finding, try_case
from colofd.conformance.wire_streams import ValidStream, valid_streams
from colofd.model.decode import Visit
from colofd.spec.constants import HELLO_SIZE, Command, PacketFlag
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire import fields

NUMBERS: Final = (
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    32,
    64,
    127,
    128,
    129,
    255,
    256,
    512,
    1024,
    4095,
    4096,
    4097,
    1 << 16,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 63,
)
"""Values at which comparisons turn over; those too large for a field lose their upper bytes."""

KINDS: Final = 6
"""Kinds of edits."""

_MAGIC_SIZE: Final = 4
_MACHINE_AT: Final = 9
"""Where the length of the machine's name stands."""


@dataclass(frozen=True)
class Edit:
    """One damage: of the field or place number `at` (counted round), of a kind, with a number that says what exactly."""

    kind: int
    at: int
    number: int


@dataclass
class Tally:
    """What was tried: verdicts by reason, the field that was read last before it, and how many could not be told."""

    reasons: Counter[str] = field(default_factory=Counter)
    reached: set[tuple[str, str, str]] = field(default_factory=set)
    inconclusive: int = 0


@cache
def targets() -> tuple[tuple[ValidStream, tuple[Visit, ...]], ...]:
    """Return the streams that can be damaged, with each field as it is read.

    A main channel beside multifd channels is none of them: what it says of rounds is about those. Nor is one
    whose blocks are learnt from it.
    """
    chosen = [valid for valid in valid_streams() if valid.kind != "reverse" and not valid.context.capabilities]
    own = [valid for valid in chosen if valid.context.blocks is not None and (valid.kind == "multifd" or not valid.context.channels)]
    return tuple((valid, tuple(visits(valid))) for valid in own)


def damaged(valid: ValidStream, seen: tuple[Visit, ...], edits: list[Edit]) -> bytes:
    """Return the bytes of a stream with some damage."""
    data = valid.data
    for edit in edits:
        visit = seen[edit.at % len(seen)]
        start = visit.offsets[visit.field.name]
        size = size_of(visit)
        match edit.kind:
            case 0:
                data = data[:start] + other_value(visit, edit.number) + data[start + size :]
            case 1:
                place = edit.at % (len(data) + 1)
                data = data[:place] + bytes([edit.number % 256]) + data[place + 1 :]
            case 2:
                data = data[:start] + data[start + edit.number % 9 :]
            case 3:
                data = data[:start] + edit.number.to_bytes(8)[-(edit.number % 8 + 1) :] + data[start:]
            case 4:
                data = data[: start + edit.number % (size + 1)]
            case _:
                data = data[: start + size] + data[start : start + size] + data[start + size :]
    return data


def size_of(visit: Visit) -> int:
    """Return how many bytes a field has, or one element of an array."""
    value, kind = visit.values[visit.field.name], visit.field.kind
    if isinstance(kind, fields.Array):
        return kind.element.size
    return len(encode(kind, value))


def other_value(visit: Visit, number: int) -> bytes:
    """Return another value for a field, or for the first element of an array."""
    size = size_of(visit)
    return (NUMBERS[number % len(NUMBERS)] % (1 << 8 * size)).to_bytes(size)


def try_damaged(valid: ValidStream, data: bytes, tally: Tally) -> str:
    """Put damaged bytes to the decoder and to the receiver; return what is wrong about the receiver's verdict, empty if nothing is."""
    seen: list[Visit] = []
    case = WireCase("damaged", "damaged", valid.kind, data, valid.context)
    try:
        decode_case(case, seen)
    except Rejected as rejected:
        case = replace(case, expected=rejected.reason, offset=rejected.offset)
    if not _is_conclusive(case, seen):
        tally.inconclusive += 1
        return ""
    reason = case.expected or "accepted"
    tally.reasons[reason] += 1
    tally.reached.add((seen[-1].table.name, seen[-1].field.name, reason) if seen else ("", "", reason))
    finding = try_case(case)
    if finding.outcome is Outcome.HOLDS or _is_half_a_page(case, finding):
        return ""
    others = [try_case(other) for other in _as_good(case)]
    return "" if any(other.outcome is Outcome.HOLDS or _is_half_a_page(case, other) for other in others) else finding.why


def _is_conclusive(case: WireCase, seen: list[Visit]) -> bool:
    """Return whether the channel alone decides.

    A main channel does as long as it says that it is one, and asks for an answer only where there is a way back (which no check of the wire
    tables says, though QEMU and the receiver do). A multifd channel does as long as it says which one it is, and its rounds are those of
    the main channel beside it: SYNC alone, pages, SYNC. What stands after that races with the end of the migration.
    """
    if case.kind != "multifd":
        commands = [visit.values["command"] for visit in seen if visit.field.name == "command"]
        is_answered = Command.PING not in commands or Command.OPEN_RETURN_PATH in commands[: commands.index(Command.PING)]
        return len(case.data) >= _MAGIC_SIZE and is_answered
    flags = [visit for visit in seen if visit.field.name == "flags"]
    syncs = [at for at, visit in enumerate(flags) if _is_sync(visit)]
    if len(case.data) < HELLO_SIZE or not flags:
        return len(case.data) >= HELLO_SIZE and case.expected is not None
    if syncs[:1] != [0]:
        return len(flags) == 1 and case.expected is not None
    return len(syncs) == ROUNDS["multifd"] and syncs[-1] == len(flags) - 1 if case.expected is None else len(syncs) == 1


def _is_sync(visit: Visit) -> bool:
    flags = visit.values["flags"]
    return isinstance(flags, int) and bool(flags & PacketFlag.SYNC)


def _is_half_a_page(case: WireCase, finding: Finding) -> bool:
    """Return whether only RAM differs, by the part of a page at the end: a precopy that has failed claims nothing of RAM."""
    return case.expected is Reason.TRUNCATED and finding.why.startswith("guest RAM")


def _as_good(case: WireCase) -> Iterator[WireCase]:
    """Yield the case with other verdicts that are as right, where more than one thing is wrong with it."""
    if case.kind == "multifd" and case.expected is not None:
        # The receiver reads a header as a whole; the decoder field by field.
        yield replace(case, expected=Reason.TRUNCATED, offset=len(case.data))
    elif case.expected is Reason.TRUNCATED:
        # An end between two items; and a name of a length that is out of all proportion, of which no end is looked for.
        yield replace(case, expected=Reason.CHANNEL_LOST)
        yield replace(case, expected=Reason.DESCRIPTION_MISSING)
        yield replace(case, expected=Reason.MACHINE_MISMATCH, offset=_MACHINE_AT)


def run_damaged(count: int, seed: int, tally: Tally, found: Callable[[str, bytes], None]) -> None:
    """Try `count` drawn damages; `found` is called with what is wrong and the bytes that show it."""
    chance = random.Random(seed)  # noqa: S311  # a choice of inputs, not a secret
    for _ in range(count):
        valid, seen = chance.choice(targets())
        edits = [
            Edit(chance.randrange(KINDS), chance.randrange(1 << 16), chance.randrange(1 << 16)) for _ in range(chance.choice((1, 1, 2, 3)))
        ]
        data = damaged(valid, seen, edits)
        if wrong := try_damaged(valid, data, tally):
            found(f"{wrong}, after {edits} of {valid.id}", data)
