"""Where the device sections end: FULL sections carry no length, the description after them does.

A position is a candidate for the end if it holds the byte 0 (EOF), the byte 6 and a length, followed by so many bytes of a JSON object.
Bytes like these may also stand inside the state of a device. A candidate is confirmed only if all sections, laid front to back with the
sizes, names and instances of the description, end exactly there.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from colofd.spec.constants import RAM_SECTION, SectionType
from colofd.spec.reasons import Reason, Rejected

_END_AND_DESCRIPTION: Final = bytes([SectionType.EOF, SectionType.VMDESCRIPTION])
_LENGTH_SIZE: Final = 4
_HEAD_SIZE: Final = 5
"""Type and section id."""

_INSTANCE_AND_VERSION: Final = 8
_FOOTER_SIZE: Final = 5
_NAME_LIMIT: Final = 255
_COUNT_LIMIT: Final = 1 << 32


@dataclass(frozen=True)
class Device:
    """One device of a description: `size` is the bytes of its state, in which heads of subsections stand at some offsets."""

    name: str
    instance_id: int
    version: int
    size: int
    heads: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True)
class DeviceSection:
    """A FULL section in a channel: its id, its device, and the offsets of its first byte and after the footer."""

    section_id: int
    device: Device
    offset: int
    end: int


@dataclass(frozen=True)
class Confirmed:
    """The device sections of a stream, and the offset of the EOF byte after them."""

    sections: tuple[DeviceSection, ...]
    end: int


class MismatchError(ValueError):
    """The sections are not what was described: at `offset`, `read` instead of `expected`."""

    def __init__(self, offset: int, read: object, expected: object) -> None:
        super().__init__(f"{read} at byte {offset}, expected {expected}")
        self.offset = offset
        self.read = read
        self.expected = expected


def confirm(data: bytes, start: int, channel: str, page_size: int) -> Confirmed:
    """Find the description after the device sections that begin at `start`.

    Raises:
        Rejected: DESCRIPTION_MISMATCH with the first byte that is not as described (by the last candidate that is JSON at all);
            DESCRIPTION_MISSING at `start` if there is none.
    """
    mismatch: MismatchError | None = None
    for end, text in _candidates(data, start):
        try:
            sections = lay(data, start, end, _devices(text, end + 2 + _LENGTH_SIZE, page_size))
        except MismatchError as error:
            mismatch = error
        else:
            return Confirmed(sections, end)
    if mismatch is None:
        raise Rejected(
            Reason.DESCRIPTION_MISSING,
            channel=channel,
            offset=start,
            read=f"{len(data) - start} bytes without a description",
            expected="device sections, the byte 0, the byte 6, a length and a JSON object",
        )
    raise Rejected(
        Reason.DESCRIPTION_MISMATCH, channel=channel, offset=mismatch.offset, read=mismatch.read, expected=mismatch.expected
    ) from mismatch


def lay(data: bytes, start: int, end: int, devices: Sequence[Device]) -> tuple[DeviceSection, ...]:
    """Lay the sections of `devices` front to back from `start`; they must end at `end`. Raises MismatchError if they do not."""
    sections: list[DeviceSection] = []
    position = start
    for device in devices:
        section = section_at(data, position, end, device, {other.section_id for other in sections})
        sections.append(section)
        position = section.end
    if position != end:
        raise MismatchError(position, f"{end - position} bytes more", "the end of the device sections")
    return tuple(sections)


def section_at(data: bytes, position: int, end: int, device: Device, taken: Collection[int] = ()) -> DeviceSection:
    """Return the FULL section of `device` at `position`; `taken` are ids that it may not have.

    Raises MismatchError if there is another thing before `end`.
    """
    name = device.name.encode("latin-1")
    head = position + _HEAD_SIZE
    state = head + 1 + len(name) + _INSTANCE_AND_VERSION
    footer = state + device.size
    if footer + _FOOTER_SIZE > end:
        raise MismatchError(position, f"{end - position} bytes", f"a section of {footer + _FOOTER_SIZE - position} bytes for {device.name}")
    section_id = data[position + 1 : head]
    _expect(data, position, bytes([SectionType.FULL]), "section type FULL")
    if int.from_bytes(section_id, "big") in taken:
        raise MismatchError(position + 1, f"section id {section_id.hex()} again", "an id of its own")
    _expect(data, head, bytes([len(name)]) + name, f"id string {device.name}")
    _expect(data, head + 1 + len(name), device.instance_id.to_bytes(4, "big"), f"instance {device.instance_id} of {device.name}")
    _expect(data, state - 4, device.version.to_bytes(4, "big"), f"version {device.version} of {device.name}")
    for offset, expected in device.heads:
        _expect(data, state + offset, expected, f"a subsection of {device.name}")
    _expect(data, footer, bytes([SectionType.FOOTER]) + section_id, f"footer of {device.name}, after {device.size} bytes of state")
    return DeviceSection(int.from_bytes(section_id, "big"), device, position, footer + _FOOTER_SIZE)


def _expect(data: bytes, offset: int, expected: bytes, what: str) -> None:
    read = data[offset : offset + len(expected)]
    if read != expected:
        bad = next(index for index in range(len(expected)) if read[index : index + 1] != expected[index : index + 1])
        raise MismatchError(offset + bad, read.hex(), f"{expected.hex()}: {what}")


def _candidates(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    end = data.find(_END_AND_DESCRIPTION, start)
    while end >= 0:
        text_offset = end + len(_END_AND_DESCRIPTION) + _LENGTH_SIZE
        size = int.from_bytes(data[text_offset - _LENGTH_SIZE : text_offset], "big")
        text = data[text_offset : text_offset + size]
        if text[:1] == b"{" and len(text) == size and _is_json(text):
            yield end, text
        end = data.find(_END_AND_DESCRIPTION, end + 1)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _devices(text: bytes, offset: int, page_size: int) -> list[Device]:
    """Return the devices of a description, in order. A text of another shape raises MismatchError at its `offset`."""
    try:
        description = json.loads(text)
        if description.get("page_size", page_size) != page_size:
            raise MismatchError(offset, f"page size {description['page_size']}", f"page size {page_size}")
        return [_device(entry) for entry in description["devices"] if "fields" in entry or entry.get("name") != RAM_SECTION]
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise MismatchError(offset, repr(error), "a description of devices") from error


def _device(entry: dict[str, object]) -> Device:
    heads: list[tuple[int, bytes]] = []
    name = _name(entry["name"]).decode("latin-1")
    instance, version = _number(entry["instance_id"]), _number(entry["version"])
    return Device(name, instance, version, _state_end(entry, 0, heads), tuple(heads))


def _state_end(entry: dict[str, object], start: int, heads: list[tuple[int, bytes]]) -> int:
    """Return where a state ends that begins at `start`: fields, then subsections, each with type, counted name and version.

    The heads of subsections are put into `heads`, with where they begin.
    """
    end = start
    for field in _objects(entry.get("fields", [])):
        end += _count(field["size"]) * _count(field.get("array_len", 1))
    for subsection in _objects(entry.get("subsections", [])):
        name = _name(subsection["vmsd_name"])
        head = bytes([SectionType.SUBSECTION, len(name)]) + name + _number(subsection["version"]).to_bytes(4, "big")
        heads.append((end, head))
        end = _state_end(subsection, end + len(head), heads)
    return end


def _objects(entries: object) -> list[dict[str, object]]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TypeError("not a list of objects")
    return entries


def _count(value: object) -> int:
    """Return a size or a count: so large at most that the product of two is no burden."""
    if type(value) is not int or not 0 <= value < _COUNT_LIMIT:
        raise TypeError(f"{value!r} is not a count")
    return value


def _number(value: object) -> int:
    """Return a number of 4 bytes."""
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise TypeError(f"{value!r} does not fit into 4 bytes")
    return value


def _name(value: object) -> bytes:
    """Return a text with so many characters of one byte each as one byte counts."""
    if not isinstance(value, str) or len(value) > _NAME_LIMIT:
        raise TypeError(f"{value!r} is no name")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise TypeError(f"{value!r} is no name") from error
