"""Where the device sections end.

FULL sections carry no length. A boundary is a candidate until the EOF byte and the vmdescription behind it
account for every byte: sizes, names, instances, versions and ids (migration/vmstate.c:vmstate_save_vmsd_v).
"""

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from colofd.impl.stream import MainStream
from colofd.spec.constants import RAM_SECTION, SectionType
from colofd.spec.reasons import Reason, Rejected

MARK: Final = bytes([SectionType.EOF, SectionType.VMDESCRIPTION])
LENGTH_SIZE: Final = 4
HEAD_SIZE: Final = len(MARK) + LENGTH_SIZE
TRIES: Final = 256
"""Candidates that are looked into or waited for. More do not come by chance, and each costs time."""
COUNT_LIMIT: Final = 1 << 32
"""A size or count of a description is less."""


class _MismatchError(Exception):
    """The description does not describe the sections; arguments: offset of the disagreement, what was read, what was expected."""


@dataclass(frozen=True)
class _Candidate:
    """An EOF byte at `end`, if the description in text[start:stop] confirms it; all relative to the first section."""

    end: int
    start: int
    stop: int


class DeviceSections:
    """Finds the end of the device sections at the end of precopy."""

    def __init__(self, stream: MainStream, page_size: int, device_limit: int, description_limit: int) -> None:
        self._stream = stream
        self._page_size = page_size
        self._device_limit = device_limit
        self._description_limit = description_limit
        self._pending: list[_Candidate] = []
        self._searched = 0
        self._tries = 0
        self._refusal: Rejected | None = None

    def read(self) -> bytes:
        """Return the sections with their EOF byte; the description is read, too, and nothing after it.

        Raises Rejected: DESCRIPTION_MISSING, DESCRIPTION_MISMATCH, DEVICE_STATE_SIZE, TRUNCATED, and what the stream raises.
        """
        while True:
            self._search()
            confirmed = self._confirmed()
            if confirmed is not None:
                sections = self._stream.take(confirmed.end + 1)
                self._stream.take(confirmed.stop - confirmed.end - 1)
                return sections
            self._require_within_limits()
            self._read_ahead()

    def _search(self) -> None:
        ahead = self._stream.ahead
        at = ahead.find(MARK, self._searched)
        while 0 <= at <= len(ahead) - HEAD_SIZE - 1:
            start = at + HEAD_SIZE
            size = int.from_bytes(ahead[at + len(MARK) : start])
            if ahead[start] == ord("{") and size <= self._description_limit:
                self._pending.append(_Candidate(at, start, start + size))
            at = ahead.find(MARK, at + 1)
        self._searched = at if at >= 0 else max(0, len(ahead) - len(MARK) + 1)

    def _confirmed(self) -> _Candidate | None:
        ahead = self._stream.ahead
        complete = [candidate for candidate in self._pending if candidate.stop <= len(ahead)]
        self._pending = [candidate for candidate in self._pending if candidate.stop > len(ahead)]
        for candidate in complete:
            # A text holds no zero byte, so candidates inside of each other are not read again and again.
            if (
                ahead[candidate.stop - 1] == ord("}")
                and ahead.find(0, candidate.start, candidate.stop) < 0
                and self._is_confirmed(candidate)
            ):
                return candidate
        return None

    def _is_confirmed(self, candidate: _Candidate) -> bool:
        ahead = self._stream.ahead
        self._tries += 1
        self._require_few_tries()
        try:
            description = json.loads(ahead[candidate.start : candidate.stop])
        except (ValueError, RecursionError):
            return False
        try:
            _Walk(ahead, candidate, self._page_size).check(description)
        except _MismatchError as mismatch:
            offset, read, expected = mismatch.args
            self._refusal = self._stream.rejected(Reason.DESCRIPTION_MISMATCH, self._stream.offset + offset, read, expected)
            return False
        return True

    def _require_few_tries(self) -> None:
        if self._tries + len(self._pending) > TRIES:
            raise self._refusal or self._stream.rejected(
                Reason.DESCRIPTION_MISSING, self._stream.offset, f"{TRIES} texts that could be one", "a vmdescription"
            )

    def _require_within_limits(self) -> None:
        self._require_few_tries()
        size = len(self._stream.ahead)
        if not self._pending and size > self._device_limit:
            if self._refusal is not None:
                raise self._refusal
            limit = f"at most {self._device_limit} bytes"
            raise self._stream.rejected(Reason.DEVICE_STATE_SIZE, self._stream.offset, f"more than {size} bytes", limit)
        if size > self._device_limit + self._description_limit + HEAD_SIZE:
            raise self._refusal or self._stream.rejected(
                Reason.DESCRIPTION_MISSING, self._stream.offset, f"{size} bytes", "device sections and their vmdescription"
            )

    def _read_ahead(self) -> None:
        try:
            if self._stream.read_ahead():
                return
        except Rejected as error:
            if error.reason is Reason.DEADLINE and self._refusal is not None:
                raise self._refusal from None
            raise
        raise self._refusal or self._stream.rejected(
            Reason.DESCRIPTION_MISSING,
            self._stream.offset,
            f"{len(self._stream.ahead)} bytes, then the end of the channel",
            "device sections and their vmdescription",
        )


