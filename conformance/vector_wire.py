"""Vectors of the wire: each valid stream, each check violated in each stream that has a field for it, and each cut before a field."""

import hashlib
from collections.abc import Iterator
from typing import Final

from colofd.conformance.vector_format import Act, Await, Connect, End, Ram, Reply, Send, Setup, Vector, VectorBlock, Verdict, pieces_of
from colofd.conformance.wire_cases import WireCase, decode_case, violation, visits, wire_cases
from colofd.conformance.wire_check import as_played, channels_of, expected_ram, layout_of, own_channel, why_not_played
from colofd.conformance.wire_streams import ValidStream, replies, valid_streams
from colofd.model.decode import Visit
from colofd.spec.constants import HELLO_SIZE
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire import CHECKS, colo, ram
from colofd.spec.wire.fields import Check

FAMILY: Final = "wire"

_WHOLE: Final = (colo.DEVICE_STATE.name, ram.BLOCK.name)
"""Tables whose records are parts of a longer one, or have others in them."""


def wire_vectors() -> Iterator[tuple[Vector, list[str]]]:
    """Yield the vectors with what each covers: positive ones, then violations, then cuts."""
    seen: set[str] = set()
    for case, covers in _all_cases():
        if case.id not in seen and not why_not_played(case):
            seen.add(case.id)
            yield _vector(case), covers


def _all_cases() -> Iterator[tuple[WireCase, list[str]]]:
    cases = wire_cases()
    for case in cases:
        is_of_table = case.check_id in CHECKS
        yield case, [f"check {case.check_id} in {case.twin}" if is_of_table else f"case {case.id}", *_reason(case)]
    streams = [valid for valid in valid_streams() if valid.kind != "reverse"]
    for valid in streams:
        visited = [(valid, visit) for visit in visits(valid)]
        for check in CHECKS.values():
            violated = _violated(check, visited)
            if violated is not None:
                name = f"{check.id}.violated in {valid.id}"
                yield _renamed(violated, name), [f"check {check.id} in {violated.twin}", *_reason(violated)]
    for valid in streams:
        yield from _cuts(valid)


def _violated(check: Check, visited: list[tuple[ValidStream, Visit]]) -> WireCase | None:
    try:
        return violation(check, visited)
    except KeyError:
        # The edit speaks of what a receiver of this stream does not know.
        return None


def _renamed(case: WireCase, name: str) -> WireCase:
    return WireCase(name, case.check_id, case.kind, case.data, case.context, case.expected, case.offset, case.twin)


def _reason(case: WireCase) -> list[str]:
    return [f"reason {case.expected} on {case.kind}"] if case.expected else []


def _cuts(valid: ValidStream) -> Iterator[tuple[WireCase, list[str]]]:
    """Yield the stream up to each field, where it may not end."""
    whole = [(visit.offset, visit.offset + visit.size) for visit in visits(valid) if visit.table.name in _WHOLE]
    # Before the hello is there, nobody knows which channel ends.
    first = HELLO_SIZE if valid.kind == "multifd" else 1
    for visit in (visit for visit in visits(valid) if visit.offset >= first):
        name = f"{visit.table.name}.{visit.field.name}"
        cut = ValidStream(valid.id, valid.kind, valid.data[: visit.offset], valid.context)
        try:
            decode_case(cut)
        except Rejected as rejected:
            if rejected.reason is Reason.TRUNCATED:
                # Between records nothing is cut: a channel is gone that is still needed.
                is_first = rejected.offset == visit.offset == min(visit.offsets.values()) and not visit.table.follows
                is_between = is_first and not any(start <= visit.offset < end for start, end in whole)
                case = WireCase(
                    f"wire.cut before {name} at {visit.offset} in {valid.id}",
                    "wire.truncated",
                    valid.kind,
                    cut.data,
                    valid.context,
                    Reason.CHANNEL_LOST if is_between else Reason.TRUNCATED,
                    rejected.offset,
                    f"wire.valid.{valid.id}",
                )
                yield case, [f"boundary {name} in {valid.id}"]


def _vector(unplayed: WireCase) -> Vector:
    case = as_played(unplayed)
    layout, ram = layout_of(case), expected_ram(case)
    goes_on = case.context.colo and case.expected is None
    channels = channels_of(case)
    script: list[Act] = []
    for name, data in channels.items():
        script += [Connect(name), Send(name, pieces_of(data))]
        if not goes_on:
            script.append(End(name))
    size = layout.page_size
    content = b"".join(ram.pages.get(page, bytes(size)) for page in range(layout.pages))
    is_accepted = case.expected is None
    if goes_on:
        script.append(Reply(_replies(ram.commits).hex()))
    else:
        script.append(Await("completed" if is_accepted else "refused"))
    script.append(Ram(hashlib.sha256(content).hexdigest(), case.check_id))
    channel = "" if case.expected is Reason.CHANNEL_MAGIC else own_channel(case)
    verdict = Verdict(is_accepted=True) if case.expected is None else Verdict(False, case.expected.value, channel, case.offset)
    setup = Setup(
        blocks=[VectorBlock(name, length) for name, length in layout.blocks],
        channels=case.context.channels,
        colo=case.context.colo,
        compression=case.context.compression,
        page_size=size,
        machine=case.context.machine,
        uuid=None if case.context.uuid is None else case.context.uuid.hex(),
    )
    return Vector(case.id, FAMILY, [case.check_id], setup, verdict, script, case.twin)


def _replies(commits: int) -> bytes:
    """Return what a secondary says up to this commit; 0 is the end of precopy. The replies of the table of streams have two checkpoints."""
    whole = replies()
    once = 12
    opening = len(whole) - 2 * once
    return whole[:opening] + whole[opening : opening + once] * (commits - 1)
