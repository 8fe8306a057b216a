"""Vectors of the wire: each valid stream, each check violated in each stream that has a field for it, and each cut before a field."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from colofd.conformance import stream
from colofd.conformance.further_cases import capability_case
from colofd.conformance.vector_format import Act, Await, Connect, End, Reply, Send, Setup, Vector, VectorBlock, Verdict, pieces_of, slug
from colofd.conformance.vector_script import ram_act
from colofd.conformance.wire_cases import WireCase, decode_case, violation, visits, wire_cases
from colofd.conformance.wire_check import as_played, channels_of, expected_ram, layout_of, own_channel, why_not_played
from colofd.conformance.wire_streams import DEVICE, MACHINE, ValidStream, replies, valid_streams
from colofd.model.decode import Context, Visit
from colofd.spec.constants import HELLO_SIZE, MAIN_CHANNEL, UUID_SIZE, SectionType
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire import CHECKS, colo, ram
from colofd.spec.wire.fields import Check

FAMILY: Final = "wire"
VALID: Final = "wire.valid"

_WHOLE: Final = (colo.DEVICE_STATE.name, ram.BLOCK.name)
"""Tables whose records are parts of a longer one, or have others in them."""

_ABOUT_DEVICES: Final = ("decoy", "opaque-device-state")
"""Streams that need device sections."""

_SECTIONS: Final = stream.device_sections(DEVICE)


def wire_vectors() -> Iterator[tuple[Vector, list[str]]]:
    """Yield the vectors with what each covers: positive ones, then violations, then cuts."""
    seen: set[str] = set()
    for case, covers in _all_cases():
        if case.id not in seen and not why_not_played(case):
            seen.add(case.id)
            yield _vector(case), covers


def _all_cases() -> Iterator[tuple[WireCase, list[str]]]:
    streams, strange = list(_streams()), list(_streams(has_blocks=False))
    for valid in streams:
        case = WireCase(valid_id(valid.id), VALID, valid.kind, valid.data, valid.context)
        yield case, [f"valid stream: {valid.id}"]
    seen: set[str] = set()
    for valid in streams + strange:
        visited = [(valid, visit) for visit in visits(valid)]
        # Where blocks are not known, it is only about what no other reading can tell.
        for check in [each for each in CHECKS.values() if valid in streams or each.id not in seen]:
            violated = _violated(check, visited)
            if violated is not None:
                seen.add(check.id)
                twin = next(each.id for each in streams if each.data == valid.data)
                yield replace(violated, id=slug(check.id, valid.id), twin=valid_id(twin)), _covered(check.id, violated, valid.id)
    for case in wire_cases():
        # What no single field decides: the others are there by now.
        if case.expected is not None and (case.check_id not in CHECKS or CHECKS[case.check_id].breaking is None):
            address, _, name = case.id.removeprefix(f"{case.check_id}.").rpartition("/")
            case_id = slug(address or case.check_id, name if case.id != case.check_id else "violated")
            own = replace(case, id=case_id, twin=valid_id(case.twin.removeprefix(f"{VALID}.")), context=_known(case.context))
            yield own, _covered(case.check_id, case, case.id)
    case = capability_case()
    own = replace(case, id=slug(case.check_id, "not-here"), twin=valid_id("precopy"), context=_known(case.context))
    yield own, _covered(case.check_id, case, "a capability that is not here")
    for valid in streams:
        yield from _cuts(valid)


def valid_id(name: str) -> str:
    """Return the id of the vector of a valid stream."""
    return slug(VALID, name)


def _covered(check: str, case: WireCase, where: str) -> list[str]:
    return [f"check: {check} in {where}", f"reason: {case.expected} on {case.kind}"]


def _streams(*, has_blocks: bool = True) -> Iterator[ValidStream]:
    """Yield the valid streams: with devices where they are about them, else first without, as not every receiver has a device.

    Those of which the decoder does not know the blocks say the same as others, but are refused for less.
    """
    for valid in valid_streams():
        if valid.kind == "reverse" or (valid.context.blocks is not None) is not has_blocks:
            continue
        own = replace(valid, context=_known(valid.context))
        if valid.kind == "main" and valid.id not in _ABOUT_DEVICES:
            yield replace(own, id=f"{valid.id}-bare", data=_without_devices(own.data, own.context.page_size))
        yield own


def _without_devices(data: bytes, page_size: int) -> bytes:
    """Return a main channel as it is without devices: their state is the EOF byte."""
    whole = stream.device_state(DEVICE)
    none = stream.device_state(DEVICE)[:4] + stream.be64(1) + b"\0"
    described = _SECTIONS + stream.description(len(DEVICE), page_size)
    return data.replace(described, stream.no_devices(page_size)).replace(whole, none)


def _known(context: Context) -> Context:
    """Return what a receiver knows that vectors are played on: machine and uuid always."""
    return replace(context, machine=context.machine or MACHINE, uuid=context.uuid or bytes(UUID_SIZE))


def _violated(check: Check, visited: list[tuple[ValidStream, Visit]]) -> WireCase | None:
    try:
        return violation(check, visited)
    except KeyError:
        # The edit speaks of what a receiver of this stream does not know.
        return None


def _cuts(valid: ValidStream) -> Iterator[tuple[WireCase, list[str]]]:
    """Yield the stream up to each field, where it may not end."""
    whole = [(visit.offset, visit.offset + visit.size) for visit in visits(valid) if visit.table.name in _WHOLE]
    # Before the hello is there, nobody knows which channel ends.
    first = HELLO_SIZE if valid.kind == "multifd" else 1
    for visit in (visit for visit in visits(valid) if visit.offset >= first):
        name = f"{visit.table.name}.{visit.field.name}"
        cut = replace(valid, data=valid.data[: visit.offset])
        try:
            decode_case(cut)
        except Rejected as rejected:
            if rejected.reason is Reason.TRUNCATED:
                # Between records nothing is cut: a channel is gone that is still needed.
                is_first = rejected.offset == visit.offset == min(visit.offsets.values()) and not visit.table.follows
                is_between = is_first and not any(start <= visit.offset < end for start, end in whole)
                reason = Reason.CHANNEL_LOST if is_between else Reason.TRUNCATED
                case = WireCase(
                    slug("wire.truncated", f"{valid.id} {visit.offset} before {name}"),
                    "wire.truncated",
                    valid.kind,
                    cut.data,
                    valid.context,
                    reason,
                    rejected.offset,
                    valid_id(valid.id),
                )
                yield case, [f"cut: before {name} in {valid.id}", f"reason: {reason} on {valid.kind}"]


def _vector(unplayed: WireCase) -> Vector:
    case = as_played(unplayed)
    layout, ram = layout_of(case), expected_ram(case)
    goes_on = case.context.colo and case.expected is None
    channels = channels_of(case)
    if case.kind == "multifd":
        channels[MAIN_CHANNEL] = _without_devices(channels[MAIN_CHANNEL], layout.page_size)
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
    script.append(ram_act(case.check_id, content))
    channel = "" if case.expected is Reason.CHANNEL_MAGIC else own_channel(case)
    verdict = Verdict(is_accepted=True) if case.expected is None else Verdict(False, case.expected.value, channel, case.offset)
    setup = Setup(
        blocks=[VectorBlock(name, length) for name, length in layout.blocks],
        channels=case.context.channels,
        colo=case.context.colo,
        compression=case.context.compression,
        page_size=size,
        machine=case.context.machine or MACHINE,
        uuid=(case.context.uuid or bytes(UUID_SIZE)).hex(),
        devices=[stream.DEVICE_NAME] if any(_has_devices(data) for data in channels.values()) else [],
    )
    differs = _difference(case) if case.twin else ""
    return Vector(case.id, FAMILY, [case.check_id], setup, verdict, script, case.twin, differs)


def _has_devices(data: bytes) -> bool:
    return stream.named_section(SectionType.FULL, stream.DEVICE_SECTION_ID, stream.DEVICE_NAME, 0, stream.DEVICE_VERSION)[5:] in data


def _difference(case: WireCase) -> str:
    """Return by which one fact a case differs from its twin."""
    if case.check_id == "wire.truncated":
        return f"{own_channel(case)} ends at byte {len(case.data)}"
    return f"{case.check_id} is violated on {own_channel(case)}"


def _replies(commits: int) -> bytes:
    """Return what a secondary says up to this commit; 0 is the end of precopy. The replies of the table of streams have two checkpoints."""
    whole = replies()
    once = 12
    opening = len(whole) - 2 * once
    return whole[:opening] + whole[opening : opening + once] * (commits - 1)