class _Walk:
    """Lays the described sections front to back over the bytes before a candidate's end."""

    def __init__(self, data: bytearray, candidate: _Candidate, page_size: int) -> None:
        self._data = data
        self._end = candidate.end
        self._description_at = candidate.start
        self._page_size = page_size
        self._at = 0

    def check(self, description: Any) -> None:
        """Raise _MismatchError unless the description accounts for every byte."""
        try:
            page_size = _count(description.get("page_size", self._page_size))
            sections = [_Section(device) for device in description["devices"] if "fields" in device or device["name"] != RAM_SECTION]
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, struct.error) as error:
            raise _MismatchError(self._description_at, repr(error), "a description of devices") from error
        if page_size != self._page_size:
            raise _MismatchError(self._description_at, f"page size {page_size}", f"page size {self._page_size}")
        seen: set[bytes] = set()
        for section in sections:
            self._lay(section, seen)
        if self._at != self._end:
            raise _MismatchError(self._at, f"{self._end - self._at} bytes that no device describes", "none")

    def _lay(self, section: "_Section", seen: set[bytes]) -> None:
        if self._at + section.size > self._end:
            raise _MismatchError(self._at, f"{self._end - self._at} bytes", f"{section.size} bytes of {section.name}")
        self._expect(bytes([SectionType.FULL]), f"a section of {section.name}")
        number = bytes(self._data[self._at : self._at + 4])
        if number in seen:
            raise _MismatchError(self._at, f"section id {number.hex()} again", "an id of its own")
        seen.add(number)
        self._at += len(number)
        self._expect(section.head, f"{section.name}, instance and version")
        for gap, head in section.subsections:
            self._at += gap
            self._expect(head, f"a subsection of {section.name}")
        self._at += section.rest
        self._expect(bytes([SectionType.FOOTER]) + number, f"the footer of {section.name}")

    def _expect(self, expected: bytes, what: str) -> None:
        read = self._data[self._at : self._at + len(expected)]
        if read != expected:
            bad = next(index for index in range(len(expected)) if read[index : index + 1] != expected[index : index + 1])
            raise _MismatchError(self._at + bad, read.hex(), f"{expected.hex()} ({what})")
        self._at += len(expected)


class _Section:
    """A device of a description, as bytes to expect. Raises KeyError, TypeError, ValueError or struct.error for another shape.

    Attributes:
        head: name, instance and version.
        subsections: for each, the bytes of fields before it, and its head.
        rest: bytes of fields after the last of them.
        size: bytes of the whole section, with its footer.
    """

    def __init__(self, device: dict[str, Any]) -> None:
        self.name: str = device["name"]
        self.head = _counted(self.name) + struct.pack(">II", _count(device["instance_id"]), _count(device["version"]))
        self.subsections: list[tuple[int, bytes]] = []
        self.rest = 0
        self._add(device)
        state = self.rest + sum(gap + len(head) for gap, head in self.subsections)
        self.size = 5 + len(self.head) + state + 5

    def _add(self, parent: dict[str, Any]) -> None:
        self.rest += sum(_count(field["size"]) * _count(field.get("array_len", 1)) for field in parent.get("fields", []))
        for subsection in parent.get("subsections", []):
            head = bytes([SectionType.SUBSECTION]) + _counted(subsection["vmsd_name"]) + struct.pack(">I", _count(subsection["version"]))
            self.subsections.append((self.rest, head))
            self.rest = 0
            self._add(subsection)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < COUNT_LIMIT:
        raise ValueError(f"a number that is not 0 to {COUNT_LIMIT - 1}")
    return value


def _counted(name: str) -> bytes:
    if len(name) > 255:
        raise ValueError("a name of more than 255 bytes")
    encoded = name.encode("latin-1")
    return bytes([len(encoded)]) + encoded
